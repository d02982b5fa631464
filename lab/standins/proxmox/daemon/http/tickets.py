"""Tickets and CSRF tokens: PVE's shapes, signed with the cluster's auth key from /etc/pve/priv.

PVE signs with RSA; here it is HMAC-SHA256 with the same file as the key: only members of the cluster hold it,
and no process has to be started for each request.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path

from .errors import ApiError
from .machine import Machine

KEY = "/etc/pve/priv/authkey.key"
LIFETIME_S = 7200  # PVE::AccessControl: two hours


_last: dict[Path, str] = {}  # while /etc/pve is mounted anew, the key that was there before still holds


def _sign(machine: Machine, purpose: str, text: str) -> str:
    key = machine.read(KEY) or _last.get(machine.root)
    if not key:
        raise ApiError(500, f"unable to read '{KEY}'")
    _last[machine.root] = key
    digest = hmac.new(key.encode(), f"{purpose}:{text}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode().rstrip("=")


def _fresh(stamp: str, now: float) -> bool:
    try:
        age = now - int(stamp, 16)
    except ValueError:
        return False
    return -300 <= age <= LIFETIME_S  # 300 s: PVE forgives clocks that differ by so much


def issue(machine: Machine, user: str, now: float | None = None) -> str:
    """`PVE:user@realm:HEXTIME::signature`."""
    plain = f"PVE:{user}:{int(time.time() if now is None else now):08X}"
    return f"{plain}::{_sign(machine, 'ticket', plain)}"


def owner(machine: Machine, ticket: str, now: float | None = None) -> str | None:
    """The user a valid ticket names, None for a bad or an old one."""
    plain, separator, signature = ticket.rpartition("::")
    parts = plain.split(":")
    if not separator or len(parts) != 3 or parts[0] != "PVE" or parts[1].startswith("!"):
        return None
    if not _fresh(parts[2], time.time() if now is None else now):
        return None
    return parts[1] if hmac.compare_digest(signature, _sign(machine, "ticket", plain)) else None


def csrf(machine: Machine, user: str, now: float | None = None) -> str:
    """`HEXTIME:signature`."""
    stamp = f"{int(time.time() if now is None else now):08X}"
    return f"{stamp}:{_sign(machine, 'csrf', f'{stamp}:{user}')}"


def csrf_holds(machine: Machine, user: str, token: str, now: float | None = None) -> bool:
    stamp, _, signature = token.partition(":")
    if not _fresh(stamp, time.time() if now is None else now):
        return False
    return hmac.compare_digest(signature, _sign(machine, "csrf", f"{stamp}:{user}"))
