"""The loop: what it applies, in which order, when it stops, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.errors import DeadlineError, NotConvergedError, RefusedError
from cluster.site import Site
from provisioners.change import Change, Progress
from provisioners.converge import MAX_ROUNDS, DifferenceError, converge, plan, rollback


def quiet(_: str) -> None:
    return None


@dataclass
class World:
    """What is true: the set of open differences. Actions close them."""

    open: set[str]
    log: list[str] = field(default_factory=list)


@dataclass
class Closing:
    world: World
    name: str
    works: bool = True
    undo_destroys: bool = False

    def apply(self, cluster: Any, changes: Sequence[Change], progress: Progress) -> None:
        self.world.log.append(f"{self.name} {' '.join(c.node for c in changes)}")
        if self.works:
            self.world.open -= {c.summary for c in changes}

    def undo(self, cluster: Any, changes: Sequence[Change], progress: Progress) -> None:
        self.world.log.append(f"undo {self.name} {' '.join(c.node for c in changes)}")


@dataclass
class FakePhase:
    world: World
    changes: dict[str, Change]
    actions: dict[str, Closing]
    number: int = 7
    name: str = "test"

    def observe(self, cluster: Any) -> frozenset[str]:
        self.world.log.append("observe")
        return frozenset(self.world.open)

    def missing(self, site: Any, observation: frozenset[str]) -> list[Change]:
        return [change for key, change in self.changes.items() if key in observation]


@pytest.fixture
def cluster(site: Site) -> Any:
    return SimpleNamespace(site=site)


def phase_of(*changes: Change, works: bool = True) -> FakePhase:
    world = World({c.summary for c in changes})
    names = dict.fromkeys([*(c.action for c in changes), *(c.when_wiped for c in changes if c.when_wiped)])
    return FakePhase(world, {c.summary: c for c in changes}, {n: Closing(world, n, works) for n in names})


def run(
    phase: FakePhase, cluster: Any, mode: Any = "missing", **options: Any
) -> tuple[frozenset[str], list[Change]]:
    recorded: list[Change] = []
    seen = converge(phase, cluster, mode, record=recorded.append, progress=quiet, **options)
    return seen, recorded


ONE = Change("node1", "one", "first")
TWO = Change("node2", "two", "second")
THREE = Change("node3", "three", "first")


def test_applies_by_action_in_order_of_first_appearance_and_looks_again(cluster: Any) -> None:
    phase = phase_of(ONE, TWO, THREE)
    seen, recorded = run(phase, cluster)
    assert seen == frozenset()
    assert phase.world.log == ["observe", "first node1 node3", "second node2", "observe"]
    assert recorded == [ONE, THREE, TWO]


def test_asked_twice_done_once(cluster: Any) -> None:
    phase = phase_of(ONE)
    run(phase, cluster)
    phase.world.log.clear()
    _, recorded = run(phase, cluster)
    assert recorded == [] and phase.world.log == ["observe"]


def test_plan_touches_nothing(cluster: Any) -> None:
    phase = phase_of(ONE, TWO)
    _, recorded = run(phase, cluster, "plan")
    assert recorded == [ONE, TWO] == plan(phase, cluster)
    assert phase.world.log == ["observe", "observe"] and phase.world.open == {"one", "two"}


def test_never_fails_with_the_whole_difference(cluster: Any) -> None:
    phase = phase_of(ONE, TWO)
    with pytest.raises(NotConvergedError, match=r"node1: one; node2: two"):
        run(phase, cluster, "never")
    assert phase.world.log == ["observe"]
    assert run(phase_of(), cluster, "never")[1] == []
    for blocks in (False, True):
        with pytest.raises(DifferenceError) as caught:
            run(phase_of(Change("node1", "one", "first", blocks=blocks)), cluster, "never")
        assert caught.value.observation == {"one"} and caught.value.whole is not blocks


def test_what_stays_different_is_named_and_no_round_is_wasted(cluster: Any) -> None:
    phase = phase_of(ONE, works=False)
    with pytest.raises(
        NotConvergedError, match=r"phase 7 \(test\) is not as ordered after 1 rounds.*node1: one"
    ):
        run(phase, cluster)
    assert phase.world.log.count("first node1") == 1


def test_rounds_are_bounded(cluster: Any) -> None:
    phase = phase_of(ONE, works=False)
    changing = iter(range(99))
    phase.missing = lambda site, observation: [Change("node1", f"again {next(changing)}", "first")]  # type: ignore[method-assign]
    with pytest.raises(NotConvergedError, match=f"after {MAX_ROUNDS} rounds"):
        run(phase, cluster)


def test_a_deadline_is_named(cluster: Any) -> None:
    with pytest.raises(DeadlineError, match="before 'first'"):
        run(phase_of(ONE), cluster, deadline_s=-1)


def test_an_action_that_does_not_exist_is_the_peoples(cluster: Any) -> None:
    phase = phase_of(ONE)
    phase.actions.clear()
    with pytest.raises(NotConvergedError, match="no provisioning can put that right"):
        run(phase, cluster)


LOSS = Change("node1", "install", "install", destroys="whatever runs there", serials=("A", "B"))


@pytest.mark.parametrize("wipe", [frozenset(), frozenset({"A"}), frozenset({"C", "B"})])
def test_data_is_never_destroyed_unasked(cluster: Any, wipe: frozenset[str]) -> None:
    phase = phase_of(LOSS, TWO)
    with pytest.raises(
        RefusedError, match=r"node1: refused to install: it would destroy whatever runs there on A and B"
    ):
        run(phase, cluster, wipe=wipe)
    assert phase.world.log == ["observe"], "a refusal must come before the first change"


def test_consent_names_every_drive(cluster: Any) -> None:
    phase = phase_of(LOSS)
    assert run(phase, cluster, wipe=frozenset({"A", "B", "C"}))[1] == [LOSS]
    nameless = Change("node1", "format", "first", destroys="something")
    with pytest.raises(RefusedError, match="--wipe SERIAL"):
        run(phase_of(nameless), cluster, wipe=frozenset({"A"}))


def test_consent_may_choose_another_action(cluster: Any) -> None:
    silent = Change("node1", "start", "start", serials=("A", "B"), when_wiped="install")
    waits, wipes = phase_of(silent), phase_of(silent)
    run(waits, cluster, wipe=frozenset({"A"}))
    run(wipes, cluster, wipe=frozenset({"A", "B"}))
    assert waits.world.log[1] == "start node1" and wipes.world.log[1] == "install node1"


def test_rollback_undoes_the_last_action_first(cluster: Any) -> None:
    phase = phase_of(ONE, TWO)
    rollback(phase, cluster, progress=quiet)
    assert phase.world.log == ["undo second node1 node2 node3", "undo first node1 node2 node3"]


def test_rollback_refuses_to_erase_unasked(cluster: Any) -> None:
    phase = phase_of(ONE, TWO)
    phase.actions["first"].undo_destroys = True
    with pytest.raises(RefusedError, match="--wipe BOOT11 --wipe BOOT12"):
        rollback(phase, cluster, progress=quiet)
    assert phase.world.log == []
    rollback(phase, cluster, progress=quiet, nodes=["node1"], wipe=frozenset({"BOOT11", "BOOT12"}))
    assert phase.world.log == ["undo second node1", "undo first node1"]


def test_progress_tells_what_and_how_many(cluster: Any) -> None:
    said: list[str] = []
    record: Callable[[Change], None] = lambda change: None  # noqa: E731
    converge(phase_of(ONE, TWO), cluster, record=record, progress=said.append)
    assert "node1: one" in said and any("first (1 of 2) done in" in line for line in said)
