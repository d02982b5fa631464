"""A record of the ledger, and where records lie. Pure; it runs on nodes too, so: standard library only."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"RPLEDGER"
HEADER = struct.Struct("<8s16sIIQQ")  # magic, ledger, target, length, sequence, offset
SUM_BYTES = 32


@dataclass(frozen=True)
class Layout:
    """Where records lie. Bytes; consecutive sequences go to different objects, so to different PGs."""

    block: int = 4096
    slots: int = 512
    objects: int = 128
    object_size: int = 65536

    @property
    def size(self) -> int:
        """Of the image or file."""
        return self.objects * self.object_size

    def slot(self, sequence: int) -> int:
        """The slot that a sequence is written to; slots are used again in turn."""
        return sequence % self.slots

    def offset(self, slot: int) -> int:
        """Where a slot begins."""
        return slot % self.objects * self.object_size + slot // self.objects * self.block

    def runs(self, used: int) -> Iterator[tuple[int, int]]:
        """(first slot, number of slots that lie behind it without a gap) that cover slots 0 to `used`."""
        for first in range(min(used, self.objects)):
            yield first, len(range(first, used, self.objects))


def record(ledger: bytes, seed: int, target: int, sequence: int, layout: Layout) -> bytes:
    """One block: header, content drawn from the seed, and a checksum over both."""
    offset = layout.offset(layout.slot(sequence))
    head = HEADER.pack(MAGIC, ledger, target, layout.block, sequence, offset)
    source = hashlib.shake_128(struct.pack("<q", seed) + head)
    body = head + source.digest(layout.block - len(head) - SUM_BYTES)
    return body + checksum(body)


def checksum(body: bytes) -> bytes:
    """Of header and content."""
    return hashlib.blake2b(body, digest_size=SUM_BYTES).digest()


def short(block: bytes) -> str:
    """A digest by which the controller knows a block without seeing it."""
    return hashlib.blake2b(block, digest_size=16).hexdigest()
