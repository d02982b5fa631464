"""One drill of what guests run on: victim drawn, guests heard, fault, and what became of them.

The order is this: draw, live configuration, clocks, heartbeats, calm, break. Whatever becomes of it, `close`
heals first, then ends the watch of the guests.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from chaos import compute_judge, fencing_record, guards, ha_state, predict_ha
from chaos.compute_judge import Anew
from chaos.engine import PATIENCE_S, Engine, Window, begin_patiently
from chaos.fault import Fault
from chaos.faults import lost
from chaos.faults.guest import GuestCrash, GuestServiceDead
from chaos.faults.kernel import KernelCrash, KernelHang
from chaos.faults.maintenance import NodeMaintenance
from chaos.faults.rings import CorosyncCut
from chaos.fencing_record import BACK, Decision, TimeOfDay
from chaos.heartbeats import Heartbeats
from chaos.heartbeats_failover import Failover, failover
from chaos.heartbeats_record import Record
from chaos.heartbeats_report import HeartbeatsReport, judge
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from chaos.predict_ha import HaTimes
from cluster.errors import DeadlineError, NotApplicableError, UnknownError
from cluster.site import Site
from cluster.site_services import Guest

CALM_S = 5.0
"""How long guests are heard before the break."""
ASK_S = 20.0
_POLL_S = 2.0
_START_ANEW = (KernelCrash, KernelHang, CorosyncCut)
_OF_GUESTS = (GuestCrash, GuestServiceDead)


@dataclass
class ComputeDrill:
    """A drill. `path`: the file that the heartbeats are kept in. `master`: the node that led the HA manager
    before the break. `homes`: guest -> the node that ran it then.
    """

    cluster: ClusterPort
    engine: Engine
    random: Random
    say: Callable[[str], None]
    path: Path | None = None
    beats: Heartbeats | None = None
    window: Window | None = None
    times: HaTimes | None = None
    master: str | None = None
    clocks: Mapping[str, TimeOfDay] = field(default_factory=dict)
    closed: bool = False

    @classmethod
    def of(
        cls, cluster: ClusterPort, random: Random, say: Callable[[str], None], path: Path | None
    ) -> ComputeDrill:
        return cls(cluster, Engine(cluster, guards.whole(), say=say), random, say, path)

    def strike(self, kind: type[Fault], **more: Any) -> None:
        """Draw a victim that runs guests, or is one, and break it while guests are heard. Raises
        `RefusedError`, `NotApplicableError`, `UnknownError`.
        """
        guests = kept(self.cluster.site)
        fault = self._draw(kind, guests, ha_state.read(self.cluster))
        if more:
            fault = replace(fault, **more)
        spared = [name for name in self.cluster.nodes if name not in fault.silenced]
        self.times = read_times(self.cluster, (spared or list(self.cluster.nodes))[0])
        self.clocks = fencing_record.compare(self.cluster, self.cluster.nodes)
        self.say(f"victim: {fault.target}")
        avoid = fault.silenced if spared else ()
        self.beats = Heartbeats(self.cluster, guests, avoid=avoid, path=self.path, say=self.say)
        self.beats.start()
        time.sleep(CALM_S)
        self.window = begin_patiently(self.engine, fault, self.say, PATIENCE_S, before=self._look_who_leads)

    def _look_who_leads(self) -> None:
        """Just before the break, for whoever led may not do so any more after a wait."""
        self.master = ha_state.read(self.cluster).master
        self.say(f"{self.master or 'nobody'} leads the HA manager")

    def _draw(self, kind: type[Fault], guests: tuple[Guest, ...], state: ha_state.HaState) -> Fault:
        if issubclass(kind, _OF_GUESTS):
            names = {guest.name for guest in guests}
            candidates = [name for name in kind.candidates(self.cluster.site) if name in names]
        else:
            sids = {guest.sid for guest in guests}
            homes = {each.node for sid, each in state.services.items() if sid in sids}
            candidates = sorted(homes & set(self.cluster.nodes))
        if not candidates:
            raise NotApplicableError(
                "PF-GUEST-NONE", f"no guest that the HA manager keeps can be the victim of {kind.kind}.",
                "order a [[guest]] with `ha` of the kind that it needs.",
            )  # fmt: skip
        return kind.aimed(self.cluster, self.random.choice(candidates), self.random)

    @property
    def opened(self) -> Window:
        """The window. Raises `UnknownError` where nothing was broken, so nothing can be said."""
        if self.window is None or self.window.broken_s is None or self.window.seen_s is None:
            raise UnknownError("nothing was seen broken, so nothing was shown")
        return self.window

    @property
    def fault(self) -> Fault:
        """What was broken."""
        return self.opened.fault

    @property
    def broken_s(self) -> float:
        """When breaking began: nothing of it can have been earlier."""
        assert self.opened.broken_s is not None
        return self.opened.broken_s

    @property
    def struck(self) -> tuple[str, ...]:
        """Nodes that were lost, or taken out."""
        fault = self.fault
        return fault.nodes if isinstance(fault, NodeMaintenance) else fault.silenced

    @property
    def took_s(self) -> float:
        """How long breaking took: by so much may a time from the break be too long."""
        return (self.opened.seen_s or self.broken_s) - self.broken_s

    @property
    def was_master(self) -> bool:
        """Whether a lost node led the HA manager."""
        return predict_ha.was_master(self.master, self.struck)

    @property
    def heard(self) -> Heartbeats:
        """The watch. Raises `UnknownError` where there is none."""
        if self.beats is None:
            raise UnknownError("no guest was listened to")
        return self.beats

    @property
    def record(self) -> Record:
        """What was heard and seen so far."""
        return self.heard.record

    def victims(self) -> tuple[str, ...]:
        """Guests that the fault hits. Raises `UnknownError` where there is none, so nothing is shown."""
        fault = self.fault
        if isinstance(fault, _OF_GUESTS):
            return (fault.guest,)
        homes = compute_judge.homes(self.record, self.broken_s)
        found = tuple(sorted(guest for guest, node in homes.items() if node in self.struck))
        if not found:
            raise UnknownError(f"no guest was seen on {', '.join(self.struck)} when it was broken")
        return found

    def expected(self) -> Prediction:
        """Until the victims answer, as the live configuration implies."""
        fault, times, master = self.fault, self.configured, self.was_master
        if isinstance(fault, GuestCrash):
            return predict_ha.guest_crashed()
        victims = self.victims()
        containers = any(each.kind == "container" for each in kept(self.cluster.site) if each.name in victims)
        if not isinstance(fault, _START_ANEW):
            return predict_ha.answering(times, master=master, containers=containers)
        if isinstance(fault, KernelCrash):
            dead = Prediction(0.0, fault.panic_s, f"a panic lasts {fault.panic_s:g} s")
        else:
            dead = (predict_ha.self_reset if isinstance(fault, CorosyncCut) else predict_ha.bite)(times)
        return predict_ha.started_anew(
            times, master=master, dead=dead, containers=containers, counts_anew=self.counts_anew
        )

    @property
    def counts_anew(self) -> bool:
        """Whether a lost node that says when its own lock has expired started before it had, or may yet."""
        lowest = self.configured.lowest
        if not isinstance(self.fault, _START_ANEW) or lowest not in self.struck:
            return False
        again = compute_judge.anew(self.record, lowest, self.broken_s)
        started = time.monotonic() if again is None else again.started.t_s - again.started.resolution_s
        return started - self.broken_s < predict_ha.LOCK_S

    @property
    def configured(self) -> HaTimes:
        """The live configuration. Raises `UnknownError` where it was not read."""
        if self.times is None:
            raise UnknownError("the configuration was not read before the break")
        return self.times

    def await_new_boots(self, deadline_s: float, since_s: float | None = None) -> dict[str, Failover]:
        """The course of each victim once it answers from another boot, `deadline_s` from the break (or from
        `since_s`) at most. Raises `DeadlineError`.
        """
        victims, since = self.victims(), self.broken_s
        left = (since if since_s is None else since_s) + deadline_s - time.monotonic()
        record = self.heard.until(
            lambda record: compute_judge.began_anew(record, victims, since) == set(victims),
            max(0.0, left), f"{', '.join(victims)} answering again after {self.fault.kind}",
        )  # fmt: skip
        return {course.guest: course for course in self.courses(record)}

    def await_elsewhere(self, deadline_s: float) -> dict[str, Failover]:
        """The course of each victim once it runs on another node and beats there. Raises `DeadlineError`."""
        victims, since = self.victims(), self.broken_s

        def moved(record: Record) -> bool:
            left = {guest: compute_judge.left_s(record, guest, self.struck) for guest in victims}
            return all(
                since_s is not None and compute_judge.heard_after(record, guest, since_s)
                for guest, since_s in left.items()
            )

        what = f"{', '.join(victims)} answering from a node that is not in maintenance"
        record = self.heard.until(moved, max(0.0, since + deadline_s - time.monotonic()), what)
        return {course.guest: course for course in self.courses(record)}

    def await_anew(self, nodes: Iterable[str], deadline_s: float) -> dict[str, Anew]:
        """The start of each node since the break, `deadline_s` from it at most. Raises `DeadlineError`."""
        wanted, since = tuple(nodes), self.broken_s

        def found(record: Record) -> dict[str, Anew]:
            looked = (compute_judge.anew(record, node, since) for node in wanted)
            return {each.node: each for each in looked if each is not None}

        left = max(0.0, since + deadline_s - time.monotonic())
        what = f"{', '.join(wanted)} started anew"
        return found(self.heard.until(lambda record: len(found(record)) == len(wanted), left, what))

    def await_deaths(self, deadline_s: float) -> list[Failover]:
        """The course of each victim once it is seen that each node was dead which a guest left, or
        `deadline_s` from the break: what is lacking is for the judge to say.
        """
        left = max(0.0, self.broken_s + deadline_s - time.monotonic())
        unseen = compute_judge.not_seen_dead(self.courses())
        if unseen:
            self.say(f"looked at for {left:.0f} s more at most: {'; '.join(unseen)}")
        with contextlib.suppress(DeadlineError):
            self.heard.until(
                lambda record: not compute_judge.not_seen_dead(self.courses(record)), left, "dead nodes"
            )
        return self.courses()

    def courses(self, record: Record | None = None) -> list[Failover]:
        """The course of each victim, so far or by `record`."""
        shown = self.record if record is None else record
        return [failover(shown, guest, self.broken_s) for guest in self.victims()]

    def await_beats(self, guests: Iterable[str], since_s: float, deadline_s: float) -> None:
        """Wait until each guest has told a new beat after `since_s`. Raises `DeadlineError`."""
        wanted = tuple(guests)
        self.heard.until(
            lambda record: all(compute_judge.heard_after(record, guest, since_s) for guest in wanted),
            deadline_s, f"a new beat of {', '.join(wanted)}",
        )  # fmt: skip

    def said(self) -> tuple[Decision, ...]:
        """What the fencing service decided since the break was seen. Raises `UnknownError`."""
        return fencing_record.read(self.cluster, self.clocks, self.opened.seen_s or self.broken_s)

    def await_said(self, words: tuple[str, ...], deadline_s: float) -> tuple[Decision, ...]:
        """The decisions once one of `words` was said of each lost node, or at the deadline, which counts from
        the break: what is lacking is for the judge to say.
        """
        while True:
            said = self.said()
            if all(fencing_record.first(said, node, words) for node in self.struck):
                return said
            if time.monotonic() - self.broken_s > deadline_s:
                return said
            time.sleep(_POLL_S)

    def await_power_cycle(self, deadline_s: float) -> tuple[Decision, ...]:
        """The decisions once each lost node is confirmed on again, or at the deadline."""
        return self.await_said((BACK,), deadline_s)

    def hold(self, until_s: float) -> Record:
        """Listen until `until_s` seconds after the break; what was seen."""
        while (left := self.broken_s + until_s - time.monotonic()) > 0:
            self.say(f"{self.fault.target}: looked at for {left:.0f} s more")
            time.sleep(min(left, 30.0))
        return self.record

    def bring_back(self, node: str) -> float:
        """Give one lost node its power back and say when that was asked for. Raises as `cluster.bmc.Bmc`."""
        asked = time.monotonic()
        lost.await_back(self.cluster, node)
        return asked

    def restore(self) -> float:
        """Heal and wait until all is whole; when it was healed. Raises as `Engine.end`."""
        self.engine.end(self.opened)
        return self.opened.healed_s or time.monotonic()

    def report(self) -> HeartbeatsReport:
        """All of the record, judged; the watch has ended."""
        return judge(self.heard.stop())

    def close(self) -> None:
        """Heal whatever is left, then end the watch; the first error is raised at the end."""
        if self.closed:
            return
        self.closed = True
        try:
            if self.window is not None:
                self.engine.end(self.window)
        finally:
            if self.beats is not None:
                self.beats.stop()


def kept(site: Site) -> tuple[Guest, ...]:
    """The guests that the HA manager is to keep running."""
    return tuple(guest for guest in site.guests if guest.ha is not None and guest.ha.state == "started")


def read_times(cluster: ClusterPort, node: str) -> HaTimes:
    """Corosync's and the watchdogs' times on a node now. Raises `UnreachableError`, `UnknownError`."""
    return predict_ha.parse(cluster.nodes[node].run(predict_ha.COMMAND, timeout=ASK_S).stdout)
