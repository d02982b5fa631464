"""The one program inside golden guests: the controller's own static busybox."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from cluster.errors import RackproofError

APPLETS = (
    *("sh", "acpid", "arping", "cat", "dd", "httpd", "insmod", "ip", "kill", "killall", "mkdir", "mount"),
    *("mv", "poweroff", "ps", "sleep", "tr", "wget"),
)
"""What the guests' scripts call, and what an operator needs inside (`pct exec 9001 -- ps`)."""
PACKAGE = "busybox-static"
_ELF64, _AMD64, _INTERPRETER = 2, 62, 3
_LIST_S = 10.0


class BusyboxError(RackproofError):
    """The controller has no busybox that a guest could be made of."""


def find() -> bytes:
    """The program. Raises BusyboxError where it is not there, not static, or lacks an applet."""
    path = shutil.which("busybox")
    if path is None:
        raise BusyboxError(f"busybox: not on this controller; expected that of the Debian package {PACKAGE}")
    program = Path(path).read_bytes()
    if problem := unfit(program):
        raise BusyboxError(f"{path}: {problem}; expected that of the Debian package {PACKAGE}")
    done = subprocess.run([path, "--list"], capture_output=True, text=True, timeout=_LIST_S, check=False)
    if lacking := set(APPLETS) - set(done.stdout.split()):
        raise BusyboxError(
            f"{path}: lacks {', '.join(sorted(lacking))}; expected that of the Debian package {PACKAGE}"
        )
    return program


def unfit(program: bytes) -> str:
    """Why a program cannot run alone on an amd64 guest; "" where it can. Format: elf(5)."""
    if program[:5] != b"\x7fELF" + bytes([_ELF64]) or len(program) < 64:
        return "is no 64-bit program"
    if struct.unpack_from("<H", program, 18)[0] != _AMD64:
        return "is no program for amd64"
    start, size, count = (
        struct.unpack_from("<Q", program, 32)[0],
        *struct.unpack_from("<HH", program, 54),
    )
    kinds = (struct.unpack_from("<I", program, start + number * size)[0] for number in range(count))
    return "needs shared libraries" if _INTERPRETER in kinds else ""
