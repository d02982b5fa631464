"""The contract of every fault in the library. A new class is found by itself; nothing is to be added here
for it.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from random import Random

import pytest

from chaos.engine import HARNESS, SWITCH, Engine
from chaos.fault import Fault, FaultError, QuorumLoss, catalogue, rebuild
from chaos.guard import Guard
from chaos.guard_quorum import QuorumKept
from chaos.journal import Journal, State, journal_path, recover
from tests.chaos.world import FakeCluster

KINDS = list(catalogue().values())
DRILL = "0a1b2c3d"
every_fault = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def drawn(kind: type[Fault], world: FakeCluster) -> Fault:
    return kind.draw(world, Random(7))


def quick(world: FakeCluster) -> Guard:
    return Guard(settle_s=0, sleep=world.sleep)


def seen_injected(fault: Fault, world: FakeCluster) -> bool:
    return fault.injected(world, DRILL)


@every_fault
def test_it_says_what_it_is(kind: type[Fault]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.kind)
    for text in (kind.summary, kind.blast_radius, kind.heals_by, kind.deadman, *kind.needs):
        assert text.strip()
    assert kind.needs
    assert (kind.__doc__ or "").strip()
    assert not kind.alone or kind.may_isolate


@every_fault
def test_its_fields_are_data_that_rebuild_it(kind: type[Fault], world: FakeCluster) -> None:
    fault = drawn(kind, world)
    written = json.loads(json.dumps(fault.parameters()))
    assert rebuild(fault.kind, written) == fault
    assert fault.target
    assert set(fault.nodes) <= set(world.nodes)
    assert fault.nodes


@every_fault
def test_the_same_seed_draws_the_same_victim(kind: type[Fault], world: FakeCluster) -> None:
    assert drawn(kind, world) == drawn(kind, world)


@every_fault
@pytest.mark.parametrize("seconds", [0, 1, 10_000])
def test_its_switch_has_a_bounded_delay(kind: type[Fault], world: FakeCluster, seconds: float) -> None:
    with pytest.raises(FaultError, match="deadman_s"):
        rebuild(kind.kind, {**drawn(kind, world).parameters(), "deadman_s": seconds})


@every_fault
def test_a_sound_target_passes_its_check_and_is_not_touched(kind: type[Fault], world: FakeCluster) -> None:
    fault = drawn(kind, world)
    before = {name: node.seen() for name, node in world.nodes.items()}
    fault.check(world)
    assert fault.healed(world)
    assert not seen_injected(fault, world)
    assert {name: node.seen() for name, node in world.nodes.items()} == before


@every_fault
def test_healing_what_is_sound_does_no_harm(kind: type[Fault], world: FakeCluster) -> None:
    fault = drawn(kind, world)
    for _ in range(2):
        if not fault.alone:
            try:
                fault.heal(world, DRILL)
            except Exception as error:  # noqa: BLE001
                pytest.fail(f"healing what is sound raised {error!r}")
        assert fault.healed(world)
    fault.disarm(world, DRILL, {})
    fault.disarm(world, DRILL, {})


@every_fault
def test_its_switch_is_seen_armed_and_disarmed(kind: type[Fault], world: FakeCluster) -> None:
    fault = drawn(kind, world)
    assert world.switches_left() == []
    handles = fault.arm(world, DRILL)
    assert fault.armed(world, DRILL, handles)
    assert not fault.fired(world, DRILL)
    fault.disarm(world, DRILL, handles)
    assert world.switches_left() == []


@every_fault
def test_its_switch_alone_heals_it(kind: type[Fault], world: FakeCluster) -> None:
    fault = drawn(kind, world)
    fault.arm(world, DRILL)
    fault.prepare(world, DRILL)
    fault.inject(world, DRILL)
    assert seen_injected(fault, world)
    world.fire()
    assert fault.healed(world)
    fault.proven(world, DRILL)


@every_fault
def test_broken_healed_and_nothing_left(kind: type[Fault], world: FakeCluster) -> None:
    fault = drawn(kind, world)
    engine = Engine(world, quick(world), sleep=world.sleep)
    with engine.fault(fault) as window:
        assert seen_injected(fault, world)
        assert engine.journal.entries()[0].state is State.BROKEN
        if fault.may_isolate and not world.nodes[fault.nodes[0]].answers():
            world.fire()
    assert window.healed_by in (HARNESS, SWITCH)
    assert fault.healed(world)
    assert not seen_injected(fault, world)
    assert engine.journal.entries() == []
    assert engine.journal.path.stat().st_size == 0
    assert world.switches_left() == []
    assert window.restored_s is not None
    assert [event.label for event in window.record.events][-1] == "redundancy restored"


@every_fault
def test_it_leaves_a_majority_or_needs_consent(kind: type[Fault], world: FakeCluster) -> None:
    fault = drawn(kind, world)
    assert set(fault.silenced) <= set(world.nodes)
    found = QuorumKept().problems(world, fault)
    assert bool(found) == isinstance(fault, QuorumLoss)
    if isinstance(fault, QuorumLoss):
        assert "consent" in found[0]
        assert QuorumKept().problems(world, replace(fault, consent=True)) == []


@every_fault
@pytest.mark.parametrize("state", [State.ARMED, State.BREAKING, State.HEALED])
def test_the_next_start_heals_what_a_killed_harness_left(
    kind: type[Fault], state: State, world: FakeCluster
) -> None:
    fault = drawn(kind, world)
    journal = Journal(journal_path(world.site))
    drill = journal.begin(fault)
    journal.advance(drill, state, fault.arm(world, drill))
    if state is State.BREAKING:
        fault.prepare(world, drill)
        fault.inject(world, drill)
    if not all(world.nodes[name].answers() for name in fault.nodes):
        world.fire()
    (done,) = recover(world, Journal(journal.path))
    assert done.healed, done.detail
    assert fault.healed(world)
    assert journal.entries() == []
    assert world.switches_left() == []


def test_the_library_is_not_empty_and_names_are_unique() -> None:
    assert len(KINDS) >= 5
    assert len({kind.kind for kind in KINDS}) == len(KINDS)


def test_an_unknown_fault_is_refused_in_one_sentence() -> None:
    with pytest.raises(FaultError, match="does not know"):
        rebuild("link-upside-down", {})
    with pytest.raises(FaultError, match="expected"):
        rebuild("link-down", {"node": "node1"})
