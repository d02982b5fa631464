"""What the paths of /etc/pve mean: private parts, locks, guests, and the modes they show.

Source: pve-cluster's pmxcfs (memdb.h, cfs-utils.c) and the documentation of pmxcfs.
Paths are relative to the mount point and without a leading slash; "" is the mount point itself.
"""

from __future__ import annotations

import re
import stat

MAX_FILE_SIZE = 1 << 20
MAX_TOTAL_SIZE = 128 << 20
MAX_ENTRIES = 256 * 1024
LOCK_LIFETIME_S = 120.0
LOCK_FOLDER = "priv/lock"
COROSYNC_CONF = "corosync.conf"

_PRIVATE = re.compile(r"(?:nodes/[^/]+/)?priv(?:/|$)")
_GUEST = re.compile(r"nodes/([^/]+)/(lxc|qemu-server)/([1-9][0-9]{2,8})\.conf")
_LOCK = re.compile(r"priv/lock/[^/]+")


def private(path: str) -> bool:
    """Only root may look into these: priv and nodes/<name>/priv."""
    return _PRIVATE.match(path) is not None


def lock(path: str) -> bool:
    """A folder of this path is a lock of the whole cluster."""
    return _LOCK.fullmatch(path) is not None


def guest(path: str) -> tuple[str, str, int] | None:
    """(node, "lxc" or "qemu", VMID) of a guest's configuration file, None for any other path."""
    match = _GUEST.fullmatch(path)
    if match is None:
        return None
    return match[1], "qemu" if match[2] == "qemu-server" else "lxc", int(match[3])


def mode(path: str, *, folder: bool, quorate: bool) -> int:
    """st_mode of a file or folder; nobody may write without quorum."""
    if folder:
        bits = 0o700 if private(path) else 0o755
        kind = stat.S_IFDIR
    else:
        bits = 0o600 if private(path) else 0o640
        kind = stat.S_IFREG
    return kind | (bits if quorate else bits & 0o555)


def allowed_mode(path: str, wanted: int, *, folder: bool) -> bool:
    """Whether a chmod asks for what the path has anyway; any other mode cannot be had."""
    return stat.S_IMODE(wanted) == stat.S_IMODE(mode(path, folder=folder, quorate=True))


def split(path: str) -> tuple[str, str]:
    """(parent, name)."""
    parent, _, name = path.rpartition("/")
    return parent, name
