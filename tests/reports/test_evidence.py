"""What a run writes: as it happens, in the schema, judged against the right target."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.evidence import MAX_TRANSCRIPT, Run, judge
from reports.model import Measurement, Planned, Relation, Timeline
from reports.record import RecordError, load
from reports.redaction import Redactor


def begin(folder: Path, kind: str = "rehearsal", **more: Any) -> Run:
    return Run.open(
        folder,
        site="lab",
        kind=kind,  # type: ignore[arg-type]
        seed=7,
        command="pytest features",
        versions={"pytest": "9"},
        redactor=Redactor(["canary-canary"]),
        **more,
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    opened = begin(tmp_path)
    yield opened
    opened.finish()


def outage(value: float = 0.3, relaxed: float | None = None) -> Measurement:
    return judge("longest outage", value, "s", "<", 1.0, relaxed, 0.01, "probe every 10 ms")


def test_evidence_has_the_schema(run: Run, check_schema: Callable[[dict[str, Any]], None]) -> None:
    run.catalogue([Planned("f", "a", ("criterion-3",)), Planned("f", "b", ())])
    run.begin("f", "a", ["criterion-3", "phase2"])
    run.change("node1", "make bond0")
    run.measure(outage())
    run.timeline(Timeline("t", ((0.0, "cut"),), (("in", 0, 2, "fault"),), (("p", 0.0, 0.3),), 0.1))
    run.transcript("node1", "true", "", 0.01)
    run.end("passed", "", 1.5)
    run.begin("f", "b", [])
    run.end("not applicable", "PF-1: no", 0)
    run.finish()
    data = json.loads((run.folder / "evidence.json").read_text(encoding="utf-8"))
    check_schema(data)
    assert data["scenarios"][0]["changes"] == [{"node": "node1", "summary": "make bond0"}]
    assert data["scenarios"][0]["measurements"][0]["value"] == 0.3
    assert data["criteria"][2] == {
        "id": 3,
        "text": "The failure of a single link is survived",
        "status": "met",
        "scenarios": ["a"],
        "detail": "1 passed",
    }


def test_what_is_told_is_on_the_disk_at_once(run: Run) -> None:
    run.begin("f", "a", [])
    run.measure(outage())
    record = load(run.folder / "record.jsonl")
    assert record.interrupted
    assert record.scenarios[0].measurements[0].value == 0.3
    assert record.scenarios[0].status == "unknown"


def test_a_record_cut_anywhere_is_readable(run: Run, tmp_path: Path) -> None:
    run.begin("f", "a", [])
    run.change("node1", "make bond0")
    run.end("passed", "", 1.0)
    raw = (run.folder / "record.jsonl").read_bytes()
    first = raw.index(b"\n") + 1
    torn = tmp_path / "torn.jsonl"
    for length in range(first, len(raw) + 1):
        torn.write_bytes(raw[:length])
        record = load(torn)
        assert record.site == "lab"
        assert all(s.status in ("unknown", "passed") for s in record.scenarios)
    torn.write_bytes(raw[:10])
    with pytest.raises(RecordError, match="no complete line"):
        load(torn)


def test_a_damaged_line_is_named(run: Run) -> None:
    path = run.folder / "record.jsonl"
    path.write_text("{\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.jsonl:1: not a JSON object"):
        load(path)


def test_no_secret_reaches_the_record(run: Run) -> None:
    run.begin("f", "canary-canary", ["canary-canary"])
    run.change("node1", "set canary-canary")
    run.note("canary-canary")
    run.step("Given canary-canary", 3, "passed", 0.1)
    run.transcript("node1", "echo canary-canary", "canary-canary", 0.1)
    run.contradiction({"id": "PF-1", "truth": "canary-canary"})
    run.end("failed", "canary-canary", 0.1)
    run.finish()
    for path in run.folder.iterdir():
        assert "canary" not in path.read_text(encoding="utf-8"), path.name


def test_a_value_that_becomes_known_late_is_not_in_evidence(run: Run) -> None:
    run.begin("f", "a", [])
    run.end("failed", "late-secret was wrong", 0.1)
    run.redactor.register(["late-secret"])
    run.finish()
    assert "late-secret" not in (run.folder / "evidence.json").read_text(encoding="utf-8")


def test_a_secret_at_the_cut_of_a_long_transcript_is_gone_whole(run: Run) -> None:
    output = "x" * (MAX_TRANSCRIPT // 2 - 6) + "canary-canary" + "y" * MAX_TRANSCRIPT
    run.transcript("node1", "cat", output, 0.1)
    text = (run.folder / "record.jsonl").read_text(encoding="utf-8")
    assert "canary" not in text
    assert "characters left out" in text
    assert len(text) < MAX_TRANSCRIPT + 1000


def test_threads_may_tell_at_once(run: Run) -> None:
    run.begin("f", "a", [])
    told = [threading.Thread(target=run.transcript, args=("n", f"c{i}", "x" * 999, 0.0)) for i in range(20)]
    for thread in told:
        thread.start()
    for thread in told:
        thread.join(timeout=30)
    record = load(run.folder / "record.jsonl")
    assert {t.command for t in record.scenarios[0].transcripts} == {f"c{i}" for i in range(20)}


def test_changes_outside_a_scenario_are_kept(run: Run) -> None:
    run.change("node1", "healed what a killed run had left")
    assert load(run.folder / "record.jsonl").outside.changes[0]["node"] == "node1"


def test_finishing_ends_what_is_running_as_unknown_and_twice_does_nothing(run: Run) -> None:
    run.begin("f", "a", [])
    run.finish()
    run.finish()
    run.note("too late")
    assert run.record.scenarios[0].status == "unknown"
    assert "too late" not in (run.folder / "record.jsonl").read_text(encoding="utf-8")


def test_a_relaxed_target_makes_a_rehearsal_of_an_acceptance(tmp_path: Path) -> None:
    run = begin(tmp_path / "a", "acceptance")
    run.begin("f", "a", [])
    run.measure(outage())
    assert run.record.shown_kind() == "acceptance"
    run.measure(outage(relaxed=2.0))
    assert run.record.shown_kind() == "rehearsal"
    assert begin(tmp_path / "b", "acceptance", relaxed={"x": "1 s"}).record.shown_kind() == "rehearsal"


@pytest.mark.parametrize(
    ("value", "relation", "target", "relaxed", "expected"),
    [
        (0.9, "<", 1.0, None, (1.0, None, True)),
        (1.0, "<", 1.0, None, (1.0, None, False)),
        (1.5, "<", 1.0, 2.0, (2.0, 1.0, True)),
        (0.7, "<", 1.0, 0.5, (1.0, None, True)),
        (160e9, ">", 150e9, None, (150e9, None, True)),
        (21e6, ">", 150e9, 20e6, (20e6, 150e9, True)),
        (150e9, ">", 150e9, None, (150e9, None, False)),
        (3.0, "=", 3.0, None, (3.0, None, True)),
        (3.02, "=", 3.0, None, (3.0, None, False)),
        (2.0, "=", 3.0, 2.0, (2.0, 3.0, True)),
        (0.9, "<", 1.0, 1.0, (1.0, None, True)),
    ],
)
def test_a_number_is_judged(
    value: float,
    relation: Relation,
    target: float,
    relaxed: float | None,
    expected: tuple[float, float | None, bool],
) -> None:
    m = judge("n", value, "s", relation, target, relaxed, 0.01, "how")
    assert (m.target, m.relaxed_from, m.met) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_is_no_measurement(value: float, run: Run) -> None:
    with pytest.raises(ValueError, match="not a measurement"):
        judge("n", value, "s", "<", 1.0, None, 0.01, "how")
    with pytest.raises(ValueError, match="not a measurement"):
        run.measure(Measurement("n", value, "s", "<", 1.0, None, True, 0.01, "how"))
