"""The outage arithmetic against synthetic traffic whose cuts are known to the nanosecond."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chaos.outages import MILLISECOND as MS
from chaos.outages import SECOND, PathRecord, Rules, evaluate

INTERVAL = 10 * MS
RULES = Rules(INTERVAL)


@dataclass
class World:
    """A path in which everything is known. Times are the sender's, in ns; the receiver's clock is `skew`
    ahead.
    """

    seconds: float = 5.0
    cuts: list[tuple[int, int]] = field(default_factory=list)
    sender_stalls: list[tuple[int, int]] = field(default_factory=list)
    receiver_stalls: list[tuple[int, int]] = field(default_factory=list)
    # sent within: delivered only at its end (ARP queue)
    held: list[tuple[int, int]] = field(default_factory=list)
    skew: int = 7_777 * SECOND
    delay: int = MS
    doubled: frozenset[int] = frozenset()
    swapped: frozenset[int] = frozenset()
    interval: int = INTERVAL
    # (from when, ns a second, for how long): the receiver's clock is slewed ahead, as chrony does
    slew: tuple[int, int, int] = (0, 0, 0)

    def ticks(self, stalls: list[tuple[int, int]], phase: int = 0) -> list[int]:
        """A host's wakes: one an interval, none within a stall, no burst after it."""
        stamps: list[int] = []
        now = phase
        while now < int(self.seconds * SECOND):
            for begin, end in stalls:
                if begin <= now < end:
                    now = end
            stamps.append(now)
            now += self.interval
        return stamps

    def record(self, rules: Rules = RULES) -> PathRecord | None:
        sent = self.ticks(self.sender_stalls)
        wakes = self.ticks(self.receiver_stalls, phase=3 * MS)
        arrivals: list[tuple[int, int]] = []
        for sequence, stamp in enumerate(sent):
            if any(begin <= stamp < end for begin, end in self.cuts):
                continue
            out = next((end for begin, end in self.held if begin <= stamp < end), stamp)
            tick = bisect_left(wakes, out + self.delay)
            if tick < len(wakes):
                arrivals.append((sequence, tick))
                if sequence in self.doubled:
                    arrivals.append((sequence, tick))
        for place in self.swapped:
            if place + 1 < len(arrivals):
                arrivals[place], arrivals[place + 1] = arrivals[place + 1], arrivals[place]
        return evaluate(sent, arrivals, [wake + self.skew + self._ahead(wake) for wake in wakes], rules)

    def _ahead(self, now: int) -> int:
        begin, rate, span = self.slew
        return rate * min(max(0, now - begin), span) // SECOND


def lengths(record: PathRecord | None) -> list[float]:
    assert record is not None
    return [(gap.end_ns - gap.start_ns) / MS for gap in record.gaps]


def test_a_sound_path_has_no_outage() -> None:
    record = World().record()
    assert record is not None
    assert record.gaps == ()
    assert record.quality.arrived == record.quality.judged > 400


def test_a_clock_that_is_put_right_is_no_outage() -> None:
    # chrony slews by up to 83 ms a second: the receiver's stamps run away while one datagram is lost
    for ended in (2.3, 2.8, 5.0):
        world = World(
            seconds=ended, cuts=[(2 * SECOND, 2 * SECOND + INTERVAL)], slew=(1200 * MS, 83 * MS, SECOND)
        )
        assert lengths(world.record()) == [20.0], ended


def test_a_path_that_stays_slower_is_no_outage() -> None:
    world = World(seconds=3.0, cuts=[(2 * SECOND, 2 * SECOND + INTERVAL)], slew=(1900 * MS, SECOND, 80 * MS))
    assert max(lengths(world.record())) <= 150.0


def test_one_lost_datagram_is_an_outage_of_two_intervals() -> None:
    assert lengths(World(cuts=[(SECOND, SECOND + INTERVAL)]).record()) == [20.0]


