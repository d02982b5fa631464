"""Archives of a small root file system, the same bytes each time: tar for containers, cpio for RAM disks."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

LEVEL = 9
CONSOLE = (5, 1)
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Member:
    """One entry: a folder, a file with `content`, a symbolic link to `link`, or a character device.

    `path` without a leading slash; `mode` the permission bits; everything belongs to root and to 1970.
    """

    path: str
    mode: int = 0o755
    content: bytes | None = None
    link: str = ""
    device: tuple[int, int] | None = None

    @property
    def kind(self) -> int:
        """The file type bits of st_mode."""
        if self.link:
            return stat.S_IFLNK
        if self.device is not None:
            return stat.S_IFCHR
        return stat.S_IFDIR if self.content is None else stat.S_IFREG

    @property
    def body(self) -> bytes:
        """What an archive keeps as its content."""
        return self.link.encode() if self.link else self.content or b""


_TAR_TYPES = {
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFREG: tarfile.REGTYPE,
}


def tar_gz(members: Iterable[Member]) -> bytes:
    """A compressed tar archive, as Proxmox VE takes for a container template."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            entry = tarfile.TarInfo(f"./{member.path}")
            entry.type, entry.mode, entry.linkname = _TAR_TYPES[member.kind], member.mode, member.link
            entry.devmajor, entry.devminor = member.device or (0, 0)
            entry.size = len(member.content or b"")
            archive.addfile(entry, io.BytesIO(member.content or b""))
    return gzip.compress(plain.getvalue(), LEVEL, mtime=0)


def cpio_gz(members: Iterable[Member]) -> bytes:
    """A compressed cpio archive in the `newc` format, as the kernel takes for its first file system.

    Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
    """
    entries = [*members, Member(_TRAILER, 0, b"")]
    plain = b"".join(_newc(number, entry) for number, entry in enumerate(entries, start=1))
    return gzip.compress(plain, LEVEL, mtime=0)


def _newc(number: int, member: Member) -> bytes:
    name = member.path.encode() + b"\0"
    mode = 0 if member.path == _TRAILER else member.kind | member.mode
    device = member.device or (0, 0)
    fields = (number, mode, 0, 0, 1, 0, len(member.body), 0, 0, *device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(member.body)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
