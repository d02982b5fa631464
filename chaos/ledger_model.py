"""What a ledger's history allows a block to hold, and what it means if it holds something else. Pure.

The controller's record is the truth. A write is acknowledged when its line came; one that failed, or that
the record does not know how it ended, may have happened or not. So a slot may hold the newest acknowledged
record, or a newer one of unknown end, whole. Anything else is a loss: an older record, zeros, a record from
elsewhere; and a mixture is torn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from chaos.ledger_record import HEADER, MAGIC, SUM_BYTES, Layout, checksum, record, short

SECTOR = 512
_OLDER = 64  # generations that torn blocks are compared with


@dataclass(frozen=True)
class Loss:
    """One block that does not hold what it must. `offset` in bytes from the image's or file's begin;
    `sequence` is that of the newest acknowledged write there, -1 where there was none.
    """

    target: str
    offset: int
    sequence: int
    what: str
    kind: Literal["lost", "torn"] = "lost"
    read_from: str = ""

    def seen_from(self, node: str) -> Loss:
        """The same loss, with where it was read from."""
        return replace(self, read_from=node)

    def __str__(self) -> str:
        seen = f" (read from {self.read_from})" if self.read_from else ""
        return f"{self.target}, offset {self.offset}, write {self.sequence}: {self.what}{seen}"


@dataclass(frozen=True)
class Ack:
    """One acknowledged write; stamps in ns of the writing host's monotonic clock. From `begun_ns` to
    `start_ns` the block was read that the write was to replace.
    """

    sequence: int
    begun_ns: int
    start_ns: int
    end_ns: int


@dataclass
class History:
    """What the controller knows of one target's writes, in the order in which it came to know it."""

    layout: Layout
    acks: list[Ack] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)
    known: int = 0
    end: int | None = None

    def acknowledge(self, ack: Ack) -> None:
        """A write was durable. Raises ValueError for a record that goes back: nothing it says is worth
        anything then.
        """
        self._reached(ack.sequence)
        self.acks.append(ack)
        self.newest[self.layout.slot(ack.sequence)] = ack.sequence

    def fail(self, sequence: int, why: str) -> None:
        """A write ended with an error: it may have happened or not."""
        self._reached(sequence)
        self.failed[sequence] = why

    def ended(self, sequence: int) -> None:
        """The writer ended in order; `sequence` and all beyond were never begun."""
        self.end = sequence

    def _reached(self, sequence: int) -> None:
        if sequence < self.known:
            raise ValueError(f"write {sequence} was told of after write {self.known - 1}")
        self.known = sequence + 1

    @property
    def used(self) -> int:
        """Slots 0 to this hold all that was acknowledged."""
        return max(self.newest, default=-1) + 1

    def may_hold(self, slot: int, sequence: int) -> bool:
        """Whether the slot may hold that record."""
        newest = self.newest.get(slot, -1)
        if self.layout.slot(sequence) != slot or sequence < newest:
            return False
        if sequence == newest or sequence in self.failed:
            return True
        return sequence >= self.known and (self.end is None or sequence < self.end)


@dataclass(frozen=True)
class Judge:
    """Judges blocks of one target, `number` among the ledger's targets."""

    ledger: bytes
    seed: int
    number: int
    target: str
    layout: Layout

    def expected(self, sequence: int) -> bytes:
        """The block as it was written."""
        return record(self.ledger, self.seed, self.number, sequence, self.layout)

    def overwritten(self, history: History, slot: int, digest: str, found: bytes | None) -> Loss | None:
        """Judge what the writer read before it wrote: by digest, or by the block where it sent that."""
        newest = history.newest.get(slot)
        if newest is not None and digest == short(self.expected(newest)):
            return None
        if found is None or short(found) != digest:
            return self._loss(history, slot, "another block was read back while writing")
        return self.judge(history, slot, found)

    def judge(self, history: History, slot: int, found: bytes) -> Loss | None:
        """None where the block holds what it may."""
        newest = history.newest.get(slot)
        if newest is not None and found == self.expected(newest):
            return None
        if not any(found):
            if newest is None:
                return None
            return self._loss(history, slot, "zeros were found, as if it had never been written")
        told = self._read(found)
        if told is None:
            return self._broken(history, slot, found)
        number, sequence, offset = told
        here = self.layout.offset(slot)
        if number is None:
            return self._loss(history, slot, "a record of another ledger was found")
        if number != self.number or offset != here:
            where = "of another target" if number != self.number else f"that belongs at offset {offset}"
            return self._loss(history, slot, f"the record of write {sequence} {where} was found")
        if history.may_hold(slot, sequence):
            return None
        if sequence < (-1 if newest is None else newest):
            return self._loss(history, slot, f"the older record of write {sequence} was found")
        return self._loss(history, slot, f"the record of write {sequence} was found, which was never begun")

    def unread(self, history: History, slot: int, why: str) -> Loss | None:
        """A block that could not be read back: a loss where it was acknowledged."""
        if slot not in history.newest:
            return None
        return self._loss(history, slot, f"it cannot be read back: {why}")

    def _loss(self, history: History, slot: int, what: str, kind: Literal["lost", "torn"] = "lost") -> Loss:
        return Loss(self.target, self.layout.offset(slot), history.newest.get(slot, -1), what, kind)

    def _read(self, found: bytes) -> tuple[int | None, int, int] | None:
        """(target's number, sequence, offset) of a whole record, the number None where it is another
        ledger's; None where there is no whole record.
        """
        if len(found) != self.layout.block or checksum(found[:-SUM_BYTES]) != found[-SUM_BYTES:]:
            return None
        magic, ledger, number, _, sequence, offset = HEADER.unpack_from(found)
        if magic != MAGIC:
            return None
        if ledger != self.ledger:
            return None, sequence, offset
        ours = record(self.ledger, self.seed, number, sequence, self.layout)
        return (number, sequence, offset) if ours == found else None

    def _broken(self, history: History, slot: int, found: bytes) -> Loss:
        """A block that is no record: of which records it is made, sector by sector."""
        made_of: dict[int, int] = {}  # sector -> sequence, -1 for zeros
        parts = [found[at : at + SECTOR] for at in range(0, self.layout.block, SECTOR)]
        for sequence in self._candidates(history, slot):
            block = self.expected(sequence) if sequence >= 0 else bytes(self.layout.block)
            for index, part in enumerate(parts):
                if part and index not in made_of and part == block[index * SECTOR : (index + 1) * SECTOR]:
                    made_of[index] = sequence
        sources = sorted(set(made_of.values()))
        if len(sources) > 1 and len(made_of) == len(parts):
            told = ", ".join(
                f"{sum(1 for one in made_of.values() if one == each)} of"
                f" {'zeros' if each < 0 else f'write {each}'}"
                for each in sources
            )
            return self._loss(history, slot, f"a mixture was found, sectors: {told}", "torn")
        whole = sum(1 for each in made_of.values() if each == history.newest.get(slot, -1))
        return self._loss(
            history, slot, f"damaged: {whole} of {len(parts)} sectors are as written, the checksum is wrong"
        )

    def _candidates(self, history: History, slot: int) -> Iterator[int]:
        newest = history.newest.get(slot, slot - self.layout.slots)
        yield from (
            s for s in range(newest, newest - _OLDER * self.layout.slots, -self.layout.slots) if s >= 0
        )
        yield from (newest + self.layout.slots * step for step in (1, 2))
        yield -1
