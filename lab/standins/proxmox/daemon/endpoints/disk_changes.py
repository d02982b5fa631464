"""PUT /nodes/{node}/disks/wipedisk and POST initgpt: a drive that nothing holds is emptied, or given a GPT.

Refusals have PVE::API2::Disks' words. Both are for root@pam alone, as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..ceph import drives
from ..http.machine import Machine
from ..http.registry import ApiError, Call, endpoint, tasks
from ..http.tasks import Log
from . import disks

DISK = {"type": "string", "pattern": r"^/dev/[a-zA-Z0-9\/]+$"}
Device = Mapping[str, Any]


def _every(devices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for device in devices:
        yield device
        yield from _every(device.get("children", []))


def _found(machine: Machine, path: str) -> Device:
    """The drive or partition with this path. ApiError when the node has none."""
    for device in _every(disks.tree(machine)):
        if device["path"] == path and device["type"] in ("disk", "part"):
            return device
    raise ApiError(500, "not a valid block device")


def _parts(device: Device) -> list[Device]:
    return [part for part in device.get("children", []) if part["type"] == "part"]


def _require_released(device: Device) -> None:
    """ApiError where the drive or a partition of it is mounted, or held by LVM, RAID or a mapping."""
    pieces = [device, *_parts(device)]
    for piece in pieces:
        if any(piece.get("mountpoints") or []):
            raise ApiError(500, f"disk/partition '{piece['path']}' is mounted")
    for piece in pieces:
        if any(child["type"] != "part" for child in piece.get("children", [])):
            raise ApiError(500, f"disk/partition '{piece['name']}' has a holder")


@endpoint("PUT", "/nodes/{node}/disks/wipedisk", parameters={"disk": DISK})
def wipe(call: Call) -> Any:
    device = _found(call.machine, call.params["disk"])
    _require_released(device)
    return tasks.start(
        call, kind="wipedisk", id=device["name"], work=lambda log: _wipe(call.machine, device, log)
    )


def _wipe(machine: Machine, device: Device, log: Log) -> None:
    parts = [part["path"] for part in _parts(device)]
    if parts:
        log(f"found child partitions to wipe: {', '.join(parts)}")
        machine.run(["wipefs", "--all", "--quiet", *parts])
    log(f"wiping block device {device['path']}")
    drives.wipe(machine, drives.Drive(device["path"], int(device["size"]), None))
    if machine.run(["udevadm", "trigger", device["path"]], check=False).code:
        log.warn(f"udev was not told of {device['path']}")


@endpoint(
    "POST",
    "/nodes/{node}/disks/initgpt",
    parameters={
        "disk": DISK,
        "uuid": {"type": "string", "pattern": r"[a-fA-F0-9\-]+", "maxLength": 36, "optional": 1},
    },
)
def initgpt(call: Call) -> Any:
    device = _found(call.machine, call.params["disk"])
    path = device["path"]
    if device["type"] == "part":
        raise ApiError(500, f"{path} is a partition")
    if disks.usage(device):
        raise ApiError(500, f"disk {path} already in use")
    command = ["sgdisk", path, "-U", call.params.get("uuid", "R")]
    return tasks.start(
        call, kind="diskinit", id=device["name"], work=lambda log: log(call.machine.run(command).out)
    )
