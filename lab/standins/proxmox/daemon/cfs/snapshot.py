"""A whole tree as bytes, for a member that lacks it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator

from .tree import Entry

# A message of CPG holds 1 MiB at most; smaller ones let others speak in between.
CHUNK = 128 * 1024
_LENGTH = struct.Struct("!I")


def dump(entries: Iterable[Entry]) -> bytes:
    """All entries, compressed."""
    entries = list(entries)
    heads = [
        [e.inode, e.parent, e.version, e.writer, e.mtime, int(e.folder), e.name, len(e.data)] for e in entries
    ]
    head = json.dumps(heads, separators=(",", ":")).encode()
    return zlib.compress(_LENGTH.pack(len(head)) + head + b"".join(e.data for e in entries), 1)


def load(packed: bytes) -> list[Entry]:
    """The entries of `dump`. Raises ValueError."""
    try:
        raw = zlib.decompress(packed)
    except zlib.error as error:
        raise ValueError(f"a damaged snapshot: {error}") from error
    (length,) = _LENGTH.unpack_from(raw)
    at = _LENGTH.size + length
    entries = []
    for inode, parent, version, writer, mtime, folder, name, size in json.loads(raw[_LENGTH.size : at]):
        data = raw[at : at + size]
        if len(data) != size:
            raise ValueError(f"a damaged snapshot: {name!r} has {len(data)} bytes, expected {size}")
        entries.append(Entry(inode, parent, version, writer, mtime, bool(folder), name, data))
        at += size
    return entries


def chunks(packed: bytes) -> Iterator[bytes]:
    """Pieces for messages, at least one."""
    for at in range(0, max(1, len(packed)), CHUNK):
        yield packed[at : at + CHUNK]
