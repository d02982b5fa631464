"""/etc/pve/storage.cfg as far as Ceph has a part in it: RBD and CephFS storages with their keys."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..http.errors import ApiError
from ..http.machine import Machine
from . import conf, keys

PATH = "/etc/pve/storage.cfg"
_HEAD = re.compile(r"^(?P<type>[a-z]+):\s*(?P<id>\S+)\s*$")
Storages = dict[str, dict[str, str]]


def load(machine: Machine) -> Storages:
    """Storages by id, `type` among their keys, in the file's order."""
    found: Storages = {}
    current: dict[str, str] | None = None
    for line in machine.read(PATH).splitlines():
        if match := _HEAD.match(line):
            current = found.setdefault(match["id"], {"type": match["type"]})
        elif line.strip() and line[0].isspace() and current is not None:
            key, _, value = line.strip().partition(" ")
            current[key] = value.strip()
    return found


def save(machine: Machine, storages: Mapping[str, Mapping[str, str]]) -> None:
    blocks = []
    for name, values in storages.items():
        lines = [f"\t{key} {value}".rstrip() for key, value in values.items() if key != "type"]
        blocks.append("\n".join([f"{values['type']}: {name}", *lines]) + "\n")
    machine.write(PATH, "\n".join(blocks))


def add(machine: Machine, name: str, values: Mapping[str, str]) -> None:
    """Enter a storage and give it client.admin's key, as `pvesm add` does for the nodes' own cluster."""
    with conf.locked(machine, "file-storage_cfg"):
        found = load(machine)
        if name in found:
            raise ApiError(500, f"storage ID '{name}' already defined")
        found[name] = dict(values)
        save(machine, found)
    ring = machine.read(conf.ADMIN)
    if values["type"] == "cephfs":
        machine.write(f"/etc/pve/priv/ceph/{name}.secret", keys.key_in(ring) + "\n")
    else:
        machine.write(f"/etc/pve/priv/ceph/{name}.keyring", ring)


def remove(machine: Machine, name: str) -> None:
    """Take a storage and its key away; nothing where there is none."""
    with conf.locked(machine, "file-storage_cfg"):
        found = load(machine)
        if found.pop(name, None) is not None:
            save(machine, found)
    for ending in ("keyring", "secret"):
        machine.file(f"/etc/pve/priv/ceph/{name}.{ending}").unlink(missing_ok=True)


def of_pool(machine: Machine, pool: str) -> list[str]:
    """RBD storages that use a pool."""
    return [
        name
        for name, values in load(machine).items()
        if values["type"] == "rbd" and pool in (values.get("pool", "rbd"), values.get("data-pool"))
    ]
