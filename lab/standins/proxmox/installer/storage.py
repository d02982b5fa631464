"""From blank or used disks to a mounted btrfs root: partitions as pve-installer makes them."""

from __future__ import annotations

import math
from pathlib import Path

from .answer import LEAST_DISKS, Disks
from .devices import Disk
from .system import run

ESP, ROOT = 2, 3  # partition numbers; 1 is the BIOS boot partition
BIG_DISK = 100 * 2**30  # from this size on the ESP has 1 GiB instead of 512 MiB


def wipe(disk: Disk) -> None:
    """Remove every signature of the disk and its partitions: a stale file system of the same name has
    kept a node from booting, so none may stay."""
    listed = run(["lsblk", "--output", "kname", "--noheadings", "--path", "--list", disk.device]).split()
    run(["wipefs", "--all", "--force", *sorted(listed, key=len, reverse=True)])
    run(["sgdisk", "--zap-all", disk.device])


def partition(disk: Disk, hdsize_gib: float | None) -> None:
    """BIOS boot, ESP and root. Signatures that an older layout left inside the new partitions go too."""
    esp_mib = 1024 if disk.size > BIG_DISK else 512
    limited = hdsize_gib is not None and hdsize_gib * 2**30 < disk.size
    end = f"{math.floor((hdsize_gib or 0) * 1024)}M" if limited else "0"
    run(
        [
            "sgdisk",
            f"-n{ESP}:1M:+{esp_mib}M",
            f"-t{ESP}:EF00",
            f"-n{ROOT}:{esp_mib + 1}M:{end}",
            f"-t{ROOT}:8300",
            "-a1",
            "-n1:34:2047",
            "-t1:EF02",
            disk.device,
        ]
    )
    run(["udevadm", "settle", "--timeout=20"])
    run(["wipefs", "--all", "--force", disk.partition(ESP), disk.partition(ROOT)])


def make(chosen: list[Disk], order: Disks, target: Path) -> str:
    """Wipe, partition and format the disks and mount the new root; returns its file system UUID."""
    assert len(chosen) >= LEAST_DISKS[order.raid]
    for disk in chosen:
        wipe(disk)
        partition(disk, order.hdsize_gib)
    for disk in chosen:
        run(["mkfs.vfat", "-F32", disk.partition(ESP)])
    profile = order.raid if len(chosen) > 1 else "single"
    roots = [disk.partition(ROOT) for disk in chosen]
    run(["mkfs.btrfs", "--force", "--nodiscard", "-d", profile, "-m", profile, *roots])
    run(["udevadm", "settle", "--timeout=20"])
    target.mkdir(parents=True, exist_ok=True)
    run(
        [
            "mount",
            "-t",
            "btrfs",
            "-o",
            ",".join(["noatime,nobarrier", *(f"device={root}" for root in roots)]),
            roots[0],
            str(target),
        ]
    )
    return uuid(roots[0])


def uuid(device: str) -> str:
    return run(["blkid", "-p", "-o", "value", "-s", "UUID", device]).strip()
