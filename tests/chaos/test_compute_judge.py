"""Judgements of a compute drill against worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from chaos import compute_judge
from chaos.ceph_watch import Moment
from chaos.fencing_record import Decision
from chaos.heartbeats_failover import failover
from chaos.heartbeats_record import HaState, Record
from tests.chaos.guest_world import GUEST, SID, Outage, Run, World, ns

SINCE = 20.0


def failed_over(seed: int = 5) -> Record:
    """node1 is off from 20 to 80; the guest runs on node2 from 60."""
    runs = [Run("node1", 0, 20, "a"), Run("node2", 60, 120, "b", 90)]
    return World(Random(seed), 120, runs, offs=[Outage("node1", 20, 80)]).record()


def test_a_guest_is_at_home_where_it_ran() -> None:
    record = failed_over()
    assert compute_judge.homes(record, SINCE) == {GUEST: "node1"}
    assert compute_judge.homes(record, 100.0) == {GUEST: "node2"}


def test_a_guest_that_came_back_began_anew_and_is_heard() -> None:
    record = failed_over()
    assert compute_judge.began_anew(record, [GUEST], SINCE) == {GUEST}
    assert compute_judge.began_anew(record, [GUEST], 100.0) == frozenset()
    assert compute_judge.heard_after(record, GUEST, 100.0)
    assert not compute_judge.heard_after(record, GUEST, 121.0)


def test_a_hiccup_is_no_recovery() -> None:
    """A guest that goes on after a silence is still the old one: its loss may be yet to come."""
    record = World(Random(5), 60, [Run("node1", 0, 60, "a")]).record()
    beats = (replace(b, missing="lost") if ns(21) < b.told_ns < ns(26) else b for b in record.beats)
    hole = replace(record, beats=tuple(beats))
    assert compute_judge.silence(hole, GUEST, SINCE) is not None
    assert compute_judge.began_anew(hole, [GUEST], SINCE) == frozenset()


def test_a_node_that_was_off_started_anew() -> None:
    found = compute_judge.anew(failed_over(), "node1", SINCE)
    assert found is not None and found.kernel == "kernel 1"
    at = found.started
    assert at.t_s - at.resolution_s <= 80 <= at.t_s < 82
    assert compute_judge.anew(failed_over(), "node2", SINCE) is None


@pytest.mark.parametrize("begun", [30.0, 60.0])
def test_a_guest_that_begins_while_its_node_lives_is_too_early(begun: float) -> None:
    runs = [Run("node1", 0, 45, "a"), Run("node2", begun, 120, "b", 190)]
    record = World(Random(7), 120, runs, offs=[Outage("node1", 45, 90)]).record()
    course = failover(record, GUEST, SINCE)
    found = compute_judge.too_early([course])
    assert bool(found) is (begun < 45)
    if found:
        assert "beat-ct began on node2 1" in found[0] and "node1 lived until" in found[0]
    assert compute_judge.not_seen_dead([course]) == []


def test_a_node_whose_death_nobody_saw_is_told() -> None:
    runs = [Run("node1", 0, 20, "a"), Run("node2", 60, 120, "b", 90)]
    record = World(Random(5), 120, runs, offs=[Outage("node1", 20, 130, bmc=False)]).record()
    (told,) = compute_judge.not_seen_dead([failover(record, GUEST, SINCE)])
    assert "node1 was not seen to be dead" in told


def test_what_begins_between_two_moments_is_told_and_nothing_else() -> None:
    record = failed_over()
    (told,) = compute_judge.started_between(record, SINCE, 100.0)
    assert "beat-ct began on node2 40" in told
    assert compute_judge.started_between(record, SINCE, 55.0) == []
    assert compute_judge.started_between(record, 70.0, 110.0) == []


def test_a_guest_has_left_once_its_node_is_seen_without_it() -> None:
    runs = [Run("node1", 0, 40, "a"), Run("node2", 42, 60, "b", 190)]
    record = World(Random(3), 60, runs).record()
    left = compute_judge.left_s(record, GUEST, ["node1"])
    assert left is not None and 40 <= left < 42
    assert compute_judge.left_s(record, GUEST, ["node2"]) is None


def state(node: str, service: str, at: float = 30.0) -> HaState:
    nodes = {"node1": node, "node2": "online"}
    return HaState("node2", ns(at), ns(at + 0.1), "node2", nodes, {SID: ("node1", service)})


@pytest.mark.parametrize(
    ("node", "service", "told"),
    [
        ("online", "started", []),
        ("maintenance", "migrate", []),
        ("unknown", "started", ["the HA manager counted node1 as unknown"]),
        ("online", "fence", ["the HA manager had ct:9001 on node1 in the state fence"]),
    ],
)
def test_what_the_manager_held_against_a_node(node: str, service: str, told: list[str]) -> None:
    record = replace(failed_over(), ha=(state("gone", "error", at=5), state(node, service)))
    assert compute_judge.ha_lost(record, ("node1", "node2"), SINCE) == told


def said(word: str, t_s: float, peer: str = "node1") -> Decision:
    return Decision("node2", peer, word, "why", t_s, 0.1)


CYCLE = (
    said("waits", 25),
    said("off-sent", 96),
    said("off-confirmed", 99),
    said("on-sent", 99),
    said("on-confirmed", 101),
)


def test_a_power_cycle_is_whole_or_what_lacks_is_told() -> None:
    assert compute_judge.confirmed(CYCLE, ["node1"]) == []
    (told,) = compute_judge.confirmed(CYCLE[:4], ["node1"])
    assert told == "node1 was confirmed off, and nobody confirmed that it was on again"
    (told,) = compute_judge.confirmed((said("off-sent", 96), said("refused", 98)), ["node1"])
    assert told == "nobody confirmed that node1 was off: node2 said refused, why"
    assert compute_judge.confirmed(CYCLE, ["node3"]) == ["nobody confirmed that node3 was off"]


def test_an_order_before_the_watchdog_must_have_bitten_is_told() -> None:
    assert compute_judge.off_too_early(CYCLE, SINCE, 70) == []
    (told,) = compute_judge.off_too_early(CYCLE, SINCE, 77)
    assert "switched node1 off 76.0 s after its loss" in told


def test_what_is_claimed_and_what_an_operator_is_told() -> None:
    refused = (said("waits", 25), said("refused", 96), said("gave-up", 400))
    assert compute_judge.claimed(refused, ["node1"]) == []
    assert len(compute_judge.claimed(CYCLE, ["node1"])) == 2
    assert compute_judge.claimed(CYCLE, ["node3"]) == []
    assert [each.word for each in compute_judge.told(refused, ["node1"])] == ["refused", "gave-up"]
    assert compute_judge.told(CYCLE, ["node1"]) == []


def test_a_start_is_bounded_by_the_break() -> None:
    found = compute_judge.anew(failed_over(11), "node1", SINCE)
    assert found is not None and isinstance(found.started, Moment)
    assert found.started.t_s - found.started.resolution_s >= SINCE