@given(
    start=st.integers(SECOND // 2, 2 * SECOND),
    length=st.integers(2 * INTERVAL, 2 * SECOND),
    skew=st.integers(-(10**15), 10**15),
    interval=st.integers(2, 20),
)
@settings(max_examples=80)
def test_the_truth_lies_within_the_stated_resolution(
    start: int, length: int, skew: int, interval: int
) -> None:
    step = interval * MS
    assume(length > 2 * step)
    record = World(cuts=[(start, start + length)], skew=skew, interval=step).record(Rules(step))
    assert record is not None
    (gap,) = record.gaps
    assert gap.end_ns - gap.start_ns - gap.resolution_ns <= length <= gap.end_ns - gap.start_ns
    assert gap.resolution_ns == 2 * step
    assert gap.start_ns <= start <= gap.start_ns + step
    assert not gap.open


@given(stall=st.integers(20 * MS, 1_500 * MS), at=st.integers(SECOND // 2, 2 * SECOND))
@settings(max_examples=50)
def test_a_stalled_sender_is_no_outage(stall: int, at: int) -> None:
    record = World(sender_stalls=[(at, at + stall)]).record()
    assert record is not None
    assert record.gaps == ()
    assert record.quality.worst_stall_ns >= stall - INTERVAL


@given(stall=st.integers(20 * MS, 1_500 * MS), at=st.integers(SECOND // 2, 2 * SECOND))
@settings(max_examples=50)
def test_a_stalled_receiver_is_no_outage(stall: int, at: int) -> None:
    record = World(receiver_stalls=[(at, at + stall)]).record()
    assert record is not None
    assert record.gaps == ()
    if stall > RULES.stall_ns:
        assert record.quality.receiver_stall_share > 0


def test_an_outage_beside_a_sender_stall_has_a_resolution_as_wide_as_the_stall() -> None:
    record = World(
        cuts=[(SECOND, 2 * SECOND)], sender_stalls=[(2 * SECOND - 5 * MS, 2 * SECOND + 395 * MS)]
    ).record()
    assert record is not None
    (gap,) = record.gaps
    assert gap.resolution_ns >= 400 * MS
    assert gap.end_ns - gap.start_ns - gap.resolution_ns <= SECOND <= gap.end_ns - gap.start_ns


def test_an_outage_while_the_receiver_stood_still_is_blurred_by_the_stall() -> None:
    record = World(cuts=[(SECOND, 2 * SECOND)], receiver_stalls=[(1_200 * MS, 1_500 * MS)]).record()
    assert record is not None
    (gap,) = record.gaps
    assert gap.resolution_ns >= 300 * MS


@given(held=st.integers(300 * MS, 1_000 * MS))
@settings(max_examples=30)
def test_a_queue_emptied_when_the_path_returns_does_not_shorten_the_outage(held: int) -> None:
    """Datagrams that an ARP queue held through the end of a cut arrive, but late: the cut lasted until it
    ended.
    """
    end = 3 * SECOND
    record = World(cuts=[(SECOND, end - held)], held=[(end - held, end)], seconds=6).record()
    assert record is not None
    (gap,) = record.gaps
    assert abs((gap.end_ns - gap.start_ns) - 2 * SECOND) <= RULES.soft_ns + 3 * INTERVAL


def test_a_pause_shorter_than_the_late_limit_that_loses_nothing_is_told_as_no_outage() -> None:
    record = World(held=[(SECOND, SECOND + 200 * MS)]).record()
    assert record is not None
    assert record.gaps == ()


def test_a_pause_longer_than_the_late_limit_is_an_outage_though_everything_arrived() -> None:
    record = World(held=[(SECOND, 2 * SECOND)]).record()
    assert record is not None
    assert len(record.gaps) == 1
    assert record.quality.late > 60


@given(
    doubled=st.frozensets(st.integers(0, 400), max_size=50),
    swapped=st.frozensets(st.integers(0, 300), max_size=20),
)
@settings(max_examples=40)
def test_duplicates_and_reordering_change_no_outage(doubled: frozenset[int], swapped: frozenset[int]) -> None:
    cuts = [(SECOND, SECOND + 300 * MS), (2 * SECOND, 3 * SECOND)]
    plain = World(cuts=cuts).record()
    mixed = World(cuts=cuts, doubled=doubled, swapped=swapped).record()
    assert plain is not None
    assert mixed is not None
    assert mixed.gaps == plain.gaps


def test_cuts_apart_are_told_apart() -> None:
    cuts = [(SECOND, SECOND + 300 * MS), (2 * SECOND, 3 * SECOND)]
    assert lengths(World(cuts=cuts).record()) == [310.0, 1010.0]


def test_a_path_that_has_not_come_back_is_open() -> None:
    record = World(cuts=[(2 * SECOND, 9 * SECOND)]).record()
    assert record is not None
    (gap,) = record.gaps
    assert gap.open
    assert gap.end_ns - gap.start_ns > 2 * SECOND


def test_the_tail_that_may_still_be_under_way_is_not_judged() -> None:
    """A log read in mid-run ends for sender and receiver at different moments; that difference is no
    outage.
    """
    sent = [n * INTERVAL for n in range(500)]
    ticks = [n * INTERVAL + SECOND for n in range(400)]
    record = evaluate(sent, [(n, n + 1) for n in range(399)], ticks, RULES)
    assert record is not None
    assert record.gaps == ()


def test_nothing_arrived_means_nothing_known() -> None:
    assert evaluate([0, INTERVAL], [], [0, INTERVAL, 2 * INTERVAL], RULES) is None


@pytest.mark.parametrize("ppm", [-500, 500])
def test_drifting_clocks_make_nothing_late(ppm: int) -> None:
    sent = [n * INTERVAL for n in range(60_000)]  # ten minutes: 0.3 s of drift
    ticks = [n * INTERVAL + n * INTERVAL * ppm // 1_000_000 + 5 * SECOND for n in range(60_000)]
    record = evaluate(sent, [(n, n + 1) for n in range(59_999)], ticks, RULES)
    assert record is not None
    assert record.gaps == ()
    assert record.quality.late == 0
