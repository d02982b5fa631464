"""Phases of one session: converged once, blocked after a fall, planned without a touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.errors import BlockedError, NotConvergedError, RefusedError, UnreachableError
from cluster.site import Site
from provisioners.change import Change, Progress
from reports.evidence import Run
from steps import phases
from steps.modes import Mode, Provision
from steps.phases import Phases

NODES = ("node2", "node1")


@dataclass
class Closing:
    """An action that closes whatever it is given, or fails."""

    open: set[str]
    log: list[str]
    error: Exception | None = None

    def apply(self, cluster: Any, changes: Sequence[Change], progress: Progress) -> None:
        self.log.append("apply")
        if self.error:
            raise self.error
        self.open.clear()

    def undo(self, cluster: Any, changes: Sequence[Change], progress: Progress) -> None:
        self.log.append("undo " + " ".join(change.node for change in changes))


@dataclass
class Step:
    """A phase that lacks one thing on each node of `open`."""

    number: int
    open: set[str] = field(default_factory=lambda: set(NODES))
    log: list[str] = field(default_factory=list)
    error: Exception | None = None
    destroys: str = ""
    blocks: bool = False

    @property
    def name(self) -> str:
        return f"step {self.number}"

    @property
    def actions(self) -> Mapping[str, Closing]:
        return {"close": Closing(self.open, self.log, self.error)}

    def observe(self, cluster: Any) -> frozenset[str]:
        self.log.append("observe")
        return frozenset(self.open)

    def missing(self, site: Any, observation: frozenset[str]) -> list[Change]:
        return [
            Change(node, f"give {node} a {self.number}", "close", destroys=self.destroys, blocks=self.blocks)
            for node in NODES
            if node in observation
        ]


MODE = Mode("missing", True, frozenset(), "bmc", None, 1)


@dataclass
class Session:
    """Three fake phases in the place of the real ones."""

    steps: dict[int, Step]
    site: Site
    run: Run
    said: list[str]

    def phases(self, provision: Provision = "missing", site: Site | None = None) -> Phases:
        cluster: Any = SimpleNamespace(
            site=site or self.site,
            secrets=SimpleNamespace(values=lambda: {"canary!"}),
            **dict.fromkeys(("nodes", "bmcs", "switches", "ceph", "pve")),
        )
        return Phases(cluster, replace(MODE, provision=provision), self.run)

    @property
    def touched(self) -> list[str]:
        return [f"{n} {what}" for n, step in self.steps.items() for what in step.log if what != "observe"]


@pytest.fixture
def session(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> Session:
    steps = {number: Step(number) for number in (0, 1, 2)}
    said: list[str] = []
    monkeypatch.setattr(phases, "PHASES", steps)
    monkeypatch.setattr(phases, "say", said.append)
    return Session(steps, site, run, said)


def test_a_phase_is_converged_once(session: Session) -> None:
    them = session.phases()
    assert them.require(1) == frozenset() == them.require(1)
    assert session.steps[1].log == ["observe", "apply", "observe"]
    assert session.touched == ["1 apply"], "only the phase that was asked for"


def test_every_change_is_in_the_record(session: Session) -> None:
    session.phases().require(2)
    (scenario,) = session.run.record.scenarios
    assert sorted((c["node"], c["summary"]) for c in scenario.changes) == [
        ("node1", "give node1 a 2"),
        ("node2", "give node2 a 2"),
    ]


def test_a_fall_is_raised_once_and_blocks_what_stands_on_it(session: Session) -> None:
    session.steps[1].error = UnreachableError("node1 did not answer within 30 s")
    them = session.phases()
    with pytest.raises(UnreachableError):
        them.require(1)
    for number in (1, 2):
        with pytest.raises(BlockedError, match=r"^phase 1 fell: node1 did not answer within 30 s$"):
            them.require(number)
    assert session.steps[1].log == ["observe", "apply"], "what fell is not tried again"
    assert session.steps[2].log == [], "what is blocked is not touched"
    them.require(0)


def test_only_looking_fails_where_a_node_could_not_be_seen_and_touches_nothing(session: Session) -> None:
    session.steps[1].blocks = True
    them = session.phases("never")
    with pytest.raises(NotConvergedError, match="give node2 a 1; node1: give node1 a 1"):
        them.require(1)
    assert session.touched == []


def test_only_looking_leaves_a_difference_to_its_own_scenarios_where_all_was_seen(session: Session) -> None:
    them = session.phases("never")
    assert them.require(1) == {"node1", "node2"}
    assert them.undone(1) == ["node2: give node2 a 1", "node1: give node1 a 1"]
    assert session.touched == []


@pytest.mark.parametrize(("provision", "observed"), [("never", [1, 1, 0]), ("missing", [0, 0, 0])])
def test_who_only_looks_begins_all_he_will_ask_for(
    session: Session, provision: Provision, observed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    looks = {"its ports": phases.Look(1, lambda cluster: asked.append(1), after=("phase 1",))}
    monkeypatch.setattr(
        phases, "LOOKS", {**looks, "its load": phases.Look(2, lambda cluster: asked.append(2))}
    )
    for step in session.steps.values():
        step.open.clear()
    them = session.phases(provision)
    them.look_ahead({1})
    them.ahead.close()
    assert [step.log.count("observe") for step in session.steps.values()] == observed
    assert asked == ([1] if provision == "never" else [])


def test_what_was_seen_ahead_is_what_is_judged(session: Session) -> None:
    them = session.phases("never")
    them.look_ahead({1})
    assert them.require(1) == {"node1", "node2"}
    assert them.undone(1) and session.steps[1].log == ["observe"]
    them.ahead.close()


def test_looking_again_is_a_fresh_observation(session: Session) -> None:
    them = session.phases()
    them.require(1)
    session.steps[1].open.add("node1")
    assert them.look(1) == frozenset({"node1"}) == them.require(1)


def test_a_mistake_of_ours_is_not_mistaken_for_a_fall(session: Session) -> None:
    session.steps[1].error = ZeroDivisionError("a defect in the harness")
    them = session.phases()
    with pytest.raises(ZeroDivisionError):
        them.require(1)
    assert them.fallen == {}


def contradictory(site: Site) -> Site:
    """LACP on the hosts, none on the switches."""
    return site.model_copy(update={"bond": site.bond.model_copy(update={"mode": "802.3ad"})})


def test_an_order_that_contradicts_itself_is_not_built(session: Session) -> None:
    them = session.phases(site=contradictory(session.site))
    with pytest.raises(RefusedError, match=r"PF-BOND.*Instead: "):
        them.require(1)
    assert session.touched == []
    with pytest.raises(BlockedError, match="PF-BOND"):
        them.require(2)


def test_an_order_that_contradicts_itself_may_be_looked_at(session: Session) -> None:
    for step in session.steps.values():
        step.open.clear()
    assert session.phases("never", contradictory(session.site)).require(2) == frozenset()


def test_a_warning_does_not_stop_the_work(session: Session) -> None:
    severities = {c.severity for c in phases.contradictions(session.site)}
    assert "warning" in severities and "error" not in severities, "else this shows nothing"
    session.phases().require(1)


def test_the_plan_is_told_by_phase_and_node_and_touches_nothing(session: Session) -> None:
    session.steps[0].open.clear()
    session.steps[2].destroys = "a partition"
    session.phases("plan").print_plan()
    assert session.said == [
        "phase 0 step 0: 0 changes",
        "phase 1 step 1: 2 changes",
        "  node1: give node1 a 1",
        "  node2: give node2 a 1",
        "phase 2 step 2: 2 changes",
        "  node1: give node1 a 2 (destroys a partition)",
        "  node2: give node2 a 2 (destroys a partition)",
    ]
    assert session.touched == []


def test_rollback_undoes_that_phase_on_every_node(session: Session) -> None:
    session.phases().roll_back(2)
    assert session.touched == ["2 undo node1 node2 node3"]


def test_rollback_of_a_phase_that_is_none_is_one_sentence(session: Session) -> None:
    with pytest.raises(RefusedError, match=r"^--rollback 9: expected one of 0, 1, 2$"):
        session.phases().roll_back(9)
    assert session.touched == []


def test_secrets_of_the_parameter_tree_never_reach_the_record(session: Session) -> None:
    session.phases().keep_secrets()
    session.run.note("the password is canary!")
    assert "canary!" not in (session.run.folder / "record.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(("provision", "healed"), [("missing", 1), ("never", 0), ("plan", 0)])
def test_only_a_run_that_may_change_things_heals(
    session: Session, provision: Provision, healed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def recover(cluster: Any, **_: Any) -> list[Any]:
        calls.append(cluster)
        return []

    monkeypatch.setattr(phases.journal, "recover", recover)
    session.phases(provision).heal_what_is_left()
    assert len(calls) == healed


def test_the_real_phases_are_in_order() -> None:
    assert [phase.number for phase in phases.PHASES.values()] == list(phases.PHASES)
    assert list(phases.PHASES) == sorted(phases.PHASES)
