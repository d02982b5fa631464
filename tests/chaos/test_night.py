"""The night: the seed draws the sequence and nothing else does; a night on fakes heals all it breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos import night_record, schedule
from chaos.engine import Engine, Window
from chaos.fault import FaultError, QuorumLoss, catalogue
from chaos.guard import Guard
from chaos.guard_quorum import Membership
from chaos.night import REFUSED_IN_A_ROW, Night, Seen
from chaos.night_watch import longest
from chaos.predict import Prediction
from chaos.probe import Outage
from chaos.schedule import FAULTS_PER_WATCH, PAUSE_S, Step
from cluster.site import ROOT, load
from tests.chaos.world import GUESTS, HA, FakeCluster, relocate

SITE = load(ROOT / "sites" / "lab.toml").model_copy(update={"ha": HA, "guests": GUESTS})
NODES = [spec.name for spec in SITE.nodes]
POOLS = schedule.pools(SITE, catalogue())
seeds = st.integers(0, 10**9)


def steps(seed: int, count: int) -> list[Step]:
    return list(islice(schedule.night(seed, NODES, POOLS), count))


@settings(max_examples=40)
@given(seed=seeds, count=st.integers(1, 60), more=st.integers(0, 60))
def test_a_seed_draws_one_sequence_and_a_shorter_night_is_its_beginning(
    seed: int, count: int, more: int
) -> None:
    assert steps(seed, count) == steps(seed, count + more)[:count]


@settings(max_examples=40)
@given(seed=seeds)
def test_every_step_spares_its_keeper_and_names_its_victims(seed: int) -> None:
    for number, step in enumerate(steps(seed, 40)):
        assert step.number == number and step.watch == number // FAULTS_PER_WATCH
        assert step.keeper not in {name.split()[0] for name in step.victims}
        assert set(step.victims) <= set(POOLS[step.kind])
        assert PAUSE_S[0] <= step.pause_s <= PAUSE_S[1]
        assert step.victims


@settings(max_examples=20)
@given(seed=seeds, order=st.randoms(use_true_random=False))
def test_the_order_in_which_kinds_are_found_does_not_matter(seed: int, order: Any) -> None:
    shuffled = list(POOLS.items())
    order.shuffle(shuffled)
    assert list(islice(schedule.night(seed, NODES, dict(shuffled)), 20)) == steps(seed, 20)


def test_a_sequence_is_the_same_for_ever() -> None:
    pools = {"a": ("node1", "node2", "node3"), "b": ("sw1", "sw2")}
    drawn = list(islice(schedule.night(7, ["node1", "node2", "node3"], pools), 6))
    assert [(step.kind, step.victims, step.keeper, step.pause_s) for step in drawn] == EXPECTED


EXPECTED: list[Any] = [
    ("b", ("sw2", "sw1"), "node2", 7.2),
    ("b", ("sw2", "sw1"), "node2", 19.6),
    ("a", ("node3", "node1"), "node2", 20.3),
    ("b", ("sw1", "sw2"), "node2", 25.6),
    ("b", ("sw1", "sw2"), "node3", 15.8),
    ("b", ("sw1", "sw2"), "node3", 7.5),
]


def test_weights_count_and_nought_leaves_a_kind_out() -> None:
    drawn = list(islice(schedule.night(1, NODES, POOLS, {"loss": 0.0, "latency": 40.0}), 400))
    kinds = [step.kind for step in drawn]
    assert "loss" not in kinds
    assert kinds.count("latency") > 100
    assert {step.keeper for step in drawn} == set(NODES)


def test_every_kind_is_drawn_in_a_long_night_but_what_needs_consent() -> None:
    without = {kind for kind, fault in catalogue().items() if issubclass(fault, QuorumLoss)}
    assert without == {kind for kind, weight in schedule.WEIGHTS.items() if not weight}
    assert {step.kind for step in steps(3, 1500)} == set(catalogue()) - without


def test_a_night_without_anything_to_draw_is_refused() -> None:
    with pytest.raises(FaultError, match="a night needs"):
        next(schedule.night(1, NODES, {}))


@settings(max_examples=20)
@given(seed=seeds)
def test_a_plan_is_read_as_it_was_written(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    kept = night_record.upto(schedule.night(seed, NODES, POOLS), 2.5)
    (folder / "artefacts").mkdir()
    (folder / "artefacts" / night_record.PLAN).write_text(night_record.plan_text(seed, 2.5, kept))
    assert night_record.read(folder) == night_record.Plan(seed, 2.5, kept)


def test_evidence_alone_gives_the_seed(tmp_path: Path) -> None:
    scenario = {"tags": ["night"], "seconds": 600.0, "artefacts": ["artefacts/chaos-night.json"]}
    (tmp_path / "evidence.json").write_text(json.dumps({"seed": 42, "scenarios": [scenario]}))
    assert night_record.read(tmp_path / "evidence.json") == night_record.Plan(42, 10.0, None)


@pytest.mark.parametrize("text", ["", "[]", '{"seed": 1, "scenarios": [{"tags": ["phase2"]}]}'])
def test_a_run_without_a_night_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(FaultError):
        night_record.read(tmp_path)


def test_a_spoilt_plan_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "artefacts").mkdir()
    plan = {"seed": 1, "minutes": 1, "steps": [{"number": 0}]}
    (tmp_path / "artefacts" / night_record.PLAN).write_text(json.dumps(plan))
    with pytest.raises(FaultError, match="cannot be read"):
        night_record.read(tmp_path)


class FakeWatch:
    """Counts what it is asked; `order` keeps the course of the night."""

    def __init__(self, keeper: str, order: list[str]) -> None:
        self.keeper, self.order = keeper, order

    def start(self) -> None:
        self.order.append(f"watch of {self.keeper}")

    def seen(self, since_s: float, until_s: float) -> Seen:
        assert since_s <= until_s
        return Seen({"a → b": Outage("a → b", since_s, since_s + 0.2, 0.02)})

    def expected(self, engine: Engine, window: Window) -> tuple[Prediction | None, Prediction | None]:
        return window.predicted, None

    def verify(self) -> Any:
        self.order.append("read back")
        return SimpleNamespace(node=self.keeper)

    def guests(self) -> Any:
        self.order.append("guests judged")
        return SimpleNamespace(node=self.keeper)

    def close(self) -> None:
        self.order.append("closed")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def course() -> list[str]:
    return []


def a_night(world: FakeCluster, plan: list[Step], course: list[str], minutes: float = 60) -> Night:
    clock = Clock()
    engine = Engine(world, Guard(settle_s=0, sleep=world.sleep), sleep=world.sleep)
    return Night(
        world, engine, plan, seed=7, minutes=minutes, kinds=catalogue(), say=course.append, clock=clock,
        watch=lambda keeper: FakeWatch(keeper, course), sleep=clock.sleep,
    )  # fmt: skip


def step(number: int, kind: str, *victims: str, watch: int = 0, pause_s: float = 10.0) -> Step:
    return Step(number, watch, "node3", kind, victims, pause_s)


def test_a_night_heals_what_it_breaks_and_changes_its_keeper(world: FakeCluster, course: list[str]) -> None:
    leg = f"node1 {SITE.nodes[0].links[1].mac}"
    plan = [
        step(0, "latency", "node2", "node1"), step(1, "link-down", leg), step(2, "switch-down", "sw2", "sw1"),
        step(3, "mon-leader-killed", "node2", "node1"), step(4, "pveproxy-killed", "node1", watch=1),
    ]  # fmt: skip
    night = a_night(world, plan, course)
    night.run()
    assert [struck.outcome for struck in night.course] == ["healed"] * 5
    assert night.course[0].target.startswith("node2")
    assert night.course[1].parameters["interface"] == "eth1"
    assert night.course[3].target == "mon.node1", "who has the role is struck"
    assert [line for line in course if line in ("read back", "closed") or line.startswith("watch")] == [
        "watch of node3", "read back", "closed", "watch of node3", "read back", "closed",
    ]  # fmt: skip
    assert len(night.ledgers) == 2
    assert world.switches_left() == []
    kept = json.loads(night_record.course_text(7, night.course, night.ended))
    assert kept["struck"][0]["predicted_s"] == 0.0 and kept["struck"][0]["interrupted_s"] == 0.2


def test_a_node_that_started_anew_ends_what_watched_on_it(world: FakeCluster, course: list[str]) -> None:
    plan = [step(0, "node-power-lost", "node1"), step(1, "loss", "node2"), step(2, "loss", "node1")]
    night = a_night(world, plan, course)
    night.run()
    assert [struck.outcome for struck in night.course] == ["healed"] * 3
    assert [line for line in course if line in ("read back", "closed") or line.startswith("watch")] == [
        "watch of node3", "read back", "closed", "watch of node3", "read back", "closed",
    ]  # fmt: skip


def test_a_watcher_that_was_lost_is_begun_anew(
    world: FakeCluster, course: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen where HA's watchdog reset a node whose Corosync was killed."""
    monkeypatch.setattr(
        FakeWatch, "seen", lambda *_: Seen(unknown="node1 → node2: the probe's record is gone")
    )
    night = a_night(world, [step(0, "loss", "node2"), step(1, "loss", "node1")], course)
    night.run()
    assert [line for line in course if line in ("read back", "closed") or line.startswith("watch")] == [
        "watch of node3", "read back", "closed", "watch of node3", "read back", "closed",
    ]  # fmt: skip


