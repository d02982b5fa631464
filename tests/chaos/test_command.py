"""`python -m chaos`: what it prints, and that a user's mistake is one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaos import __main__ as command
from chaos.fault import catalogue
from chaos.journal import Journal, journal_path
from tests.chaos.breakable import Breakable
from tests.chaos.world import FakeCluster

ROOT = Path(__file__).resolve().parents[2]
SITE = str(ROOT / "sites" / "lab.toml")


def test_list_names_every_fault_and_its_switch(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in catalogue():
        assert name in shown
    for heading in ("needs", "blast radius", "heals by", "dead-man's switch"):
        assert heading in shown


def test_it_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "link-down" in done.stdout


def test_heal_says_when_nothing_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RACKPROOF_JOURNALS", str(tmp_path))
    assert command.main(["heal", "--site", SITE]) == 0
    assert "nothing is broken" in capsys.readouterr().out


def test_heal_heals_what_the_journal_names(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = catalogue()["link-down"]
    journal = Journal(journal_path(world.site))
    journal.begin(kind(node="node1", interface="eth0"))  # type: ignore[call-arg]
    world.nodes["node1"].run("ip link set dev eth0 down")
    monkeypatch.setattr(command, "_enter", lambda site: None)
    monkeypatch.setattr(
        "cluster.cluster.Cluster",
        lambda site: type(
            "Opened", (), {"__enter__": lambda self: world, "__exit__": lambda self, *_: None}
        )(),
    )
    assert command.main(["heal", "--site", SITE]) == 0
    assert "healed: link-down: node1 eth0 is healed" in capsys.readouterr().out
    assert world.nodes["node1"].state()["legs"]["eth0"]["admin"]
    assert journal.entries() == []


def test_forget_drops_what_is_named_and_says_that_it_was_not_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RACKPROOF_JOURNALS", str(tmp_path))
    journal = Journal(tmp_path / "lab.journal")
    journal.begin(Breakable(folder="/x"))
    assert command.main(["heal", "--site", SITE, "--forget"]) == 0
    assert "forgotten, not healed: breakable" in capsys.readouterr().out
    assert journal.entries() == []


def test_a_site_file_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["heal", "--site", "sites/nowhere.toml"]) == 2
    told = capsys.readouterr().err
    assert "sites/nowhere.toml" in told
    assert "Traceback" not in told
