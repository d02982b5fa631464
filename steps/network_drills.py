"""The link drills: watch paths, break a link or switch, judge the longest gap, see redundancy restored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from pytest_bdd import given, parsers, then, when

from chaos import guard_ceph, schedule
from chaos.bond_state import BondState
from chaos.engine import PATIENCE_S, SWITCH, Engine, Window, begin_patiently
from chaos.fault import Fault
from chaos.faults.link import BothLinksDown, SilentLink, SwitchDown, SwitchPortDown, bond_of
from chaos.guard import Guard
from chaos.probe import CONTROLLER, Outage, Path, ProbeMesh, ProbeReport, paths_among, paths_of
from cluster.cluster import Cluster
from cluster.errors import NotApplicableError, UnknownError
from cluster.site import Site
from cluster.site_models import NodeSpec
from reports.evidence import Measurement, Run, Timeline
from reports.terminal import say
from steps.modes import Mode
from steps.verdict import NotAsOrderedError, all_hold, all_met, measure

HOLD_S = 6.0
"""How long a fault is left in: several times the longest outage that may pass."""
RETURN_S = 20.0
"""For how long a path is watched that has not come back when all is healed."""
RESTORED_S = 300.0
"""How long redundancy may take to come back: links in seconds, and Ceph's copies where Ceph runs."""
CALM_S = 1.0
"""How long paths are watched before the break, so that a path that never worked is not called an outage."""


@dataclass
class Drill:
    """One drill: what is watched, what is broken, and what was seen."""

    cluster: Cluster
    engine: Engine
    node: NodeSpec | None = None
    mesh: ProbeMesh | None = None
    window: Window | None = None
    report: ProbeReport | None = None
    drawn: bool = field(default=False)

    def watch(self, paths: tuple[Path, ...]) -> None:
        self.mesh = ProbeMesh(self.cluster, paths)
        self.mesh.start()
        time.sleep(CALM_S)

    @property
    def drawn_node(self) -> NodeSpec:
        """The node whose paths are watched. Raises UnknownError where there is none."""
        if self.node is None:
            raise UnknownError("no node was drawn")
        return self.node

    def inject(self, fault: Fault, hold_s: float) -> None:
        self.window = begin_patiently(self.engine, fault, say, PATIENCE_S)
        time.sleep(hold_s)

    def open(self) -> tuple[Window, ProbeMesh]:
        """The window and the probes. Raises UnknownError where a step before did not get that far."""
        if self.window is None or self.mesh is None:
            raise UnknownError("nothing was broken or nothing was watched, so nothing was shown")
        return self.window, self.mesh

    def finish(self) -> ProbeReport:
        """Heals, waits for redundancy, and stops the probes."""
        window, mesh = self.open()
        try:
            self.engine.end(window)
            self._await_return(mesh)
        finally:
            self.report = mesh.stop()
        return self.report

    def _await_return(self, mesh: ProbeMesh) -> None:
        """Watches on until no path is interrupted, so that an outage is measured to its end. A path that
        does not come back within RETURN_S stays an open outage, and is judged as one.
        """
        began = time.monotonic()
        while away := sorted({o.path for o in mesh.report().outages if not o.ended}):
            taken = time.monotonic() - began
            if taken > RETURN_S:
                say(f"{', '.join(away)}: not back within {RETURN_S:g} s")
                return
            say(f"waiting for {', '.join(away)} to come back, {taken:.0f} s of at most {RETURN_S:g} s")
            time.sleep(1.0)

    def draw(self, evidence: Run) -> None:
        """The course of the drill for the report, once."""
        if self.drawn or self.window is None or self.report is None:
            return
        self.drawn = True
        predicted = self.window.predicted.most_s if self.window.predicted else None
        course = self.window.record.drawing(self.report.outages, predicted)
        kinds = {"broken": "fault", "recovering": "heal"}
        bands = tuple((label, start, end, kinds.get(kind, kind)) for label, start, end, kind in course.bands)
        watched = tuple(sorted(self.report.quality))
        evidence.timeline(Timeline(course.title, course.events, bands, course.outages, predicted, watched))


