"""/etc/pve/ha/rules.cfg: on which nodes and beside which others a resource may run (PVE::HA::Rules)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..config import sections
from ..config.sections import Section
from ..http.machine import Machine
from ..http.parameters import split_list

PATH = "/etc/pve/ha/rules.cfg"
NODE_AFFINITY, RESOURCE_AFFINITY = "node-affinity", "resource-affinity"
NODE = r"([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?::(\d+))?"
SID = r"[a-z]+:\S+"


@dataclass(frozen=True)
class Rule:
    """`nodes` (priority by name) and `strict` are a node-affinity's, `affinity` a resource-affinity's."""

    id: str
    kind: str
    resources: tuple[str, ...]
    nodes: Mapping[str, int] = field(default_factory=dict)
    strict: bool = False
    affinity: str = "positive"
    disabled: bool = False


Errors = dict[str, dict[str, list[str]]]


def nodes_of(text: str) -> dict[str, int]:
    """`node1:2,node2` -> priorities, 0 where none is said; what is no node's name is left out."""
    matches = (re.fullmatch(NODE, part) for part in split_list(text))
    return {match[1]: int(match[2] or 0) for match in matches if match}


def rule(section: Section) -> Rule:
    values = section.values
    return Rule(
        id=section.id,
        kind=section.kind,
        resources=tuple(sorted(set(split_list(values.get("resources", ""))))),
        nodes=nodes_of(values.get("nodes", "")),
        strict=values.get("strict", "0") == "1",
        affinity=values.get("affinity", "positive"),
        disabled="disable" in values,
    )


def parse(text: str) -> list[Rule]:
    """In the file's order; sections of another kind are left out."""
    found = (rule(section) for section in sections.parse(text))
    return [one for one in found if one.kind in (NODE_AFFINITY, RESOURCE_AFFINITY)]


def read(machine: Machine) -> list[Rule]:
    return parse(machine.read(PATH))


def read_sections(machine: Machine) -> dict[str, Section]:
    return {one.id: one for one in sections.parse(machine.read(PATH))}


def write(machine: Machine, known: Iterable[Section]) -> None:
    """ApiError 500 in PVE's words without quorum."""
    machine.write(PATH, sections.render(known))


def problems(known: Iterable[Rule], nodes: int) -> Errors:
    """What makes rules contradict each other, by rule and property, in PVE's words; `nodes` of the cluster.

    Of PVE's checks those between rules of one kind; a disabled rule contradicts nothing.
    """
    found: Errors = {}

    def add(one: Rule, text: str) -> None:
        found.setdefault(one.id, {}).setdefault("resources", []).append(text)

    active = [one for one in known if not one.disabled]
    places = [one for one in active if one.kind == NODE_AFFINITY]
    groups = [one for one in active if one.kind == RESOURCE_AFFINITY]
    for one in places:
        taken = {sid for other in places if other is not one for sid in other.resources}
        for sid in one.resources:
            if sid in taken:
                add(one, f"resource '{sid}' is already used in another node affinity rule")
    for one in groups:
        if len(one.resources) < 2:
            add(one, "rule is ineffective as there are less than two resources")
        elif one.affinity == "negative" and len(one.resources) > nodes:
            add(one, "rule defines more resources than available nodes")
        for other in groups:
            if other.affinity != one.affinity and len({*one.resources} & {*other.resources}) > 1:
                add(one, f"rule shares two or more resources with a {other.affinity} resource affinity rule")
    return found


def feasible(known: Iterable[Rule], nodes: int) -> list[Rule]:
    """The rules that are applied: enabled, and without a contradiction."""
    known = list(known)
    wrong = problems(known, nodes)
    return [one for one in known if not one.disabled and one.id not in wrong]


def affinity(known: Iterable[Rule], sid: str) -> Rule | None:
    """The node-affinity rule of a resource among feasible ones."""
    return next((one for one in known if one.kind == NODE_AFFINITY and sid in one.resources), None)


def preferred(place: Rule | None, online: Iterable[str]) -> set[str]:
    """Of the nodes that can work, those with the highest priority; other nodes count as lowest, if at all."""
    if place is None:
        return set(online)
    priorities = {
        node: place.nodes.get(node, -1) for node in online if node in place.nodes or not place.strict
    }
    highest = max(priorities.values(), default=-1)
    return {node for node, priority in priorities.items() if priority == highest}
