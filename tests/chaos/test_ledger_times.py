"""Gaps between acknowledgements against interruptions of known length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.ledger_model import Ack
from chaos.ledger_times import SECOND, Span, gaps, seconds, usual

MS = 1_000_000


def writes(hang_at: int | None, hang_ns: int, count: int = 60, every: int = 100 * MS) -> list[Ack]:
    """A write each `every` ns that takes 5 to 9 ms, and at one of them `hang_ns` longer."""
    acks, now = [], 0
    for sequence in range(count):
        start = now
        end = start + (5 + sequence % 5) * MS + (hang_ns if sequence == hang_at else 0)
        acks.append(Ack(sequence, start, start, end))
        now = max(now + every, end)
    return acks


@given(st.integers(1, 58), st.integers(200 * MS, 60 * SECOND))
def test_an_interruption_lies_between_least_and_most(at: int, hang: int) -> None:
    longest = max(gaps(writes(at, hang)), key=lambda gap: gap.end_ns - gap.start_ns)
    # the storage hung from some moment after the last acknowledgement on: its length is at most the gap
    assert hang - 10 * MS <= longest.least_ns <= hang + 10 * MS
    assert hang <= longest.end_ns - longest.start_ns <= hang + 110 * MS
    assert longest.ended


def test_a_calm_course_has_no_gap_to_speak_of() -> None:
    assert max(gap.least_ns for gap in gaps(writes(None, 0))) <= 5 * MS


def test_an_open_write_counts_while_it_hangs() -> None:
    acks = writes(None, 0)
    last = gaps(acks, now_ns=acks[-1].end_ns + 30 * SECOND)[-1]
    assert not last.ended
    assert 29.8 * SECOND <= last.least_ns <= 30 * SECOND == last.end_ns - last.start_ns


def test_failures_do_not_end_an_outage() -> None:
    acks = [ack for ack in writes(None, 0) if not 20 <= ack.sequence < 40]
    longest = max(gaps(acks, failed=range(20, 40)), key=lambda gap: gap.end_ns - gap.start_ns)
    assert longest.failed == 20
    assert 1.9 * SECOND <= longest.least_ns <= 2.1 * SECOND


def test_a_read_that_hangs_before_the_write_is_no_idling() -> None:
    acks = writes(None, 0)
    late = [
        Ack(a.sequence, a.begun_ns, a.start_ns + (a.sequence == 59) * 3 * SECOND, a.end_ns + 3 * SECOND)
        if a.sequence == 59
        else a
        for a in acks
    ]
    assert gaps(late)[-1].least_ns >= 2.9 * SECOND


def test_a_stall_of_the_host_is_in_the_resolution() -> None:
    acks = writes(30, 5 * SECOND)
    start = acks[30].start_ns
    gap = max(gaps(acks, stalls=[Span(start, start + 4 * SECOND)]), key=lambda g: g.end_ns - g.start_ns)
    assert gap.end_ns - gap.start_ns >= 5 * SECOND
    assert 0.8 * SECOND <= gap.least_ns <= 1.1 * SECOND


@given(st.integers(0, 59), st.integers(0, 10 * SECOND))
def test_every_acknowledgement_is_in_one_second(at: int, hang: int) -> None:
    acks = writes(at, hang)
    end = acks[-1].end_ns + 1
    told = seconds(acks, 0, end)
    assert sum(sum(1 for value in each if value >= 0) for _, each in told) == len(acks)
    waits = [-each[0] for _, each in told if each[0] < 0]
    assert waits == sorted(waits)  # ever longer while it hangs
    assert all(wait <= hang + 110 * MS for wait in waits)


def test_nothing_is_said_of_nothing() -> None:
    assert gaps([]) == [] and usual([]) == 0 and seconds([], 0, 0) == []
