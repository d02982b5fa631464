"""Every guest of the cluster with what its node says of it, asked of the others at most every 10 s.

PVE's nodes tell each other every 10 s (pvestatd); whose guest it is, /etc/pve says at once.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from ..config import members
from ..http import peers
from ..http.errors import ApiError
from ..http.machine import Machine
from . import files, ha_routing, status
from .files import Guest

FRESH_S = 10.0
ASK_S = 8.0
_SHOWN = ("name", "status", "uptime", "cpu", "mem", "maxmem", "memhost", "disk", "maxdisk", "diskread",
          "diskwrite", "netin", "netout", "tags", "lock")  # fmt: skip
#: by machine, node and kind: when it was asked (monotonic s), what it said by VMID
_told: dict[tuple[int, str, str], tuple[float, dict[int, dict[str, Any]]]] = {}


def resources(machine: Machine, seen: members.Cluster) -> list[dict[str, Any]]:
    """The guests as /cluster/resources shows them; `unknown` is one of a node that does not answer."""
    guests = files.everywhere(machine)
    online = {member.name for member in seen.members if member.online}
    _ask_others(machine, {(guest.node, guest.kind) for guest in guests.values() if guest.node in online})
    states = ha_routing.states(machine)
    return [_entry(machine, guest, guest.node in online, states) for guest in guests.values()]


def _entry(machine: Machine, guest: Guest, online: bool, states: dict[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": f"{guest.kind}/{guest.vmid}",
        "type": guest.kind,
        "vmid": guest.vmid,
        "node": guest.node,
        "template": 0,
        "status": "unknown",
    }
    if guest.sid in states:
        entry["hastate"] = states[guest.sid]
    known: dict[str, Any] | None = None
    if guest.node == machine.node:
        known = _local(machine, guest)
    elif online:
        known = _told.get((id(machine), guest.node, guest.kind), (0.0, {}))[1].get(guest.vmid)
    if known:
        entry |= {name: known[name] for name in _SHOWN if name in known}
        entry["maxcpu"] = known.get("cpus", 1)
    return entry


def _local(machine: Machine, guest: Guest) -> dict[str, Any] | None:
    try:
        return status.of(machine, guest)
    except ApiError:
        return None  # it went while we looked


def _ask_others(machine: Machine, wanted: set[tuple[str, str]]) -> None:
    """Ask each node that has guests of a kind, all at once; the last word of one that is silent counts."""
    now = time.monotonic()
    due = [
        (node, kind)
        for node, kind in sorted(wanted)
        if node != machine.node and now - _told.get((id(machine), node, kind), (-FRESH_S, {}))[0] >= FRESH_S
    ]
    threads = [threading.Thread(target=_ask, args=(machine, *one), daemon=True) for one in due]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ASK_S + 1)


def _ask(machine: Machine, node: str, kind: str) -> None:
    key = id(machine), node, kind
    try:
        said = peers.call(machine, node, "GET", f"/nodes/{node}/{kind}", timeout_s=ASK_S)
        known = {int(entry["vmid"]): entry for entry in said}
    except (ApiError, ValueError, KeyError):
        known = _told.get(key, (0.0, {}))[1]
    _told[key] = time.monotonic(), known
