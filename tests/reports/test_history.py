"""Runs are read whole, torn or not at all; none is passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports import history
from reports.evidence import Run, judge
from reports.redaction import Redactor
from tests.reports.runs import evidence, measurement, put, scenario


def test_a_run_is_read_from_its_evidence(tmp_path: Path) -> None:
    put(tmp_path, 1, scenario(measurement(0.3)), scenario(scenario="Both fall", status="failed"))
    run = history.read(tmp_path).runs[0]
    assert (run.site, run.kind, run.seed, run.verdict) == ("lab", "rehearsal", 7, "failed")
    assert (run.counts["passed"], run.counts["failed"]) == (1, 1)
    assert run.bad == (("Both fall", "failed"),)
    assert (run.met, run.criteria[3], run.criteria[1]) == (1, "met", "not tried")
    assert [(r.name, r.value, r.relaxed) for r in run.readings] == [("longest outage", 0.3, False)]


def test_the_newest_stands_first_and_the_link_to_it_is_no_run(tmp_path: Path) -> None:
    for day in (2, 1, 3):
        put(tmp_path, day, scenario())
    (tmp_path / "latest").symlink_to("2026-01-03T01-00-00Z")
    (tmp_path / "index.html").write_text("x", encoding="utf-8")
    assert [run.started[8:10] for run in history.read(tmp_path).runs] == ["03", "02", "01"]


def test_a_killed_run_is_read_from_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "2026-01-01T01-00-00Z"
    run = Run.open(
        folder, site="lab", kind="rehearsal", seed=3, command="pytest", versions={}, redactor=Redactor()
    )
    run.begin("features/links.feature", "One link falls", [])
    run.measure(judge("longest outage", 0.4, "s", "<", 1.0, None, 0.01, "probe"))
    with folder.joinpath("record.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "measu')
    found = history.read(tmp_path).runs[0]
    assert (found.verdict, found.counts["unknown"]) == ("interrupted", 1)
    assert found.readings[0].value == 0.4
    assert found.remarks == (
        "read from its record: there is no evidence.json; the run goes on or was killed",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "evidence.json cannot be read (Expecting value"),
        ('{"schema": 1, "scenarios"', "evidence.json cannot be read (Expecting"),
        ('{"schema": 2}', "evidence.json cannot be read (schema 2, expected 1), and no record.jsonl"),
        ("[]", "schema None, expected 1"),
        ('{"schema": 1, "scenarios": []}', "no key 'started'"),
        ('{"schema": 1, "scenarios": [{"status": "green"}]}', "a scenario's status is 'green'"),
        ('{"schema": 1, "scenarios": 5}', "not iterable"),
        ('{"schema": 1, "scenarios": ["x"]}', "evidence.json cannot be read"),
        ("[" * 200_000, "evidence.json cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, text: str, told: str) -> None:
    folder = tmp_path / "2026-01-01T01-00-00Z"
    folder.mkdir()
    folder.joinpath("evidence.json").write_text(text, encoding="utf-8")
    put(tmp_path, 2, scenario())
    found = history.read(tmp_path)
    assert [run.name for run in found.runs] == ["2026-01-02T01-00-00Z"]
    assert len(found.unread) == 1
    assert told in found.unread[0].reason


def test_evidence_that_is_not_text_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "2026-01-01T01-00-00Z"
    folder.mkdir()
    folder.joinpath("evidence.json").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in history.read(tmp_path).unread[0].reason


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01T01-00-00Z").mkdir()
    assert history.read(tmp_path).unread[0].reason == "there is no evidence.json, and no record.jsonl"


def test_one_broken_measurement_costs_only_itself(tmp_path: Path) -> None:
    broken = [
        {**measurement(0.2), "value": "fast"},
        {**measurement(0.2), "relation": "!="},
        {key: value for key, value in measurement(0.2).items() if key != "unit"},
    ]
    put(tmp_path, 1, scenario(*broken, measurement(0.5)))
    run = history.read(tmp_path).runs[0]
    assert [reading.value for reading in run.readings] == [0.5]
    assert run.remarks == ("3 measurements not whole, left out",)


def test_later_keys_of_the_schema_do_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "2026-01-01T01-00-00Z"
    folder.mkdir()
    data = evidence(1, scenario(measurement(0.5, confidence=0.9), mood="good"), weather="fair")
    folder.joinpath("evidence.json").write_text(json.dumps(data), encoding="utf-8")
    assert history.read(tmp_path).runs[0].readings[0].value == 0.5


def test_no_folder_is_no_runs(tmp_path: Path) -> None:
    assert history.read(tmp_path / "none") == history.History((), ())
    assert list(history.lines(())) == ["no runs yet"]
