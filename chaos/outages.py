"""From what was sent and what arrived to outages: pure arithmetic, no clock and no network.

All times are integers in nanoseconds. Sender's stamps and receiver's ticks are of two clocks that are
never compared: only *changes* of their difference are used, to tell a datagram that was late from one
that was on time.

- An outage is the gap between the stamps of the last datagram that arrived before, and of the first that
  arrived on time after, one or more that were lost. The true interruption lies in [gap - resolution,
  gap].
- A sender that stalled leaves a gap between stamps but loses no sequence number: no outage. If it stalled
  at the edge of an outage, the outage's resolution is as wide as the stall.
- A receiver that stalled finds its datagrams queued: they count as arrived at the tick before the one
  that found them.
- A datagram later than `late_ns` is lost: a queue that is emptied when the path returns (ARP) does not
  shorten an outage. For the same reason an outage does not end before a datagram is on time within
  `soft_ns`, or before the delay, though longer than it was, has stopped falling: a queue that is emptied
  falls by as much as time passes, a clock that chrony puts right (83 ms a second) or a slower way does not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
# blocks of one second to either side within which the usual delay is sought; clocks drift beyond
_BASE_SPAN = 3


@dataclass(frozen=True)
class Rules:
    """How arrivals are judged; times in ns. `stall_ns`: a gap between ticks from which on the host is
    said to stall. `settle_ns`: for how long a path must stay no slower to be called working again.
    """

    interval_ns: int
    late_ns: int = 250 * MILLISECOND
    soft_ns: int = 30 * MILLISECOND
    stall_ns: int = 50 * MILLISECOND
    settle_ns: int = 100 * MILLISECOND


@dataclass(frozen=True)
class Gap:
    """One outage in the sender's clock. `open`: it had not ended when the log did; `lost`: datagrams."""

    start_ns: int
    end_ns: int
    resolution_ns: int
    lost: int
    open: bool = False


@dataclass(frozen=True)
class Quality:
    """What the figures of one path are worth. Shares are of the time judged; times in ns."""

    judged: int
    arrived: int
    duplicates: int
    reordered: int
    late: int
    interval_p99_ns: int
    worst_stall_ns: int
    sender_stall_share: float
    receiver_stall_share: float


@dataclass(frozen=True)
class PathRecord:
    """All outages of one path, in order, and their quality. `gaps` is empty only if every datagram judged
    arrived.
    """

    gaps: tuple[Gap, ...]
    quality: Quality


@dataclass(frozen=True)
class _First:
    sequence: int
    tick: int


def evaluate(
    sent: Sequence[int], arrivals: Iterable[tuple[int, int]], ticks: Sequence[int], rules: Rules
) -> PathRecord | None:
    """Judge one path.

    `sent`: the sender's stamp of each sequence number. `arrivals`: (sequence, receiver's tick number), in
    the order received. `ticks`: the receiver's stamp of each of its ticks; its log is complete up to the
    last of them. Judged are the sequences from the first that was on time to the last that had to arrive
    before the log ends. None if nothing arrived or nothing can be judged: such a path was not seen
    working, so nothing is known of it.
    """
    firsts, duplicates, reordered = _first_arrivals(arrivals, len(sent), len(ticks))
    if not firsts:
        return None
    tick_of = {first.sequence: first.tick for first in firsts}
    base = _Base(sent, firsts, ticks)
    end = _judgeable(sent, ticks, base, rules)
    lateness = {s: _lateness(s, tick, sent, ticks, base, rules) for s, tick in tick_of.items() if s < end}
    begin = min((s for s, late in lateness.items() if late <= rules.soft_ns), default=end)
    if end <= begin:
        return None
    lateness = {s: late for s, late in lateness.items() if s >= begin}
    lost = [s for s in range(begin, end) if lateness.get(s, rules.late_ns + 1) > rules.late_ns]
    gaps = _gaps(lost, begin, end, sent, lateness, rules)
    stalls = _stalls(ticks, rules)
    widened = tuple(_widen(gap, base, stalls) for gap in gaps)
    quality = _quality(sent[begin:end], ticks, rules, len(lateness), duplicates, reordered, lateness)
    return PathRecord(widened, quality)


def _first_arrivals(
    arrivals: Iterable[tuple[int, int]], sent: int, ticks: int
) -> tuple[list[_First], int, int]:
    """First arrival of each sequence, and how many came twice or behind a later one."""
    seen: dict[int, int] = {}
    duplicates = reordered = 0
    highest = -1
    for sequence, tick in arrivals:
        if sequence >= sent or tick >= ticks:
            continue  # newer than what the other log covers
        if sequence in seen:
            duplicates += 1
            continue
        seen[sequence] = tick
        if sequence < highest:
            reordered += 1
        highest = max(highest, sequence)
    return [_First(s, t) for s, t in sorted(seen.items())], duplicates, reordered


