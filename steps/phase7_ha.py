"""Phase 7: golden guests, the HA manager, the watchdog, and what powers a lost node off and on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_bdd import given, then

from chaos.heartbeats import Heartbeats
from chaos.heartbeats_beats import news
from chaos.heartbeats_record import Record
from chaos.heartbeats_report import judge
from cluster.cluster import Cluster
from cluster.site import Site
from cluster.site_guest_checks import DEVICE_S
from provisioners.guests import missing as guests_judged
from provisioners.guests import order as guest_order
from provisioners.ha import fencing, order
from provisioners.ha.manager import Manager
from provisioners.ha.observation import FENCING, MUX, SERVICES, NodeHa, Observation
from reports.evidence import Run
from reports.terminal import say
from steps.phases import Phases
from steps.verdict import all_hold

BEATS = 8
"""So many counts of each guest are heard: two seconds where nothing is emulated."""
HEARD_S = 120.0
LIMIT_S = 600.0
AT_WORK = ("active", "idle", "wait_for_agent_lock")


@given("high availability is ready")
def _ready(site: Site, phases: Phases) -> None:
    order.ordered(site)
    phases.require(7)


def _seen(phases: Phases) -> Observation:
    found: Observation = phases.require(7)
    return found


def _nodes(site: Site, phases: Phases) -> Iterator[NodeHa]:
    seen = _seen(phases)
    yield from (seen.node(node.name) for node in site.nodes)


@then("each ordered guest is there, with the ordered hardware, storage and network")
def _guests(site: Site, phases: Phases) -> None:
    ordered = guest_order.guests(site)
    seen = _seen(phases).guests

    def findings() -> Iterator[str]:
        for guest in ordered:
            have = seen.guests.get(guest.vmid)
            if have is None:
                yield f"{guest.name} ({guest.vmid}): is not there"
            elif have.silent:
                yield f"{guest.name} ({guest.vmid}): {have.node} does not tell of it: {have.silent}"
            elif not have.ours:
                yield f"{guest.name} ({guest.vmid}): another's guest '{have.name}' has its number"
            else:
                yield from (f"{guest.name}: {text}" for text in guests_judged.differences(site, have))

    all_hold([seen.silent] if seen.silent else findings())


@then("what virtual machines start from lies where every node reaches it")
def _media(site: Site, phases: Phases) -> None:
    images = _seen(phases).guests.images
    wanted = [guest_order.volume(site, guest) for guest in guest_order.guests(site) if guest.kind == "vm"]
    all_hold(f"{volume} is not there" for volume in wanted if volume not in images)


@pytest.fixture(scope="session")
def heard(site: Site, phases: Phases, cluster: Cluster) -> Record:
    """Some counts of every golden guest, and which nodes run it meanwhile; listened for once."""
    guests = guest_order.guests(site)
    phases.require(7)
    with Heartbeats(cluster, guests, limit_s=LIMIT_S, say=say) as beats:
        beats.until(
            lambda record: all(len(news(record, guest.name)) >= BEATS for guest in guests),
            HEARD_S,
            f"{BEATS} counts of each golden guest",
        )
    return beats.record


@then("each ordered guest answers on its own network, and its count rises")
def _answers(site: Site, heard: Record, evidence: Run) -> None:
    for guest in guest_order.guests(site):
        counts = [beat.counter for beat in news(heard, guest.name)]
        evidence.note(f"{guest.name}: counted from {counts[0]} to {counts[-1]} while it was listened to")


@then("no count is told twice, and no guest runs twice")
def _once(heard: Record, evidence: Run) -> None:
    report = judge(heard)
    evidence.note(report.summary())
    report.prove()


@then("each ordered guest is kept running with the ordered patience, and none was given up")
def _kept(site: Site, phases: Phases) -> None:
    guest_order.guests(site)
    manager = _seen(phases).told()

    def findings() -> Iterator[str]:
        for guest, policy in order.managed(site):
            have = manager.resources.get(guest.sid)
            if have is None:
                yield f"{guest.name}: nothing keeps it"
                continue
            for key, value in order.resource(policy).items():
                if have[key] != value:
                    yield f"{guest.name}: {key} {have[key]}, expected {value}"
            seen = manager.services.get(guest.sid)
            state = seen.state if seen is not None else "unknown"
            if policy.state in {"started", "stopped"} and state != policy.state:
                yield f"{guest.name}: is {state}, expected {policy.state}"

    all_hold(findings())


@then("each ordered guest prefers the ordered nodes, and no other rule binds it")
def _preferred(site: Site, phases: Phases) -> None:
    guest_order.guests(site)
    manager = _seen(phases).told()
    all_hold(_rule_findings(site, manager))


def _rule_findings(site: Site, manager: Manager) -> Iterator[str]:
    wanted = order.rules(site)
    for guest, policy in order.managed(site):
        name = order.rule_name(guest)
        have = manager.rules.get(name)
        if name in wanted and have is None:
            yield f"{guest.name}: prefers no node, expected {order.nodes_text(policy.nodes)}"
        elif have is not None and (dict(have.nodes), have.strict) != (policy.nodes, policy.strict):
            text = f"{order.nodes_text(dict(have.nodes))}{', strictly' if have.strict else ''}"
            yield f"{guest.name}: prefers {text}, expected {order.nodes_text(policy.nodes)}"
        if have is not None and (have.disabled or have.problem):
            yield f"{guest.name}: its rule does not hold: {have.problem or 'it is disabled'}"
        others = [n for n, rule in manager.rules.items() if n != name and guest.sid in rule.resources]
        yield from (
            f"{guest.name}: the rule {n} binds it too" for n in others if not manager.rules[n].disabled
        )


@then("a node with a quorum leads")
def _leads(site: Site, phases: Phases, evidence: Run) -> None:
    manager = _seen(phases).told()
    names = [node.name for node in site.nodes]

    def findings() -> Iterator[str]:
        if not manager.quorate:
            yield "the node that was asked has no quorum"
        if manager.master not in names or manager.leading != "active":
            state = f"{manager.master} leads, and is {manager.leading}"
            yield f"{state if manager.master else 'nobody leads'}; expected one of {', '.join(names)}, active"
        if manager.armed in {"disarming", "disarmed"}:
            yield f"high availability is {manager.armed}"

    if order.managed(site):  # with nothing to keep, nobody leads
        all_hold(findings())
        evidence.note(f"{manager.master} leads; were it lost, recovery would take a minute longer")


@then("every node does its part, and none is in maintenance")
def _obeys(site: Site, phases: Phases) -> None:
    manager = _seen(phases).told()

    def findings() -> Iterator[str]:
        for node in site.nodes:
            doing = manager.lrms.get(node.name, "")
            if doing not in AT_WORK:
                yield f"{node.name}: its part is {doing or 'not there'}, expected active or idle"
            state = manager.nodes.get(node.name, "online")
            if state != "online":
                yield f"{node.name}: is in the state {state}"

    all_hold(findings())


@then("guests of a node that is shut down are treated by the ordered policy")
def _policy(site: Site, phases: Phases) -> None:
    want, have = order.ordered(site).shutdown_policy, _seen(phases).told().policy
    all_hold([f"the policy is {have}, expected {want}"] if have != want else [])


@then("on each node the ordered watchdog is in force")
def _watchdog(site: Site, phases: Phases, evidence: Run) -> None:
    want = order.ordered(site).watchdog_module
    nodes = list(_nodes(site, phases))
    all_hold(
        f"{node.name}: {node.in_force or 'none'} is in force, expected {want}"
        for node in nodes
        if node.in_force != want
    )
    for node in nodes:
        times = [f"{dog.timeout} s" for dog in node.watchdogs if dog.module == want and dog.timeout]
        evidence.note(f"{node.name}: {want}{f', set to {times[0]}' if times else ''}")


@then("on each node the cluster's own service holds the watchdog and nobody else does")
def _holders(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node in _nodes(site, phases):
            if not any(holder.unit == MUX for holder in node.holders):
                yield f"{node.name}: {MUX} holds no watchdog"
            for holder in node.holders:
                if holder.unit != MUX:
                    who = f"process {holder.pid} ({holder.name}, {holder.unit})"
                    yield f"{node.name}: {who} holds {holder.device}"

    all_hold(findings())


@then("on each node the fencing service knows every node and its management controller")
def _peers(site: Site, phases: Phases) -> None:
    order.power_cycle(site)
    all_hold(
        f"{node.name}: {text}" for node in _nodes(site, phases) for text in fencing.differences(site, node)
    )


@then("it never acts before a lost node's watchdog must have bitten")
def _waits(site: Site, phases: Phases) -> None:
    bitten = order.power_cycle(site).watchdog + DEVICE_S
    waits = {node.name: node.fencing.get("wait_s", 0) for node in _nodes(site, phases)}
    all_hold(
        f"{name}: waits {seconds} s, expected more than {bitten:g} s"
        for name, seconds in waits.items()
        if not float(seconds) > bitten
    )


@then("on each node the fencing service runs and starts at boot")
def _fencing_services(site: Site, phases: Phases) -> None:
    order.power_cycle(site)
    all_hold(_service_findings(_nodes(site, phases), (FENCING,)))


@then("on each node the services of high availability run and start at boot")
def _services(site: Site, phases: Phases) -> None:
    all_hold(_service_findings(_nodes(site, phases), SERVICES))


def _service_findings(nodes: Iterator[NodeHa], names: tuple[str, ...]) -> Iterator[str]:
    for node in nodes:
        for name in names:
            service = node.service(name)
            if not service.active:
                yield f"{node.name}: {name} does not run"
            if not service.enabled:
                yield f"{node.name}: {name} does not start at boot"


@then("nothing that high availability orders is left undone")
def _nothing_left(phases: Phases) -> None:
    all_hold(phases.undone(7))
