"""The storage drills: a ledger writes, a part of Ceph fails, and what was promised is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from pytest_bdd import given, parsers, then, when

from chaos import guard_ceph, schedule
from chaos.ceph_watch import Moment
from chaos.faults.disk import OsdDiskPulled, OsdDiskRemoved, SlowDisk
from chaos.faults.mon import MdsKilled, MgrKilled, MonKilled, MonLeaderKilled
from chaos.faults.osd import NodeOsdsDown, OsdKilled, OsdOut, PoolAtMinSize
from chaos.faults.storage import StorageFault, victims
from chaos.ledger import LedgerReport
from chaos.predict import Prediction
from chaos.predict_ceph import outside
from chaos.storage_drill import LONGEST_WAIT_S, StorageDrill, latencies
from cluster.cluster import Cluster
from cluster.errors import NotApplicableError, RefusedError, UnknownError
from cluster.site import Site
from reports.evidence import Run, Timeline, judge
from reports.model import Measurement
from reports.terminal import say
from steps.drilled import beside, to_the_end
from steps.modes import Mode
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold, all_met, limit_of, measure

HOLD_S = 10.0
"""How long writes are looked at where a part is missing and nothing else is awaited."""
LATE_S = 60.0
"""Beyond its limit, something is awaited for so long: then the figure is shown, and not only a deadline."""

WHEN: dict[str, tuple[type[StorageFault], dict[str, object]]] = {
    "an OSD is killed and kept from starting": (OsdKilled, {}),
    "the disk of an OSD vanishes from the PCI bus": (OsdDiskRemoved, {}),
    "the disk of an OSD is pulled out of its bay": (OsdDiskPulled, {}),
    "an OSD is taken out": (OsdOut, {"deadman_s": 600.0}),
    "a monitor that does not lead is killed and kept from starting": (MonKilled, {}),
    "the leading monitor is killed and kept from starting": (MonLeaderKilled, {}),
    "the active manager is killed and kept from starting": (MgrKilled, {}),
    "the active metadata server is killed and kept from starting": (MdsKilled, {}),
    "all OSDs of a node are killed and kept from starting": (NodeOsdsDown, {}),
    "one node's OSDs fail and every pool is left with its least number of copies": (PoolAtMinSize, {}),
    "the disk of an OSD becomes slow": (SlowDisk, {}),
}


@dataclass
class Judged:
    """The drill of one scenario, and where its figures go."""

    drill: StorageDrill
    site: Site
    evidence: Run
    drawn: bool = field(default=False)

    def time(
        self, name: str, what: str, moment: Moment, since_s: float, asked: str, expected: Prediction | None
    ) -> Measurement:
        """One time to the moment, beside the figure that the live configuration implies."""
        drill = self.drill
        value = max(0.0, moment.t_s - since_s)
        broken = since_s == drill.broken_s
        blur = drill.blur_s(moment) if broken else moment.resolution_s + drill.looked.placement_s
        if expected is not None:
            self.evidence.note(beside(what, value, blur, expected))
        method = f"maps read by librados on {drill.looked.node} every {drill.looked.interval_s:g} s"
        return measure(
            self.evidence, self.site, name, f"{drill.fault.kind} of {drill.fault.target}: {what}", value,
            asked, resolution=min(blur, value), method=method,
            predicted=expected.most_s if expected else None,
        )  # fmt: skip

    def pause(
        self, name: str, asked: str, report: LedgerReport, when_: str, paths: tuple[str, ...]
    ) -> list[Measurement]:
        """The longest time without an acknowledged write, on each target."""
        report.certain()
        drill = self.drill
        expected = drill.expected_pause().most_s
        found = []
        for gap in report.longest_gap:
            if gap.path not in paths:
                continue
            method = (
                f"a record is written every {report.interval_s * 1000:g} ms from {report.node};"
                " gap between acknowledgements"
            )
            what = (
                f"{drill.fault.kind} of {drill.fault.target}: longest pause of writes to {gap.path} {when_}"
            )
            found.append(
                measure(
                    self.evidence, self.site, name, what, gap.seconds, asked,
                    resolution=gap.resolution_s, method=method, predicted=expected,
                )
            )  # fmt: skip
        return found

    def draw(self) -> None:
        """The course of the drill for the report, once."""
        if self.drawn:
            return
        course = self.drill.drawing()
        if course is None:
            return
        self.drawn = True
        kinds = {"broken": "fault", "recovering": "heal"}
        bands = tuple((label, start, end, kinds.get(kind, kind)) for label, start, end, kind in course.bands)
        paths = self.drill.book.targets if self.drill.ledger is not None else ()
        self.evidence.timeline(
            Timeline(course.title, course.events, bands, course.outages, course.predicted_s, paths)
        )


@pytest.fixture(scope="session")
def struck() -> set[int]:
    """OSDs that fell in this run already."""
    return set()


@pytest.fixture
def judged(
    cluster: Cluster, site: Site, evidence: Run, mode: Mode, struck: set[int], request: pytest.FixtureRequest
) -> Iterator[Judged]:
    """A drill that heals and ends ledger and watch whatever became of the scenario."""
    random = schedule.stream(mode.seed, f"storage: {request.node.name}")
    with to_the_end(Judged(StorageDrill.of(cluster, random, say, struck), site, evidence)) as made:
        yield made


@given("the storage cluster is built and whole")
def _built(phases: Phases) -> None:
    phases.require(4)


@given("a node that is spared keeps a ledger of its writes to RBD and CephFS")
def _ledger(site: Site, judged: Judged) -> None:
    """The victim is drawn first and the ledger begins on another node: both before anything is broken."""
    del judged
    if site.ceph is None or not site.ceph.pools:
        raise NotApplicableError("PF-CEPH-NONE", "the site orders no pools.", "add [ceph.pools].")


@when(parsers.re(f"(?P<what>{'|'.join(WHEN)})"))
def _break(what: str, judged: Judged) -> None:
    kind, more = WHEN[what]
    judged.drill.strike(kind, **more)


@when("an OSD is killed for longer than Ceph waits")
def _long(judged: Judged) -> None:
    wait = judged.drill.read_times().mon_osd_down_out_interval
    if not 0 < wait <= LONGEST_WAIT_S:
        raise NotApplicableError(
            "PF-DOWN-OUT-LONG",
            f"Ceph takes a dead OSD out after {wait:g} s; a drill sits out {LONGEST_WAIT_S:g} s.",
            "order a shorter ceph.down_out_interval, or rely on the drill that takes an OSD out.",
        )
    judged.drill.strike(OsdKilled, deadman_s=600.0)


@then(parsers.re("Ceph takes (?:it|them) down within (?P<limit>.+)"))
def _down(limit: str, judged: Judged) -> None:
    drill, name = judged.drill, "osd_down_detection"
    moment = drill.await_down(limit_of(judged.site, name, limit) + LATE_S)
    all_met([judged.time(name, "time to down", moment, drill.broken_s, limit, drill.expected())])


@then("Ceph takes it out when the wait is over")
def _out(judged: Judged, evidence: Run) -> None:
    drill = judged.drill
    expected = drill.expected_out()
    moment = drill.await_out((expected.most_s or 0.0) + LATE_S)
    assert drill.down is not None, "await_out raises where it was not seen down"
    value, blur = moment.t_s - drill.down.t_s, moment.resolution_s + drill.down.resolution_s
    evidence.note(beside("time from down to out", value, blur, expected))
    wrong = outside(expected, value, blur)
    if wrong is not None:
        raise NotAsOrderedError(f"{drill.fault.target}: time from down to out: {wrong}")


@then(parsers.parse("its data is placed elsewhere within {limit}"))
def _elsewhere(limit: str, judged: Judged) -> None:
    drill, name = judged.drill, "osd_failure_recovery"
    since = drill.broken_s if drill.out is None else drill.out.t_s
    what = "time until its data is placed elsewhere"
    moment = drill.await_elsewhere(since, limit_of(judged.site, name, limit))
    all_met([judged.time(name, what, moment, since, limit, None)])


@then(parsers.parse("the monitors left have a quorum and a leader within {limit}"))
def _quorum(limit: str, judged: Judged) -> None:
    drill, name = judged.drill, "mon_failover"
    gone = drill.fault.nodes[0]
    moment = drill.looked.until(
        lambda s: gone not in s.quorum and s.leader in s.quorum,
        drill.broken_s, limit_of(judged.site, name, limit) + LATE_S, f"a quorum without mon.{gone}",
    )  # fmt: skip
    all_met([judged.time(name, "time to a new quorum", moment, drill.broken_s, limit, drill.expected())])


@then(parsers.parse("another manager is active within {limit}"))
def _manager(limit: str, judged: Judged) -> None:
    drill, name = judged.drill, "mgr_failover"
    gone = drill.fault.nodes[0]
    moment = drill.looked.until(
        lambda s: s.mgr not in (None, gone),
        drill.broken_s,
        limit_of(judged.site, name, limit) + LATE_S,
        f"a manager other than mgr.{gone} active",
    )  # fmt: skip
    all_met([judged.time(name, "time to another manager", moment, drill.broken_s, limit, drill.expected())])


@then(parsers.parse("another metadata server is active within {limit}"))
def _metadata(limit: str, judged: Judged) -> None:
    drill, name = judged.drill, "mds_failover"
    gone = drill.fault.nodes[0]
    moment = drill.looked.until(
        lambda s: bool(s.active_mds - {gone}),
        drill.broken_s, limit_of(judged.site, name, limit) + LATE_S, f"an MDS other than mds.{gone} active",
    )  # fmt: skip
    all_met([judged.time(name, "time to another MDS", moment, drill.broken_s, limit, drill.expected())])


@then(parsers.parse("client writes pause for no more than {limit}"))
def _pause(limit: str, judged: Judged) -> None:
    report = judged.drill.await_writes(limit_of(judged.site, "client_io_gap", limit) + LATE_S)
    all_met(judged.pause("client_io_gap", limit, report, "while it was broken", report.targets))


@then(parsers.parse("writes through CephFS pause for no more than {limit}"))
def _pause_of_files(limit: str, judged: Judged) -> None:
    report = judged.drill.await_writes(limit_of(judged.site, "mds_failover", limit) + LATE_S)
    paths = tuple(path for path in report.targets if path.startswith("cephfs:"))
    all_met(judged.pause("mds_failover", limit, report, "while it was broken", paths))


@then("no data is out of reach")
def _reachable(judged: Judged) -> None:
    drill = judged.drill
    since = drill.await_down(limit_of(judged.site, "osd_down_detection", "2 min") + LATE_S).t_s
    what = "every placement group active with one copy less"
    moment = drill.looked.until(
        lambda s: not s.inactive and any("undersized" in state for state in s.pgs or ()), since, LATE_S, what
    )
    time.sleep(HOLD_S)
    later = [s for s in drill.looked.samples() if s.told_s > moment.t_s and s.silent is None]
    all_hold(f"{s.inactive} placement groups were out of reach" for s in later if s.inactive)


@then("writes are still acknowledged")
def _acknowledged(judged: Judged) -> None:
    counts = judged.drill.writes_go_on(HOLD_S)
    all_hold(f"{path}: no write was acknowledged in {HOLD_S:g} s" for path, n in counts.items() if n == 0)


@then("a failure of one more OSD on another node is refused")
def _refused(judged: Judged, evidence: Run) -> None:
    drill = judged.drill
    others = [osd for osd in victims(drill.cluster)[1] if osd.host not in drill.fault.nodes]
    if not others:
        raise UnknownError("no OSD is up on another node")
    other = others[0]
    told = guard_ceph.indispensable(drill.cluster, (other.id,))
    if not told:
        raise NotAsOrderedError(f"Ceph says that osd.{other.id} on {other.host} may stop as well")
    try:
        second = drill.engine.begin(OsdKilled(node=other.host, osd=str(other.id)))
    except RefusedError as refused:
        evidence.note(f"a second fault is refused: {refused}; {'; '.join(told)}")
        return
    drill.engine.end(second)
    raise NotAsOrderedError(f"osd.{other.id} was killed though {drill.fault.target} were down")


@then("it is seen to be slow")
def _slow(judged: Judged, evidence: Run) -> None:
    slow, usual = judged.drill.await_slow()
    evidence.note(
        f"{judged.drill.fault.target}: commits take {slow:.0f} ms, {usual:.0f} ms are usual (ceph osd perf)"
    )


@then("no OSD goes down")
def _none_down(judged: Judged) -> None:
    drill = judged.drill
    time.sleep(HOLD_S)
    samples = [s for s in drill.looked.samples() if s.silent is None]
    before = [s.up for s in samples if s.told_s < drill.broken_s][-1:]
    if not before:
        raise UnknownError("Ceph was not seen before the break")
    fell = sorted({osd for s in samples if s.told_s >= drill.broken_s for osd in before[0] - s.up})
    all_hold(f"osd.{osd} went down" for osd in fell)


@then(parsers.re("(?:it comes|they come) back and all data is whole within (?P<limit>.+)"))
@then(parsers.re("it is as fast as before and all data is whole within (?P<limit>.+)"))
def _whole(limit: str, judged: Judged, evidence: Run) -> None:
    drill, name = judged.drill, "osd_failure_recovery"
    moment = drill.restore()
    healed = drill.opened.healed_s or drill.broken_s
    all_met([judged.time(name, "time from healed to clean", moment, healed, limit, None)])
    _tell_latencies(drill, evidence)


@then("every acknowledged write is read back")
def _read_back(judged: Judged, evidence: Run) -> None:
    drill = judged.drill
    drill.begin_scrub()  # it goes on while the writes are read back
    report = drill.verify()
    evidence.note(f"ledger: {report.summary()}")
    evidence.measure(
        judge(
            f"{drill.fault.kind} of {drill.fault.target}: acknowledged writes lost or torn,"
            f" of {report.writes_acknowledged}",
            float(len(report.findings)), "writes", "=", 0.0, None, 0.0,
            f"each write read back with its checksum, from {', '.join(report.verified_from)}",
        )
    )  # fmt: skip
    report.prove()


@then("a deep scrub finds nothing damaged")
def _scrubbed(judged: Judged, evidence: Run) -> None:
    count = judged.drill.finish_scrub()
    evidence.note(f"deep scrub: {count} placement groups of {judged.drill.fault.target}, nothing damaged")


def _tell_latencies(drill: StorageDrill, evidence: Run) -> None:
    """Latency of client writes before, during and after, by the second."""
    report = drill.book.report()
    healed = drill.opened.healed_s or drill.broken_s
    told = []
    for label, since, until in (
        ("before", 0.0, drill.broken_s),
        ("while broken", drill.broken_s, healed),
        ("after", healed, float("inf")),
    ):
        found = latencies(report, since, until)
        if found is not None:
            told.append(f"{label} {found[0] * 1000:.0f} ms (worst {found[1]:.2f} s)")
    evidence.note(f"latency of writes, 95th percentile of a second: {'; '.join(told)}")
