"""/nodes/{node}/{lxc,qemu}/{vmid}/status: what a guest does, and starting and ending it.

A guest that the stack of high availability manages is not touched here: the stack is asked (tasks `hastart`,
`hastop`), as PVE does. The stack itself uses `python3 -m pve_standin.guests`, which asks nobody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from ..config import members
from ..guests import containers, files, ha_routing, machines, qmp, running, status
from ..guests.files import Guest
from ..http import tasks
from ..http.errors import ApiError, ParameterError
from ..http.registry import Call, check, endpoint

FLAG = {"type": "boolean", "optional": 1}
SECONDS = {"type": "integer", "minimum": 0, "optional": 1}
LOOK = check("/vms/{vmid}", "VM.Audit")
POWER = check("/vms/{vmid}", "VM.PowerMgmt")
PREFIX = {"lxc": "vz", "qemu": "qm"}
Work = Callable[[tasks.Log], object]


def guest_of(call: Call, kind: str) -> Guest:
    """The guest that the path names; ApiError 500 where this node has none of it."""
    guest = Guest(int(call.params["vmid"]), kind, call.node)
    files.text(call.machine, guest)
    return guest


def root_only(call: Call, *names: str) -> None:
    """Parameters by which a node speaks to another."""
    for name in names:
        if call.params.get(name) and call.user != "root@pam":
            raise ParameterError({name: "Only root may use this option."})


def routed(call: Call, guest: Guest, action: str, state: str, work: Work) -> str:
    """Start the task: of the guest's own kind, or a request to the stack of high availability."""
    machine = call.machine
    if not ha_routing.managed(machine, guest):
        return tasks.start(call, kind=f"{PREFIX[guest.kind]}{action}", id=str(guest.vmid), work=work)
    verb = "start" if state == "started" else "stop"

    def ask(log: tasks.Log) -> None:
        log(f"Requesting HA {verb} for {guest}")
        ha_routing.request(machine, guest, state)

    return tasks.start(call, kind=f"ha{verb}", id=str(guest.vmid), work=ask)


def require_running(call: Call, guest: Guest) -> None:
    if not running.is_running(call.machine, guest.kind, guest.vmid):
        raise ApiError(500, f"{guest} not running")


def _start(call: Call, guest: Guest) -> str:
    machine = call.machine
    if running.is_running(machine, guest.kind, guest.vmid):
        raise ApiError(500, f"{guest} already running")
    members.need_quorum(machine)

    def work(log: tasks.Log) -> None:
        if guest.kind == "lxc":
            containers.start(machine, guest, log)
        else:
            machines.start(machine, guest)

    return routed(call, guest, "start", "started", work)


def _stop(call: Call, guest: Guest) -> str:
    require_running(call, guest)
    stop = containers.stop if guest.kind == "lxc" else machines.stop
    return routed(call, guest, "stop", "stopped", lambda _: stop(call.machine, guest))


def _shutdown(call: Call, guest: Guest) -> str:
    require_running(call, guest)
    down = containers.shutdown if guest.kind == "lxc" else machines.shutdown
    timeout_s = int(call.params.get("timeout", containers.SHUTDOWN_S))
    force = bool(call.params.get("forceStop"))
    work: Work = lambda _: down(call.machine, guest, timeout_s, force)  # noqa: E731
    return routed(call, guest, "shutdown", "stopped", work)


def _reboot(call: Call, guest: Guest) -> str:
    """By the guest's own node, managed or not: it stays where it is."""
    require_running(call, guest)
    timeout_s = int(call.params.get("timeout", containers.SHUTDOWN_S))

    def work(log: tasks.Log) -> None:
        if guest.kind == "lxc":
            containers.reboot(call.machine, guest, timeout_s, log)
        else:
            machines.reboot(call.machine, guest, timeout_s)

    return tasks.start(call, kind=f"{PREFIX[guest.kind]}reboot", id=str(guest.vmid), work=work)


def _current(call: Call, guest: Guest) -> dict[str, Any]:
    found = {**status.of(call.machine, guest), "ha": ha_routing.shown(call.machine, guest)}
    if guest.kind == "qemu":
        found["qmpstatus"] = found["status"]
        if found["status"] == "running":
            with contextlib.suppress(ApiError):  # its monitor may hang; it runs all the same
                found["qmpstatus"] = qmp.ask(call.machine, guest.vmid, "query-status")["status"]
    return found


FORCE = {"type": "boolean", "optional": 1, "default": 0}
ACTIONS: Mapping[str, tuple[Callable[[Call, Guest], str], Mapping[str, Any]]] = {
    "start": (_start, {}),
    "stop": (_stop, {}),
    "shutdown": (_shutdown, {"forceStop": FORCE, "timeout": SECONDS}),
    "reboot": (_reboot, {"timeout": SECONDS}),
}


def _declare(kind: str) -> None:
    base = f"/nodes/{{node}}/{kind}/{{vmid}}/status"

    @endpoint("GET", base, permissions="all")
    def _index(call: Call) -> Any:
        guest_of(call, kind)
        return [{"subdir": name} for name in ("current", *ACTIONS)]

    @endpoint("GET", f"{base}/current", permissions=LOOK)
    def _now(call: Call) -> Any:
        return _current(call, guest_of(call, kind))

    for name, (action, parameters) in ACTIONS.items():
        if (kind, name) not in OWN:
            _declare_action(kind, f"{base}/{name}", action, parameters)


def _declare_action(
    kind: str, path: str, action: Callable[[Call, Guest], str], parameters: Mapping[str, Any]
) -> None:
    @endpoint("POST", path, permissions=POWER, parameters=parameters)
    def _act(call: Call) -> Any:
        return action(call, guest_of(call, kind))


#: what a virtual machine also takes, from a node that sends it there with its memory (qemu_migration.py)
OWN = {("qemu", "start"), ("qemu", "stop")}
for _kind in PREFIX:
    _declare(_kind)
