"""From acknowledgements to outages and latencies: pure arithmetic.

A client that writes every `interval` sees an interruption as the gap between one acknowledgement and the
next. The gap includes what the client idled before it asked again, and what a write takes at any time: both
are in the outage's resolution, so the true interruption lies in [gap - resolution, gap].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from chaos.ledger_model import Ack

SECOND = 1_000_000_000


class Span(NamedTuple):
    """A stretch of time in ns on the writer's clock."""

    start_ns: int
    end_ns: int


class GapNs(NamedTuple):
    """Time between two acknowledgements. `ended` is False where the second had not come."""

    start_ns: int
    end_ns: int
    resolution_ns: int
    ended: bool
    failed: int

    @property
    def least_ns(self) -> int:
        """The interruption was at least this."""
        return max(0, self.end_ns - self.start_ns - self.resolution_ns)


class Second(NamedTuple):
    """Latencies of the writes acknowledged in one second, which begins at `t_s` (controller's monotonic
    clock). Seconds. Where none was (`n` = 0), all three are how long the open write had waited by its end.
    """

    t_s: float
    p50: float
    p95: float
    max: float
    n: int


def usual(acks: Sequence[Ack]) -> int:
    """What a write takes in quiet: the median latency in ns."""
    return rank(sorted(ack.end_ns - ack.start_ns for ack in acks), 0.5) if acks else 0


def rank(ordered: Sequence[int], share: float) -> int:
    """Percentile by the nearest rank."""
    return ordered[max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)] if ordered else 0


def gaps(
    acks: Sequence[Ack],
    failed: Iterable[int] = (),
    stalls: Sequence[Span] = (),
    now_ns: int | None = None,
) -> list[GapNs]:
    """All gaps between acknowledgements in order; with `now_ns`, the last one is still open.

    Stalls of the writing host itself within a gap are added to its resolution.
    """
    if not acks:
        return []
    base, bad = usual(acks), sorted(failed)
    found = []
    for before, after in pairwise(acks):
        missed = sum(1 for sequence in bad if before.sequence < sequence < after.sequence)
        # with failures in between it was asked already before the write that succeeded
        idle = base if missed else after.begun_ns - before.end_ns
        found.append(_gap(before.end_ns, after.end_ns, idle + base, stalls, True, missed))
    last = acks[-1]
    if now_ns is not None and now_ns > last.end_ns:
        missed = sum(1 for sequence in bad if sequence > last.sequence)
        steps = sorted(b.begun_ns - a.end_ns for a, b in pairwise(acks)) or [0]
        found.append(_gap(last.end_ns, now_ns, rank(steps, 0.95) + base, stalls, False, missed))
    return found


def _gap(start: int, end: int, blur: int, stalls: Sequence[Span], ended: bool, failed: int) -> GapNs:
    stood = sum(max(0, min(end, stall.end_ns) - max(start, stall.start_ns)) for stall in stalls)
    return GapNs(start, end, min(end - start, blur + stood), ended, failed)


def seconds(acks: Sequence[Ack], origin_ns: int, end_ns: int) -> list[tuple[int, list[int]]]:
    """(start of the second, latencies acknowledged in it, sorted), for each second from origin to end; for a
    second without any, the list holds one negative number: how long the next write had waited by then.
    """
    count = max(0, -(-(end_ns - origin_ns) // SECOND))
    filled: list[list[int]] = [[] for _ in range(count)]
    for ack in acks:
        index = (ack.end_ns - origin_ns) // SECOND
        if 0 <= index < count:
            filled[index].append(ack.end_ns - ack.start_ns)
    result: list[tuple[int, list[int]]] = []
    waiting_since = origin_ns
    ends = sorted(ack.end_ns for ack in acks)
    position = 0
    for index, latencies in enumerate(filled):
        begin = origin_ns + index * SECOND
        stop = min(begin + SECOND, end_ns)
        while position < len(ends) and ends[position] < stop:
            waiting_since = ends[position]
            position += 1
        result.append((begin, sorted(latencies) or [-(max(1, stop - waiting_since))]))
    return result
