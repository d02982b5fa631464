"""The manager's word on each resource: its state and node (PVE::HA::Manager), from what Pacemaker does. Pure.

A service's status is PVE's: `state`, `node`, `uid` (new with each state), `running`, while it moves
`target`, `cmd` = [migrate or relocate, node] that was asked for, `maintenance_node` = the node that it left
for its maintenance.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .pacemaker import Guest
from .resources import Resource

Status = dict[str, Any]
Say = Callable[[str], None]
MOVES = ("migrate", "relocate")


@dataclass(frozen=True)
class Nodes:
    """States of the nodes as the manager has them, modes of their local resource managers, by name."""

    states: Mapping[str, str]
    modes: Mapping[str, str]

    def works(self, node: str) -> bool:
        return self.states.get(node) == "online"


def added(one: Resource, node: str) -> Status:
    """A service that the manager did not know. It is taken for running, so that nothing moves it."""
    return {"state": "started" if one.state == "started" else "request_stop", "node": node, "uid": uid()}


def uid() -> str:
    return base64.b64encode(os.urandom(16)).decode().rstrip("=")


def advanced(old: Status, one: Resource, guest: Guest, nodes: Nodes, say: Say) -> Status:
    """The service's status after one look. `say` gets a line in PVE's words for each change of state."""
    state, changes = _next(old, one, guest, nodes)
    new = {key: value for key, value in old.items() if key not in ("running", "target")} | changes
    if guest.node:
        new["running"] = 1
    if state != old["state"]:
        new |= {"state": state, "uid": uid()}
        details = ", ".join(f"{key} = {changes[key]}" for key in ("node", "target") if key in changes)
        text = f"service '{one.sid}': state changed from '{old['state']}' to '{state}'"
        say(f"{text}  ({details})" if details else text)
    return {key: value for key, value in new.items() if value is not None}


def _next(old: Status, one: Resource, guest: Guest, nodes: Nodes) -> tuple[str, Status]:
    """The next state, and what else changes in the status (None takes a key away)."""
    state, node = old["state"], old["node"]
    if state == "error":
        return ("stopped", {}) if one.state == "disabled" else ("error", {})
    if nodes.states.get(node) == "fence" and state != "stopped":
        return "fence", {"cmd": None}
    if guest.blocked or _given_up(one, guest):
        return "error", {"cmd": None}
    if nodes.modes.get(node) == "restart" and state not in ("fence", "recovery"):
        return "freeze", {}
    if one.state != "started":
        return ("request_stop" if guest.node else "stopped"), {"cmd": None, **_settled(guest, node)}
    if state in ("fence", "recovery") and not guest.node:
        return "recovery", {}
    if move := _move(old, guest, nodes):
        return move
    if guest.node and nodes.states.get(guest.node) == "maintenance":
        return "migrate", {"node": guest.node, "maintenance_node": guest.node}
    if guest.node and _goes_back(old, guest, nodes):
        home = old["maintenance_node"]
        return "migrate", {"cmd": ["migrate", home], "target": home, "maintenance_node": None}
    return "started", _settled(guest, node)


def _settled(guest: Guest, node: str) -> Status:
    return {"node": guest.node} if guest.node and guest.node != node else {}


def _given_up(one: Resource, guest: Guest) -> bool:
    """It failed for good on more nodes than it may be relocated from."""
    failed = [node for node, count in guest.failures.items() if count > one.max_restart]
    return len(failed) > one.max_relocate and not guest.node


def _move(old: Status, guest: Guest, nodes: Nodes) -> tuple[str, Status] | None:
    """A move that was asked for goes on until it is there, or its target cannot take it."""
    if "cmd" not in old:
        return None
    task, target = old["cmd"]
    if guest.node == target or not nodes.works(target) or guest.failures.get(target):
        return "started", {"cmd": None, **_settled(guest, old["node"])}
    return task, {"target": target, **_settled(guest, old["node"])}


def _goes_back(old: Status, guest: Guest, nodes: Nodes) -> bool:
    """What left a node for its maintenance returns when that is over."""
    home = old.get("maintenance_node")
    return home is not None and guest.node != home and nodes.works(home)
