"""Passwords against the system's own hashes, by libcrypt (Python 3.13 has no crypt module any more)."""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
from functools import cache
from threading import Lock

from .machine import Machine

_lock = Lock()  # crypt(3) answers in a static buffer


@cache
def _libcrypt() -> ctypes.CDLL:
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.crypt.restype = ctypes.c_char_p
    return library


def hashed(password: str, setting: str) -> str | None:
    """crypt(3): `setting` is a hash or a salt such as `$5$...`; None where libcrypt refuses it."""
    with _lock:
        answer: bytes | None = _libcrypt().crypt(password.encode(), setting.encode())
        return answer.decode() if answer and not answer.startswith(b"*") else None


def matches(password: str, stored: str) -> bool:
    """Whether the password has that hash; a locked or empty one has none."""
    if not stored.startswith("$") and len(stored) < 13:
        return False
    found = hashed(password, stored)
    return found is not None and hmac.compare_digest(found, stored)


def _entry(text: str, name: str) -> str:
    for line in text.splitlines():
        user, _, rest = line.partition(":")
        if user == name:
            return rest.split(":")[0]
    return ""


def check(machine: Machine, user: str, password: str) -> bool:
    """Whether that is the password of `name@pam` (/etc/shadow) or `name@pve` (/etc/pve/priv/shadow.cfg)."""
    name, _, realm = user.rpartition("@")
    files = {"pam": "/etc/shadow", "pve": "/etc/pve/priv/shadow.cfg"}
    if realm not in files or not password or "\0" in password:
        return False
    return matches(password, _entry(machine.read(files[realm]), name))
