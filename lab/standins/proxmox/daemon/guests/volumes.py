"""Volumes by their ids: `local:iso/x.iso`, `local:vztmpl/x.tar.gz`, `rbd-vms:vm-101-disk-0`; and sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..config import storages
from ..config.sections import Section
from ..http.errors import ApiError
from ..http.machine import Machine

GIB = 1 << 30
# content -> folder below the storage's own, what a file of it may be called (PVE::Storage::Plugin)
FOLDERS = {
    "iso": ("template/iso", re.compile(r"[^/\s]+\.(?:iso|img)", re.I)),
    "vztmpl": ("template/cache", re.compile(r"[^/\s]+\.tar(?:\.(?:gz|xz|zst|bz2))?")),
}
_ID = re.compile(r"([a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]):(.+)")
_NEW = re.compile(r"(?:([^/:\s]+):)?(\d+(?:\.\d+)?)")
_DISK = re.compile(r"vm-([1-9][0-9]{2,8})-\S+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT])?")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": GIB, "T": 1 << 40}
_FORMATS = {".tar": "tar", ".gz": "tgz", ".xz": "txz", ".zst": "tzst", ".bz2": "tbz2"}


@dataclass(frozen=True)
class Volume:
    """`name` is what stands behind the storage's: `iso/x.iso`, `vm-101-disk-0`."""

    storage: Section
    name: str

    @property
    def id(self) -> str:
        return f"{self.storage.id}:{self.name}"

    @property
    def content(self) -> str:
        """`iso`, `vztmpl`, or `images` for a guest's disk."""
        kind, slash, _ = self.name.partition("/")
        return kind if slash else "images"

    @property
    def owner(self) -> int | None:
        """The VMID of the guest whose disk it is."""
        match = _DISK.fullmatch(self.name)
        return int(match[1]) if match else None


def parse(machine: Machine, volid: str) -> Volume:
    """ApiError in PVE's words where it is no volume id, or of a storage that is not there."""
    match = _ID.fullmatch(volid)
    if match is None:
        raise ApiError(500, f"unable to parse volume ID '{volid}'")
    found = Volume(storages.named(machine, match[1]), match[2])
    if found.content in FOLDERS:
        named = FOLDERS[found.content][1].fullmatch(found.name.partition("/")[2])
        if found.storage.kind == "rbd" or named is None:
            raise ApiError(500, f"unable to parse volume name '{match[2]}'")
    elif found.owner is None:
        raise ApiError(500, f"unable to parse volume name '{match[2]}'")
    return found


def new(text: str) -> tuple[str, int] | None:
    """(storage or "", bytes) of `storage:GiB`, which orders a new disk; None otherwise."""
    match = _NEW.fullmatch(text)
    return (match[1] or "", round(float(match[2]) * GIB)) if match else None


def file(machine: Machine, volume: Volume) -> Path:
    """Where an image or a template lies; ApiError in PVE's words where it does not."""
    folder, _ = FOLDERS[volume.content]
    place = f"{storages.folder(machine, volume.storage)}/{folder}/{volume.name.partition('/')[2]}"
    found = machine.file(place)
    if not found.is_file():
        raise ApiError(500, f"volume '{volume.id}' does not exist")
    return found


def files(machine: Machine, section: Section) -> Iterator[tuple[Volume, Path]]:
    """The images and templates of a storage, by content and name."""
    for content in sorted(FOLDERS.keys() & set(storages.content(section))):
        folder, pattern = FOLDERS[content]
        for path in sorted(machine.file(f"{storages.folder(machine, section)}/{folder}").glob("*")):
            if pattern.fullmatch(path.name) and path.is_file():
                yield Volume(section, f"{content}/{path.name}"), path


def file_format(volume: Volume) -> str:
    """`iso`, `tgz` ... as PVE names it."""
    return "iso" if volume.content == "iso" else _FORMATS[Path(volume.name).suffix]


def split(text: str) -> tuple[str, dict[str, str]]:
    """(volume id, options) of `rbd-containers:vm-101-disk-0,size=1G`."""
    volid, _, rest = text.partition(",")
    pairs = [word.partition("=") for word in rest.split(",") if word]
    return volid.removeprefix("volume="), {name: value for name, _, value in pairs}


def size_text(size: int) -> str:
    """Bytes as PVE writes them: `1G`, `512M`; the largest unit that divides them."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def size_bytes(text: str) -> int:
    """`1G` in bytes, 0 where it is no size."""
    match = _SIZE.fullmatch(text)
    return round(float(match[1]) * _UNITS.get(match[2] or "", 1)) if match else 0
