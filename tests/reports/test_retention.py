"""What is removed, what never is, and that a rehearsal of it removes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports import history, retention
from reports.__main__ import main
from tests.reports.runs import put, scenario

NOW = datetime(2026, 1, 31, 1, 0, 0, tzinfo=UTC)


def gone(runs: Path, keep: int, days: float, *protected: str) -> list[int]:
    """Days of January whose runs would go."""
    found = retention.old(history.read(runs), retention.Kept(keep, days), NOW, protected)
    return [int(each.folder.name[8:10]) for each in found]


@pytest.fixture
def month(tmp_path: Path) -> Path:
    for day in range(1, 31):
        put(tmp_path, day, scenario(status="failed" if day in (1, 12) else "passed"))
    return tmp_path


def test_a_run_goes_when_it_is_neither_new_nor_young(month: Path) -> None:
    # Failed runs of day 1 and 12 stay three times 8 days: day 1 is 30 days old, day 12 is 19.
    assert gone(month, 3, 8) == [1, *range(2, 12), *range(13, 23)]


def test_the_newest_stay_however_old(month: Path) -> None:
    assert gone(month, 25, 8) == [1, 2, 3, 4, 5]
    assert gone(month, 30, 0) == []


def test_at_least_one_run_of_each_site_stays(month: Path) -> None:
    put(month.parent / month.name, 31, scenario(), site="pve1")
    assert 31 not in gone(month, 1, 0)
    assert 30 not in gone(month, 1, 0)
    assert 29 in gone(month, 1, 0)


def test_only_runs_of_the_site_that_is_named_go(tmp_path: Path) -> None:
    for day in range(1, 4):
        put(tmp_path, day, scenario())
        put(tmp_path, day + 10, scenario(), site="pve1")
    (tmp_path / "2025-01-01T01-00-00Z").mkdir()
    found = retention.old(history.read(tmp_path), retention.Kept(1, 0, "pve1"), NOW)
    assert [each.folder.name[8:10] for each in found] == ["11", "12"]


def test_protected_runs_stay(month: Path) -> None:
    assert 5 not in gone(month, 3, 8, "2026-01-05T01-00-00Z")


def test_a_run_without_an_end_may_go_on(tmp_path: Path) -> None:
    put(tmp_path, 29, scenario(), interrupted=True)
    put(tmp_path, 30, scenario(), interrupted=True)
    put(tmp_path, 31, scenario())
    assert gone(tmp_path, 1, 0) == [29]


def test_a_folder_of_another_name_is_nobodys_run(tmp_path: Path) -> None:
    put(tmp_path, 1, scenario()).rename(tmp_path / "the-good-one")
    put(tmp_path, 2, scenario())
    assert gone(tmp_path, 1, 0) == []


def test_what_cannot_be_read_goes_when_it_is_old(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01T01-00-00Z").mkdir()
    (tmp_path / "2026-01-20T01-00-00Z-2").mkdir()
    assert gone(tmp_path, 1, 8) == [1]


def test_latest_and_baselines_protect(tmp_path: Path) -> None:
    runs, baselines = tmp_path / "runs", tmp_path / "baselines"
    for day in range(1, 7):
        put(runs, day, scenario())
    (runs / "latest").symlink_to("2026-01-02T01-00-00Z")
    baselines.mkdir()
    (baselines / "lab.json").write_text('{"schema": 1, "run": "2026-01-03T01-00-00Z"}', encoding="utf-8")
    command = ["prune", "--runs", str(runs), "--baselines", str(baselines), "--keep", "1", "--days", "0"]
    assert main(command) == 0
    left = sorted(path.name[:10] for path in runs.iterdir() if path.is_dir() and not path.is_symlink())
    assert left == ["2026-01-02", "2026-01-03", "2026-01-06"]
    assert "2026-01-06T01-00-00Z" in (runs / "index.html").read_text(encoding="utf-8")
    assert "2026-01-05" not in (runs / "index.html").read_text(encoding="utf-8")


def test_a_dry_run_says_and_removes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for day in (1, 2):
        put(tmp_path, day, scenario())
    assert main(["prune", "--runs", str(tmp_path), "--keep", "1", "--days", "0", "--dry-run"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("would remove 2026-01-01T01-00-00Z  passed, ")
    assert told[0].endswith("0.0 MB")
    assert told[1] == "1 of 2 runs would be removed"
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--keep", "0", "'0': expected a whole number of runs, 1 or more"),
        ("--keep", "many", "'many': expected a whole number of runs, 1 or more"),
        ("--days", "-1", "'-1': expected a number of days, 0 to 36500"),
        ("--days", "nan", "'nan': expected a number of days, 0 to 36500"),
    ],
)
def test_a_bad_number_is_one_sentence(
    option: str, value: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prune", f"{option}={value}"])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    runs, treasure = tmp_path / "runs", tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_text("x", encoding="utf-8")
    put(runs, 1, scenario()).joinpath("link").symlink_to(treasure)
    put(runs, 2, scenario())
    (runs / "2025-01-01T01-00-00Z").symlink_to(treasure)
    assert main(["prune", "--runs", str(runs), "--keep", "1", "--days", "0"]) == 0
    assert (treasure / "gold").is_file()
    assert not (runs / "2026-01-01T01-00-00Z").exists()
