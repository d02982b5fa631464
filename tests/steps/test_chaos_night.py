"""What a night is judged by: its plan is the seed's or an earlier run's; losses and failures are red."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import night_record
from chaos.heartbeats_beats import CounterBack
from chaos.heartbeats_record import Beat
from chaos.heartbeats_report import CounterBackError, HeartbeatsReport
from chaos.heartbeats_twice import RunningTwiceError, Twice, TwiceReport
from chaos.ledger_report import LostWriteError
from chaos.night import Seen, Struck
from chaos.predict import Prediction
from chaos.probe import Outage
from chaos.schedule import Step
from cluster.errors import UnknownError
from cluster.site import Site
from reports.evidence import Run
from steps import chaos_night
from steps.chaos_night import Record, planned
from steps.modes import Mode
from steps.verdict import NotAsOrderedError
from tests.chaos.world import GUESTS

STEP = Step(0, 0, "node3", "latency", ("node2", "node1"), 5.0)


def mode(seed: int, minutes: float | None = None, replay: str | None = None) -> Mode:
    options = Namespace(
        provision="missing", chaos=True, wipe=[], medium="bmc", usb_device=None, chaos_seed=seed,
        chaos_minutes=minutes, chaos_replay=replay,
    )  # fmt: skip
    return Mode.of(options)


def struck(outcome: Any = "healed", **more: Any) -> Struck:
    return Struck(STEP, outcome, "why", target="node2: late", **more)


def ledger(acknowledged: int = 100, lost: int = 0) -> Any:
    def prove() -> None:
        if lost:
            raise LostWriteError(f"{lost} acknowledged writes are lost")

    return SimpleNamespace(
        node="node3", writes_acknowledged=acknowledged, findings=("loss",) * lost, prove=prove,
        verified_from=("node1", "node3"), summary=lambda: f"{acknowledged} writes",
    )  # fmt: skip


def test_the_seed_plans_the_night(site: Site) -> None:
    seed, minutes, steps = planned(site, mode(7, 10))
    assert (seed, minutes) == (7, 10)
    assert steps == planned(site, mode(7, 10))[2] != planned(site, mode(8, 10))[2]
    assert planned(site, mode(7, 60))[2][: len(steps)] == steps


def test_an_earlier_run_is_repeated_step_by_step(site: Site, tmp_path: Path) -> None:
    (tmp_path / "artefacts").mkdir()
    text = night_record.plan_text(99, 60.0, [STEP])
    (tmp_path / "artefacts" / night_record.PLAN).write_text(text)
    assert planned(site, mode(1, None, str(tmp_path))) == (99, 60.0, (STEP,))
    assert planned(site, mode(1, 10, str(tmp_path))) == (99, 10, (STEP,))


def test_where_only_the_seed_is_left_it_draws_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "evidence.json").write_text('{"seed": 7, "scenarios": [{"tags": ["night"], "seconds": 600}]}')
    assert planned(site, mode(1, None, str(tmp_path))) == planned(site, mode(7, 10))


@pytest.mark.parametrize(
    ("course", "ended", "error"),
    [
        ([struck(), struck("not applicable")], "", None),
        ([struck("failed")], "", NotAsOrderedError),
        ([struck()], "the guard refused 3 faults in a row", NotAsOrderedError),
        ([struck(), struck("unknown")], "", UnknownError),
        ([struck("refused")], "", UnknownError),
        ([struck("not applicable")], "", UnknownError),
        ([], "", UnknownError),
    ],
)
def test_a_night_is_green_only_if_all_was_seen_and_healed(course: Any, ended: str, error: Any) -> None:
    record = Record(course, [], ended)
    if error is None:
        chaos_night._healed(record)
        return
    with pytest.raises(error):
        chaos_night._healed(record)


@pytest.mark.parametrize(
    ("ledgers", "error"),
    [
        ([ledger(), ledger()], None),
        ([ledger(), ledger(lost=1)], LostWriteError),
        ([], UnknownError),
        ([ledger(acknowledged=0)], NotAsOrderedError),
    ],
)
def test_one_lost_write_is_enough(ledgers: Any, error: Any, run: Run) -> None:
    record = Record([struck()], ledgers)
    if error is None:
        chaos_night._kept(record, run)
    else:
        with pytest.raises(error):
            chaos_night._kept(record, run)
    for measured in run.record.scenarios[0].measurements:
        assert measured.met == (error is not LostWriteError)


def heard(**more: Any) -> HeartbeatsReport:
    calm = HeartbeatsReport({"beat-ct": 99}, (), (), (), TwiceReport((), {}, 0.5), {})
    return replace(calm, **more)


BEFORE, AFTER = (Beat("here", "beat-ct", at, at + 1, "a", 9 - at) for at in (1, 5))
SEEN_TWICE = TwiceReport((Twice("beat-ct", "node", "node1 (5.5)", "node2 (6.6)", 20.0, 3.0),), {}, 0.5)


@pytest.mark.parametrize(
    ("reports", "error", "met"),
    [
        ([heard(), heard()], None, [True, True]),
        ([heard(), heard(twice=SEEN_TWICE)], RunningTwiceError, [False, True]),
        ([heard(back=(CounterBack("beat-ct", BEFORE, AFTER),))], CounterBackError, [True, False]),
        (
            [heard(twice=TwiceReport((), {"beat-ct": ("node1 was not seen",)}, 60.0))],
            UnknownError,
            [True, True],
        ),
        ([heard(beats={"beat-ct": 0})], UnknownError, [True, True]),
        ([], UnknownError, []),
    ],
    ids=["calm", "twice", "counter back", "blind", "never heard", "no heartbeats"],
)
def test_one_guest_seen_twice_is_enough(
    reports: Any, error: Any, met: list[bool], site: Site, run: Run
) -> None:
    record = Record([struck()], guests=reports)
    ordered = site.model_copy(update={"guests": GUESTS})
    if error is None:
        chaos_night._once(ordered, record, run)
    else:
        with pytest.raises(error):
            chaos_night._once(ordered, record, run)
    assert [measured.met for measured in run.record.scenarios[0].measurements] == met


def test_a_night_without_guests_says_so(site: Site, run: Run) -> None:
    chaos_night._once(site.model_copy(update={"guests": ()}), Record([struck()]), run)
    assert run.record.scenarios[0].notes == ["no guest is ordered, so none was watched"]


def test_a_silence_is_told_with_its_bounds(run: Run) -> None:
    silence = Outage("beat-ct", 10.0, 142.0, 2.0)
    course = [struck(seen=Seen(guests={"beat-ct": silence}))]
    chaos_night._interruptions(Record(course), run)
    assert (
        "latency of node2: late: beat-ct was silent for 130.0 s to 132.0 s" in run.record.scenarios[0].notes
    )
    assert course[0].to_json()["guests_silent_s"] == 132.0


def test_each_interruption_is_recorded_beside_its_prediction(run: Run) -> None:
    late = Seen({"a → b": Outage("a → b", 10.0, 12.0, 0.1)}, {}, 0.05)
    course = [
        struck(seen=late, expected=Prediction(0.0, 0.0, "no path")),
        struck(seen=late, expected=Prediction(0.0, 5.0, "slow")),
        struck(seen=late, expected=Prediction(0.0, None, "cut until healed")),
        struck(seen=Seen(unknown="a → b: stalled"), expected=None),
    ]
    chaos_night._interruptions(Record(course), run)
    found = run.record.scenarios[0]
    assert [(m.value, m.predicted, m.met) for m in found.measurements] == [
        (2.0, 0.0, False),
        (2.0, 5.0, True),
    ]
    assert any("cut until healed" in note for note in found.notes)
    assert any("not known: a → b: stalled" in note for note in found.notes)
