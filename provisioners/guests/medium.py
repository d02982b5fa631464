"""The medium that a golden virtual machine starts from: isolinux, a kernel, a RAM disk; BIOS, as its VM has.

The image holds plain ISO 9660 names and no time but 1970, so that the same parts give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.errors import RackproofError

BUILD_S = 120.0
LOADER = Path("/usr/lib/ISOLINUX/isolinux.bin")
MODULE = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
CONSOLE = "ttyS0,115200"
# Nobody sits at the console: what goes wrong ends in a start anew.
CONFIG = f"""\
serial 0 115200
default beat
prompt 0
label beat
  kernel /boot/vmlinuz
  append initrd=/boot/initrd.gz console={CONSOLE} quiet panic=5
"""
_EPOCH = "1970010100000000"


class MediumError(RackproofError):
    """The controller cannot make the medium."""


def build(kernel: bytes, ramdisk: bytes, label: str, target: Path) -> None:
    """Writes the image to `target`. Raises MediumError where a tool is missing or fails."""
    for path, package in ((LOADER, "isolinux"), (MODULE, "syslinux-common")):
        if not path.exists():
            raise MediumError(f"{path}: not on this controller; expected the Debian package {package}")
    if shutil.which("xorriso") is None:
        raise MediumError("xorriso: not on this controller; expected the Debian package xorriso")
    with TemporaryDirectory(prefix="rackproof-medium-") as folder:
        tree = Path(folder)
        files = {
            "boot/vmlinuz": kernel,
            "boot/initrd.gz": ramdisk,
            "isolinux/isolinux.bin": LOADER.read_bytes(),
            "isolinux/ldlinux.c32": MODULE.read_bytes(),
            "isolinux/isolinux.cfg": CONFIG.encode(),
        }
        for name, content in files.items():
            (tree / name).parent.mkdir(exist_ok=True)
            (tree / name).write_bytes(content)
        for path in (*tree.rglob("*"), tree):
            os.utime(path, (0, 0))
        _run(tree, label, target)


def _run(tree: Path, label: str, target: Path) -> None:
    boot = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"]
    boot += ["-boot-load-size", "4", "-boot-info-table"]
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-V", label, f"--modification-date={_EPOCH}"]
    command += [*boot, "-o", str(target), str(tree)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "TZ": "UTC", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise MediumError(f"xorriso did not make {target.name} within {BUILD_S:g} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise MediumError(f"xorriso did not make {target.name}: {said[-1] if said else 'it gives no reason'}")
