"""SSH host keys that are known beforehand: from parameters, never from the first connection."""

from __future__ import annotations

import base64
import binascii
import struct
from pathlib import Path

from cluster.errors import RackproofError


class HostKeyError(RackproofError):
    """What is stored as a host key is none."""


def parse(text: str, where: str) -> tuple[str, str]:
    """`ssh-ed25519 AAAA... comment` -> ("ssh-ed25519", "AAAA..."). The type must be the one inside the key
    itself.

    Raises `HostKeyError` naming `where` the text stands.
    """
    words = text.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        (length,) = struct.unpack(">I", blob[:4])
        inside = blob[4 : 4 + length].decode("ascii")
    except (IndexError, binascii.Error, struct.error, UnicodeDecodeError):
        inside = ""
    if not inside or inside != words[0]:
        raise HostKeyError(f"{where} holds no SSH host key: expected one line such as 'ssh-ed25519 AAAA...'")
    return words[0], words[1]


def entry(host: str, key: tuple[str, str], port: int = 22) -> str:
    """One line of a known_hosts file."""
    name = host if port == 22 else f"[{host}]:{port}"
    return f"{name} {key[0]} {key[1]}\n"


def write(path: Path, entries: list[str]) -> None:
    """Replace the file at once, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text("".join(entries), encoding="ascii")
    fresh.replace(path)
