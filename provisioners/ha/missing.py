"""What high availability lacks: a pure function of the site and the observation.

The HA manager moves guests by itself, so where a guest runs is no difference. What a person may have meant (a
node in maintenance, a disarmed manager, a rule that is not ours) is left to people.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provisioners.change import Change
from provisioners.guests import missing as guests
from provisioners.ha import fencing
from provisioners.ha.manager import Manager, Rule
from provisioners.ha.observation import MUX, SERVICES, NodeHa, Observation
from provisioners.ha.order import RULE, managed, nodes_text, ordered, resource, rules
from provisioners.unreachable import Unreachable

if TYPE_CHECKING:
    from cluster.site import Site

ACTIONS = (
    *("watchdog", "services", "policy", "fencing", *guests.ACTIONS),
    *("resources", "rules", "revive", "settle"),
)
PEOPLE = guests.PEOPLE
COMPETITORS = ("watchdog.service", "wd_keepalive.service")
"""Debian's own watchdog daemon, which Proxmox VE has no use for."""


def missing(site: Site, observation: Observation) -> list[Change]:
    """Every change that phase 7 lacks, in the order in which they are to be made."""
    if site.ha is None:
        return guests.missing(site, observation.guests)
    found = [
        Change(node.name, f"see its watchdog, of which it does not tell ({node.reason})", PEOPLE, blocks=True)
        for node in observation.nodes.values()
        if isinstance(node, Unreachable) and node.installed
    ]
    kept = observation.manager is not None and bool(observation.manager.resources)
    for node in observation.seen:
        found += [*watchdog(site, node), *_services(node, kept=kept), *fencing.missing(site, node)]
    found += guests.missing(site, observation.guests)
    if observation.manager is None:
        first = site.nodes[0].name
        text = f"see the HA manager, of which no node tells ({observation.silent})"
        found.append(Change(first, text, PEOPLE, blocks=True))
    else:
        found += [*_manager(site, observation.manager), *_resources(site, observation)]
        found += [*_rules(site, observation.manager), *_states(site, observation)]
    rank = {name: number for number, name in enumerate(ACTIONS)}
    return sorted(found, key=lambda change: rank.get(change.action, -1))


def watchdog(site: Site, node: NodeHa) -> Iterator[Change]:
    """Whether the ordered watchdog is chosen, and held by watchdog-mux and nobody else."""
    want = ordered(site).watchdog_module
    for holder in node.holders:
        if holder.unit in COMPETITORS:
            yield Change(node.name, f"stop {holder.unit}, which holds {holder.device}", "watchdog")
        elif holder.unit != MUX:
            text = f"free {holder.device}: process {holder.pid} ({holder.name}, {holder.unit}) holds it"
            yield Change(node.name, text, PEOPLE)
    have = node.configured or "softdog"
    if have != want:
        yield Change(node.name, f"choose the watchdog {want} (it is {have})", "watchdog")
    elif node.service(SERVICES[0]).active and node.in_force != want:
        text = f"put the watchdog {want} into force (watchdog-mux holds {node.in_force or 'none'})"
        yield Change(node.name, text, "watchdog")


def _services(node: NodeHa, *, kept: bool) -> Iterator[Change]:
    """`kept`: the manager keeps something; until then nobody counts on a watchdog."""
    for name in SERVICES:
        service = node.service(name)
        if not service.active and (kept or f"{name}.service" != MUX):
            yield Change(node.name, f"start {name}", "services")
        if not service.enabled:
            yield Change(node.name, f"let {name} start at boot", "services")


def _manager(site: Site, manager: Manager) -> Iterator[Change]:
    first = site.nodes[0].name
    want = ordered(site).shutdown_policy
    if manager.policy != want:
        text = f"treat guests of a node that is shut down by the policy {want} (it is {manager.policy})"
        yield Change(first, text, "policy")
    if manager.armed in {"disarming", "disarmed"}:
        text = "arm the HA manager: somebody disarmed it (ha-manager crm-command arm-ha)"
        yield Change(first, text, PEOPLE)
    for name, state in manager.nodes.items():
        if state == "maintenance":
            command = f"ha-manager crm-command node-maintenance disable {name}"
            yield Change(name, f"come back from maintenance, in which somebody put it ({command})", PEOPLE)


def _resources(site: Site, observation: Observation) -> Iterator[Change]:
    manager = observation.told()
    first = site.nodes[0].name
    for guest, policy in managed(site):
        have = manager.resources.get(guest.sid)
        if have is None:
            text = f"let the HA manager keep {guest.name} ({guest.sid}) {policy.state}"
            yield Change(first, text, "resources")
            continue
        want = resource(policy)
        wrong = [f"{key} {have[key]}, expected {want[key]}" for key in want if have[key] != want[key]]
        if wrong:
            text = f"set {guest.sid} right for the HA manager: {', '.join(wrong)}"
            yield Change(first, text, "resources")
    for guest in site.guests:
        if guest.ha is None and guest.sid in manager.resources:
            text = f"take {guest.sid} from the HA manager: it was not ordered there"
            yield Change(first, text, "resources")


def _rules(site: Site, manager: Manager) -> Iterator[Change]:
    first = site.nodes[0].name
    want = rules(site)
    for name, rule in want.items():
        have = manager.rules.get(name)
        if have is None:
            yield Change(first, f"let {rule['resource']} prefer {nodes_text(rule['nodes'])}", "rules")
        elif not _same(have, rule):
            text = f"let {rule['resource']} prefer {nodes_text(rule['nodes'])} (rule {name} says otherwise)"
            yield Change(first, text, "rules")
    ours = {guest.sid for guest, _ in managed(site)}
    for name, rule_seen in manager.rules.items():
        if name in want:
            continue
        if name.startswith(RULE):
            yield Change(first, f"take away the rule {name}, which is not ordered", "rules")
        elif bound := sorted(rule_seen.resources & ours) if not rule_seen.disabled else []:
            text = f"free {', '.join(bound)} of the rule {name}, which is not ours and binds it too"
            yield Change(first, text, PEOPLE)


def _same(have: Rule, want: dict[str, object]) -> bool:
    return (
        have.kind == "node-affinity"
        and have.resources == {want["resource"]}
        and dict(have.nodes) == want["nodes"]
        and have.strict == want["strict"]
        and not have.disabled
    )


def _states(site: Site, observation: Observation) -> Iterator[Change]:
    """What the manager makes of the resources: given up, or not there yet."""
    manager = observation.told()
    for guest, policy in managed(site):
        if guest.sid not in manager.resources:
            continue
        seen = manager.services.get(guest.sid)
        state = seen.state if seen is not None else "unknown"
        where = seen.node if seen is not None and seen.node else site.nodes[0].name
        if state == "error":
            yield Change(where, f"take {guest.name} up again, which the HA manager has given up", "revive")
        elif policy.state in {"started", "stopped"} and state != policy.state:
            yield Change(where, f"wait until {guest.name} is {policy.state} (it is {state})", "settle")
