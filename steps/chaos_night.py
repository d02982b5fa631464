"""The night: faults drawn by the seed, or repeated from an earlier run, while ledger, probes and heartbeats
run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_bdd import given, then, when

from chaos import guards, night_record, schedule
from chaos.engine import Engine
from chaos.fault import catalogue
from chaos.heartbeats import expected
from chaos.heartbeats_report import HeartbeatsReport
from chaos.ledger_report import LedgerReport
from chaos.night import Night, Struck
from chaos.night_watch import INTERVAL_S, WRITE_S, NightWatch
from chaos.predict import Prediction
from chaos.schedule import Step
from cluster.cluster import Cluster
from cluster.errors import UnknownError
from cluster.site import Site
from reports.evidence import Run, Timeline, judge
from reports.terminal import say
from steps.modes import Mode
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold

DEFAULT_MINUTES = 60.0
HEARTBEATS = "heartbeats"
"""Folder of the run that the records of heartbeats are kept in."""


@dataclass
class Record:
    """What the night left."""

    course: list[Struck] = field(default_factory=list)
    ledgers: list[LedgerReport] = field(default_factory=list)
    ended: str = ""
    guests: list[HeartbeatsReport] = field(default_factory=list)


@pytest.fixture
def record() -> Record:
    """The night's course, empty until it was run."""
    return Record()


def planned(site: Site, mode: Mode) -> tuple[int, float, tuple[Step, ...]]:
    """(seed, minutes, steps): of an earlier run where one is to be repeated, else drawn by this run's seed.

    Raises `FaultError` where the earlier run cannot be read.
    """
    seed, minutes, steps = mode.seed, mode.minutes or DEFAULT_MINUTES, None
    if mode.replay is not None:
        earlier = night_record.read(Path(mode.replay))
        seed, steps = earlier.seed, earlier.steps
        minutes = mode.minutes or earlier.minutes
    if steps is None:
        pools = schedule.pools(site, catalogue())
        drawn = schedule.night(seed, [node.name for node in site.nodes], pools)
        steps = night_record.upto(drawn, minutes)
    return seed, minutes, steps


@given("the guests that are ordered run")
def _guests_run(site: Site, phases: Phases) -> None:
    if expected(site):
        phases.require(7)


@when("faults are drawn from the library one after the other until the night is over")
def _night(cluster: Cluster, site: Site, mode: Mode, evidence: Run, record: Record) -> None:
    seed, minutes, steps = planned(site, mode)
    evidence.artefact(night_record.PLAN, night_record.plan_text(seed, minutes, steps))
    evidence.note(f"the night's seed is {seed}, for {minutes:g} minutes; the plan is {night_record.PLAN}")
    night = Night(
        cluster, Engine(cluster, guards.whole(), say=say), steps,
        seed=seed, minutes=minutes, kinds=catalogue(), say=say,
        watch=lambda keeper: NightWatch(cluster, keeper, say, evidence.folder / HEARTBEATS),
    )  # fmt: skip
    try:
        night.run()
    finally:
        record.course, record.ledgers, record.ended = night.course, night.ledgers, night.ended
        record.guests = night.guests
        evidence.artefact(night_record.COURSE, night_record.course_text(seed, night.course, night.ended))
        _draw(evidence, night.course)
        _tell(evidence, night.course)


def _draw(evidence: Run, course: Iterable[Struck]) -> None:
    kinds = {"broken": "fault", "recovering": "heal"}
    for struck in course:
        drawing = struck.drawing
        if drawing is None:
            continue
        bands = tuple((label, start, end, kinds.get(kind, kind)) for label, start, end, kind in drawing.bands)
        watched = tuple(sorted({*struck.seen.paths, *struck.seen.writes, *struck.seen.guests}))
        evidence.timeline(
            Timeline(drawing.title, drawing.events, bands, drawing.outages, drawing.predicted_s, watched)
        )


def _tell(evidence: Run, course: list[Struck]) -> None:
    """The sequence in the order it fell, which a run of the same seed repeats."""
    counts = Counter(struck.outcome for struck in course)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "none"
    evidence.note(f"faults of the night: {told}")
    for struck in course:
        evidence.note(f"{struck.step.number + 1}. at {struck.began_s / 60:.1f} min, {struck.told()}")
    say(f"night: {told}")


@then("every fault was seen in, was healed, and full redundancy came back")
def _healed(record: Record) -> None:
    struck = [each for each in record.course if each.outcome != "not applicable"]
    all_hold(each.told() for each in struck if each.outcome == "failed")
    all_hold([record.ended] if record.ended else [])
    unknown = [each.told() for each in struck if each.outcome in ("unknown", "refused")]
    if unknown:
        raise UnknownError("; ".join(unknown))
    if not struck:
        raise UnknownError("no fault fell in this night: give it more minutes")


