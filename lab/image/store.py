"""Build once, keep in the cache, hand out: the node image's parts and the installer medium."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import rack
from lab.errors import DeadlineError, LabError
from lab.image import initramfs, medium, recipe, rootfs
from lab.paths import State

LOCK_DEADLINE_S = 900.0
SPOILT = "wrong-medium-checksum"
"""The defect whose mending is not for the next `up` to do by accident."""
Progress = Callable[[str], None]


def build(cache: Path, state: Path, progress: Progress) -> Path:
    """The medium at `state` / medium.path of rack.toml, its .sha256 beside it; returns its path.

    What did not change since the last build comes from `cache`. Raises LabError when a tool fails,
    DeadlineError when another build holds the cache too long.
    """
    order = rack.load().medium
    target = state / order.path
    with _locked(cache):
        iso = _medium(cache, order.release, progress)
        if not (State(state).defects / f"{SPOILT}.json").exists():  # what is broken on purpose stays broken
            _hand_out(iso, target)
    return target


def kernel(cache: Path) -> Path:
    """The node's kernel image (a bzImage), for booting a guest directly."""
    return _part(cache, "vmlinuz")


def probe_initrd(cache: Path) -> Path:
    """A RAM disk whose first process prints KVM-PROBE-OK and powers off."""
    return _part(cache, "probe.img")


def _part(cache: Path, name: str) -> Path:
    with _locked(cache):
        return _image(cache, rack.load().medium.release, _quiet) / name


def _quiet(_: str) -> None:
    return


def _image(cache: Path, release: str, progress: Progress) -> Path:
    """Folder with pve-base.squashfs, vmlinuz, live.img, probe.img and the boot loader."""
    folder = cache / f"image-{recipe.image_digest(release)}"
    if folder.is_dir():
        return folder
    if os.geteuid() != 0:
        raise LabError("building the node image needs root, expected `sudo` or a root shell")
    began = time.monotonic()
    with _workplace(cache) as work:
        tree, parts = work / "rootfs", work / "parts"
        parts.mkdir()
        version = rootfs.make(tree, release, cache / "image.log", progress)
        progress("image: RAM disks")
        node = tree / f"boot/initrd.img-{version}"
        initramfs.make_all(tree, version, work, parts / "live.img", node, parts / "probe.img")
        shutil.copy(tree / f"boot/vmlinuz-{version}", parts / "vmlinuz")
        shutil.copy(tree / "usr/lib/systemd/boot/efi/systemd-bootx64.efi", parts / "loader.efi")
        progress("image: packing")
        rootfs.squash(tree, parts / "pve-base.squashfs")
        parts.rename(folder)
    size = (folder / "pve-base.squashfs").stat().st_size >> 20
    progress(f"image: done in {time.monotonic() - began:.0f} s, {size} MiB")
    return folder


def _medium(cache: Path, release: str, progress: Progress) -> Path:
    target = cache / f"medium-{recipe.medium_digest(release)}.iso"
    if target.is_file():
        progress("medium: from the cache")
        return target
    image = _image(cache, release, progress)
    began = time.monotonic()
    with _workplace(cache) as work:
        parts = medium.Parts(
            squashfs=image / "pve-base.squashfs",
            kernel=image / "vmlinuz",
            initrd=image / "live.img",
            loader=image / "loader.efi",
        )
        medium.make(parts, release, work, work / "medium.iso")
        (work / "medium.iso").rename(target)
    _forget(cache, keep=(image.name, target.name))
    progress(f"medium: done in {time.monotonic() - began:.0f} s, {target.stat().st_size >> 20} MiB")
    return target


def _forget(cache: Path, keep: tuple[str, ...]) -> None:
    """Old builds would fill the disk: only the newest image and medium stay."""
    for path in cache.glob("image-*"):
        if path.name not in keep:
            shutil.rmtree(path)
    for path in cache.glob("medium-*.iso"):
        if path.name not in keep:
            path.unlink()


def _hand_out(iso: Path, target: Path) -> None:
    """Copy the medium to its place unless it lies there already, and write its checksum last."""
    target.parent.mkdir(parents=True, exist_ok=True)
    checksum = target.with_name(f"{target.name}.sha256")
    with iso.open("rb") as stream:
        line = f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {target.name}\n"
    if target.is_file() and checksum.is_file() and checksum.read_text(encoding="ascii") == line:
        with target.open("rb") as stream:
            if line.startswith(hashlib.file_digest(stream, "sha256").hexdigest()):
                return
    checksum.unlink(missing_ok=True)
    arriving = target.with_name(f".{target.name}.part")
    shutil.copyfile(iso, arriving)
    arriving.rename(target)
    checksum.write_text(line, encoding="ascii")


@contextlib.contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """A folder beside the products, so that these move by rename; what a killed build left goes first."""
    for left in cache.glob("work-*"):
        shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One build at a time per cache; the lock goes with its holder, also when that is killed."""
    cache.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_DEADLINE_S
    with (cache / "image.lock").open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DeadlineError(
                        f"another build held {cache} for more than {LOCK_DEADLINE_S:.0f} s"
                    ) from None
                time.sleep(0.2)
        yield
