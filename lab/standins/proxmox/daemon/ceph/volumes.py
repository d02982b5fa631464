"""Logical volumes of OSDs, named and tagged as ceph-volume does it: `ceph-volume lvm list` knows them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from ..http.errors import ApiError
from ..http.machine import Machine
from .drives import Drive


@dataclass(frozen=True)
class Volume:
    """A logical volume with its tags (`ceph.osd_id` ...); size in bytes."""

    group: str
    name: str
    uuid: str
    size: int
    created: str
    devices: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def path(self) -> str:
        return f"/dev/{self.group}/{self.name}"


_FIELDS = "vg_name,lv_name,lv_uuid,lv_size,lv_time,lv_tags,devices"


def listing(machine: Machine) -> list[Volume]:
    """Every volume that bears a tag of ceph-volume."""
    shown = machine.run(["lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "--options", _FIELDS])
    result = []
    for row in json.loads(shown.out)["report"][0]["lv"]:
        tags = dict(tag.partition("=")[::2] for tag in row["lv_tags"].split(",") if tag.startswith("ceph."))
        if tags:
            devices = tuple(device.split("(")[0] for device in row["devices"].split(","))
            result.append(
                Volume(
                    row["vg_name"], row["lv_name"], row["lv_uuid"], int(float(row["lv_size"])),
                    row["lv_time"],                    devices, tags,
                )
            )  # fmt: skip
    return result


def of_osd(machine: Machine, osd: int, kind: str = "block") -> Volume | None:
    """This node's volume of an OSD, None where it has none. `kind` is block, db or wal."""
    for volume in listing(machine):
        if volume.tags.get("ceph.osd_id") == str(osd) and volume.tags.get("ceph.type") == kind:
            return volume
    return None


def make(machine: Machine, drive: Drive, count: int = 1) -> list[tuple[str, str]]:
    """A volume group over a free drive with `count` equal volumes; returns group and name of each."""
    group = f"ceph-{uuid.uuid4()}"
    machine.run(["vgcreate", "--yes", "--force", group, drive.path])
    made = []
    for index in range(count):
        name = f"osd-block-{uuid.uuid4()}"
        # The last one takes what rounding left over.
        extent = "100%FREE" if index == count - 1 else f"{100 // count}%VG"
        _make_volume(machine, group, name, ["--extents", extent])
        made.append((group, name))
    return made


def make_beside(machine: Machine, drive: Drive, kind: str, size: int) -> tuple[str, str]:
    """A volume of `size` bytes for block.db or block.wal on a free drive or in its ceph group."""
    group = None
    if drive.used is None:
        group = f"ceph-{uuid.uuid4()}"
        machine.run(["vgcreate", "--yes", "--force", group, drive.path])
    elif drive.used == "LVM":
        group = _group_on(machine, drive, size)
    if group is None:
        raise ApiError(500, f"cannot use '{drive.path}' for 'osd-{kind}'")
    name = f"osd-{kind}-{uuid.uuid4()}"
    _make_volume(machine, group, name, ["--size", f"{size}b"])
    return group, name


def _group_on(machine: Machine, drive: Drive, size: int) -> str:
    shown = machine.run(
        [
            "pvs",
            "--reportformat",
            "json",
            "--units",
            "b",
            "--nosuffix",
            "--options",
            "pv_name,vg_name,pv_free",
        ]
    )
    for row in json.loads(shown.out)["report"][0]["pv"]:
        if row["pv_name"] == drive.path and row["vg_name"].startswith("ceph-"):
            if int(float(row["pv_free"])) < size:
                raise ApiError(500, f"vg '{row['vg_name']}' has not enough free space")
            return str(row["vg_name"])
    raise ApiError(500, f"no ceph vg found on '{drive.path}'")


def _make_volume(machine: Machine, group: str, name: str, size: list[str]) -> None:
    machine.run(["lvcreate", "--yes", "--wipesignatures", "y", *size, "--name", name, group])


def identity(machine: Machine, group: str, name: str) -> str:
    """LVM's own id of a volume."""
    return machine.run(["lvs", "--noheadings", "--options", "lv_uuid", f"{group}/{name}"]).out.strip()


def tag(machine: Machine, group: str, name: str, tags: Mapping[str, str]) -> None:
    words = [word for key, value in tags.items() for word in ("--addtag", f"ceph.{key}={value}")]
    machine.run(["lvchange", *words, f"{group}/{name}"])


def remove(machine: Machine, group: str) -> None:
    """Remove a volume group with all its volumes, and LVM's label from its drives."""
    drives = machine.run(["vgs", "--noheadings", "--options", "pv_name", group], check=False).out.split()
    machine.run(["vgremove", "--yes", "--force", group], check=False)
    for drive in drives:
        machine.run(["pvremove", "--yes", "--force", drive], check=False)
        machine.run(["wipefs", "--all", "--quiet", drive], check=False)