@pytest.fixture
def drill(cluster: Cluster, evidence: Run) -> Iterator[Drill]:
    """A drill that heals and stops watching whatever became of the scenario."""
    guard = Guard(extra=guard_ceph.checks(), restored_s=RESTORED_S)
    made = Drill(cluster, Engine(cluster, guard, say=say))
    try:
        yield made
    finally:
        try:
            if made.window is not None:
                made.engine.end(made.window)
        finally:
            if made.mesh is not None:
                made.report = made.mesh.stop()
            made.draw(evidence)


def _node(site: Site, text: str) -> NodeSpec:
    return site.nodes[int(text.removeprefix("node ")) - 1]


@given(parsers.parse("all paths between {node} and the other nodes are watched"))
def _watch_node(node: str, site: Site, drill: Drill, mode: Mode) -> None:
    if node == "a drawn node":
        drill.node = schedule.stream(mode.seed, "links").choice(site.nodes)
        say(f"{drill.node.name} is drawn")
    else:
        drill.node = _node(site, node)
    drill.watch(paths_of(drill.node.name, [n.name for n in site.nodes] + [CONTROLLER]))


@given("all paths between all nodes are watched")
def _watch_all(site: Site, drill: Drill) -> None:
    drill.watch(paths_among([n.name for n in site.nodes]))


@when(parsers.parse("the {which} link of {node} loses its carrier"))
def _carrier(which: str, node: str, site: Site, drill: Drill) -> None:
    drill.inject(SwitchPortDown.of(drill.cluster, _node(site, node).name, which), HOLD_S)


@when(parsers.parse("switch {number:d} takes down the ports of all nodes"))
def _switch(number: int, site: Site, drill: Drill) -> None:
    drill.inject(SwitchDown.of(drill.cluster, site.switches[number - 1].name), HOLD_S)


@pytest.fixture(scope="session")
def unnoticed() -> dict[tuple[object, ...], str]:
    """Ways to watch a bond that were measured in this run not to notice a silent link, and on which node."""
    return {}


def _watched_by(bond: BondState) -> tuple[object, ...]:
    return bond.mode, bond.miimon, bond.arp_interval, bond.lacp_rate


@when(parsers.parse("the active link of {node} keeps its carrier and loses every frame"))
def _silent(node: str, site: Site, drill: Drill, unnoticed: dict[tuple[object, ...], str]) -> None:
    name = _node(site, node).name
    bond = bond_of(drill.cluster, name)
    shown = unnoticed.get(_watched_by(bond))
    if (
        shown is not None
    ):  # measured once: a second node whose bond is watched alike would only be cut off too
        raise _never_noticed(f"as was measured on {shown}, whose bond is watched in the same way")
    drill.inject(SilentLink(node=name, interface=bond.leg("active").interface), HOLD_S)


@when("both links of that node fail at once and nobody is there to help")
def _both(drill: Drill) -> None:
    name = drill.drawn_node.name
    legs = tuple(member.interface for member in bond_of(drill.cluster, name).members)
    drill.inject(BothLinksDown(node=name, interfaces=legs), 0.0)


def _target_of(window: Window) -> str:
    return "silent_link_outage" if isinstance(window.fault, SilentLink) else "link_outage"


def _record(
    evidence: Run, site: Site, drill: Drill, report: ProbeReport, limit: str, when_: str
) -> Measurement:
    """The longest gap on any path, beside the figure that the live configuration implies."""
    window, _ = drill.open()
    longest = report.longest()
    predicted = window.predicted.most_s if window.predicted else None
    what = f"{window.fault.kind} of {window.fault.target}: longest interruption {when_}"
    value, resolution = (longest.seconds, longest.resolution_s) if longest else (0.0, report.resolution_s)
    method = (
        f"UDP datagrams every {report.interval_s * 1000:g} ms on {len(report.quality)} paths,"
        f" gap between the sender's stamps around lost ones{f' on {longest.path}' if longest else ''}"
    )
    return measure(
        evidence, site, _target_of(window), what, value, limit,
        resolution=max(resolution, report.resolution_s), method=method, predicted=predicted,
    )  # fmt: skip


@then(parsers.parse("no path is interrupted for more than {limit}"))
def _longest_gap(limit: str, site: Site, drill: Drill, evidence: Run) -> None:
    window, mesh = drill.open()
    if window.predicted is not None and not window.predicted.detected:
        raise _never_noticed(window.predicted.why)
    all_met([_record(evidence, site, drill, mesh.report(), limit, "while it was broken")])


