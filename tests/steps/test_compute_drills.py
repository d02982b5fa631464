"""Sentences of the compute drills: figures beside predictions, and what fails them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.ceph_watch import Moment
from chaos.compute_judge import Anew
from chaos.fencing_record import Decision
from chaos.heartbeats_failover import Failover
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, UnknownError
from cluster.site import ROOT, Site, load
from reports.evidence import Run
from steps import compute_drills as steps
from steps import compute_fencing as fencing
from steps.compute_figures import Watched
from steps.verdict import NotAsOrderedError, all_met

EXPECTED = Prediction(120.0, 165.0, "why")


@pytest.fixture(scope="module")
def ordered() -> Site:
    return load(ROOT / "sites/pve1.toml")


def course(first: float | None) -> Failover:
    beat = None if first is None else Moment(100.0 + first, 0.5)
    return Failover("beat-ct", 100.0, "node1", "node2", None, None, None, None, None, None, beat)


def said(word: str, t_s: float) -> Decision:
    return Decision("node2", "node1", word, "why", t_s, 0.1)


def watched(site: Site, run: Run, *decisions: Decision, first: float | None = 130.0) -> Watched:
    drill: Any = SimpleNamespace(
        fault=SimpleNamespace(kind="node-power-lost", target="power of node1", silenced=("node1",)),
        was_master=False, took_s=1.0, broken_s=100.0, struck=("node1",),
        heard=SimpleNamespace(record=SimpleNamespace(interval_ns=250_000_000)),
        said=lambda: decisions, await_power_cycle=lambda deadline_s: decisions,
        await_said=lambda words, deadline_s: decisions,
    )  # fmt: skip
    return Watched(drill, site, run, {"beat-ct": course(first)})


@pytest.mark.parametrize(("first", "met"), [(130.0, True), (200.0, False)])
def test_an_answer_is_judged_by_the_promise(ordered: Site, run: Run, first: float, met: bool) -> None:
    made = watched(ordered, run, first=first)
    (measured,) = made.answering("node_loss_recovery", "3 minutes", EXPECTED)
    assert (measured.value, measured.met, measured.resolution) == (first, met, 1.5)
    assert "(not the master): beat-ct answers from node2" in measured.name
    if not met:
        with pytest.raises(NotAsOrderedError, match="is 200 s, expected < 180 s"):
            all_met([measured])


def test_an_answer_without_a_silence_is_unknown(ordered: Site, run: Run) -> None:
    with pytest.raises(UnknownError, match="its silence was not heard"):
        watched(ordered, run, first=None).answering("node_loss_recovery", "3 minutes", EXPECTED)


CYCLE = (said("off-sent", 180), said("off-confirmed", 183), said("on-sent", 183), said("on-confirmed", 186))


def test_a_power_cycle_is_asked_for_whole_and_late_enough(ordered: Site, run: Run) -> None:
    fencing._cycled(ordered, watched(ordered, run, *CYCLE))
    with pytest.raises(NotAsOrderedError, match="nobody confirmed that node1 was off"):
        fencing._cycled(ordered, watched(ordered, run))
    with pytest.raises(NotAsOrderedError, match=r"switched node1 off 40\.0 s after its loss"):
        fencing._cycled(ordered, watched(ordered, run, said("off-sent", 140), *CYCLE[1:]))


def test_a_node_that_was_left_alone_needs_no_confirmation(ordered: Site, run: Run) -> None:
    fencing._confirmed(ordered, watched(ordered, run))
    with pytest.raises(NotAsOrderedError, match="nobody confirmed that node1 was off"):
        fencing._confirmed(ordered, watched(ordered, run, CYCLE[0]))


def test_where_fencing_cannot_act_it_claims_nothing_and_says_so(ordered: Site, run: Run) -> None:
    fencing._told(ordered, watched(ordered, run, said("refused", 180)))
    with pytest.raises(NotAsOrderedError, match="nobody was told that node1"):
        fencing._told(ordered, watched(ordered, run, said("waits", 110)))
    with pytest.raises(NotAsOrderedError, match="node2 said of node1: off-confirmed"):
        fencing._told(ordered, watched(ordered, run, *CYCLE))


def test_a_watchdog_counts_only_where_nobody_was_quicker() -> None:
    found = {"node1": Anew("node1", "kernel 1", Moment(150.0, 1.0))}
    assert fencing.started_after(found, said("off-sent", 140))
    assert not fencing.started_after(found, said("off-sent", 160))


@pytest.mark.parametrize(
    ("changes", "told"), [({"ha": None, "guests": ()}, "PF-NO-HA"), ({"guests": ()}, "PF-NO-GUESTS")]
)
def test_what_is_not_ordered_is_not_applicable(ordered: Site, changes: Any, told: str) -> None:
    with pytest.raises(NotApplicableError, match=told):
        steps._guests(ordered.model_copy(update=changes))
    steps._guests(ordered)


def test_guests_that_nobody_keeps_are_not_applicable(ordered: Site) -> None:
    loose = tuple(guest.model_copy(update={"ha": None}) for guest in ordered.guests)
    with pytest.raises(NotApplicableError, match="PF-NO-GUESTS"):
        steps._guests(ordered.model_copy(update={"guests": loose}))


def test_each_break_is_written_in_the_feature() -> None:
    text = (ROOT / "features/phase11_validation/compute_drills.feature").read_text()
    assert set(re.findall(r"When (.+)", text)) == set(steps.WHEN)
