"""/cluster/ha/rules: where resources may run, and beside which others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..config import members
from ..config.sections import Section
from ..ha import resources, rules
from ..ha.rules import NODE_AFFINITY, RESOURCE_AFFINITY
from ..http.errors import ApiError, ParameterError
from ..http.machine import Machine
from ..http.parameters import split_list
from ..http.registry import Call, endpoint
from .ha_resources import AUDIT, CONSOLE, MODIFIED, digest, domain

_TEXT = {"type": "string", "optional": 1}
_FLAG = {"type": "boolean", "optional": 1}
KINDS = [NODE_AFFINITY, RESOURCE_AFFINITY]
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "nodes": {**_TEXT, "format": "pve-ha-node-list"},
    "strict": _FLAG,
    "affinity": {**_TEXT, "enum": ["positive", "negative"]},
    "disable": _FLAG,
    "comment": {**_TEXT, "maxLength": 4096},
    "type": {"type": "string", "enum": KINDS},
}
#: kind -> (what must be given, what may be given of the other kind's)
NEEDED = {NODE_AFFINITY: "nodes", RESOURCE_AFFINITY: "affinity"}
FOREIGN = {NODE_AFFINITY: ("affinity",), RESOURCE_AFFINITY: ("nodes", "strict")}
FORMS = {"nodes": (rules.NODE, "ha group node"), "resources": (rules.SID, "ha resource id")}
MISSING = "property is missing and it is not optional"


def _nodes(machine: Machine) -> set[str]:
    return {member.name for member in members.cluster(machine).members}


def _shown(section: Section, version: str, errors: Mapping[str, Any]) -> dict[str, Any]:
    one = rules.rule(section)
    found: dict[str, Any] = {
        "rule": one.id,
        "type": one.kind,
        "resources": ",".join(one.resources),
        "digest": version,
    }
    if one.kind == NODE_AFFINITY:
        nodes = (f"{node}:{priority}" if priority else node for node, priority in sorted(one.nodes.items()))
        found |= {"nodes": ",".join(nodes), "strict": int(one.strict)}
    else:
        found["affinity"] = one.affinity
    if one.disabled:
        found["disable"] = 1
    if "comment" in section.values:
        found["comment"] = section.values["comment"]
    return {**found, "errors": errors} if errors else found


def _all(machine: Machine) -> list[dict[str, Any]]:
    version = digest(machine, rules.PATH)
    errors = rules.problems(rules.read(machine), len(_nodes(machine)))
    known = rules.read_sections(machine).values()
    return [_shown(one, version, errors.get(one.id, {})) for one in known if one.kind in KINDS]


@endpoint(
    "GET",
    "/cluster/ha/rules",
    permissions=AUDIT,
    parameters={"type": {**_TEXT, "enum": KINDS}, "resource": _TEXT},
)
def listed(call: Call) -> Any:
    kind, resource = call.params.get("type"), call.params.get("resource")
    return [
        one
        for one in _all(call.machine)
        if kind in (None, one["type"]) and (resource is None or resource in one["resources"].split(","))
    ]


@endpoint("GET", "/cluster/ha/rules/{rule}", permissions=AUDIT)
def one_rule(call: Call) -> Any:
    for one in _all(call.machine):
        if one["rule"] == call.path["rule"]:
            return one
    raise ApiError(500, f"no such ha rule '{call.path['rule']}'")


def _values(params: Mapping[str, Any]) -> dict[str, str]:
    """What is given, as the file holds it. ParameterError where it is not of the rule's kind or form."""
    for name in FOREIGN[params["type"]]:
        if name in params:
            raise ParameterError({name: f"unexpected property '{name}'"})
    values = {name: params[name] for name in (*SETTINGS, "resources") if name in params and name != "type"}
    for name, (form, what) in FORMS.items():
        if not all(re.fullmatch(form, part) for part in split_list(values.get(name, ""))):
            raise ParameterError({name: f"invalid format - value does not look like a valid {what}"})
    if "resources" in values:
        values["resources"] = ",".join(sorted(set(split_list(values["resources"]))))
    if values.get("disable") is False:
        del values["disable"]
    return {name: str(int(one)) if isinstance(one, bool) else str(one) for name, one in values.items()}