def _never_noticed(why: str) -> NotApplicableError:
    return NotApplicableError(
        "PF-BOND-SILENT",
        f"this bond cannot survive a silent link ({why}).",
        "monitor the links by ARP, or use 802.3ad with fast LACP on nodes and switches.",
    )


@then(parsers.parse("the bond of {node} runs on its remaining link"))
def _remaining(node: str, site: Site, drill: Drill) -> None:
    window, _ = drill.open()
    name = _node(site, node).name
    broken = {interface for on, interface in window.fault.may_fail(window.before) if on == name}
    bond = bond_of(drill.cluster, name)
    alive = [m.interface for m in bond.members if m.mii_up and m.carrier]
    findings = [f"{name}: {leg} is still up" for leg in broken if leg in alive]
    if not set(alive) - broken:
        findings.append(f"{name}: no link of {bond.name} is up besides {', '.join(sorted(broken))}")
    if bond.active in broken:
        findings.append(f"{name}: {bond.name} still runs on {bond.active}")
    all_hold(findings)


@then("the interruption is as the bond's monitoring predicts")
def _as_predicted(drill: Drill, site: Site, evidence: Run, unnoticed: dict[tuple[object, ...], str]) -> None:
    window, mesh = drill.open()
    if window.predicted is None or window.predicted.most_s is None:
        # Nothing ends it but the node's own timer: measured to the end, shown, and never green.
        report = drill.finish()
        drill.draw(evidence)
        _record(evidence, site, drill, report, "1 second", "until its own timer healed it")
        name = window.fault.nodes[0]
        unnoticed[_watched_by(window.before[name])] = name
        raise _never_noticed(window.predicted.why if window.predicted else "no model")
    report = mesh.report()
    longest = report.longest()
    seen = longest.seconds if longest else 0.0
    slack = report.resolution_s + report.worst_stall_s
    evidence.note(
        f"predicted {window.predicted.least_s:.2f} to {window.predicted.most_s:.2f} s: {window.predicted.why}"
    )
    if not window.predicted.least_s - slack <= seen <= window.predicted.most_s + slack:
        raise NotAsOrderedError(
            f"interrupted for {seen:.2f} s, predicted {window.predicted.least_s:.2f} to"
            f" {window.predicted.most_s:.2f} s ({window.predicted.why}), give or take {slack:.2f} s"
        )


@then("that node is alone until its own timer brings the links back")
def _alone(drill: Drill, evidence: Run) -> None:
    window, _ = drill.open()
    report = drill.finish()
    name = drill.drawn_node.name
    if window.healed_by != SWITCH:
        raise UnknownError(f"{name} was healed by {window.healed_by}, so its own timer was not shown to work")
    gaps: dict[str, Outage] = {}
    for outage in report.certain():
        if outage.path not in gaps or outage.seconds > gaps[outage.path].seconds:
            gaps[outage.path] = outage
    spared = [path for path in report.quality if path not in gaps]
    all_hold(f"{path} was never interrupted, so {name} was not alone" for path in spared)
    due = (window.armed_s or 0.0) + window.fault.deadman_s
    all_hold(
        f"{path}: came back {due - outage.end_s:.1f} s before its timer was due: something else healed it"
        for path, outage in gaps.items()
        if outage.end_s < due - report.placement_s - 1.0
    )
    evidence.note(
        f"{name} was alone for {max(o.seconds for o in gaps.values()):.1f} s and came back by its own timer"
    )


@then("the link comes back, nothing flaps, and redundancy is restored")
@then("the ports come back, nothing flaps, and redundancy is restored")
def _restored(site: Site, drill: Drill, evidence: Run) -> None:
    report = drill.finish()
    drill.draw(evidence)
    all_met(
        [_record(evidence, site, drill, report, "1 second", "over the whole drill, coming back included")]
    )


@then("redundancy is restored")
def _redundant(site: Site, drill: Drill) -> None:
    window, _ = drill.open()
    if window.restored_s is None:
        raise UnknownError("redundancy was not seen restored")
    for node in site.nodes:
        all_hold(bond_of(drill.cluster, node.name).missing(len(node.links)))
