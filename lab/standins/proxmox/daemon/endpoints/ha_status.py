"""/cluster/ha/status: what the manager and the nodes say of themselves."""

from __future__ import annotations

import time
from typing import Any

from ..config import members
from ..ha import files, resources, status
from ..http.registry import Call, endpoint
from .ha_resources import AUDIT


@endpoint("GET", "/cluster/ha/status", permissions="all")
def index(_call: Call) -> Any:
    return [{"name": name} for name in ("current", "manager_status")]


@endpoint("GET", "/cluster/ha/status/current", permissions=AUDIT)
def current(call: Call) -> Any:
    machine = call.machine
    manager = files.manager_status(machine)
    lrms = {node: files.lrm_status(machine, node) for node in manager.get("node_status", {})}
    known = resources.read(machine)
    guests = resources.guests(machine)
    places = {sid: guests[one.vmid][0] for sid, one in known.items() if one.vmid in guests}
    quorate = members.cluster(machine).quorate
    return status.entries(call.node, quorate, manager, lrms, known, places, time.time())


@endpoint("GET", "/cluster/ha/status/manager_status", permissions=AUDIT)
def manager_status(call: Call) -> Any:
    machine = call.machine
    manager = files.manager_status(machine)
    quorate = members.cluster(machine).quorate
    found: dict[str, Any] = {"manager_status": manager}
    found["quorum"] = {"node": call.node, "quorate": str(int(quorate))}
    if nodes := manager.get("node_status", {}):
        found["lrm_status"] = {node: files.lrm_status(machine, node) for node in nodes}
    return found