def test_time_ends_a_night_and_never_changes_its_sequence(world: FakeCluster, course: list[str]) -> None:
    plan = [step(number, "loss", "node1", pause_s=30.0) for number in range(9)]
    night = a_night(world, plan, course, minutes=1)
    night.run()
    assert [each.step for each in night.course] == plan[: len(night.course)]
    assert 1 <= len(night.course) <= 3


def test_a_slower_night_on_another_cluster_strikes_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {kind: POOLS[kind] for kind in ("latency", "link-down", "partition", "rate-limit")}
    plan = list(islice(schedule.night(11, NODES, few), 3))
    struck = []
    for name in ("quick", "slow"):
        relocate(monkeypatch, tmp_path / name / "run")
        monkeypatch.setenv("RACKPROOF_JOURNALS", str(tmp_path / name / "state"))
        world = FakeCluster(tmp_path / name / "world")
        if name == "slow":  # another leg is active there: what is drawn by name is the same
            for node in world.nodes.values():
                node.write({**node.state(), "active": "eth1"})
        night = a_night(world, plan, [], minutes=60 if name == "quick" else 600)
        night.run()
        struck.append([(each.outcome, each.step.kind, each.parameters) for each in night.course])
    assert len(struck[0]) == 3
    assert struck[0] == struck[1]


