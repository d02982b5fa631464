"""storage.cfg: which storages there are, where they lie, and the space behind them."""

from __future__ import annotations

import os
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.parameters import split_list
from . import ceph_space, sections
from .sections import Section

PATH = "/etc/pve/storage.cfg"
CONTENT = {"dir": ("images", "iso,vztmpl,backup,snippets,rootdir,images,import"),
           "btrfs": ("images,rootdir", "iso,vztmpl,backup,snippets,rootdir,images,import"),
           "rbd": ("images", "images,rootdir"),
           "cephfs": ("vztmpl,iso,backup", "vztmpl,iso,backup,snippets,import"),
           "pbs": ("backup", "backup")}  # fmt: skip
REQUIRED = {"dir": ("path",), "btrfs": ("path",), "rbd": (), "cephfs": (), "pbs": ("server", "datastore")}
SHARED = ("rbd", "cephfs", "pbs")


def configured(machine: Machine) -> list[Section]:
    """storage.cfg; where there is none, PVE's own default."""
    found = sections.parse(machine.read(PATH))
    if not any(section.id == "local" for section in found):
        found.insert(
            0, Section("dir", "local", {"path": "/var/lib/vz", "content": "iso,vztmpl,backup,import"})
        )
    return found


def write(machine: Machine, known: list[Section]) -> None:
    machine.write(PATH, sections.render(known, {key for keys in REQUIRED.values() for key in keys}))


def named(machine: Machine, name: str) -> Section:
    """ApiError in PVE's words where there is none of this name."""
    for section in configured(machine):
        if section.id == name:
            return section
    raise ApiError(500, f"storage '{name}' does not exist")


def content(section: Section) -> list[str]:
    """What may lie there: `images`, `rootdir`, `iso`, `vztmpl` ..."""
    return split_list(section.values.get("content", CONTENT.get(section.kind, ("none", ""))[0]))


def is_shared(section: Section) -> bool:
    """Whether all nodes see the same."""
    return section.kind in SHARED or section.values.get("shared") == "1"


def is_at(section: Section, node: str) -> bool:
    return not section.values.get("nodes") or node in split_list(section.values["nodes"])


def usable(machine: Machine, name: str, node: str) -> Section:
    """The storage, if this node of the cluster may use it; ApiError in PVE's words otherwise."""
    section = named(machine, name)
    if section.values.get("disable"):
        raise ApiError(500, f"storage '{name}' is disabled")
    if not is_at(section, node):
        raise ApiError(500, f"storage '{name}' is not available on node '{node}'")
    return section


def folder(machine: Machine, section: Section) -> str:
    """Where a storage of files lies on this node; a CephFS is mounted first. ApiError where it has none."""
    place = section.values.get("path", f"/mnt/pve/{section.id}")
    if section.kind == "cephfs" and not ceph_space.mounted(machine, section):
        raise ApiError(500, f"storage '{section.id}' is not online")
    if section.kind not in ("dir", "btrfs", "cephfs"):
        raise ApiError(500, f"storage '{section.id}' holds no files")
    return place


def space(machine: Machine, section: Section) -> dict[str, Any]:
    """What `pvesm status` tells of one storage: bytes, whether it can be used."""
    enabled = not section.values.get("disable")
    words = section.values.get("content", CONTENT.get(section.kind, ("none", ""))[0])
    found = {"storage": section.id, "type": section.kind, "content": words, "enabled": int(enabled),
             "shared": int(is_shared(section)), "active": 0, "total": 0, "used": 0, "avail": 0}  # fmt: skip
    held = _space(machine, section) if enabled else None
    if held:
        total, used, avail = held
        found |= {"active": 1, "total": total, "used": used, "avail": avail}
    return found


def _space(machine: Machine, section: Section) -> tuple[int, int, int] | None:
    """Total, used, available in bytes; None where it is not there."""
    if section.kind == "rbd":
        return ceph_space.pool(machine, section.values.get("pool", "rbd"))
    try:
        found = os.statvfs(machine.file(folder(machine, section)))
    except (ApiError, OSError):
        return None
    total, free, avail = (n * found.f_frsize for n in (found.f_blocks, found.f_bfree, found.f_bavail))
    return total, total - free, avail
