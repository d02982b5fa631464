"""The compute drills: guests are heard, a node or a guest fails, and each must come back, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_bdd import given, parsers, then, when

from chaos import compute_judge, predict_ha, schedule
from chaos.compute_drill import ComputeDrill, kept
from chaos.fault import Fault
from chaos.faults.bmc_password import BmcWrongPassword, NodeLostBmcWrongPassword
from chaos.faults.bmc_route import BmcUnreachable, NodeLostBmcUnreachable
from chaos.faults.guest import GuestCrash, GuestServiceDead
from chaos.faults.kernel import KernelCrash, KernelHang
from chaos.faults.maintenance import NodeMaintenance
from chaos.faults.power import NodePowerLost, TwoNodesLost
from chaos.faults.rings import AllRingsDown, CorosyncCut
from cluster.cluster import Cluster
from cluster.errors import NotApplicableError, UnknownError
from cluster.site import Site
from provisioners.guests import order as guest_order
from provisioners.ha import order
from reports.evidence import Run, judge
from reports.terminal import say
from steps.chaos_night import HEARTBEATS
from steps.compute_figures import Watched
from steps.drilled import to_the_end
from steps.modes import Mode
from steps.verdict import NotAsOrderedError, all_hold, all_met, limit_of, measure

LATE_S = 60.0
"""Beyond its limit, something is awaited for so long: then the figure is shown, and not only a deadline."""
LOST_S = 600.0
"""Dead-man's switch of what costs a node: none may mend it before it is seen who comes back by himself."""
AGAIN_S = 300.0
"""After healing, a guest may take so long to count again: what was lost with it starts first."""
ROUNDS = 3
"""So many rounds of the managers are looked at, where they are to do nothing."""

_LOST: dict[str, object] = {"deadman_s": LOST_S}
WHEN: dict[str, tuple[type[Fault], dict[str, object]]] = {
    "a node that runs guests loses its power": (NodePowerLost, _LOST),
    "the kernel of a node that runs guests crashes": (KernelCrash, _LOST),
    "the kernel of a node that runs guests stands still": (KernelHang, _LOST),
    "a node that runs guests no longer hears the others": (CorosyncCut, _LOST),
    "no node hears any other": (AllRingsDown, {**_LOST, "consent": True}),
    "a node that runs guests loses its power and nobody reaches its management controller": (
        NodeLostBmcUnreachable,
        _LOST,
    ),
    "a node that runs guests loses its power and its management controller refuses the password": (
        NodeLostBmcWrongPassword,
        _LOST,
    ),
    "a guest is killed": (GuestCrash, {}),
    "the service of a guest dies while the guest lives": (GuestServiceDead, {}),
    "a node that runs guests is taken out for maintenance": (NodeMaintenance, {}),
    "two nodes lose their power, one of which runs guests": (TwoNodesLost, {**_LOST, "consent": True}),
}


@pytest.fixture
def watched(
    cluster: Cluster, site: Site, evidence: Run, mode: Mode, request: pytest.FixtureRequest
) -> Iterator[Watched]:
    """A drill that heals and ends its watch whatever became of the scenario."""
    random = schedule.stream(mode.seed, f"compute: {request.node.name}")
    folder = evidence.folder / HEARTBEATS
    names = (folder / f"compute-{number}.jsonl" for number in range(1, 1000))
    path = next(name for name in names if not name.exists())
    with to_the_end(Watched(ComputeDrill.of(cluster, random, say, path), site, evidence)) as made:
        yield made


@given("guests are kept running that count, and each count is heard")
def _guests(site: Site) -> None:
    """The victim is drawn first and listening begins on what is spared: both before anything is broken."""
    order.ordered(site)
    guest_order.guests(site)
    if not kept(site):
        raise NotApplicableError(
            "PF-NO-GUESTS", f"{site.name} orders no golden guest that is kept running.",
            "add `ha` to a [[guest]] of the site file.",
        )  # fmt: skip


@when(parsers.re(f"(?P<what>{'|'.join(WHEN)})"))
def _break(what: str, watched: Watched) -> None:
    kind, more = WHEN[what]
    if issubclass(kind, BmcUnreachable | BmcWrongPassword):
        order.power_cycle(watched.site)
    watched.drill.strike(kind, **more)


@then(parsers.parse("its guests answer again within {limit}"))
def _answer(limit: str, watched: Watched) -> None:
    drill, name = watched.drill, "node_loss_recovery"
    longest = max(limit_of(watched.site, name, limit), drill.expected().most_s or 0.0)
    watched.courses = drill.await_new_boots(longest + LATE_S)
    all_met(watched.answering(name, limit, drill.expected()))  # by now it is known which nodes are back


@then(parsers.parse("it answers again within {limit}"))
def _guest_answers(limit: str, watched: Watched) -> None:
    drill, name = watched.drill, "guest_failure_recovery"
    watched.courses = drill.await_new_boots(limit_of(watched.site, name, limit) + LATE_S)
    all_met(watched.answering(name, limit, drill.expected()))