def test_what_does_not_apply_is_passed_over(world: FakeCluster, course: list[str]) -> None:
    world.nodes["node1"].write({**world.nodes["node1"].state()})
    (world.nodes["node1"].folder / "ceph/services/corosync.service").write_text("inactive\n")
    plan = [step(0, "corosync-killed", "node1"), step(1, "upside-down", "node1"), step(2, "loss", "node1")]
    night = a_night(world, plan, course)
    night.run()
    assert [struck.outcome for struck in night.course] == ["not applicable", "unknown", "healed"]


def test_a_guard_that_refuses_ends_the_night(
    world: FakeCluster, course: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos.night.PATIENCE_S", 15.0)  # asked twice each
    world.bmcs["node1"].state = "Off"
    night = a_night(world, [step(number, "loss", "node1") for number in range(9)], course, minutes=600)
    night.run()
    assert [struck.outcome for struck in night.course] == ["refused"] * REFUSED_IN_A_ROW
    assert "by its BMC" in night.ended
    assert sum("waiting until the guard admits it" in line for line in course) >= REFUSED_IN_A_ROW
    assert world.nodes["node1"].seen()["traffic/clock"] == "0\n"


def test_a_heal_that_fails_ends_the_night(
    world: FakeCluster, course: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos.engine.ALONE_S", 0.0)
    monkeypatch.setattr("chaos.faults.traffic.TrafficFault.healed", lambda self, cluster: False)
    monkeypatch.setattr("chaos.faults.loss.Loss.heal_s", 0.0)
    monkeypatch.setattr("chaos.engine.Engine._seen_healed", lambda self, fault, deadline: False)
    night = a_night(world, [step(0, "loss", "node1"), step(1, "loss", "node2")], course)
    night.run()
    assert [struck.outcome for struck in night.course] == ["failed"]
    assert "STILL BROKEN" in night.ended


def test_an_interrupted_night_heals_and_closes_its_watch(world: FakeCluster, course: list[str]) -> None:
    night = a_night(world, [step(0, "loss", "node1")], course)

    def stop(seconds: float) -> Iterator[None]:
        if night._engine.journal.entries():
            raise KeyboardInterrupt
        return iter(())

    night._sleep = stop  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        night.run()
    assert world.nodes["node1"].seen().get("traffic/bond0.6/netem") is None
    assert night._engine.journal.entries() == []
    assert "closed" in course and "read back" not in course


def test_only_what_reaches_into_the_window_counts() -> None:
    outages = [
        Outage("p", 1.0, 2.0, 0.1), Outage("p", 4.0, 4.5, 0.1), Outage("p", 5.0, 8.0, 0.1),
        Outage("q", 9.0, 12.0, 1.0),
    ]  # fmt: skip
    assert longest(outages, 4.2, 6.0) == {"p": outages[2]}
    assert longest(outages, 2.5, 3.0) == {}


@pytest.mark.parametrize(("told", "found"), [("3", []), ("none", []), ("2", ["node2 sees 2 of 3 members"])])
def test_membership_is_asked_of_every_node(told: str, found: list[str]) -> None:
    def node(text: str) -> Any:
        return SimpleNamespace(run=lambda *args, **more: SimpleNamespace(stdout=f"{text}\n"))

    nodes = {"node1": node("3"), "node2": node(told), "node3": node("3")}
    cluster: Any = SimpleNamespace(site=SITE, nodes=nodes)
    assert Membership().problems(cluster, None) == found  # type: ignore[arg-type]


def test_a_step_survives_json() -> None:
    drawn = steps(5, 3)
    assert [Step.of(json.loads(json.dumps(asdict(each)))) for each in drawn] == drawn
