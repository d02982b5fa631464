"""A stamp of a node's clock, placed on the controller's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.heartbeats_stream import DRIFT, Clock

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
