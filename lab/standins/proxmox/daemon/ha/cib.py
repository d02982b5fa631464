"""What Pacemaker is told: HA resources, rules and requests as a CIB configuration. Pure.

Scores keep PVE's order: a requested move before the place a guest may not leave, that before priorities, and
those before the place where the guest is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any
from xml.etree import ElementTree as ET

from .resources import Resource
from .rules import NODE_AFFINITY, Rule, affinity

PROPERTIES = "proxmox-ha"
FENCING = "fencing"
INFINITY = "INFINITY"
PRIORITY = 100  # of a listed node, for each step above the nodes that are not listed
HIGHEST = 1000
STAY = 500_000  # without failback: more than any priority, less than a request
PREFER = 10  # with failback: among equal nodes the one where it runs
HOME = 1  # where it ran last, or where its file lies
FAILURE_TIMEOUT_S = 60
RECOVER_AFTER_POWEROFF_S = 120
SHUTDOWN_POLICIES = ("conditional", "freeze", "failover", "migrate")
# Emulated processors take minutes where a real node takes seconds.
START_S, STOP_S, MIGRATE_S, FENCE_S = 300, 400, 900, 600
MONITOR_EVERY_S = 10  # a round of PVE's local resource manager


@dataclass(frozen=True)
class Order:
    """What is to be kept running where.

    `nodes`: Corosync's ids by name. `services`: the manager's service status by sid (state, node, target).
    `rules`: feasible ones. `standby`: nodes that are to be emptied. `powering_off`: a node leaves for good.
    """

    nodes: Mapping[str, int]
    resources: Mapping[str, Resource] = field(default_factory=dict)
    rules: Sequence[Rule] = ()
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    standby: frozenset[str] = frozenset()
    shutdown_policy: str = "conditional"
    powering_off: bool = False


def identifier(sid: str) -> str:
    """Pacemaker's name of a resource: an XML id has no colon."""
    return sid.replace(":", "-")


def sid_of(name: str) -> str:
    return name.replace("-", ":", 1)


def merged(live: str, order: Order) -> str | None:
    """The configuration with the order in it, for `cibadmin --replace --scope configuration`.

    `live` is what Pacemaker holds; its own properties are kept. None where it holds all that already.
    """
    before = ET.fromstring(live)  # noqa: S314 - it comes from our own pacemaker
    after = ET.fromstring(live)  # noqa: S314
    _set_properties(_section(after, "crm_config"), order)
    _set_nodes(_section(after, "nodes"), order)
    _section(after, "resources")[:] = [_fencing(order), *map(_guest_of(order), _managed(order))]
    _section(after, "constraints")[:] = [*_places(order), *_companies(order)]
    if _canonical(before) == _canonical(after):
        return None
    return ET.tostring(after, encoding="unicode")


def _canonical(tree: ET.Element) -> str:
    return ET.canonicalize(ET.tostring(tree, encoding="unicode"), strip_text=True)


def _section(configuration: ET.Element, name: str) -> ET.Element:
    found = configuration.find(name)
    return ET.SubElement(configuration, name) if found is None else found


def _pairs(parent: str, values: Mapping[str, object]) -> list[ET.Element]:
    return [
        ET.Element("nvpair", id=f"{parent}-{name}", name=name, value=str(value))
        for name, value in values.items()
    ]


def _managed(order: Order) -> list[Resource]:
    return [order.resources[sid] for sid in sorted(order.resources) if order.resources[sid].managed]


def _set_properties(section: ET.Element, order: Order) -> None:
    for old in section.findall(f"cluster_property_set[@id='{PROPERTIES}']"):
        section.remove(old)
    ours = ET.SubElement(section, "cluster_property_set", id=PROPERTIES)
    ours.extend(_pairs(PROPERTIES, {**_FIXED, **_shutdown(order)}))


_FIXED: Mapping[str, object] = {
    # Without quorum PVE starts nothing and stops nothing: the watchdog decides.
    "no-quorum-policy": "freeze",
    "stonith-enabled": "true",
    "stonith-action": "off",
    "stonith-timeout": f"{FENCE_S}s",
    "stonith-max-attempts": 100,
    "start-failure-is-fatal": "false",
    # A guest that leaves HA goes on running.
    "stop-orphan-resources": "false",
    # Which transitions are kept on disk.
    "pe-input-series-max": 20,
    "pe-warn-series-max": 20,
    "pe-error-series-max": 20,
}


def _shutdown(order: Order) -> dict[str, object]:
    """Guests of a node that leaves in order: frozen until it is back, or recovered after two minutes."""
    policy = order.shutdown_policy
    if policy == "migrate":
        return {"shutdown-lock": "false"}
    for_good = policy == "failover" or (policy == "conditional" and order.powering_off)
    limit = RECOVER_AFTER_POWEROFF_S if for_good else 0
    return {"shutdown-lock": "true", "shutdown-lock-limit": f"{limit}s"}


