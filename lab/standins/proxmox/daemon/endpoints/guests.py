"""What containers and virtual machines have alike below /nodes/{node}: list, index, changes, destruction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..config import users
from ..guests import container_creation, files, ha_routing, locks, machine_creation, running, status
from ..guests.conf import Config
from ..guests.files import Guest
from ..http import access, tasks
from ..http.errors import ApiError, ParameterError
from ..http.parameters import Schema, split_list
from ..http.registry import Call, check, endpoint
from .guest_status import FLAG, PREFIX, guest_of

VMID = {"type": "integer", "format": "pve-vmid", "minimum": 100, "maximum": 999999999}
TEXT = {"type": "string", "optional": 1}
#: what both kinds have and what takes effect at once, also on one that runs
AT_ONCE: Mapping[str, Schema] = {
    "description": {**TEXT, "maxLength": 8192},
    "onboot": FLAG,
    "protection": FLAG,
    "tags": {**TEXT, "format": "pve-tag-list"},
}
CHANGING: Mapping[str, Schema] = {
    "delete": {**TEXT, "format": "pve-configid-list"},
    "digest": {**TEXT, "maxLength": 40},
}
MODIFY = check("/vms/{vmid}", "VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network",
               "VM.Config.Options")  # fmt: skip
RUNS = {"lxc": "unable to destroy {} - container is running", "qemu": "{} is running - destroy failed"}
PURGE = "used in HA resources and purge parameter not set."


def require_privileges(call: Call, vmid: int, storages: set[str]) -> None:
    """Who makes a guest may make this one, on these storages."""
    access.require(call.machine, call.user, check("/vms/{vmid}", "VM.Allocate"), {"vmid": str(vmid)})
    for name in sorted(storages):
        access.require(call.machine, call.user, check(f"/storage/{name}", "Datastore.AllocateSpace"), {})


def texts(params: Mapping[str, Any], known: Mapping[str, Schema]) -> dict[str, str]:
    """The parameters that are a configuration's, as its file holds them: one line each."""
    found = {
        name: str(int(value)) if isinstance(value, bool) else str(value)
        for name, value in params.items()
        if schema_of(known, name) is not None
    }
    for name, value in found.items():
        if name != "description" and len(value.splitlines()) > 1:
            raise ParameterError({name: "value must be one line"})
    return found


def schema_of(known: Mapping[str, Schema], name: str) -> Schema | None:
    """The schema of `net0` is that of `net[n]`."""
    return known.get(name) or known.get(f"{name.rstrip('0123456789')}[n]")


def shown(call: Call, guest: Guest, known: Mapping[str, Schema]) -> dict[str, Any]:
    """A configuration as the API tells it, with what waits for the next start unless `current` is set."""
    config = files.load(call.machine, guest)
    values = config.values if call.params.get("current") else config.ahead
    found: dict[str, Any] = {}
    for name, value in values.items():
        is_number = (schema_of(known, name) or {}).get("type") in ("integer", "boolean")
        found[name] = int(value) if is_number and value.isdigit() else value
    return {**found, "digest": files.digest_of(call.machine, guest)}


def change(
    call: Call, guest: Guest, new: Mapping[str, str], check_new: Callable[[Config, set[str]], None]
) -> None:
    """Set and delete keys; of a guest that runs those that need a start wait for it."""
    gone = set(split_list(call.params.get("delete", "")))
    with locks.held(call.machine, guest):
        config = files.load(call.machine, guest)
        locks.check(guest, config)
        digest = files.digest_of(call.machine, guest)
        if call.params.get("digest", digest) != digest:
            raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")
        if both := sorted(gone & new.keys()):
            raise ParameterError(delete=f"you can't use '{both[0]}' and -delete {both[0]} at the same time")
        check_new(config, gone)
        waits = running.is_running(call.machine, guest.kind, guest.vmid)
        for name, value in new.items():
            config.deleted = tuple(word for word in config.deleted if word != name)
            config.pending.pop(name, None)
            if not waits or name in AT_ONCE:
                config.values[name] = value
            elif config.values.get(name) != value:
                config.pending[name] = value
        for name in gone:
            config.pending.pop(name, None)
            if not waits or name in AT_ONCE:
                config.values.pop(name, None)
            elif name in config.values:
                config.deleted = (*config.deleted, name)
        files.save(call.machine, guest, config)


def _destroy(call: Call, guest: Guest) -> str:
    machine, purge = call.machine, bool(call.params.get("purge"))
    config = files.load(machine, guest)
    if config.get("protection") == "1":
        raise ApiError(500, f"can't remove {guest} - protection mode enabled")
    resource = ha_routing.wanted_state(machine, guest.sid) is not None
    if resource and not purge:
        raise ApiError(500, f"unable to remove {guest} - {PURGE}")
    if running.is_running(machine, guest.kind, guest.vmid):
        raise ApiError(500, RUNS[guest.kind].format(guest))

    def work(log: tasks.Log) -> None:
        if resource:
            log(f"removing {guest} from HA resources")
            ha_routing.forget(machine, guest)
        if guest.kind == "lxc":
            container_creation.destroy(machine, guest)
        else:
            machine_creation.destroy(machine, guest)

    return tasks.start(call, kind=f"{PREFIX[guest.kind]}destroy", id=str(guest.vmid), work=work)


def _declare(kind: str) -> None:
    base = f"/nodes/{{node}}/{kind}"

    @endpoint("GET", base, permissions="all")
    def _listed(call: Call) -> Any:
        known = users.read(call.machine)
        return [
            entry
            for entry in status.listed(call.machine, kind)
            if "VM.Audit" in users.privileges(known, call.user, f"/vms/{entry['vmid']}")
        ]

    @endpoint("GET", f"{base}/{{vmid}}", permissions="all")
    def _index(call: Call) -> Any:
        guest_of(call, kind)
        return [{"subdir": name} for name in ("config", "migrate", "status")]

    @endpoint(
        "DELETE",
        f"{base}/{{vmid}}",
        permissions=check("/vms/{vmid}", "VM.Allocate"),
        parameters={"purge": FLAG},
    )
    def _gone(call: Call) -> Any:
        return _destroy(call, guest_of(call, kind))


for _kind in PREFIX:
    _declare(_kind)
