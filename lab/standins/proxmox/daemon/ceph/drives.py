"""Whether a drive is free, and making it so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine

# A partition table without partitions is no use of a drive; PVE wipes it as well.
_TABLES = frozenset({"gpt", "PMBR", "dos"})
WIPED_MIB = 10


@dataclass(frozen=True)
class Drive:
    """A whole drive: its path, size in bytes, and what uses it (None when nothing does)."""

    path: str
    size: int
    used: str | None

    @property
    def name(self) -> str:
        return self.path.removeprefix("/dev/")


def inspect(machine: Machine, path: str) -> Drive:
    """Look at a drive. ApiError when the path is no block device of this node."""
    if not path.startswith("/dev/"):
        raise ApiError(500, f"'{path}' is not a valid device path")
    wanted = ["lsblk", "--json", "--bytes", "--output", "NAME,PATH,TYPE,SIZE,FSTYPE,MOUNTPOINTS", path]
    shown = machine.run(wanted, check=False)
    if shown.code:
        raise ApiError(500, f"unable to get device info for '{path.removeprefix('/dev/')}'")
    rows = json.loads(shown.out)["blockdevices"]
    row = next((one for one in rows if one["path"] == path), rows[0])
    return Drive(row["path"], int(row["size"]), _use(row) or _signature(machine, row["path"]))


def _use(row: dict[str, Any]) -> str | None:
    if any(row.get("mountpoints") or []):
        return "mounted"
    if row.get("fstype"):
        return "LVM" if row["fstype"] == "LVM2_member" else str(row["fstype"])
    children = row.get("children", [])
    if children:
        return "partitions" if children[0]["type"] == "part" else str(children[0]["type"])
    return None


def _signature(machine: Machine, path: str) -> str | None:
    """What stands on the drive itself: udev, which lsblk asks, may not have looked since it was written."""
    shown = machine.run(["wipefs", "--no-act", "--json", path])
    found = json.loads(shown.out).get("signatures", []) if shown.out.strip() else []
    kinds = [one["type"] for one in found if one["type"] not in _TABLES]
    if not kinds:
        return None
    return "LVM" if kinds[0] == "LVM2_member" else str(kinds[0])


def require_free(drive: Drive) -> None:
    """ApiError in PVE's words for a drive that holds anything."""
    if drive.used:
        raise ApiError(500, f"device '{drive.path}' is already in use")


def wipe(machine: Machine, drive: Drive) -> None:
    """Remove signatures, zero the first 10 MiB (PVE zeroes 200, which here would only fill an image)."""
    count = min(WIPED_MIB, drive.size >> 20)
    machine.run(["wipefs", "--all", "--quiet", drive.path])
    machine.run(
        ["dd", "if=/dev/zero", f"of={drive.path}", "bs=1M", f"count={count}", "conv=fdatasync", "status=none"]
    )