@then(parsers.parse("its guests answer from other nodes within {limit}"))
def _moved(limit: str, watched: Watched) -> None:
    """A guest that moved while it ran was silent for a moment, or not at all."""
    drill, name = watched.drill, "guest_failure_recovery"
    watched.courses = drill.await_elsewhere(limit_of(watched.site, name, limit) + LATE_S)
    record = drill.record
    found = []
    for guest, course in sorted(watched.courses.items()):
        gap = compute_judge.silence(record, guest, drill.broken_s)
        value, blur = (gap.seconds, gap.resolution_s) if gap is not None else (0.0, 0.0)
        what = f"{watched.name}: longest silence of {guest} on its way to {course.target}"
        found.append(
            measure(
                watched.evidence, watched.site, name, what, value, limit, resolution=blur,
                method="each guest is asked for its count; gap between new ones, 0 below two seconds",
            )
        )  # fmt: skip
    all_met(found)


@then("each step until then stands beside what was predicted")
def _steps(watched: Watched) -> None:
    drill = watched.drill
    times, master = drill.configured, drill.was_master
    kinds = {each.name: each.kind for each in watched.site.guests}
    for guest, course in sorted(watched.courses.items()):
        if course.target == course.origin:
            watched.evidence.note(f"{watched.name}: {guest} came back where it was, on {course.origin}")
            continue
        watched.beside(
            f"{course.origin} counts as lost", course.detected, predict_ha.detected(times, master=master)
        )
        watched.beside(
            f"{guest} waits for the fencing", course.fenced, predict_ha.fenced(times, master=master)
        )
        begun = predict_ha.restarted(
            times, master=master, containers=kinds[guest] == "container", counts_anew=drill.counts_anew
        )
        watched.beside(f"{guest} is begun on {course.target}", course.begun, begun)


@then("its silence is heard, and high availability leaves it alone")
def _silent(watched: Watched) -> None:
    drill = watched.drill
    (guest,) = drill.victims()
    record = drill.hold(ROUNDS * predict_ha.ROUND_S)
    gap = compute_judge.silence(record, guest, drill.broken_s)
    if gap is None or gap.ended:
        raise NotAsOrderedError(f"{guest} counted on while its service was stopped")
    watched.evidence.note(
        f"{watched.name}: {guest} was silent for {gap.least_s:.1f} s or more; high availability watches that"
        " a guest runs, never that it serves: that is for the monitoring"
    )
    if compute_judge.began_anew(record, [guest], drill.broken_s):
        raise NotAsOrderedError(f"{guest} was started anew, though it lived")


@then("it counts on where it was")
def _counts_on(watched: Watched) -> None:
    drill = watched.drill
    (guest,) = drill.victims()
    drill.await_beats([guest], drill.opened.healed_s or drill.broken_s, AGAIN_S)
    if compute_judge.began_anew(drill.record, [guest], drill.broken_s):
        raise NotAsOrderedError(f"{guest} was started anew, though it lived")


@then("nothing is started on the node that is left")
def _nothing(watched: Watched) -> None:
    """For longer than a recovery would take."""
    drill = watched.drill
    until = (drill.expected().most_s or 0.0) + predict_ha.ROUND_S
    record = drill.hold(until)
    all_hold(
        compute_judge.started_between(record, drill.opened.seen_s or drill.broken_s, drill.broken_s + until)
    )
    watched.evidence.note(f"{watched.name}: nothing was started for {until:.0f} s, without a quorum")


@then("once one of them is back, their guests answer again")
def _one_back(watched: Watched) -> None:
    """From its power on: its start, and what the loss of the other one costs by itself."""
    drill = watched.drill
    back = drill.bring_back(drill.struck[0])
    expected = drill.expected()
    watched.courses = drill.await_new_boots(LOST_S + (expected.most_s or 0.0), since_s=back)
    for guest, course in sorted(watched.courses.items()):
        assert course.first_beat is not None, "another boot of it was heard after the break"
        watched.evidence.note(
            f"{watched.name}: {guest} answers from {course.target} {course.first_beat.t_s - back:.1f} s after"
            f" {drill.struck[0]} was given its power back"
        )


@then("all guests answer again")
def _all_answer(watched: Watched) -> None:
    drill = watched.drill
    healed = drill.opened.healed_s or drill.broken_s
    drill.await_beats(drill.victims(), healed, AGAIN_S)
    watched.courses = {course.guest: course for course in drill.courses()}


@then("everything is whole again")
def _whole(watched: Watched) -> None:
    healed = watched.drill.restore()
    restored = watched.drill.opened.restored_s
    if restored is not None:
        watched.evidence.note(f"{watched.name}: whole {restored - healed:.1f} s after it was healed")


@then("no guest ran twice and no count went back")
def _once(watched: Watched) -> None:
    drill, evidence = watched.drill, watched.evidence
    report = drill.report()
    evidence.note(f"guests: {report.summary()}")
    if drill.path is not None:
        evidence.note(f"what was heard and seen of them, as it came, is {HEARTBEATS}/{drill.path.name}")
    for restart in report.restarts:
        evidence.note(str(restart))
    evidence.measure(
        judge(
            f"{watched.name}: guests seen twice", float(len(report.twice.findings)), "times", "=", 0.0, None,
            0.0, "boots that beat, processes on nodes and owners of locks; a second life shorter than"
            f" {report.twice.resolution_s:.2f} s may not have been seen",
        )
    )  # fmt: skip
    evidence.measure(
        judge(
            f"{watched.name}: counters that went back, of {sum(report.beats.values())} beats",
            float(len(report.back)), "times", "=", 0.0, None, 0.0,
            "each beat heard against all that were certainly told before it",
        )
    )  # fmt: skip
    report.prove()
    if report.unheard:
        raise UnknownError("; ".join(f"{guest}: {why}" for guest, why in sorted(report.unheard.items())))
