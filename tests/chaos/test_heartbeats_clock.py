"""A stamp of a node's clock, placed on the controller's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.heartbeats_stream import DRIFT, LATE_NS, Clock, Settled

moments = st.lists(st.floats(0, 50), min_size=1, max_size=8)


@given(
    ahead=st.floats(-1000, 1000), drift=st.floats(-0.99, 0.99).map(lambda part: part * DRIFT),
    at=st.floats(0, 50), moments=moments,
    trips=st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), min_size=8, max_size=8),
    tick=st.sampled_from([1, 10_000_000]), late=st.floats(0, 3),
)  # fmt: skip
def test_a_stamp_is_placed_around_the_truth(
    ahead: float,
    drift: float,
    at: float,
    moments: list[float],
    trips: list[tuple[float, float]],
    tick: int,
    late: float,
) -> None:
    clock = Clock(tick)

    def stamp(moment: float) -> int:
        return int((moment * (1 + drift) + ahead) * 1e9) // tick * tick

    assert clock.place(5, 9) is None
    for moment, (there, back) in zip(moments, trips, strict=False):
        clock.compare(int((moment - there) * 1e9), int((moment + back) * 1e9), stamp(moment))
    placed = clock.place(stamp(at), int((at + late) * 1e9) + 1000)
    assert placed is not None
    assert placed[0] - 1000 <= at * 1e9 <= placed[1] + 1000


def test_a_machine_that_stood_still_is_not_placed_by_what_was_known_before() -> None:
    clock = Clock()
    clock.compare(0, 2_000_000, 500)
    later, stood = 60_000_000_000, 40_000_000_000
    clock.compare(later, later + 50_000_000, later - stood)
    placed = clock.place(later - stood, later + 50_000_000)
    assert placed is not None and placed[0] >= later - 1 and placed[1] <= later + 50_000_001


def test_what_is_told_of_late_may_have_been_then_or_until_now() -> None:
    clock = Clock()
    clock.compare(0, 2_000_000, 1_000_000)
    assert clock.place(5_000_000_000, 9_000_000_000) == (4_996_500_499, 9_000_000_000)
    assert clock.place(99_000_000_000, 9_000_000_000) is None, "it would lie in the future"


@given(
    ahead=st.floats(-1000, 1000), drift=st.floats(-0.99, 0.99).map(lambda part: part * DRIFT),
    before=st.floats(1, 20), at=st.floats(20, 60), after=st.floats(60, 90), told=st.floats(0, 40),
    stood=st.tuples(st.floats(20, 60), st.floats(0, 30)),
    trips=st.tuples(*[st.floats(0, 1)] * 4), tick=st.sampled_from([1, 10_000_000]),
)  # fmt: skip
def test_what_was_late_lies_around_the_truth_once_clocks_were_compared_again(
    ahead: float, drift: float, before: float, at: float, after: float, told: float,
    stood: tuple[float, float], trips: tuple[float, ...], tick: int,
) -> None:  # fmt: skip
    """Moments are the machine's; ours go on while it stands still, once, after its moment `stood[0]`."""
    clock = Clock(tick)

    def ours(moment: float) -> float:
        return moment + (stood[1] if moment > stood[0] else 0.0)

    def compare(moment: float, there: float, back: float) -> None:
        stamp = int((moment * (1 + drift) + ahead) * 1e9) // tick * tick
        clock.compare(int((ours(moment) - there) * 1e9), int((ours(moment) + back) * 1e9), stamp)

    compare(before, *trips[:2])
    then = clock.copy()
    told_ns = int((ours(at) + told) * 1e9) + 1000
    compare(after, *trips[2:])
    placed = Settled(then, clock).place(int((at * (1 + drift) + ahead) * 1e9) // tick * tick, told_ns)
    assert placed is not None
    late_ns = LATE_NS if told_ns - placed[1] < LATE_NS else 0
    assert placed[0] - 1000 <= ours(at) * 1e9 <= placed[1] + late_ns + 1000


def test_what_was_late_on_its_way_is_placed_closely_once_clocks_were_compared_again() -> None:
    clock = Clock()
    clock.compare(0, 2_000_000, 1_000_000)
    then = clock.copy()
    assert then.place(5_000_000_000, 9_000_000_000) == (4_996_500_499, 9_000_000_000)
    clock.compare(9_000_000_000, 9_002_000_000, 9_001_000_000)
    placed = Settled(then, clock).place(5_000_000_000, 9_000_000_000)
    assert placed is not None
    assert placed[0] == 4_996_500_499 and placed[1] <= 5_003_100_000
    stood = Clock()
    stood.compare(9_000_000_000, 9_002_000_000, 6_001_000_000)  # it stood still for three seconds
    placed = Settled(then, stood).place(5_000_000_000, 9_000_000_000)
    assert placed is not None
    assert placed[0] == 4_996_500_499 and 8_000_000_000 <= placed[1] <= 8_002_000_000
