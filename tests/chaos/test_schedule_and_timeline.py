"""Draws are repeated by their seed; a drill is drawn relative to its break."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.probe import Outage
from chaos.schedule import order
from chaos.timeline import Record

VICTIMS = ["node1", "node2", "node3", "node4", "node5"]


def test_the_order_of_a_seed_is_the_same_for_ever() -> None:
    assert order(7, "links", VICTIMS) == ["node1", "node2", "node4", "node3", "node5"]


@given(seed=st.integers(0, 10**9))
def test_an_order_is_a_permutation_and_repeats(seed: int) -> None:
    assert sorted(order(seed, "links", VICTIMS)) == VICTIMS
    assert order(seed, "links", VICTIMS) == order(seed, "links", VICTIMS)


def test_seeds_and_purposes_differ() -> None:
    assert len({tuple(order(seed, "links", VICTIMS)) for seed in range(200)}) > 60
    assert len({tuple(order(7, purpose, VICTIMS)) for purpose in "abcdefgh"}) > 3


def test_a_drill_is_drawn_relative_to_its_break() -> None:
    now = iter([100.0, 101.5, 104.0])
    record = Record("link-down: node1 eth0", clock=lambda: next(now))
    record.mark("armed")
    record.mark("broken", origin=True)
    record.mark("healed")
    record.band("node1 eth0", 101.5, 104.0, "broken")
    drawing = record.drawing([Outage("node1 → node2", 101.6, 101.7, 0.02)], 0.1)
    assert drawing.events == ((-1.5, "armed"), (0.0, "broken"), (2.5, "healed"))
    assert drawing.bands == (("node1 eth0", 0.0, 2.5, "broken"),)
    ((path, start, end),) = drawing.outages
    assert path == "node1 → node2"
    assert (round(start, 6), round(end, 6)) == (0.1, 0.2)
    assert drawing.predicted_s == 0.1
