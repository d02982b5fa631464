"""The HA manager as one node's API tells of it: resources, rules, states, the policy for shutdowns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.cluster import Cluster

POLICY = "conditional"  # where datacenter.cfg names none
_DEFAULTS = {"state": "started", "max_restart": "1", "max_relocate": "1", "failback": "1"}
_WORDS = re.compile(r"^\S+ \((?P<state>[^,)]*)")


@dataclass(frozen=True)
class Rule:
    """One rule: its type, the resources it binds, the nodes with their priority, and whether it holds at all
    costs. `problem`: why the manager ignores it.
    """

    kind: str
    resources: frozenset[str]
    nodes: Mapping[str, int]
    strict: bool
    disabled: bool = False
    problem: str = ""


@dataclass(frozen=True)
class State:
    """A resource as the manager has it: on which node, in which state (`started`, `fence`, `error`, ...)."""

    node: str
    state: str


@dataclass(frozen=True)
class Manager:
    """`resources`: their options by name, defaults filled in. `lrms`: what each node's local manager is doing
    (`active`, `idle`, `maintenance mode`, `old timestamp - dead?`). `nodes`: `online`, `maintenance`, ... as
    the master has it. `leading`: what the master is doing. `armed`: `armed`, `standby`, `disarmed`, "" where
    the release does not tell.
    """

    resources: Mapping[str, Mapping[str, str]]
    rules: Mapping[str, Rule]
    services: Mapping[str, State]
    lrms: Mapping[str, str]
    nodes: Mapping[str, str]
    master: str
    leading: str
    quorate: bool
    armed: str
    policy: str


NOTHING = Manager({}, {}, {}, {}, {}, "", "", quorate=False, armed="", policy=POLICY)
"""What there is before there is a cluster."""


def look(cluster: Cluster, node: str) -> Manager:
    """Five calls to one node. Raises UnreachableError, PveError."""
    api = cluster.pve[node]
    return read(
        resources=api.call("get", "cluster/ha/resources"),
        rules=api.call("get", "cluster/ha/rules"),
        current=api.call("get", "cluster/ha/status/current"),
        status=api.call("get", "cluster/ha/status/manager_status"),
        options=api.call("get", "cluster/options"),
    )


def read(
    *,
    resources: list[Mapping[str, Any]],
    rules: list[Mapping[str, Any]],
    current: list[Mapping[str, Any]],
    status: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Manager:
    """What the answers of the API tell; `current` is ha/status/current, `status` ha/status/manager_status."""
    rows = {kind: [row for row in current if row.get("type") == kind] for kind in _KINDS}
    master = next(iter(rows["master"]), {})
    kept = status.get("manager_status") or {}
    return Manager(
        resources={str(row["sid"]): _resource(row) for row in resources},
        rules={str(row["rule"]): _rule(row) for row in rules},
        services={
            str(row["sid"]): State(str(row.get("node", "")), str(row.get("state", "")))
            for row in rows["service"]
        },
        lrms={str(row["node"]): _doing(row) for row in rows["lrm"]},
        nodes={str(name): str(state) for name, state in (kept.get("node_status") or {}).items()},
        master=str(master.get("node", "")),
        leading=_doing(master),
        quorate=any(_flag(row.get("quorate")) for row in rows["quorum"]),
        armed=next((str(row.get("armed-state", "")) for row in rows["fencing"]), ""),
        policy=str((options.get("ha") or {}).get("shutdown_policy", POLICY)),
    )


_KINDS = ("quorum", "master", "lrm", "service", "fencing")


def _resource(row: Mapping[str, Any]) -> dict[str, str]:
    found = {key: str(row.get(key, default)) for key, default in _DEFAULTS.items()}
    if found["state"] == "enabled":  # another name of the same
        found["state"] = "started"
    return {**found, "failback": str(int(_flag(found["failback"])))}


def _rule(row: Mapping[str, Any]) -> Rule:
    nodes = {}
    for part in _list(row.get("nodes")):
        name, _, priority = part.partition(":")
        nodes[name] = int(priority or 0)
    errors = row.get("errors") or {}
    return Rule(
        str(row.get("type", "")),
        frozenset(_list(row.get("resources"))),
        nodes,
        _flag(row.get("strict")),
        _flag(row.get("disable")),
        "; ".join(str(text) for text in errors.values()) if isinstance(errors, dict) else str(errors),
    )


def _list(value: object) -> list[str]:
    return [part for part in re.split(r"[,;\s]+", str(value or "")) if part]


def _flag(value: object) -> bool:
    return str(value) in {"1", "True", "true"}


def _doing(row: Mapping[str, Any]) -> str:
    """`node1 (active, watchdog active, Sat ...)` -> `active`."""
    found = _WORDS.match(str(row.get("status", "")))
    return found["state"].strip() if found else ""
