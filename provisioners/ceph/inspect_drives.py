"""What stands on drives: run on a node as `python3 - SERIAL ...`, or on image files as `python3 - PATH ...`.

Only reads, and opens nothing for writing. Prints one JSON object: {"drives": [...]}. Of a drive that nothing
holds it reads the first and last 4 MiB whole and 256 blocks of 64 KiB evenly spread between them, and says
where the first byte that is not zero was found. A drive in use (mounted, partitioned, held by LVM) is not
sampled: what holds it says what it is. Standard library only; util-linux does the recognising.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

TYPE_CHECKING = False  # `typing` costs an emulated node time, and only a checker needs it
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

EDGE = 4 << 20
BLOCK = 64 << 10
BLOCKS = 256


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return done.stdout


def listed() -> Any:
    columns = "NAME,PATH,TYPE,SIZE,SERIAL,FSTYPE,PTTYPE,MOUNTPOINTS"
    return json.loads(run("lsblk", "-J", "-b", "-o", columns) or "{}").get("blockdevices", [])


def below(device: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in device.get("children", []):
        yield child
        yield from below(child)


def signatures(path: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(run("wipefs", "-n", "-J", path) or "{}").get("signatures", [])
    except ValueError:
        return []
    return [
        {"type": s.get("type"), "offset": s.get("offset"), "uuid": s.get("uuid"), "label": s.get("label")}
        for s in found
    ]


def bluestore(head: bytes) -> dict[str, Any] | None:
    if not head.startswith(b"bluestore block device"):
        return None
    text = head[:8192].decode("latin-1")
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    fsid = re.search(f"ceph_fsid.{{4}}({uuid})", text, re.S)
    own = re.search(f"({uuid})", text)
    return {
        "ceph_fsid": fsid.group(1) if fsid else "",
        "osd_uuid": own.group(1) if own else "",
        "made": "mkfs_done" in text,  # BlueStore writes it last: without it the store was never opened
    }


def first_not_zero(data: bytes) -> int:
    if data.count(0) == len(data):
        return -1
    return len(data) - len(data.lstrip(b"\0"))


def sample(path: str) -> dict[str, Any]:
    handle = os.open(path, os.O_RDONLY)
    try:
        size = os.lseek(handle, 0, os.SEEK_END)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)
        edge = min(EDGE, size)
        spots = [(0, edge), (max(0, size - edge), edge)]
        step = max(BLOCK, (size - 2 * edge) // BLOCKS) if size > 2 * edge else 0
        spots += [(at, min(BLOCK, size - at)) for at in range(edge, size - edge, step)] if step else []
        read = 0
        for at, length in spots:
            data = os.pread(handle, length, at)
            read += len(data)
            found = first_not_zero(data)
            if found >= 0:
                return {"size": size, "read": read, "data_at": at + found}
        return {"size": size, "read": read, "data_at": None}
    finally:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def head_of(path: str) -> bytes:
    with open(path, "rb", buffering=0) as handle:  # noqa: PTH123
        return handle.read(8192)


def child(device: dict[str, Any]) -> dict[str, Any]:
    """A volume or partition below a drive. Of a volume that nothing mounts: its label, or its samples."""
    entry = {"name": device["name"], "type": device["type"], "fstype": device.get("fstype")}
    if device["type"] == "lvm" and not any(device.get("mountpoints") or []):
        try:
            entry["bluestore"] = bluestore(head_of(device["path"]))
            if not entry["bluestore"] and not device.get("fstype"):
                entry["data_at"] = sample(device["path"])["data_at"]
        except OSError as error:
            entry["data_at"] = str(error)
    return entry


def inspect(
    path: str, serial: str = "", children: Iterable[dict[str, Any]] = (), mounted: Iterable[str] = ()
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": path,
        "serial": serial,
        "signatures": signatures(path),
        "bluestore": bluestore(head_of(path)),
        "children": [child(c) for c in children],
        "mounted": sorted(m for m in mounted if m),
    }
    if children or entry["mounted"]:
        entry.update(size=None, read=0, data_at=None)
    else:
        entry.update(sample(path))
    return entry


def main(wanted: list[str]) -> None:
    found = [inspect(each) for each in wanted if each.startswith("/")]
    serials = {each for each in wanted if not each.startswith("/")}
    if serials:
        for device in listed():
            serial = (device.get("serial") or "").strip()
            if device.get("type") != "disk" or serial not in serials:
                continue
            inner = list(below(device))
            mounted = [m for d in [device, *inner] for m in d.get("mountpoints") or []]
            try:
                entry = inspect(device["path"], serial, inner, mounted)
            except OSError as error:
                entry = {"path": device["path"], "serial": serial, "error": str(error)}
            entry["size"] = device.get("size")
            found.append(entry)
    sys.stdout.write(json.dumps({"drives": found}) + "\n")


main(sys.argv[1:])
