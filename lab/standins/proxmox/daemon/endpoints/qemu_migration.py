"""/nodes/{node}/qemu/{vmid}/migrate, and the two ends of a migration with memory: start, stop, resume."""

from __future__ import annotations

from typing import Any

from ..guests import live_migration, machines, migration, qmp, running
from ..guests.files import Guest
from ..http import tasks
from ..http.errors import ApiError, ParameterError
from ..http.registry import Call, check, endpoint
from . import guest_migration
from .guest_status import ACTIONS, FLAG, POWER, guest_of, root_only

BASE = "/nodes/{node}/qemu/{vmid}"
NODE = {"type": "string", "format": "pve-node"}
FROM = {**NODE, "optional": 1}


def _arriving(call: Call) -> Guest:
    """A guest whose configuration still lies at the node that sends it."""
    return Guest(int(call.params["vmid"]), "qemu", call.node)


@endpoint(
    "POST",
    f"{BASE}/status/start",
    permissions=POWER,
    parameters={
        "migratedfrom": FROM,
        "skiplock": FLAG,
        "stateuri": {"type": "string", "maxLength": 128, "optional": 1},
    },
)
def start(call: Call) -> Any:
    root_only(call, "skiplock", "migratedfrom", "stateuri")
    if "migratedfrom" not in call.params:
        return ACTIONS["start"][0](call, guest_of(call, "qemu"))
    if call.params.get("stateuri") != "unix":
        raise ParameterError(stateuri="memory comes by 'unix' in the rack")
    guest = _arriving(call)
    path = call.machine.file(live_migration.socket(guest.vmid))

    def work(log: tasks.Log) -> None:
        path.unlink(missing_ok=True)
        machines.start(call.machine, guest, incoming=f"unix:{path}", skip_lock=True)
        log(f"migration listens on unix:{path}")

    return tasks.start(call, kind="qmstart", id=str(guest.vmid), work=work)


@endpoint(
    "POST", f"{BASE}/status/stop", permissions=POWER, parameters={"migratedfrom": FROM, "skiplock": FLAG}
)
def stop(call: Call) -> Any:
    root_only(call, "skiplock", "migratedfrom")
    if "migratedfrom" not in call.params:
        return ACTIONS["stop"][0](call, guest_of(call, "qemu"))
    guest = _arriving(call)
    work = lambda _: machines.stop(call.machine, guest)  # noqa: E731
    return tasks.start(call, kind="qmstop", id=str(guest.vmid), work=work)


@endpoint("POST", f"{BASE}/status/resume", permissions=POWER, parameters={"skiplock": FLAG})
def resume(call: Call) -> Any:
    root_only(call, "skiplock")
    guest = guest_of(call, "qemu")
    if not running.is_running(call.machine, "qemu", guest.vmid):
        raise ApiError(500, f"{guest} not running")
    work = lambda _: qmp.ask(call.machine, guest.vmid, "cont")  # noqa: E731
    return tasks.start(call, kind="qmresume", id=str(guest.vmid), work=work)


@endpoint(
    "POST",
    f"{BASE}/migrate",
    permissions=check("/vms/{vmid}", "VM.Migrate"),
    parameters={"target": NODE, "online": FLAG},
)
def migrate(call: Call) -> Any:
    machine, guest, target = call.machine, guest_of(call, "qemu"), call.params["target"]
    runs = running.is_running(machine, "qemu", guest.vmid)
    if runs and not call.params.get("online"):
        raise ApiError(500, "can't migrate running VM without --online")

    def work(log: tasks.Log) -> None:
        if runs:
            live_migration.migrate(machine, guest, target, log)
        else:
            migration.machine_offline(machine, guest, target, log)

    return guest_migration.routed(call, guest, target, work)
