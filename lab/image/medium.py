"""The installer medium: an ISO image in the form of Proxmox VE's, bootable by UEFI from CD and from USB."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from lab.image import recipe
from lab.processes import run

EFI_IMAGE_SLACK_KIB = 2048
LOADER_CONF = "timeout 0\ndefault automated.conf\n"
NOTICE = (
    "This is not Proxmox VE. It is the virtual rack's stand-in for its installer;\n"
    "lab/standins/README.md says what is real in it and what is not.\n"
)


@dataclass(frozen=True)
class Parts:
    """What the medium is made of."""

    squashfs: Path
    kernel: Path
    initrd: Path
    loader: Path


def info(release: str) -> str:
    """Text of /.cd-info and /.disk/info."""
    number = tomllib.loads(recipe.RELEASES.read_text(encoding="utf-8"))[release]["iso_release"]
    return (
        f"PRODUCT='pve'\nPRODUCTLONG='Proxmox VE'\nRELEASE='{release}'\nISORELEASE='{number}'\n"
        "ISONAME='proxmox-ve'\n"
    )


def efi_image(parts: Parts, work: Path) -> Path:
    """A FAT image with loader, kernel and RAM disk; El Torito limits it to 32 MiB."""
    image = work / "efi.img"
    loader_conf, entry = work / "loader.conf", work / "automated.conf"
    loader_conf.write_text(LOADER_CONF, encoding="ascii")
    entry.write_text(
        "title Automated Installation\nlinux /vmlinuz\ninitrd /initrd.img\n"
        f"options {recipe.KERNEL_ARGUMENTS}\n",
        encoding="ascii",
    )
    size_kib = sum(path.stat().st_size for path in (parts.kernel, parts.initrd, parts.loader)) // 1024
    run(["mkfs.vfat", "-C", str(image), str(size_kib + EFI_IMAGE_SLACK_KIB)])
    run(["mmd", "-i", str(image), "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"])
    for source, target in (
        (parts.loader, "/EFI/BOOT/BOOTX64.EFI"),
        (parts.kernel, "/vmlinuz"),
        (parts.initrd, "/initrd.img"),
        (loader_conf, "/loader/loader.conf"),
        (entry, "/loader/entries/automated.conf"),
    ):
        run(["mcopy", "-i", str(image), str(source), f"::{target}"])
    return image


def make(parts: Parts, release: str, work: Path, target: Path) -> None:
    """Write the ISO image. `work` is an empty folder."""
    tree = work / "tree"
    (tree / ".disk").mkdir(parents=True)
    (tree / "proxmox").mkdir()
    (tree / "boot").mkdir()
    for path in (".cd-info", ".disk/info"):
        (tree / path).write_text(info(release), encoding="ascii")
    (tree / "auto-installer-capable").touch()
    (tree / "STAND-IN.txt").write_text(NOTICE, encoding="ascii")
    shutil.copytree(
        recipe.INSTALLER, tree / "proxmox/installer", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.move(efi_image(parts, work), tree / "boot/efi.img")
    # The EFI image is both the El Torito boot image and a GPT partition: the same bytes serve CD and USB.
    run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-R",
            "-J",
            "-joliet-long",
            "-V",
            "PVE",
            "-o",
            str(target),
            "-graft-points",
            f"/pve-base.squashfs={parts.squashfs}",
            str(tree),
            "--protective-msdos-label",
            "--efi-boot",
            "boot/efi.img",
            "-efi-boot-part",
            "--efi-boot-image",
        ],
        deadline_s=120,
    )