def _check_known(machine: Machine, values: Mapping[str, str]) -> None:
    """ApiError 500 in PVE's words where a rule names what is not there."""
    unknown = set(split_list(values.get("resources", ""))) - resources.read(machine).keys()
    if unknown:
        raise ApiError(500, f"cannot use unmanaged resource(s) {', '.join(sorted(unknown))}.")
    if absent := rules.nodes_of(values.get("nodes", "")).keys() - _nodes(machine):
        raise ApiError(500, f"cannot use non-existant node(s) {', '.join(sorted(absent))}.")


def _write(machine: Machine, known: Mapping[str, Section], changed: str) -> None:
    """ApiError where the rule that was changed contradicts another one."""
    found = rules.problems(map(rules.rule, known.values()), len(_nodes(machine)))
    if wrong := found.get(changed):
        detail = "; ".join(f"{name}: {', '.join(texts)}" for name, texts in wrong.items())
        raise ApiError(500, f"400 Rule '{changed}' is invalid. {detail}")
    rules.write(machine, known.values())


@endpoint(
    "POST",
    "/cluster/ha/rules",
    permissions=CONSOLE,
    parameters={
        **SETTINGS,
        "rule": {"type": "string", "format": "pve-configid"},
        "resources": {"type": "string", "format": "pve-ha-resource-id-list"},
    },
)
def create(call: Call) -> Any:
    machine, params = call.machine, call.params
    name, kind = params["rule"], params["type"]
    if NEEDED[kind] not in params:
        raise ParameterError({NEEDED[kind]: MISSING})
    values = _values(params)
    with domain(machine, "create ha rule failed"):
        known = rules.read_sections(machine)
        if name in known:
            raise ApiError(500, f"HA rule '{name}' already defined")
        _check_known(machine, values)
        known[name] = Section(kind, name, values)
        _write(machine, known, name)


@endpoint(
    "PUT",
    "/cluster/ha/rules/{rule}",
    permissions=CONSOLE,
    parameters={
        **SETTINGS,
        "resources": {**_TEXT, "format": "pve-ha-resource-id-list"},
        "delete": {**_TEXT, "format": "pve-configid-list", "maxLength": 4096},
        "digest": {**_TEXT, "maxLength": 64},
    },
)
def update(call: Call) -> Any:
    machine, name = call.machine, call.path["rule"]
    values = _values(call.params)
    with domain(machine, "update HA rules failed"):
        if call.params.get("digest", digest(machine, rules.PATH)) != digest(machine, rules.PATH):
            raise ApiError(500, MODIFIED)
        known = rules.read_sections(machine)
        if name not in known:
            raise ApiError(500, f"HA rule '{name}' does not exist")
        if known[name].kind != call.params["type"]:
            raise ApiError(500, f"rule '{name}' is of type '{known[name].kind}'")
        _check_known(machine, values)
        known[name].values.update(values)
        if call.params.get("disable") is False:
            known[name].values.pop("disable", None)
        for option in split_list(call.params.get("delete", "")):
            if option in ("resources", NEEDED[known[name].kind]):
                raise ApiError(500, f"unable to delete required option '{option}'")
            known[name].values.pop(option, None)
        _write(machine, known, name)


@endpoint("DELETE", "/cluster/ha/rules/{rule}", permissions=CONSOLE)
def delete(call: Call) -> Any:
    with domain(call.machine, "delete ha rule failed"):
        known = rules.read_sections(call.machine)
        known.pop(call.path["rule"], None)
        rules.write(call.machine, known.values())
