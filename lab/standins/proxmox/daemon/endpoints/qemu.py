"""/nodes/{node}/qemu: virtual machines made, and their configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..config import storages
from ..guests import drives, files, machine_creation, machines, network, qemu_command, volumes
from ..guests.conf import Config
from ..guests.files import Guest
from ..http import tasks
from ..http.errors import ApiError, ParameterError
from ..http.machine import Machine
from ..http.parameters import Schema
from ..http.registry import Call, endpoint
from .guest_status import FLAG, LOOK, guest_of
from .guests import AT_ONCE, CHANGING, MODIFY, TEXT, VMID, change, require_privileges, shown, texts

BASE = "/nodes/{node}/qemu"
COUNT = {"type": "integer", "minimum": 1, "optional": 1}
#: the keys of a configuration that the rack serves
KEYS: Mapping[str, Schema] = {
    **AT_ONCE,
    "args": TEXT,
    "bios": {**TEXT, "enum": ["seabios"]},
    "boot": {**TEXT, "pattern": r"order=[a-z]+\d+(;[a-z]+\d+)*"},
    "cores": COUNT,
    "kvm": FLAG,
    "memory": {**TEXT, "pattern": r"(current=)?\d+"},
    "name": {**TEXT, "format": "dns-name"},
    "net[n]": {**TEXT, "count": qemu_command.NETS},
    "ostype": {**TEXT, "enum": ["other", "l26"]},
    "scsihw": {**TEXT, "enum": sorted(qemu_command.SCSI)},
    "serial[n]": {**TEXT, "pattern": "socket", "count": 4},
    "smbios1": {**TEXT, "maxLength": 512, "pattern": r"uuid=[0-9a-fA-F-]{36}"},
    "sockets": COUNT,
    "vga": {**TEXT, "pattern": r"std|none|serial[0-3]"},
    **{f"{bus}[n]": {**TEXT, "format": drives.FORM, "count": count} for bus, count in drives.COUNTS.items()},
}


def _settled(call: Call) -> dict[str, str]:
    """The keys as the file holds them; ParameterError for a network port or a drive that cannot be."""
    values = texts(call.params, KEYS)
    if "args" in values and call.user != "root@pam":
        raise ApiError(500, "only root can set 'args' config")
    for name, value in values.items():
        if re.fullmatch(r"net\d+", name):
            try:
                values[name] = network.print_qemu(network.parse_qemu(value))
            except ValueError as error:
                raise ParameterError({name: str(error)}) from None
    return values


def _require_known(machine: Machine, drive: drives.Drive) -> None:
    """ParameterError or ApiError where a drive's volume is not there, or not what the drive takes."""
    if drive.file == "none" and drive.is_cdrom:
        return
    volume = volumes.parse(machine, drive.file)
    if volume.content == "iso" and not drive.is_cdrom:
        raise ParameterError({drive.key: "explicit 'media=cdrom' is required for iso images"})
    if volume.content not in ("iso", "images"):
        raise ParameterError({drive.key: "content type needs to be 'images' or 'iso'"})
    if volume.content == "iso":
        volumes.file(machine, volume)


@endpoint(
    "POST",
    BASE,
    permissions="all",
    parameters={**KEYS, "vmid": VMID, "start": FLAG, "storage": {**TEXT, "format": "pve-storage-id"}},
)
def create(call: Call) -> Any:
    machine, params = call.machine, call.params
    guest = Guest(params["vmid"], "qemu", call.node)
    values = _settled(call)
    used: set[str] = set()
    for drive in drives.of(values):
        ordered = volumes.new(drive.file)
        if ordered is None:
            _require_known(machine, drive)
            continue
        name = ordered[0] or params.get("storage", "")
        if not name:
            raise ApiError(500, "no storage ID specified (and no default storage)")
        section = storages.usable(machine, name, call.node)
        if "images" not in storages.content(section):
            raise ParameterError(storage=f"storage '{name}' does not support vm images")
        size = drive.file.rpartition(":")[2]
        values[drive.key] = str(drives.Drive(drive.key, {**drive.options, "file": f"{name}:{size}"}))
        used.add(name)
    require_privileges(call, guest.vmid, used)
    files.reserve(machine, guest)

    def work(log: tasks.Log) -> None:
        machine_creation.create(machine, guest, values, log)
        if params.get("start"):
            machines.start(machine, guest)

    return tasks.start(call, kind="qmcreate", id=str(guest.vmid), work=work)


@endpoint("GET", f"{BASE}/{{vmid}}/config", permissions=LOOK, parameters={"current": {**FLAG, "default": 0}})
def config(call: Call) -> Any:
    return shown(call, guest_of(call, "qemu"), KEYS)


@endpoint("PUT", f"{BASE}/{{vmid}}/config", permissions=MODIFY, parameters={**KEYS, **CHANGING})
def update(call: Call) -> Any:
    """Disks are made with the virtual machine and go with it; a CD may be changed."""
    machine, new = call.machine, _settled(call)

    def check_new(now: Config, gone: set[str]) -> None:
        kept = {drive.key: drive.file for drive in drives.of(now.values) if not drive.is_cdrom}
        for name in sorted(gone & kept.keys()):
            raise ParameterError(delete=f"'{name}': disks go with their virtual machine in the rack")
        for drive in drives.of(new):
            if drive.key in kept or not drive.is_cdrom:
                if kept.get(drive.key) != drive.file:
                    raise ParameterError({drive.key: "disks are made with their virtual machine in the rack"})
            else:
                _require_known(machine, drive)

    change(call, guest_of(call, "qemu"), new, check_new)
