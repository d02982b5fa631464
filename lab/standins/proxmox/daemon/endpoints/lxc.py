"""/nodes/{node}/lxc: containers made from a template, and their configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..config import storages
from ..config.sections import Section
from ..guests import container_creation, containers, files, network, volumes
from ..guests.conf import Config
from ..guests.files import Guest
from ..http import tasks
from ..http.errors import ApiError, ParameterError
from ..http.parameters import Schema
from ..http.registry import Call, endpoint
from .guest_status import FLAG, LOOK, guest_of
from .guests import AT_ONCE, CHANGING, MODIFY, TEXT, VMID, change, require_privileges, shown, texts

BASE = "/nodes/{node}/lxc"
CORES = {"type": "integer", "minimum": 1, "maximum": 8192, "optional": 1}
#: the keys of a configuration that the rack serves
KEYS: Mapping[str, Schema] = {
    **AT_ONCE,
    "arch": {**TEXT, "enum": ["amd64"]},
    "cores": CORES,
    "hostname": {**TEXT, "format": "dns-name", "maxLength": 255},
    "memory": {"type": "integer", "minimum": 16, "optional": 1},
    "net[n]": {**TEXT, "format": network.LXC, "count": 32},
    "ostype": {**TEXT, "enum": ["unmanaged"]},
    "rootfs": TEXT,
    "swap": {"type": "integer", "minimum": 0, "optional": 1},
    "tty": {"type": "integer", "minimum": 0, "maximum": 6, "optional": 1},
    "unprivileged": FLAG,
}


def _nets(values: dict[str, str]) -> dict[str, str]:
    """Network ports with an address, as the file holds them."""
    return {
        name: network.print_lxc(network.parse_lxc(value)) if re.fullmatch(r"net\d+", name) else value
        for name, value in values.items()
    }


@endpoint(
    "POST",
    BASE,
    permissions="all",
    parameters={
        **KEYS,
        "vmid": VMID,
        "ostemplate": {"type": "string", "maxLength": 255},
        "start": FLAG,
        "storage": {**TEXT, "format": "pve-storage-id"},
    },
)
def create(call: Call) -> Any:
    machine, params = call.machine, call.params
    guest = Guest(params["vmid"], "lxc", call.node)
    disk = _disk(call)
    require_privileges(call, guest.vmid, {disk[0].id})
    template = volumes.parse(machine, params["ostemplate"])
    if template.content != "vztmpl":
        raise ApiError(500, f"volume '{template.id}' is no template of a container")
    archive = volumes.file(machine, template)
    values = _nets(texts(params, KEYS))
    values.pop("rootfs", None)
    if values.get("unprivileged") == "0":
        del values["unprivileged"]
    files.reserve(machine, guest)

    def work(log: tasks.Log) -> None:
        container_creation.create(machine, guest, values, disk, archive, log)
        if params.get("start"):
            containers.start(machine, guest, log)

    return tasks.start(call, kind="vzcreate", id=str(guest.vmid), work=work)


def _disk(call: Call) -> tuple[Section, int]:
    """Storage and bytes of the root volume: `rootfs=storage:4`, or `storage` alone."""
    default = call.params.get("storage", "local")
    text, options = volumes.split(call.params.get("rootfs", f"{default}:{container_creation.ROOT_GIB}"))
    if options:
        raise ParameterError(rootfs=f"'{sorted(options)[0]}' is not in the rack, expected <storage>:<GiB>")
    ordered = volumes.new(text)
    if ordered is None:
        raise ParameterError(rootfs=f"'{text}' orders no new volume, expected <storage>:<GiB>")
    section = storages.usable(call.machine, ordered[0] or default, call.node)
    if "rootdir" not in storages.content(section):
        raise ParameterError(storage=f"storage '{section.id}' does not support container directories")
    return section, ordered[1]


@endpoint("GET", f"{BASE}/{{vmid}}/config", permissions=LOOK, parameters={"current": {**FLAG, "default": 0}})
def config(call: Call) -> Any:
    return shown(call, guest_of(call, "lxc"), KEYS)


@endpoint("PUT", f"{BASE}/{{vmid}}/config", permissions=MODIFY, parameters={**KEYS, **CHANGING})
def update(call: Call) -> Any:
    def check_new(now: Config, gone: set[str]) -> None:
        if "unprivileged" in {*gone, *call.params}:
            raise ApiError(500, "unable to modify read-only option: 'unprivileged'")
        if "rootfs" in gone:
            raise ParameterError(delete="unable to delete required option 'rootfs'")
        wanted = call.params.get("rootfs", now.get("rootfs"))
        if volumes.split(wanted)[0] != volumes.split(now.get("rootfs"))[0]:
            raise ParameterError(rootfs="the root volume of a container stays")

    change(call, guest_of(call, "lxc"), _nets(texts(call.params, KEYS)), check_new)
