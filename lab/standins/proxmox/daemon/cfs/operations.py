"""The changes that the tree knows, and how they travel between members."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

MKDIR = "mkdir"
CREATE = "create"
WRITE = "write"
TRUNCATE = "truncate"
DELETE = "delete"
RENAME = "rename"
MTIME = "mtime"
# Asks the member that leads to look whether a lock is too old; it answers with UNLOCK.
UNLOCK_REQUEST = "unlock-request"
UNLOCK = "unlock"
KINDS = frozenset({MKDIR, CREATE, WRITE, TRUNCATE, DELETE, RENAME, MTIME, UNLOCK_REQUEST, UNLOCK})

_HEAD = struct.Struct("!4sI")
_MAGIC = b"rcf1"


@dataclass(frozen=True)
class Operation:
    """One change. `time` is the sender's clock in whole seconds, so that all members store the same.

    offset: bytes, of WRITE; the wanted size of TRUNCATE. version: of UNLOCK, the lock as it was seen.
    """

    kind: str
    path: str
    time: int
    to: str = ""
    offset: int = 0
    version: int = 0
    folder: bool | None = None
    data: bytes = b""

    def fields(self) -> dict[str, Any]:
        """All but the data, for the head of a message."""
        fields = asdict(self)
        del fields["data"]
        return fields


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """One message: magic, length of the head, head as JSON, body."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return _HEAD.pack(_MAGIC, len(text)) + text + body


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The head and body of a message. Raises ValueError for what `pack` did not make."""
    if len(message) < _HEAD.size:
        raise ValueError(f"a message of {len(message)} bytes, expected at least {_HEAD.size}")
    magic, length = _HEAD.unpack_from(message)
    if magic != _MAGIC:
        raise ValueError(f"a message that begins with {magic!r}, expected {_MAGIC!r}")
    end = _HEAD.size + length
    head = json.loads(message[_HEAD.size : end])
    if not isinstance(head, dict):
        raise ValueError("a message whose head is no JSON object")
    return head, message[end:]


def operation(fields: dict[str, Any], body: bytes) -> Operation:
    """The operation of a message. Raises ValueError for an unknown kind or field."""
    if fields.get("kind") not in KINDS:
        raise ValueError(f"operation {fields.get('kind')!r} is unknown")
    try:
        return Operation(**fields, data=body)
    except TypeError as error:
        raise ValueError(str(error)) from error