class _Base:
    """The usual difference between receiver's tick and sender's stamp around a moment: the least within a
    few seconds.
    """

    def __init__(self, sent: Sequence[int], firsts: Sequence[_First], ticks: Sequence[int]) -> None:
        self._origin = sent[0]
        least: dict[int, int] = {}
        for first in firsts:
            stamp = sent[first.sequence]
            block = (stamp - self._origin) // SECOND
            least[block] = min(least.get(block, 1 << 62), ticks[first.tick] - stamp)
        self._blocks = sorted(least)
        self._least = least
        self._cache: dict[int, int] = {}

    def at(self, stamp: int) -> int:
        """Usual difference (ns) at a sender's stamp; inside a long outage that of the nearest traffic."""
        block = (stamp - self._origin) // SECOND
        if block not in self._cache:
            self._cache[block] = self._find(block)
        return self._cache[block]

    def _find(self, block: int) -> int:
        near = [self._least[b] for b in range(block - _BASE_SPAN, block + _BASE_SPAN + 1) if b in self._least]
        if near:
            return min(near)
        right = bisect_left(self._blocks, block)
        around = self._blocks[max(0, right - 1) : right + 1]
        return self._least[min(around, key=lambda b: abs(b - block))]


def _judgeable(sent: Sequence[int], ticks: Sequence[int], base: _Base, rules: Rules) -> int:
    """One past the last sequence that would have been logged by now had it arrived, even late."""
    low, high = 0, len(sent)
    while low < high:
        middle = (low + high) // 2
        if sent[middle] + base.at(sent[middle]) + rules.late_ns < ticks[-1]:
            low = middle + 1
        else:
            high = middle
    return low


def _lateness(
    sequence: int, tick: int, sent: Sequence[int], ticks: Sequence[int], base: _Base, rules: Rules
) -> int:
    """By how much (ns) the path certainly delayed a datagram, what its two hosts may have caused taken
    off.
    """
    stamp = sent[sequence]
    earliest = ticks[tick - 1] if tick else ticks[0]
    delay = earliest - stamp - base.at(stamp)
    if sequence + 1 < len(sent):
        delay -= max(0, sent[sequence + 1] - stamp - rules.interval_ns)
    return delay


def _gaps(
    lost: Sequence[int], begin: int, end: int, sent: Sequence[int], lateness: dict[int, int], rules: Rules
) -> list[Gap]:
    """Runs of lost sequences, each extended to the first datagram that was on time; runs that meet are
    one.
    """
    gaps: list[Gap] = []
    done = begin
    for sequence in lost:
        if sequence < done:
            continue
        after = sequence
        while after < end and not _works(after, end, sent, lateness, rules):
            after += 1
        still = after >= end
        last = after - 1
        stop = sent[last] if still else sent[after]
        blur = sent[sequence] - sent[sequence - 1] + (0 if still else sent[after] - sent[last])
        gaps.append(Gap(sent[sequence - 1], stop, blur, after - sequence, still))
        done = after
    return gaps


def _works(sequence: int, end: int, sent: Sequence[int], lateness: dict[int, int], rules: Rules) -> bool:
    """Whether the path works again with this datagram: it is on time, or all that follow come as late as
    it did.
    """
    first = lateness.get(sequence, rules.late_ns + 1)
    if first <= rules.soft_ns:
        return True
    last = sequence
    while first <= rules.late_ns and sent[last] - sent[sequence] < rules.settle_ns:
        last += 1
        if last >= end or lateness.get(last, rules.late_ns + 1) > rules.late_ns:
            return False
    return first <= rules.late_ns and first - lateness[last] < (sent[last] - sent[sequence]) // 2


def _stalls(ticks: Sequence[int], rules: Rules) -> list[tuple[int, int]]:
    return [(a, b) for a, b in pairwise(ticks) if b - a >= rules.stall_ns]


def _widen(gap: Gap, base: _Base, stalls: Sequence[tuple[int, int]]) -> Gap:
    """A receiver that stood still while the outage lasted may have dropped datagrams itself: say so in
    the resolution.
    """
    start, end = gap.start_ns + base.at(gap.start_ns), gap.end_ns + base.at(gap.end_ns)
    overlap = sum(max(0, min(end, b) - max(start, a)) for a, b in stalls)
    if not overlap:
        return gap
    blur = min(gap.end_ns - gap.start_ns, gap.resolution_ns + overlap)
    return Gap(gap.start_ns, gap.end_ns, blur, gap.lost, gap.open)


def _quality(
    sent: Sequence[int],
    ticks: Sequence[int],
    rules: Rules,
    arrived: int,
    duplicates: int,
    reordered: int,
    lateness: dict[int, int],
) -> Quality:
    steps = sorted(b - a for a, b in pairwise(sent)) or [rules.interval_ns]
    return Quality(
        judged=len(sent),
        arrived=arrived,
        duplicates=duplicates,
        reordered=reordered,
        late=sum(1 for value in lateness.values() if value > rules.late_ns),
        interval_p99_ns=steps[int(0.99 * (len(steps) - 1))],
        worst_stall_ns=steps[-1],
        sender_stall_share=_share(sent, rules),
        receiver_stall_share=_share(ticks, rules),
    )


def _share(stamps: Sequence[int], rules: Rules) -> float:
    """Share of the time in which a host stood still for `stall_ns` or more at a stretch."""
    span = stamps[-1] - stamps[0]
    return sum(b - a for a, b in _stalls(stamps, rules)) / span if span > 0 else 0.0
