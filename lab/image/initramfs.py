"""Initial RAM disks: busybox, a few modules in load order, and one script as first process."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.image import recipe
from lab.processes import run

PACK_DEADLINE_S = 60.0


def load_order(rootfs: Path, kernel: str, wanted: Sequence[str]) -> list[Path]:
    """Files of these modules and what they need, in the order in which insmod must take them."""
    result: list[Path] = []
    for name in wanted:
        shown = run(["chroot", str(rootfs), "modprobe", "--set-version", kernel, "--show-depends", name])
        for line in shown.stdout.splitlines():
            kind, _, path = line.strip().partition(" ")
            if kind != "insmod":
                continue  # built into the kernel
            file = rootfs / path.strip().lstrip("/")
            if file not in result:
                result.append(file)
    return result


def make(rootfs: Path, work: Path, scripts: dict[str, Path], modules: Sequence[Path], target: Path) -> None:
    """Write a gzipped cpio: `scripts` maps the name in the RAM disk (`init`, ...) to a file."""
    tree = work / target.name
    (tree / "bin").mkdir(parents=True)
    shutil.copy(rootfs / "usr/bin/busybox", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    for name, source in scripts.items():
        shutil.copy(source, tree / name)
        (tree / name).chmod(0o755)
    (tree / "modules").mkdir()
    for module in modules:
        # Unpacked here once instead of on the emulated CPU at every boot.
        (tree / "modules" / module.name.removesuffix(".xz")).write_bytes(lzma.decompress(module.read_bytes()))
    (tree / "modules/order").write_text(
        "".join(f"{module.name.removesuffix('.xz')}\n" for module in modules), encoding="ascii"
    )
    target.write_bytes(gzip.compress(_cpio(tree), compresslevel=6, mtime=0))
    shutil.rmtree(tree)


def _cpio(tree: Path) -> bytes:
    names = "".join(f"{path.relative_to(tree)}\n" for path in sorted(tree.rglob("*")))
    done = subprocess.run(
        [str(tree / "bin/busybox"), "cpio", "-o", "-H", "newc"],
        cwd=tree,
        input=names.encode(),
        capture_output=True,
        timeout=PACK_DEADLINE_S,
        check=False,
    )
    if done.returncode:
        raise LabError(
            f"busybox cpio failed ({done.returncode}): {done.stderr.decode(errors='replace').strip()}"
        )
    return done.stdout


def make_all(rootfs: Path, kernel: str, work: Path, live: Path, node: Path, probe: Path) -> None:
    """The RAM disks of the medium, of a node, and of the KVM probe."""
    scripts = recipe.INITRD
    make(
        rootfs,
        work,
        {"init": scripts / "live-init", "live-start": scripts / "live-start"},
        load_order(rootfs, kernel, recipe.LIVE_MODULES),
        live,
    )
    make(rootfs, work, {"init": scripts / "node-init"}, load_order(rootfs, kernel, recipe.NODE_MODULES), node)
    make(rootfs, work, {"init": scripts / "probe-init"}, [], probe)
