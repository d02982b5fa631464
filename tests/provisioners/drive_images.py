"""Drives that carry something, as real tools left them.

`python -m tests.provisioners.drive_images FOLDER` makes them.

Each image is kept in samples/drives/ as the parts of it that are not zero, so that the tests need none of
the tools. `made_by` in each says which tool and version; ZFS and md come from their on-disk formats (OpenZFS
`vdev_impl.h`, `uberblock_impl.h`; kernel `md_p.h`), because their tools need kernel modules.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).with_name("samples") / "drives"
MIB = 1 << 20
PAGE = 4096
FOREIGN = "7f0d3a52-64c1-4c53-8fd0-aa11bb22cc33"


def expand(name: str, target: Path) -> Path:
    """Writes the image of that name, sparse; the path of the file."""
    kept = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    with target.open("wb") as image:
        image.truncate(int(kept["size"]))
        for offset, packed in kept["extents"]:
            image.seek(offset)
            image.write(zlib.decompress(base64.b64decode(packed)))
    return target


def keep(name: str, image: Path, made_by: str) -> None:
    """Keeps the parts of an image that are not zero."""
    extents: list[list[Any]] = []
    data = b""
    start = 0
    with image.open("rb") as handle:
        for offset in range(0, image.stat().st_size, PAGE):
            page = handle.read(PAGE)
            if page.count(0) == len(page):
                if data:
                    extents.append([start, base64.b64encode(zlib.compress(data, 9)).decode()])
                data = b""
                continue
            if not data:
                start = offset
            data += page
    if data:
        extents.append([start, base64.b64encode(zlib.compress(data, 9)).decode()])
    SAMPLES.mkdir(parents=True, exist_ok=True)
    kept = {"made_by": made_by, "size": image.stat().st_size, "extents": extents}
    (SAMPLES / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _run(*argv: str, data: str | None = None) -> str:
    return subprocess.run(argv, input=data, capture_output=True, text=True, check=True).stdout


def _version(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return " ".join((done.stdout + done.stderr).split()[:8])


def gpt(image: Path) -> str:
    _run("sgdisk", "-n", "1:2048:+16M", "-t", "1:8300", str(image))
    return _version("sgdisk", "--version")


def mbr(image: Path) -> str:
    _run("sfdisk", str(image), data="label: dos\n2048,32768,83\n")
    return _version("sfdisk", "--version")


def lvm(image: Path) -> str:
    loop = _run("losetup", "-f", "--show", str(image)).strip()
    try:
        _run("pvcreate", "-y", "--config", "devices{use_devicesfile=0}", loop)
        _run("vgcreate", "--config", "devices{use_devicesfile=0}", "rackproof_sample", loop)
    finally:
        _run("losetup", "-d", loop)
    return _version("pvcreate", "--version")


def ext4(image: Path) -> str:
    _run("mkfs.ext4", "-q", str(image))
    return _version("mkfs.ext4", "-V")


def xfs(image: Path) -> str:
    _run("mkfs.xfs", "-q", str(image))
    return _version("mkfs.xfs", "-V")


def bcache(image: Path) -> str:
    loop = _run("losetup", "-f", "--show", str(image)).strip()
    try:
        _run("make-bcache", "-B", loop)
    finally:
        _run("losetup", "-d", loop)
    return "make-bcache of " + _version("dpkg-query", "-W", "bcache-tools")


def bluestore(image: Path) -> str:
    """A whole BlueStore of another cluster, made by ceph-osd --mkfs on the bare drive."""
    folder = image.with_suffix(".osd")
    folder.mkdir()
    try:
        (folder / "block").symlink_to(image)
        monmap = folder / "monmap"
        _run("monmaptool", "--create", "--fsid", FOREIGN, "--add", "a", "127.0.0.1:6789", str(monmap))
        _run(
            "ceph-osd", "-i", "0", "--mkfs", "--no-mon-config", "--osd-data", str(folder), "--fsid", FOREIGN,
            "--osd-uuid", str(uuid.uuid4()), "--monmap", str(monmap), "--osd-objectstore", "bluestore",
            "--conf", "/dev/null", "--log-to-stderr=true", "--log-file=",
            "--setuser-match-path", str(folder),
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    return _version("ceph-osd", "--version")


def zfs(image: Path) -> str:
    """Four labels: a packed nvlist at 16 KiB, uberblocks from 128 KiB on (native byte order)."""

    def text(value: bytes) -> bytes:
        return struct.pack(">I", len(value)) + value + b"\0" * (-len(value) % 4)

    def pair(name: bytes, kind: int, body: bytes) -> bytes:
        inner = text(name) + struct.pack(">II", kind, 1) + body
        return struct.pack(">II", 8 + len(inner), 64) + inner

    listed = b"\x01\x01\0\0" + struct.pack(">II", 0, 1)  # XDR, little endian host; version, flags
    listed += pair(b"version", 8, struct.pack(">Q", 5000)) + pair(b"name", 9, text(b"tank"))
    listed += pair(b"pool_guid", 8, struct.pack(">Q", 0x1234567890ABCDEF)) + struct.pack(">II", 0, 0)
    size = image.stat().st_size
    with image.open("r+b") as handle:
        for label in (0, 256 << 10, size - (512 << 10), size - (256 << 10)):
            handle.seek(label + (16 << 10))
            handle.write(listed)
            for slot in range(32):
                handle.seek(label + (128 << 10) + slot * 1024)
                handle.write(struct.pack("<QQQQQ", 0x00BAB10C, 5000, 100 + slot, 0x1234, 1700000000))
    return "bytes of the on-disk format (OpenZFS)"


def md(image: Path) -> str:
    """Superblock 1.2 of a two-drive mirror, 4 KiB from the beginning, with its checksum."""
    block = bytearray(256 + 2 * 2)
    struct.pack_into("<IIII", block, 0, 0xA92B4EFC, 1, 0, 0)
    block[16:32] = uuid.UUID(FOREIGN).bytes
    block[32:39] = b"lab:md0"
    struct.pack_into("<QIIQII", block, 64, 1700000000, 1, 0, 100000, 0, 2)
    struct.pack_into("<QQQ", block, 128, 2048, 120000, 8)  # data_offset, data_size, super_offset in sectors
    struct.pack_into("<I", block, 220, 2)  # max_dev; sb_csum stands at 216
    total = sum(struct.unpack_from(f"<{len(block) // 4}I", block))
    total = (total & 0xFFFFFFFF) + (total >> 32)
    struct.pack_into("<I", block, 216, total & 0xFFFFFFFF)
    with image.open("r+b") as handle:
        handle.seek(4096)
        handle.write(block)
    return "bytes of the on-disk format (md_p.h)"


def raw(image: Path) -> str:
    """Data that nothing recognises, in the middle alone: the head and the tail are zero."""
    with image.open("r+b") as handle:
        handle.seek(30 * MIB)
        handle.write(os.urandom(64) * 4096)
    return "os.urandom"


KINDS: dict[str, tuple[Callable[[Path], str], int, str]] = {
    "gpt": (gpt, 24, "GPT"),
    "mbr": (mbr, 24, "MBR"),
    "lvm": (lvm, 24, "LVM physical volume"),
    "zfs": (zfs, 64, "ZFS label"),
    "bcache": (bcache, 24, "bcache"),
    "ext4": (ext4, 24, "ext4"),
    "xfs": (xfs, 320, "xfs"),
    "md": (md, 24, "md array"),
    "bluestore": (bluestore, 512, FOREIGN),
    "raw": (raw, 64, "without a signature"),
}


def main(folder: Path) -> None:
    """Makes every image in `folder` and keeps it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, size, _) in KINDS.items():
        image = folder / f"{name}.img"
        with image.open("wb") as handle:
            handle.truncate(size * MIB)
        try:
            made_by = make(image)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error} {getattr(error, 'stderr', '')}")  # noqa: T201
            continue
        keep(name, image, made_by)
        print(f"{name}: {made_by}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
