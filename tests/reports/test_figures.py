"""The table of figures over several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from tests.reports.runs import measurement, put, scenario

LOST = "A node loses its power"


def drill(value: float, name: str = "answers again", **more: Any) -> dict[str, Any]:
    return measurement(value, name=name, target=300.0, relaxed_from=180.0, predicted=220.0 + value, **more)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A drill four times, the last time unknown, and something else."""
    for day, value in enumerate((150.0, 140.0, 190.0), 1):
        put(tmp_path, day, scenario(drill(value), scenario=LOST), scenario(measurement(0.3)))
    put(tmp_path, 4, scenario(drill(999.0), scenario=LOST, status="unknown"), site="other")
    put(tmp_path, 5, scenario(drill(998.0), scenario=LOST, status="unknown"))
    return tmp_path


def table(capsys: pytest.CaptureFixture[str], runs: Path, *options: str) -> list[str]:
    assert main(["figures", "--runs", str(runs), *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_least_median_and_greatest_of_what_is_known(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(capsys, runs, "--scenario", "LOSES its", "--site", "lab") == [
        f"{LOST} (rehearsal of lab)",
        "",
        "| figure | runs | least | median | greatest | predicted | target |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| answers again | 3, 1 unknown | 140 s | 150 s | 190 s | 410 s | < 300 s (relaxed) |",
        "",
    ]


def test_what_ended_unknown_is_only_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "| answers again | 0, 1 unknown |  |  |  |  | < 300 s (relaxed) |" in table(
        capsys, runs, "--site", "other"
    )


def test_each_scenario_has_a_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = table(capsys, runs)
    assert sorted(line for line in told if line.endswith(")")) == [
        "A node loses its power (rehearsal of lab)",
        "A node loses its power (rehearsal of other)",
        "One link falls (rehearsal of lab)",
    ]
    assert "| longest outage | 3 | 300 ms | 300 ms | 300 ms |  | < 1 s |" in told


@pytest.mark.parametrize("options", [["--site", "none"], ["--scenario", "no such"]])
def test_without_a_figure_it_says_so(
    runs: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main(["figures", "--runs", str(runs), *options]) == 1
    told = capsys.readouterr()
    assert told.out == "" and "no run under" in told.err


def test_a_run_that_cannot_be_read_is_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "2026-01-09T01-00-00Z").mkdir()
    assert main(["figures", "--runs", str(runs)]) == 0
    assert "2026-01-09T01-00-00Z cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("predicted", ["soon", float("nan")])
def test_a_prediction_that_is_no_number_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], predicted: object
) -> None:
    put(tmp_path, 1, scenario(drill(1.0) | {"predicted": predicted}, drill(2.0, "other"), scenario=LOST))
    told = table(capsys, tmp_path)
    assert len([line for line in told if line.startswith("| other")]) == 1
    assert not any("answers again" in line for line in told)


def test_a_bar_in_a_name_does_not_break_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, 1, scenario(drill(1.0, "a|b")))
    assert any(line.startswith("| a\\|b |") for line in table(capsys, tmp_path))