@then("every interruption stands beside what was predicted")
def _interruptions(record: Record, evidence: Run) -> None:
    """Recorded and judged in the report. What no model covers, or the watch could not tell, is said so."""
    for struck in record.course:
        if struck.outcome in ("not applicable", "refused"):
            continue
        if struck.seen.unknown:
            evidence.note(f"{struck.step.kind} of {struck.target}: not known: {struck.seen.unknown}")
        path, pause = struck.longest, struck.longest_pause
        _beside(
            evidence, struck, "longest interruption of a path", path.seconds if path else 0.0,
            struck.expected, max(struck.seen.resolution_s, path.resolution_s if path else 0.0),
            f"UDP datagrams every {INTERVAL_S * 1000:g} ms between all nodes",
        )  # fmt: skip
        _silences(evidence, struck)
        if pause is not None or struck.expected_pause is not None:
            _beside(
                evidence, struck, "longest pause of writes", pause.seconds if pause else 0.0,
                struck.expected_pause, pause.resolution_s if pause else WRITE_S,
                f"a record every {WRITE_S * 1000:g} ms from {struck.step.keeper}",
            )  # fmt: skip


def _silences(evidence: Run, struck: Struck) -> None:
    """Which guests were silent, and for how long: what stands for it is judged by the compute drills."""
    for guest, silence in sorted(struck.seen.guests.items()):
        evidence.note(
            f"{struck.step.kind} of {struck.target}: {guest} was silent for {silence.least_s:.1f} s to"
            f" {silence.seconds:.1f} s" + ("" if silence.ended else ", and is so still")
        )


def _beside(
    evidence: Run, struck: Struck, what: str, value: float, expected: Prediction | None, blur: float, how: str
) -> None:
    """One figure against the latest end that the live configuration implies, give or take the resolution."""
    name = f"{struck.step.kind} of {struck.target}: {what}"
    if expected is None or expected.most_s is None:
        why = expected.why if expected is not None else "there is no model"
        evidence.note(f"{name}: {value:.2f} s; {why}")
        return
    most = expected.most_s
    evidence.measure(judge(name, value, "s", "<", most + blur + 0.001, None, blur, how, most))


@then("no acknowledged write of the night is lost")
def _kept(record: Record, evidence: Run) -> None:
    if not record.ledgers:
        raise UnknownError("no ledger was kept, so nothing can be said of the writes")
    acknowledged = sum(report.writes_acknowledged for report in record.ledgers)
    lost = sum(len(report.findings) for report in record.ledgers)
    readers = sorted({name for report in record.ledgers for name in report.verified_from})
    for report in record.ledgers:
        evidence.note(f"ledger of {report.node}: {report.summary()}")
    evidence.measure(
        judge(
            f"acknowledged writes of the night lost or torn, of {acknowledged}", float(lost), "writes", "=",
            0.0, None, 0.0, f"each write read back with its checksum, from {', '.join(readers)}",
        )
    )  # fmt: skip
    for report in record.ledgers:
        report.prove()
    if acknowledged == 0:
        raise NotAsOrderedError("no write was acknowledged in the whole night")


@then("no guest ran twice, and no guest lost a beat that it had told")
def _once(site: Site, record: Record, evidence: Run) -> None:
    if not expected(site):
        evidence.note("no guest is ordered, so none was watched")
        return
    if not record.guests:
        raise UnknownError("no heartbeats were kept, so nothing can be said of the guests")
    evidence.note(f"what was heard and seen of guests, as it came, is in the folder {HEARTBEATS}")
    for report in record.guests:
        evidence.note(f"guests: {report.summary()}")
        for restart in report.restarts:
            evidence.note(str(restart))
    beats = sum(sum(report.beats.values()) for report in record.guests)
    twice = sum(len(report.twice.findings) for report in record.guests)
    back = sum(len(report.back) for report in record.guests)
    blur = max(report.twice.resolution_s for report in record.guests)
    evidence.measure(
        judge(
            "guests of the night seen twice", float(twice), "times", "=", 0.0, None, 0.0,
            "boots that beat, processes on nodes and owners of locks; a second life shorter than"
            f" {blur:.2f} s may not have been seen",
        )
    )  # fmt: skip
    evidence.measure(
        judge(
            f"counters of guests that went back, of {beats} beats", float(back), "times", "=", 0.0, None, 0.0,
            "each beat heard against all that were certainly told before it",
        )
    )  # fmt: skip
    for report in record.guests:
        report.prove()
