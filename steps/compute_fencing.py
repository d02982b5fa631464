"""What the compute drills ask of a lost node: dead before its guests begin elsewhere, fenced, up anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_bdd import then

from chaos import compute_judge, predict_ha
from chaos.compute_judge import Anew
from chaos.faults.rings import AllRingsDown, CorosyncCut
from chaos.fencing_record import REFUSED, SENT, Decision
from cluster.errors import UnknownError
from cluster.site import Site
from cluster.site_guest_checks import DEVICE_S
from provisioners.ha import order
from steps.compute_figures import Watched, tell
from steps.verdict import all_hold

MARGIN_S = 60.0
CYCLE_S = 180.0
"""A power cycle may take so long, once it is due: orders, and the controller's own slowness."""


@then("none of its guests began elsewhere before it was dead")
def _not_early(watched: Watched) -> None:
    """A node that comes back may be seen again, and its death with it, only after its guests answer."""
    drill = watched.drill
    courses = drill.await_deaths(drill.fault.deadman_s - MARGIN_S)
    all_hold(compute_judge.too_early(courses))
    unseen = compute_judge.not_seen_dead(courses)
    if unseen:
        raise UnknownError("; ".join(unseen))


@then("it is confirmed off, not before its watchdog must have bitten, and then switched on")
def _cycled(site: Site, watched: Watched) -> None:
    ha = order.ordered(site)
    if not ha.power_cycle:
        watched.evidence.note("the site orders no power cycle of a lost node, so none is awaited")
        return
    drill = watched.drill
    said = drill.await_power_cycle(ha.power_cycle_after + CYCLE_S)
    _prove_cycle(watched, said, drill.struck, ha.watchdog)


@then("whatever was switched off is confirmed, and was not switched off too soon")
def _confirmed(site: Site, watched: Watched) -> None:
    """A node that is back before its turn comes is left alone."""
    ha = order.ordered(site)
    if not ha.power_cycle:
        watched.evidence.note("the site orders no power cycle of a lost node")
        return
    drill = watched.drill
    said = drill.said()
    off = [node for node in drill.struck if any(d.peer == node and d.word == SENT for d in said)]
    if off:
        said = drill.await_power_cycle(ha.power_cycle_after + CYCLE_S)
    _prove_cycle(watched, said, off, ha.watchdog)


def _prove_cycle(watched: Watched, said: Sequence[Decision], nodes: Iterable[str], bite_s: float) -> None:
    """Each of the nodes is confirmed off, and none was switched off before its watchdog must have bitten."""
    tell(watched, said)
    all_hold(
        [
            *compute_judge.confirmed(said, nodes),
            *compute_judge.off_too_early(said, watched.drill.broken_s, bite_s + DEVICE_S),
        ]
    )


@then("nobody claims to have switched it off, and the operator is told why")
def _told(site: Site, watched: Watched) -> None:
    drill = watched.drill
    ha = order.power_cycle(site)
    said = drill.await_said((REFUSED,), ha.power_cycle_after + CYCLE_S)
    tell(watched, said)
    all_hold(compute_judge.claimed(said, drill.struck))
    found = {each.peer for each in compute_judge.told(said, drill.struck)}
    all_hold(f"nobody was told that {node} could not be fenced" for node in drill.struck if node not in found)


@then("it starts anew without our help")
def _starts_anew(watched: Watched) -> None:
    _anew(watched, watched.drill.struck)


@then("every node that ran guests starts anew without our help")
def _all_start_anew(watched: Watched) -> None:
    drill = watched.drill
    homes = compute_judge.homes(drill.record, drill.broken_s)
    _anew(watched, sorted({homes[guest] for guest in drill.victims()}))


@then("it starts anew by its watchdog")
def _bitten(watched: Watched) -> None:
    found = _anew(watched, watched.drill.struck)
    said = watched.drill.said()
    first = [each for each in said if each.word == SENT and started_after(found, each)]
    if first:
        raise UnknownError(
            f"whether its watchdog bit cannot be told: {first[0].by} switched {first[0].peer} off"
            f" {first[0].t_s - watched.drill.broken_s:.0f} s after it hung, before it had started"
        )


def _anew(watched: Watched, nodes: Iterable[str]) -> Mapping[str, Anew]:
    """Each node's start, without the harness and before its dead-man's switch."""
    drill = watched.drill
    found = drill.await_anew(nodes, drill.fault.deadman_s - MARGIN_S)
    for node, start in sorted(found.items()):
        watched.evidence.note(
            f"{watched.name}: the kernel that runs on {node} since had started"
            f" {start.started.t_s - drill.broken_s:.1f} s after the loss at the latest"
        )
        if isinstance(drill.fault, CorosyncCut | AllRingsDown):
            course = next((c for c in drill.courses() if c.origin == node and c.dead is not None), None)
            watched.beside(
                f"{node} is dead", course.dead if course else None, predict_ha.self_reset(drill.configured)
            )
    return found


def started_after(found: Mapping[str, Anew], order_: Decision) -> bool:
    """Whether a node was switched off, for all that is known, before it had started anew."""
    start = found.get(order_.peer)
    return start is not None and order_.t_s - order_.resolution_s <= start.started.t_s


@then("no node is fenced")
def _not_fenced(site: Site, watched: Watched) -> None:
    drill = watched.drill
    nodes = [node.name for node in site.nodes]
    record = drill.record
    said = drill.said() if order.ordered(site).power_cycle else ()
    off = [f"{each.by} switched {each.peer} off: {each.reason}" for each in said if each.word == SENT]
    gone = [node for node in nodes if compute_judge.anew(record, node, drill.broken_s) is not None]
    all_hold(
        [
            *off,
            *(f"{node} started anew" for node in gone),
            *compute_judge.ha_lost(record, nodes, drill.broken_s),
        ]
    )
