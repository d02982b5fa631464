"""GET /nodes/{node}/disks/list: drives as lsblk sees them, with what is on them (PVE::Diskmanage)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..http.machine import Machine
from ..http.registry import Call, check, endpoint

_COLUMNS = "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,VENDOR,WWN,ROTA,PTTYPE,FSTYPE,PARTTYPE,MOUNTPOINTS,RM,TRAN"
_USED = {"LVM2_member": "LVM", "zfs_member": "ZFS", "linux_raid_member": "mounted", "crypto_LUKS": "LUKS"}


def tree(machine: Machine) -> list[dict[str, Any]]:
    """lsblk's block devices."""
    said = machine.run(["lsblk", "-J", "-b", "-o", _COLUMNS]).out
    found: list[dict[str, Any]] = json.loads(said)["blockdevices"]
    return found


def _below(device: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for child in device.get("children", []):
        yield child
        yield from _below(child)


def osds(machine: Machine) -> dict[str, tuple[str, str]]:
    """Device path of a physical volume -> (OSD id, encrypted) by ceph-volume's LVM tags."""
    command = ["lvs", "--noheadings", "--readonly", "--separator", ";", "-o", "lv_tags,devices"]
    found = {}
    for line in machine.run(command, check=False, timeout_s=30).out.splitlines():
        labels, _, devices = line.strip().partition(";")
        tags = dict(tag.removeprefix("ceph.").split("=", 1) for tag in labels.split(",") if "=" in tag)
        if "osd_id" in tags and tags.get("type") in ("block", None):
            found[devices.partition("(")[0]] = tags["osd_id"], tags.get("encrypted", "0")
    return found


def usage(device: Mapping[str, Any]) -> str | None:
    """PVE's word for what occupies a drive, None where it is free."""
    parts = list(_below(device))
    mounted = [point for one in (device, *parts) for point in one.get("mountpoints") or [] if point]
    if word := _USED.get(device.get("fstype") or ""):
        return word
    if mounted:
        return "mounted"
    if device.get("fstype"):
        return str(device["fstype"])
    kinds = {_USED.get(part.get("fstype") or "") for part in parts} - {None, ""}
    if kinds:
        return sorted(str(kind) for kind in kinds)[0]
    return "partitions" if device.get("pttype") else None


def entry(device: Mapping[str, Any], osd: tuple[str, str] | None, link: str | None) -> dict[str, Any]:
    """One entry of the list. Health and wear are not read: QEMU's drives have none to tell."""
    spinning = bool(device.get("rota")) and device.get("tran") != "nvme"
    mounted = any(point for one in (device, *_below(device)) for point in one.get("mountpoints") or [])
    found: dict[str, Any] = {
        "devpath": device["path"],
        "type": "nvme" if device["name"].startswith("nvme") else "hdd" if spinning else "ssd",
        "size": device["size"],
        "model": (device.get("model") or "unknown").strip().replace(" ", "_"),
        "serial": (device.get("serial") or "unknown").strip(),
        "vendor": (device.get("vendor") or "unknown").strip(),
        "wwn": device.get("wwn") or "unknown",
        "gpt": int(device.get("pttype") == "gpt"),
        "health": "UNKNOWN",
        "wearout": "N/A",
        "rpm": -1 if spinning else 0,
        "mounted": int(mounted),
        "osdid": int(osd[0]) if osd else -1,
        "osdid-list": [osd[0]] if osd else None,
    }
    if osd:
        found |= {"bluestore": 1, "osdencrypted": int(osd[1])}
    if word := usage(device):
        found["used"] = word
    return {**found, "by_id_link": link} if link else found


def links(machine: Machine) -> dict[str, str]:
    """Kernel name -> a name in /dev/disk/by-id with model and serial."""
    found: dict[str, str] = {}
    folder = machine.file("/dev/disk/by-id")
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.is_symlink() and not re.search(r"-part\d+$|nvme-(eui|nvme)\.|^wwn-|^lvm-|^dm-", path.name):
            found.setdefault(path.readlink().name, f"/dev/disk/by-id/{path.name}")
    return found


@endpoint(
    "GET",
    "/nodes/{node}/disks/list",
    permissions=check("/nodes/{node}", "Sys.Audit", "Datastore.Audit"),
    parameters={
        "include-partitions": {"type": "boolean", "optional": 1, "default": 0},
        "skipsmart": {"type": "boolean", "optional": 1, "default": 0},
        "type": {"type": "string", "enum": ["unused", "journal_disks"], "optional": 1},
    },
)
def disks(call: Call) -> Any:
    known, names = osds(call.machine), links(call.machine)
    found: list[dict[str, Any]] = []
    for device in tree(call.machine):
        if (
            device["type"] != "disk"
            or not device["size"]
            or re.match(r"zram|nbd|ram|loop|rbd", device["name"])
        ):
            continue
        line = entry(device, known.get(device["path"]), names.get(device["name"]))
        if call.params.get("type") == "unused" and "used" in line:
            continue
        found.append(line)
        if call.params["include-partitions"]:
            parts = [part for part in device.get("children", []) if part["type"] == "part"]
            found += [
                {**entry({**device, **part}, known.get(part["path"]), None), "parent": device["path"]}
                for part in parts
            ]
    return found
