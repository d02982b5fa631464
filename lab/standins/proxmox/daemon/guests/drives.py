"""Drives of virtual machines: `scsi0: rbd-vms:vm-102-disk-0,size=1G`, `ide2: local:iso/x.iso,media=cdrom`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..http.parameters import join_properties, properties

#: how many of each bus there are
COUNTS = {"ide": 4, "scsi": 31, "virtio": 16}
FORM: dict[str, dict[str, Any]] = {
    "file": {"type": "string", "default_key": 1},
    "media": {"type": "string", "enum": ("cdrom", "disk"), "optional": 1},
    "cache": {
        "type": "string",
        "enum": ("none", "writethrough", "writeback", "unsafe", "directsync"),
        "optional": 1,
    },
    "discard": {"type": "string", "enum": ("ignore", "on"), "optional": 1},
    "serial": {"type": "string", "maxLength": 60, "optional": 1},
    "size": {"type": "string", "optional": 1},
    "ssd": {"type": "boolean", "optional": 1},
}
_KEY = re.compile(r"(ide|scsi|virtio)(\d+)")


@dataclass(frozen=True)
class Drive:
    """`key` is `scsi0`, `bus` and `index` its parts; `options` hold what stands behind the volume."""

    key: str
    options: Mapping[str, Any]

    @property
    def bus(self) -> str:
        return self.key.rstrip("0123456789")

    @property
    def index(self) -> int:
        return int(self.key.removeprefix(self.bus))

    @property
    def file(self) -> str:
        """The volume's id, `none` for an empty CD drive, or `storage:size` for a disk that is ordered."""
        return str(self.options["file"])

    @property
    def is_cdrom(self) -> bool:
        return self.options.get("media") == "cdrom"

    def __str__(self) -> str:
        return join_properties(self.options, FORM)


def parse(key: str, text: str) -> Drive:
    """ValueError with PVE's words."""
    return Drive(key, properties(text, FORM))


def of(values: Mapping[str, str]) -> list[Drive]:
    """The drives of a configuration: disks of each bus and CD drives, by name and number."""
    found = [parse(key, text) for key, text in values.items() if is_drive(key)]
    return sorted(found, key=lambda drive: (drive.bus, drive.index))


def is_drive(key: str) -> bool:
    match = _KEY.fullmatch(key)
    return match is not None and int(match[2]) < COUNTS[match[1]]


def boot_order(values: Mapping[str, str]) -> list[str]:
    """The devices that the firmware tries, the first first; without an order PVE's: disk, CD, network."""
    if match := re.fullmatch(r"order=(.*)", values.get("boot", "")):
        return [name for name in match[1].split(";") if name]
    known = of(values)
    disks = [drive.key for drive in known if not drive.is_cdrom]
    cds = [drive.key for drive in known if drive.is_cdrom]
    nets = sorted(key for key in values if re.fullmatch(r"net\d+", key))
    return [*disks[:1], *cds[:1], *nets[:1]]
