"""One drill of the storage: victim drawn, ledger and watch on spared nodes, fault, and what was seen.

The order is this: draw, ledger and watch, live configuration, calm, break. Whatever becomes of it, `close`
heals first, then ends ledger and watch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from chaos import guard_ceph, predict_ceph, scrub
from chaos.ceph_state import ASK_S, answer, ceph_of
from chaos.ceph_watch import STATS_S, CephWatch, Moment, changes, steady
from chaos.engine import PATIENCE_S, Engine, Window, begin_patiently
from chaos.faults.storage import StorageFault
from chaos.guard import Guard
from chaos.ledger import Ledger, LedgerReport, ordered_targets
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from chaos.predict_ceph import CephTimes
from chaos.timeline import Drawing
from cluster.errors import DeadlineError, NotApplicableError, RackproofError, UnknownError

CALM_S = 4.0
"""How long writes are recorded before the break."""
SCRUB_S = 600.0
SLOW_S = 90.0
SLOWER = 3.0
"""A disk counts as slow where its commits take so many times what they did, and what the others' take."""
LONGEST_WAIT_S = 360.0
"""The longest down-out interval that a drill sits out."""
_DRAWS = 20


@dataclass
class StorageDrill:
    """A drill. `struck`: OSDs that fell earlier in this run, which are spared while others are left, because
    Ceph grows more patient with an OSD each time it fails.
    """

    cluster: ClusterPort
    engine: Engine
    random: Random
    say: Callable[[str], None]
    struck: set[int] = field(default_factory=set)
    ledger: Ledger | None = None
    watch: CephWatch | None = None
    window: Window | None = None
    times: CephTimes | None = None
    down: Moment | None = None
    out: Moment | None = None
    scrubbing: scrub.Scrub | None = None
    written: LedgerReport | None = None
    commit_ms: Mapping[int, float] = field(default_factory=dict)
    closed: bool = False

    @classmethod
    def of(
        cls, cluster: ClusterPort, random: Random, say: Callable[[str], None], struck: set[int]
    ) -> StorageDrill:
        guard = Guard(extra=guard_ceph.checks(), restored_s=guard_ceph.RESTORED_S)
        return cls(cluster, Engine(cluster, guard, say=say), random, say, struck)

    def strike(self, kind: type[StorageFault], **more: Any) -> None:
        """Draw a victim and break it while writes are recorded. Raises `RefusedError`, `NotApplicableError`,
        `UnknownError`.
        """
        fault = self._draw(kind)
        if more:
            fault = type(fault)(**{**fault.parameters(), **more})
        spared = sorted(set(self.cluster.nodes) - set(fault.nodes))
        if not spared:
            raise NotApplicableError(
                "PF-ONE-NODE", "no node is spared by the fault.", "use a larger cluster."
            )
        self.say(f"victim: {fault.target}; {spared[0]} keeps the ledger")
        self.read_times()
        if fault.effect == "slow":
            self.commit_ms = self.commits()
        self.ledger = Ledger(self.cluster, spared[0], ordered_targets(self.cluster.site), say=self.say)
        self.watch = CephWatch(self.cluster, avoid=(*fault.nodes, *spared[: len(spared) - 1]))
        with ThreadPoolExecutor(max_workers=2) as pool:  # each takes a node half a minute to begin
            for begun in [pool.submit(self.ledger.start), pool.submit(self.watch.start)]:
                begun.result()
        time.sleep(CALM_S)
        self.window = begin_patiently(self.engine, fault, self.say, PATIENCE_S)
        self.struck.update(fault.osd_ids)

    def read_times(self) -> CephTimes:
        """Ceph's own times as they are configured now."""
        if self.times is None:
            self.times = CephTimes.of(ceph_of(self.cluster).ask(predict_ceph.commands(), ASK_S))
        return self.times

    def _draw(self, kind: type[StorageFault]) -> StorageFault:
        for _ in range(_DRAWS):
            fault = kind.draw(self.cluster, self.random)
            if not self.struck & set(fault.osd_ids):
                break
        return fault

    @property
    def fault(self) -> StorageFault:
        """What was broken."""
        return cast(StorageFault, self.opened.fault)

    @property
    def opened(self) -> Window:
        """The window. Raises `UnknownError` where nothing was broken, so nothing can be said."""
        if self.window is None or self.window.broken_s is None or self.window.seen_s is None:
            raise UnknownError("nothing was seen broken, so nothing was shown")
        return self.window

    @property
    def broken_s(self) -> float:
        """When breaking began: nothing of it can have been earlier."""
        assert self.opened.broken_s is not None
        return self.opened.broken_s

    @property
    def looked(self) -> CephWatch:
        """The watch. Raises `UnknownError` where there is none."""
        if self.watch is None:
            raise UnknownError("Ceph was not watched")
        return self.watch

    @property
    def book(self) -> Ledger:
        """The ledger. Raises `UnknownError` where there is none."""
        if self.ledger is None:
            raise UnknownError("no ledger was kept")
        return self.ledger

    def blur_s(self, moment: Moment) -> float:
        """By how much a time from the break to a moment may be too long: the look's own resolution, where the
        two clocks meet, and how long breaking took.
        """
        took = (self.opened.seen_s or self.broken_s) - self.broken_s
        return min(moment.t_s - self.broken_s, moment.resolution_s + self.looked.placement_s + took)

    def await_down(self, deadline_s: float) -> Moment:
        """When the map said that all victims are down."""
        wanted = set(self.fault.osd_ids)
        self.down = self.looked.until(
            lambda s: not wanted & s.up, self.broken_s, deadline_s, f"{self.fault.target} down by Ceph's map"
        )
        return self.down

    def await_out(self, deadline_s: float) -> Moment:
        """When the map said that all victims are out; the deadline counts from down."""
        if self.down is None:
            raise UnknownError("it was not seen down, so the time until it is out cannot be told")
        wanted = set(self.fault.osd_ids)
        what = f"{self.fault.target} out by Ceph's map"
        self.out = self.looked.until(lambda s: not wanted & s.in_, self.down.t_s, deadline_s, what)
        return self.out

    def await_elsewhere(self, since_s: float, deadline_s: float) -> Moment:
        """When no placement group had a copy on the victims any more and all were clean.

        The manager hears of placement groups every few seconds and tells of the state before until then, so
        the answer errs to the late side, by `STATS_S` / 2 at most.
        """
        wanted, before = self.fault.osd_ids, time.monotonic()
        while True:
            asked = time.monotonic()
            left = scrub.held(self.cluster, wanted)
            if not left:
                now = time.monotonic()
                return Moment(now, now - before + STATS_S / 2)
            if asked - since_s > deadline_s:
                raise DeadlineError(
                    f"{self.fault.target}: {len(left)} placement groups are not placed elsewhere within"
                    f" {deadline_s:g} s"
                )
            before = asked
            time.sleep(1.0)

    def expected_out(self) -> Prediction:
        """From down to out, as the live configuration implies. Raises `UnknownError` where it never comes."""
        found = predict_ceph.osd_out(self.read_times())
        if found is None:
            raise UnknownError("Ceph never takes an OSD out by itself (mon_osd_down_out_interval is 0)")
        return found

    def expected(self) -> Prediction:
        """Until Ceph notices, as its live configuration implies."""
        times, effect = self.read_times(), self.fault.effect
        if effect == "disk":
            return predict_ceph.disk_gone(times)
        if effect in ("mon", "leader"):
            return predict_ceph.new_quorum(times, leader=effect == "leader")
        if effect == "mgr":
            return predict_ceph.new_mgr(times)
        if effect == "mds":
            return predict_ceph.new_mds(times)
        return predict_ceph.osd_killed(times)

    def expected_pause(self) -> Prediction:
        """How long client writes wait, as the live configuration implies."""
        effect = self.fault.effect
        if effect in ("osd", "disk"):
            return predict_ceph.client_pause(self.expected())
        if effect == "mds":
            return self.expected()
        return Prediction(0.0, 0.0, "no placement group and no file system waits for it")

    def await_writes(self, deadline_s: float) -> LedgerReport:
        """What the ledger says once every target's writes go on, `deadline_s` from the break at most."""
        while True:
            report = self.book.report()
            report.certain()
            waiting = [gap for gap in report.longest_gap if not gap.ended and gap.least_s > self.book.stall_s]
            if not waiting or time.monotonic() - self.broken_s > deadline_s:
                return report
            time.sleep(0.5)

    def writes_go_on(self, seconds: float) -> dict[str, int]:
        """How many writes each target acknowledges in `seconds`."""
        before = self.book.report().acknowledged
        time.sleep(seconds)
        return {name: count - before[name] for name, count in self.book.report().acknowledged.items()}

    def commits(self) -> dict[int, float]:
        """Each OSD's commit latency now, in ms, by its own word."""
        command = {"it": {"prefix": "osd perf", "target": "mgr"}}
        found = answer(ceph_of(self.cluster).ask(command), "it")
        try:
            infos = found["osdstats"]["osd_perf_infos"]
            return {each["id"]: float(each["perf_stats"]["commit_latency_ms"]) for each in infos}
        except (KeyError, TypeError):
            raise UnknownError("Ceph's latencies of the OSDs are not understood") from None

    def await_slow(self) -> tuple[float, float]:
        """(commit latency of the slow OSD, what it is compared with) in ms, once it is plainly slow."""
        victim = self.fault.osd_ids[0]
        while True:
            now = self.commits()
            others = sorted(ms for osd, ms in now.items() if osd != victim)
            usual = max(self.commit_ms.get(victim, 0.0), others[len(others) // 2] if others else 0.0, 1.0)
            if now.get(victim, 0.0) >= SLOWER * usual:
                return now[victim], usual
            if time.monotonic() - self.broken_s > SLOW_S:
                raise DeadlineError(
                    f"{self.fault.target} was not seen slow within {SLOW_S:g} s: its commits take"
                    f" {now.get(victim, 0.0):.0f} ms, {usual:.0f} ms are usual"
                )
            time.sleep(3.0)

    def restore(self) -> Moment:
        """Heal, wait until all is whole, and say when all placement groups were clean to stay. Raises as
        `Engine.end`, `UnknownError`.
        """
        window = self.opened
        self.engine.end(window)
        healed = window.healed_s or self.broken_s
        seen = steady(self.looked.samples(), lambda s: s.silent is None and s.unclean == 0, healed, 0.0)
        if seen is None:  # the guard's look and the watch's are a few seconds apart
            patience = time.monotonic() - healed + 30
            seen = self.looked.until_clean(healed, patience, "all data whole, as the watch sees it", self.say)
        return seen

    def begin_scrub(self) -> None:
        """Ask for a deep scrub of what the victims hold; `finish_scrub` awaits it."""
        if self.fault.osd_ids and self.scrubbing is None:
            self.scrubbing = scrub.begin(self.cluster, self.fault.osd_ids)

    def finish_scrub(self) -> int:
        """Placement groups that were scrubbed and found sound."""
        self.begin_scrub()
        if self.scrubbing is None:
            raise UnknownError("the fault was about no OSD, so there is nothing to scrub")
        return scrub.wait(self.cluster, self.scrubbing, SCRUB_S, self.say)

    def verify(self) -> LedgerReport:
        """Read every acknowledged write back."""
        self.written = self.book.verify()
        return self.written

    def close(self) -> None:
        """Heal whatever is left, then end ledger and watch; the first error is raised at the end."""
        if self.closed:
            return
        self.closed = True
        errors: list[RackproofError] = []
        if self.window is not None:
            self._try(lambda: self.engine.end(cast(Window, self.window)), errors)
        if self.ledger is not None:
            if self.written is None:
                self._try(lambda: self._note_written(self.book.stop()), errors)
            self._try(self.book.close, errors)
        if self.watch is not None:
            self.watch.stop()
        if errors:
            raise errors[0]

    def _note_written(self, report: LedgerReport) -> None:
        self.written = report

    def _try(self, act: Callable[[], object], errors: list[RackproofError]) -> None:
        try:
            act()
        except RackproofError as error:
            errors.append(error)

    def drawing(self) -> Drawing | None:
        """The drill with what Ceph and the ledger saw; None where nothing was broken."""
        if self.window is None:
            return None
        record = self.window.record
        if self.watch is not None and record.origin is not None:
            self.watch.stop()
            record.events = sorted(
                [*record.events, *changes(self.watch.samples(), record.origin)], key=lambda event: event.t_s
            )
        outages = self.written.outages if self.written is not None else ()
        predicted = self.expected_pause().most_s if self.times and self.window.seen_s else None
        return record.drawing(outages, predicted)


def latencies(report: LedgerReport, since_s: float, until_s: float) -> tuple[float, float] | None:
    """(median of the seconds' 95th percentiles, worst latency) in seconds of the writes in a stretch of time;
    None where there were none.
    """
    inside = [each for each in report.latency_per_second if since_s <= each.t_s < until_s]
    if not inside:
        return None
    p95 = sorted(each.p95 for each in inside)
    return p95[len(p95) // 2], max(each.max for each in inside)
