"""The installer medium of one node: the genuine image, checked, with the node's answer put on it.

Done as `proxmox-auto-install-assistant prepare-iso --fetch-from iso` does it: a copy of the image to which
xorriso maps the files, keeping the boot image and the volume's date (the boot loader finds the volume by
it).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.errors import RackproofError
from provisioners.change import Progress

if TYPE_CHECKING:
    from cluster.site import Site

XORRISO_S = 300
_BLOCK = 1 << 20
_DATE_AT, _DATE_LENGTH = 16 * 2048 + 830, 16  # ECMA-119, 8.4.27: volume modification date and time


class MediumError(RackproofError):
    """The installer image is missing, not the published one, or cannot be prepared."""


@dataclass(frozen=True)
class Contents:
    """What is put on a medium. `first_boot` holds the node's private host key: the medium is a secret."""

    answer: str
    mode: str
    first_boot: str


@dataclass(frozen=True)
class ImageState:
    """The installer image as found: `expected` and `seen` are SHA-256 sums, "" where there is none."""

    path: str
    expected: str
    seen: str

    @property
    def genuine(self) -> bool:
        return bool(self.expected) and self.expected == self.seen


def look(site: Site) -> ImageState:
    """The image and the checksum beside it; a file that does not exist gives an empty sum."""
    image, sums = site.resolve(site.medium.image), site.resolve(site.medium.sha256)
    expected = ""
    if sums.is_file():
        expected = (sums.read_text(encoding="utf-8").split() or [""])[0].lower()
    return ImageState(str(site.medium.image), expected, _digest(image) if image.is_file() else "")


def check(site: Site) -> Path:
    """Path of the image. Raises MediumError when it is missing or not the one that was published."""
    state = look(site)
    if not state.seen:
        raise MediumError(f"medium.image = {state.path}: there is no such file")
    if not state.expected:
        raise MediumError(
            f"medium.sha256 = {site.medium.sha256}: there is no checksum to hold the image against"
        )
    if not state.genuine:
        raise MediumError(
            f"medium.image = {state.path}: its SHA-256 is {state.seen}, published is {state.expected}"
        )
    return site.resolve(site.medium.image)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(image: Path, contents: Contents, output: Path) -> None:
    """Writes `output` (mode 0600): `image` with the answer, the mode file and the first-boot script. Bounded.

    Raises MediumError with xorriso's last word.
    """
    output.unlink(missing_ok=True)
    output.touch(mode=0o600)
    shutil.copyfile(image, output)
    with tempfile.TemporaryDirectory(prefix="rackproof-medium-") as folder:
        root = Path(folder)  # mode 0700
        mapped: list[str] = []
        for name, text in (
            ("auto-installer-mode.toml", contents.mode),
            ("answer.toml", contents.answer),
            ("proxmox-first-boot", contents.first_boot),
        ):
            (root / name).write_text(text, encoding="utf-8")
            mapped += ["-map", str(root / name), f"/{name}"]
        command = ["xorriso", "-boot_image", "any", "keep", "-volume_date", "uuid", _volume_date(image)]
        try:
            done = subprocess.run(
                [*command, "-dev", str(output), *mapped],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=XORRISO_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MediumError(f"xorriso cannot prepare {output.name}: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise MediumError(f"xorriso failed with {done.returncode} on {output.name}: {last}")


def _volume_date(image: Path) -> str:
    with image.open("rb") as file:
        file.seek(_DATE_AT)
        date = file.read(_DATE_LENGTH).decode("ascii", "replace")
    if not date.isdigit():
        raise MediumError(f"{image.name} is no ISO 9660 image: it has no volume date")
    return date


def write_out(medium: Path, target: Path, progress: Progress) -> None:
    """Copies a prepared medium onto a USB stick (or into a file), byte by byte, and makes sure that it is
    there.

    Raises MediumError for a block device that is in use or too small.
    """
    size = medium.stat().st_size
    if target.is_block_device():
        _check_free(target)
    done = 0
    flags = os.O_WRONLY | (0 if target.is_block_device() else os.O_CREAT | os.O_TRUNC)
    try:
        with medium.open("rb") as source, os.fdopen(os.open(target, flags, 0o600), "wb") as sink:
            while block := source.read(_BLOCK):
                sink.write(block)
                done += len(block)
                if done % (256 * _BLOCK) == 0:
                    progress(f"{target}: {done >> 20} of {size >> 20} MiB written")
            sink.flush()
            os.fsync(sink.fileno())
    except OSError as error:
        raise MediumError(
            f"{target}: cannot be written after {done} of {size} bytes: {error.strerror}"
        ) from None
    progress(f"{target}: {size >> 20} MiB written")


def _check_free(device: Path) -> None:
    """A stick may be overwritten only when nothing on it is mounted and it can be removed from this
    machine.
    """
    real = device.resolve()
    mounts = Path("/proc/mounts").read_text(encoding="utf-8")
    if any(line.startswith(str(real)) for line in mounts.splitlines()):
        raise MediumError(f"{device} is mounted; expected a USB stick that is not in use")
    removable = Path("/sys/class/block") / real.name / "removable"
    if not removable.is_file() or removable.read_text(encoding="ascii").strip() != "1":
        raise MediumError(
            f"{device} is not a removable drive; expected the USB stick itself, such as /dev/sdx"
        )
