"""Silences against silences of known length, counters against disks that forget, the course of a failover."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.heartbeats_beats import counters_back, deaf, gaps, news, restarts, silences
from chaos.heartbeats_failover import drawing, failover
from chaos.heartbeats_record import Beat, HaState, Record
from chaos.heartbeats_report import CounterBackError, judge
from chaos.heartbeats_twice import RunningTwiceError
from cluster.errors import UnknownError
from reports.model import Timeline
from reports.plots import timeline
from tests.chaos.guest_world import GUEST, NODES, PERIOD_S, SID, Outage, Run, World, ns

seeds = st.integers(0, 10**9).map(Random)


def record_of(*beats: Beat) -> Record:
    return Record({GUEST: SID}, NODES, ns(0.25), 0, ns(60), beats)


def heard(boot: str, at: float, counter: int, took: float = 0.1) -> Beat:
    return Beat("controller", GUEST, ns(at), ns(at + took), boot, counter)


@settings(max_examples=60, deadline=None)
@given(random=seeds, start=st.floats(5, 20), length=st.floats(5, 25), jitter=st.sampled_from([0.005, 0.2]))
def test_a_silence_lies_between_least_and_most(
    random: Random, start: float, length: float, jitter: float
) -> None:
    """Without news from the last beat published before the end of the one life to the first of the next."""
    one, two = Run("node1", 0, start, "a"), Run("node2", start + length, 60, "b", 500)
    record = World(random, 60, [one, two], jitter=jitter, watched=()).record()
    last_published = PERIOD_S * int((start - 1e-9) / PERIOD_S)
    truth = start + length - last_published
    (gap,) = gaps(record)
    # A beat is heard up to one question after it was published; the last may come after the last question.
    assert gap.least_s - PERIOD_S <= truth <= gap.seconds + PERIOD_S
    assert gap.ended and gap.path == GUEST
    assert gap.resolution_s <= 2 * (PERIOD_S + 2 * jitter) + 1.5, "two questions, and one that was given up"
    (silence,) = silences(record, GUEST)
    back = silence.heard_again
    assert back is not None
    assert back.t_s - back.resolution_s <= start + length <= back.t_s


@settings(max_examples=30, deadline=None)
@given(random=seeds, loss=st.sampled_from([0.0, 0.2]))
def test_a_guest_that_beats_all_the_time_has_no_silence(random: Random, loss: float) -> None:
    record = World(random, 30, [Run("node1", 0, 31, "a")], loss=loss, watched=()).record()
    assert gaps(record) == () and counters_back(record) == () and restarts(record) == ()


def test_a_service_that_answers_and_no_longer_beats_is_silent() -> None:
    beats = [heard("a", at / 4, min(at, 20)) for at in range(80)]
    (gap,) = gaps(record_of(*beats))
    assert not gap.ended
    assert gap.start_s == 5.0 and gap.lost == 0
    assert len(news(record_of(*beats), GUEST)) == 21


def test_a_silence_that_has_not_ended_is_told() -> None:
    (gap,) = gaps(World(Random(1), 60, [Run("node1", 0, 20, "a")]).record())
    assert not gap.ended
    assert gap.end_s == 60 and 38 <= gap.least_s <= 40 <= gap.seconds


def test_a_silence_in_which_nobody_asked_is_none_and_is_told_apart() -> None:
    beats = [heard("a", at / 4, at) for at in range(240) if not 20 <= at / 4 < 30]
    assert gaps(record_of(*beats)) == ()
    ((start, end),) = deaf(record_of(*beats), GUEST)
    assert (start, end) == (19.75, 30.0)
    assert "nobody asked it for 10.2 s" in judge(record_of(*beats)).unheard[GUEST]


def test_a_late_answer_is_no_news() -> None:
    beats = [heard("a", 1, 5), heard("a", 1.5, 7), heard("a", 1.2, 6, took=1.0)]
    assert [beat.counter for beat in news(record_of(*beats), GUEST)] == [5, 7]


@settings(max_examples=60, deadline=None)
@given(
    random=seeds,
    jitter=st.sampled_from([0.005, 0.4]),
    lengths=st.lists(st.floats(0.3, 10), min_size=1, max_size=4),
)
def test_a_disk_that_forgets_nothing_is_never_accused(
    random: Random, jitter: float, lengths: list[float]
) -> None:
    """What was synced is one beat ahead of what was told, at most, when a guest dies."""
    runs, at, first = [], 0.0, 1
    for number, length in enumerate(lengths):
        runs.append(Run(random.choice(NODES), at, at + length, f"boot-{number}", first))
        first += int(length / PERIOD_S) + 1 + random.choice([0, 1])
        at += length + random.uniform(0, 3)
    record = World(random, 45, runs, jitter=jitter, watched=()).record()
    assert counters_back(record) == ()
    boots = dict.fromkeys(beat.boot for beat in record.of(GUEST) if beat.heard)
    assert [each.first.boot for each in restarts(record)] == list(boots)[1:]


@settings(max_examples=60, deadline=None)
@given(random=seeds, start=st.floats(3, 15), lost=st.integers(1, 12))
def test_a_disk_that_forgets_a_beat_that_was_told_is_named(random: Random, start: float, lost: int) -> None:
    one = Run("node1", 0, start, "aaaaaaaa", 100)
    last = one.counter(start - 0.001)
    assert last is not None
    again = Run("node2", start + 5, 40, "bbbbbbbb", last + 1 - lost)
    record = World(random, 40, [one, again], jitter=0.01, watched=()).record()
    heard_first = max(beat.counter for beat in record.of(GUEST) if beat.boot == one.boot)
    found = counters_back(record)
    first_again = min(beat.counter for beat in record.of(GUEST) if beat.boot == again.boot)
    assert bool(found) == (first_again <= heard_first)
    if found:
        assert (found[0].before.counter, found[0].after.counter) == (heard_first, first_again)
        assert "after it began anew" in str(found[0])
        with pytest.raises(CounterBackError, match=f"beat-ct: beat {first_again} came after it began anew"):
            judge(record).prove()


@pytest.mark.parametrize(
    ("beats", "count"),
    [
        ([heard("a", 1, 5), heard("a", 2, 5), heard("a", 3, 6)], 0),
        ([heard("a", 1, 5), heard("a", 2, 4), heard("a", 3, 4)], 1),
        ([heard("a", 1, 5), heard("b", 2, 5)], 1),
        ([heard("a", 1, 5), heard("b", 2, 6)], 0),
        ([heard("a", 1, 5), heard("a", 0.9, 4, took=2)], 0),
        ([heard("a", 1, 9), heard("a", 2, 3), heard("a", 3, 12), heard("a", 4, 8)], 2),
        ([heard("a", 1, 9), heard("b", 2, 1), heard("b", 3, 2), heard("b", 4, 3)], 1),
    ],
    ids=[
        "told again",
        "stale disk",
        "same beat anew",
        "next beat",
        "late answer",
        "two descents",
        "one reset",
    ],
)
def test_descents(beats: list[Beat], count: int) -> None:
    assert len(counters_back(record_of(*beats))) == count


def a_failover() -> Record:
    """node1 is off from 20; the manager sees it at 24, fences at 80, gives free at 140; it runs from 150."""
    runs = [Run("node1", 0, 20, "a"), Run("node2", 150, 200, "b", 90)]
    record = World(Random(5), 200, runs, offs=[Outage("node1", 20, 170)]).record()

    def state(at: float, node: str, service: str, where: str = "node1") -> HaState:
        nodes = {"node1": node, "node2": "online", "node3": "online"}
        return HaState("node3", ns(at - 0.1), ns(at + 0.1), "node3", nodes, {SID: (where, service)})

    states = (
        state(10, "online", "started"), state(24, "unknown", "started"), state(80, "fence", "fence"),
        state(140, "unknown", "recovery"), state(151, "unknown", "started", "node2"),
    )  # fmt: skip
    return replace(record, ha=states)


def test_the_course_of_a_failover() -> None:
    found = failover(a_failover(), GUEST, 20.0)
    assert (found.origin, found.target) == ("node1", "node2")

    def at(moment: Any) -> float:
        assert moment is not None
        return round(moment.t_s)

    course = (found.last_beat, found.detected, found.dead, found.fenced, found.released, found.begun)
    assert tuple(map(at, course)) == (20, 24, 23, 80, 140, 150)
    assert found.dead is not None and found.dead.resolution_s < 4
    assert found.begun is not None and found.begun.resolution_s < 1
    assert found.recovery_s is not None and 130 <= found.recovery_s < 131
    assert found.recovery_s - found.recovery_resolution_s <= 130
    assert [event.label for event in found.events()] == [
        "last beat of beat-ct", "node1 is certainly dead", "node1 counts as lost",
        "beat-ct waits for the fencing of node1", "beat-ct may start elsewhere", "beat-ct runs on node2",
        "first beat of beat-ct",
    ]  # fmt: skip
    judge(a_failover()).prove()


def test_a_failover_is_drawn_from_the_fault_on() -> None:
    record = a_failover()
    drawn = drawing(record, failover(record, GUEST, 20.0), 135.0)
    assert (drawn.title, drawn.predicted_s) == ("beat-ct: failover", 135.0)
    assert [round(at) for at, _ in drawn.events] == [0, 3, 4, 60, 120, 130, 130]
    ((one, _, left, kind), (other, began, _, _)) = drawn.bands
    assert (one, other, kind) == ("on node1", "on node2", "info")
    assert -1 < left <= 0 and 130 <= began < 131
    ((path, start, end),) = drawn.outages
    assert path == GUEST and -1 < start <= 0 and 130 <= end < 131
    assert "beat-ct: failover" in timeline(
        Timeline(drawn.title, drawn.events, drawn.bands, drawn.outages, 135.0)
    )


def test_a_failover_that_has_not_happened_yet_has_no_end() -> None:
    record = replace(World(Random(5), 60, [Run("node1", 0, 20, "a")]).record(), ha=())
    found = failover(record, GUEST, 20.0)
    assert (found.origin, found.target, found.begun, found.first_beat) == ("node1", None, None, None)
    assert found.recovery_s is None and found.last_beat is not None


def test_a_guest_that_begins_anew_where_it_was() -> None:
    runs = [Run("node1", 0, 20, "a"), Run("node1", 31, 60, "b", 90)]
    found = failover(World(Random(6), 60, runs).record(), GUEST, 20.0)
    assert (found.origin, found.target) == ("node1", "node1")
    assert found.dead is None and found.detected is None
    assert found.recovery_s is not None and 11 <= found.recovery_s < 12


def test_a_fault_that_a_guest_does_not_feel_has_no_recovery() -> None:
    found = failover(World(Random(6), 60, [Run("node2", 0, 61, "a")]).record(), GUEST, 20.0)
    assert (found.recovery_s, found.last_beat, found.events()) == (None, None, ())


def test_the_whole_is_red_for_what_is_worst() -> None:
    runs = [Run("node1", 0, 40, "a"), Run("node2", 20, 60, "b", 1)]
    report = judge(World(Random(7), 60, runs).record())
    assert report.back, "the second copy counts from where it began"
    with pytest.raises(RunningTwiceError):
        report.prove()
    assert "seen twice" in report.summary() and f"{len(report.back)} counters back" in report.summary()


def test_a_guest_that_was_never_heard_is_unknown() -> None:
    world = World(Random(8), 30, [Run("node1", 0, 31, "a")], hears=())
    with pytest.raises(UnknownError, match="no beat of beat-ct was heard"):
        judge(world.record()).prove()