def _set_nodes(section: ET.Element, order: Order) -> None:
    known = {node.get("uname"): node for node in section}
    for name, number in sorted(order.nodes.items()):
        node = known.get(name)
        if node is None:
            node = ET.SubElement(section, "node", id=str(number), uname=name)
        group = f"nodes-{node.get('id')}"
        attributes = node.find("instance_attributes")
        if attributes is None:
            attributes = ET.SubElement(node, "instance_attributes", id=group)
        for old in attributes.findall("nvpair[@name='standby']"):
            attributes.remove(old)
        state = "on" if name in order.standby else "off"
        attributes.extend(_pairs(str(attributes.get("id")), {"standby": state}))


def _fencing(order: Order) -> ET.Element:
    """The agent that makes sure that a lost node is dead: it waits for its watchdog and takes its lock."""
    device = ET.Element("primitive", id=FENCING, type="fence_rackproof")
    device.set("class", "stonith")
    attributes = ET.SubElement(device, "instance_attributes", id=f"{FENCING}-params")
    hosts = {"pcmk_host_check": "static-list", "pcmk_host_list": " ".join(sorted(order.nodes))}
    attributes.extend(
        _pairs(f"{FENCING}-params", {**hosts, "pcmk_off_timeout": f"{FENCE_S}s", "pcmk_off_retries": 1})
    )
    start = {"id": f"{FENCING}-start", "name": "start", "interval": "0s", "timeout": f"{START_S}s"}
    ET.SubElement(ET.SubElement(device, "operations"), "op", start)
    return device


def _guest_of(order: Order) -> Any:
    def guest(one: Resource) -> ET.Element:
        name = identifier(one.sid)
        service = order.services.get(one.sid, {})
        found = ET.Element("primitive", id=name, provider="rackproof", type="guest")
        found.set("class", "ocf")
        parameters = ET.SubElement(found, "instance_attributes", id=f"{name}-params")
        parameters.extend(_pairs(f"{name}-params", {"sid": one.sid}))
        meta = ET.SubElement(found, "meta_attributes", id=f"{name}-meta")
        values = {
            "target-role": "Started" if one.state == "started" else "Stopped",
            # PVE leaves a service in state `error` as it is.
            "is-managed": "false" if service.get("state") == "error" else "true",
            "migration-threshold": one.max_restart + 1,
            "failure-timeout": f"{FAILURE_TIMEOUT_S}s",
            "resource-stickiness": PREFER if one.failback else STAY,
            # With its memory, unless it shall be stopped for the move; containers cannot.
            "allow-migrate": "true" if one.kind == "vm" and service.get("state") != "relocate" else "false",
        }
        meta.extend(_pairs(f"{name}-meta", values))
        operations = ET.SubElement(found, "operations")
        for action, every, timeout, on_fail in (
            ("start", 0, START_S, "restart"),
            ("stop", 0, STOP_S, "block"),
            ("migrate_to", 0, MIGRATE_S, "restart"),
            ("migrate_from", 0, START_S, "restart"),
            ("monitor", MONITOR_EVERY_S, START_S, "restart"),
        ):
            operation = ET.SubElement(operations, "op", id=f"{name}-{action}", name=action)
            operation.attrib |= {"interval": f"{every}s", "timeout": f"{timeout}s", "on-fail": on_fail}
        return found

    return guest


def _location(sid: str, node: str, score: int | str, why: str) -> ET.Element:
    name = identifier(sid)
    return ET.Element("rsc_location", id=f"{name}-{why}-{node}", rsc=name, node=node, score=str(score))


def _places(order: Order) -> list[ET.Element]:
    found: list[ET.Element] = []
    for one in _managed(order):
        place = affinity(order.rules, one.sid)
        for node in sorted(order.nodes):
            if place is None:
                continue
            if node in place.nodes:
                score: int | str = PRIORITY * (1 + min(place.nodes[node], HIGHEST))
            elif place.strict:
                score = f"-{INFINITY}"
            else:
                continue
            found.append(_location(one.sid, node, score, "prefers"))
        service = order.services.get(one.sid, {})
        if service.get("node") in order.nodes:
            found.append(_location(one.sid, service["node"], HOME, "home"))
        if service.get("target") in order.nodes:
            found.append(_location(one.sid, service["target"], INFINITY, "moves"))
    return found


def _companies(order: Order) -> Iterable[ET.Element]:
    """Resource affinity: all with the first, or each apart from each."""
    managed = {one.sid for one in _managed(order)}
    for rule in order.rules:
        members = [sid for sid in rule.resources if sid in managed]
        if rule.kind == NODE_AFFINITY or len(members) < 2:
            continue
        together = rule.affinity == "positive"
        pairs = [(members[0], other) for other in members[1:]] if together else combinations(members, 2)
        for first, second in pairs:
            ids = identifier(first), identifier(second)
            yield ET.Element(
                "rsc_colocation",
                {
                    "id": f"{rule.id}-{ids[0]}-{ids[1]}",
                    "rsc": ids[1],
                    "with-rsc": ids[0],
                    "score": INFINITY if together else f"-{INFINITY}",
                },
            )
