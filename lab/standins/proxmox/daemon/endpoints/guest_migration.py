"""/nodes/{node}/lxc/{vmid}/migrate, and what migrations of both kinds of guest share."""

from __future__ import annotations

from typing import Any

from ..guests import ha_routing, migration, running
from ..guests.files import Guest
from ..http import tasks
from ..http.errors import ApiError, ParameterError
from ..http.registry import Call, check, endpoint
from .guest_status import FLAG, LOOK, PREFIX, Work, guest_of

TASKS = {"lxc": "vzmigrate", "qemu": "qmigrate"}
NODE = {"type": "string", "format": "pve-node"}


def routed(call: Call, guest: Guest, target: str, work: Work) -> str:
    """Start the task, or ask the stack of high availability (`hamigrate`)."""
    machine = call.machine
    if target == call.node:
        raise ParameterError(target="target is local node.")
    migration.require_target(machine, target)
    if not ha_routing.managed(machine, guest):
        return tasks.start(call, kind=TASKS[guest.kind], id=str(guest.vmid), work=work)

    def ask(log: tasks.Log) -> None:
        log(f"Requesting HA migration for {guest} to node {target}")
        ha_routing.request_migration(machine, guest, target)

    return tasks.start(call, kind="hamigrate", id=str(guest.vmid), work=ask)


@endpoint(
    "POST",
    "/nodes/{node}/lxc/{vmid}/migrate",
    permissions=check("/vms/{vmid}", "VM.Migrate"),
    parameters={
        "target": NODE,
        "online": FLAG,
        "restart": FLAG,
        "timeout": {"type": "integer", "optional": 1, "default": migration.SHUTDOWN_S},
    },
)
def migrate_container(call: Call) -> Any:
    machine, guest, target = call.machine, guest_of(call, "lxc"), call.params["target"]
    restart = bool(call.params.get("restart"))
    online = bool(call.params.get("online"))
    if running.is_running(machine, "lxc", guest.vmid) and not restart and not online:
        raise ApiError(500, "can't migrate running container without --online or --restart")

    def work(log: tasks.Log) -> None:
        migration.container(machine, guest, target, log, restart and not online, call.params["timeout"])

    return routed(call, guest, target, work)


def _declare(kind: str) -> None:
    @endpoint(
        "GET",
        f"/nodes/{{node}}/{kind}/{{vmid}}/migrate",
        permissions=LOOK,
        parameters={"target": {**NODE, "optional": 1}},
    )
    def _preconditions(call: Call) -> Any:
        return migration.preconditions(call.machine, guest_of(call, kind))


for _kind in PREFIX:
    _declare(_kind)
