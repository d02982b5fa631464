"""Both ESPs bootable alone: systemd-boot, kernel and initrd on each, a firmware entry per leg."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from . import render
from .devices import Disk
from .errors import InstallError
from .storage import ESP, uuid
from .system import run, write

LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
LABEL = "Linux Boot Manager"
ESP_LIST = "etc/kernel/proxmox-boot-uuids"
EFIVARS = Path("/sys/firmware/efi/efivars")


def kernel_version(target: Path) -> str:
    """The one kernel of the base system. Raises InstallError when there is none or more than one."""
    found = sorted(path.name for path in (target / "usr/lib/modules").iterdir())
    if len(found) != 1:
        raise InstallError(f"expected one kernel in the base system, found {', '.join(found) or 'none'}")
    return found[0]


def install(target: Path, chosen: list[Disk], machine_id: str, command_line: str) -> None:
    """Fill every ESP, note their UUIDs for proxmox-boot-tool and enter each in the firmware, leg 1 first."""
    version = kernel_version(target)
    entry = render.loader_entry(version, machine_id, command_line)
    for number, disk in enumerate(chosen):
        mounted = Path(f"/run/esp{number}")
        mounted.mkdir()
        run(["mount", "-t", "vfat", disk.partition(ESP), str(mounted)])
        fill(target, mounted, version, entry)
        run(["umount", str(mounted)])
    write(target, ESP_LIST, "".join(f"{uuid(disk.partition(ESP))}\n" for disk in chosen))
    enter(chosen)


def fill(target: Path, esp: Path, version: str, entry: str) -> None:
    for path in ("EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"):
        (esp / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target / LOADER, esp / path)
    write(esp, "loader/loader.conf", "timeout 0\ndefault proxmox-*\n")
    write(esp, f"loader/entries/proxmox-{version}.conf", entry)
    folder = esp / "EFI/proxmox" / version
    folder.mkdir(parents=True)
    for name in (f"vmlinuz-{version}", f"initrd.img-{version}"):
        shutil.copyfile(target / "boot" / name, folder / name)


def enter(chosen: list[Disk]) -> None:
    """Firmware entries. What an earlier installation entered under the same label is removed."""
    if not any(EFIVARS.iterdir()):
        run(["mount", "-t", "efivarfs", "efivarfs", str(EFIVARS)])
    for number in re.findall(rf"^Boot([0-9A-F]{{4}})\*? {LABEL}", run(["efibootmgr"]), re.MULTILINE):
        run(["efibootmgr", "--quiet", "--bootnum", number, "--delete-bootnum"])
    for disk in reversed(chosen):  # a new entry goes to the front of the boot order
        run(
            [
                "efibootmgr",
                "--quiet",
                "--create",
                "--disk",
                disk.device,
                "--part",
                str(ESP),
                "--label",
                LABEL,
                "--loader",
                r"\EFI\systemd\systemd-bootx64.efi",
            ]
        )
