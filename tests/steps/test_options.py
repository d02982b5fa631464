"""Options of a run as a user gives them: the repository's own conftest.py in real pytest processes.

Sites here have no rack, or one whose commands only leave a mark, so that nothing is ever touched.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.site import ROOT
from reports.catalogue import read

DEADLINE_S = 120
USAGE = 4
LAB = (ROOT / "sites/lab.toml").read_text(encoding="utf-8")
RACK = re.search(r"^\[rack\].*?(?=^\[)", LAB, re.M | re.S)
DISTURBING = {"drill", "rollback", "chaos", "load"}
ALL = [case for path in sorted((ROOT / "features").rglob("*.feature")) for case in read(path, ROOT)]
CASES = [case for case in ALL if "night" not in case.tags]
"""What runs where no night is asked for."""


@dataclass
class Call:
    status: int
    out: str
    err: str

    @property
    def ids(self) -> set[str]:
        """Node ids that a collection listed."""
        return {line for line in self.out.splitlines() if line.startswith("features/") and "::" in line}

    def is_one_sentence(self, pattern: str) -> None:
        """A mistake of the user's: one line, status 4, no traceback, nothing run."""
        assert self.status == USAGE, self.out + self.err
        assert "Traceback" not in self.out + self.err
        said = [line for line in (self.out + self.err).splitlines() if line.startswith("ERROR: ")]
        assert len(said) == 1 and re.search(pattern, said[0]), self.out + self.err


def rackproof(*arguments: str | Path) -> Call:
    """`pytest ARGUMENTS` in the root of the repository."""
    outer = {"RACKPROOF_ENTERED", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"}
    environment = {key: value for key, value in os.environ.items() if key not in outer}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    return Call(done.returncode, done.stdout, done.stderr)


def site_file(folder: Path, *, rack: str = "", protected: bool = False) -> Path:
    """The lab's site with another `[rack]`, or none."""
    assert RACK is not None, "sites/lab.toml has a [rack]"
    text = LAB.replace(RACK.group(), rack)
    path = folder / "site.toml"
    path.write_text(f"protected = {str(protected).lower()}\n{text}", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """All that would run on a site, drills included; its rack leaves a mark if it is made or entered."""
    folder = tmp_path_factory.mktemp("all")
    rack = f'[rack]\nup = "touch {folder}/up"\nenter = "touch {folder}/entered"\n\n'
    call = rackproof("features/", "--collect-only", "-q", "--site", site_file(folder, rack=rack))
    assert sorted(path.name for path in folder.iterdir()) == ["site.toml"], (
        "a collection made or entered a rack"
    )
    return call


def test_a_collection_names_every_scenario_and_touches_nothing(everything: Call) -> None:
    assert everything.status == 0, everything.out + everything.err
    assert everything.ids == {f"{case.feature}::{case.name}" for case in CASES}


@pytest.mark.parametrize(("protected", "options"), [(False, ["--no-chaos"]), (True, [])])
def test_without_chaos_nothing_that_breaks_is_left(
    everything: Call, tmp_path: Path, protected: bool, options: list[str]
) -> None:
    site = site_file(tmp_path, protected=protected)
    call = rackproof("features/", "--collect-only", "-q", "--site", site, *options)
    left_out = DISTURBING | ({"trial"} if protected else set())  # a protected site is only looked at
    breaking = {f"{c.feature}::{c.name}" for c in CASES if left_out & set(c.tags)}
    assert breaking, "else this shows nothing"
    assert everything.ids - call.ids == breaking
    assert call.ids and call.status == 0


def test_who_only_looks_does_not_even_try_what_leaves_nothing(everything: Call, tmp_path: Path) -> None:
    call = rackproof(
        "features/", "--collect-only", "-q", "--site", site_file(tmp_path), "--provision", "never"
    )
    trials = {f"{c.feature}::{c.name}" for c in CASES if "trial" in c.tags}
    assert trials, "else this shows nothing"
    assert everything.ids - call.ids == trials


@pytest.mark.parametrize("night", ["--chaos-minutes=10", "--chaos-replay"])
def test_a_night_takes_the_place_of_the_drills(night: str, tmp_path: Path) -> None:
    if night == "--chaos-replay":
        (tmp_path / "evidence.json").write_text(
            '{"seed": 7, "scenarios": [{"tags": ["night"], "seconds": 60}]}'
        )
        night += f"={tmp_path}"
    call = rackproof("features/", "--collect-only", "-q", "-m", "chaos", "--site", site_file(tmp_path), night)
    assert call.status == 0, call.out + call.err
    assert call.ids == {f"{case.feature}::{case.name}" for case in ALL if "night" in case.tags}
    assert len(call.ids) == 1


def test_the_seed_of_a_replay_is_its_runs_however_often_it_is_asked_for(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """A run asks twice: before its machines are made, and within their network."""
    (tmp_path / "evidence.json").write_text('{"seed": 7, "scenarios": [{"tags": ["night"], "seconds": 60}]}')
    ours: Any = pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    night = {"chaos_minutes": None, "chaos_replay": str(tmp_path), "chaos_seed": None}
    option = SimpleNamespace(collectonly=False, help=False, **night)
    config = SimpleNamespace(
        option=option,
        args=["features/"],
        invocation_params=SimpleNamespace(dir=ROOT),
        getoption=lambda _: ROOT / "sites/lab.toml",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RACKPROOF_ENTERED", "1")
        assert ours.pytest_cmdline_main(config) is None
    assert ours._seed_of_night(option) == 7


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--chaos-minutes=0"], r"--chaos-minutes 0: expected"),
        (["--chaos-replay=no-such-run"], r"--chaos-replay no-such-run: expected the folder of a run"),
        (["--chaos-replay=x", "--chaos-seed=1"], r"expected no --chaos-seed"),
    ],
)
def test_a_night_that_cannot_be_is_one_sentence(options: list[str], expected: str, tmp_path: Path) -> None:
    rackproof("features/", "--site", site_file(tmp_path), *options).is_one_sentence(expected)


def test_a_bad_site_file_is_one_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(LAB.replace("id = 6", "id = 5000"), encoding="utf-8")
    rackproof("features/", "--site", bad).is_one_sentence(
        r"bad\.toml: networks\.vlan6\.id = .*5000.*expected"
    )


def test_the_machines_are_made_and_their_network_entered_once(tmp_path: Path) -> None:
    rack = f'[rack]\nup = "touch {tmp_path}/up"\nenter = "echo ENTERED"\n\n'
    call = rackproof("features/", "--no-chaos", "--site", site_file(tmp_path, rack=rack))
    assert call.status == 0, call.err
    assert (tmp_path / "up").exists()
    again = f"ENTERED {sys.executable} -m pytest features/ --no-chaos --site {tmp_path}/site.toml"
    assert call.out.strip().splitlines()[-1] == again


@pytest.fixture
def ours(pytestconfig: pytest.Config) -> Any:
    """The repository's conftest.py, as pytest loaded it."""
    return pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))


def asked(site: Path, *arguments: str) -> Any:
    """What pytest makes of `pytest ARGUMENTS --site SITE`, as far as conftest.py looks at it."""
    paths = [word for word in arguments if not word.startswith("-")]
    return SimpleNamespace(
        args=paths,
        invocation_params=SimpleNamespace(args=arguments, dir=ROOT),
        option=SimpleNamespace(
            collectonly="--collect-only" in arguments,
            help="--help" in arguments,
            chaos_minutes=None,
            chaos_seed=None,
            chaos_replay=None,
        ),
        getoption=lambda name: str(site),
        pluginmanager=SimpleNamespace(getplugin=lambda name: None),
    )


@pytest.mark.parametrize(
    ("arguments", "entered"),
    [
        (["features/"], True),
        (["features/phase2_network.feature::Both links form one bond"], True),
        (["tests"], False),
        (["features/", "--collect-only"], False),
        (["features/", "--help"], False),
    ],
)
def test_only_a_run_of_features_enters(
    ours: Any, arguments: list[str], entered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(ours.os, "execvpe", lambda file, argv, env: calls.append((argv, env)))
    monkeypatch.delenv("RACKPROOF_ENTERED", raising=False)
    site = site_file(tmp_path, rack='[rack]\nup = "true"\nenter = "ip netns exec nowhere"\n\n')
    ours.pytest_cmdline_main(asked(site, *arguments))
    assert bool(calls) is entered
    for argv, environment in calls:
        assert argv[:4] == ["ip", "netns", "exec", "nowhere"] and argv[-len(arguments) :] == arguments
        assert environment["RACKPROOF_ENTERED"] == "1"
        monkeypatch.setenv("RACKPROOF_ENTERED", "1")
    calls.clear()
    ours.pytest_cmdline_main(asked(site, *arguments))
    assert bool(calls) is False, "a process behind the prefix entered again"


@pytest.mark.parametrize(
    ("up", "enter", "expected"),
    [
        ("false", "true", r"rack\.up = 'false' ended with status 1"),
        ("no-such-command-here", "true", r"rack\.up = 'no-such-command-here' did not finish"),
        ("true", "no-such-prefix-here", r"rack\.enter = 'no-such-prefix-here': cannot be run"),
    ],
)
def test_a_rack_that_does_not_come_up_is_one_sentence(
    ours: Any, up: str, enter: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RACKPROOF_ENTERED", raising=False)
    site = site_file(tmp_path, rack=f'[rack]\nup = "{up}"\nenter = "{enter}"\n\n')

    def execute(file: str, argv: list[str], environment: dict[str, str]) -> None:
        assert file == "no-such-prefix-here"
        raise FileNotFoundError(2, "No such file or directory", file)

    monkeypatch.setattr(ours.os, "execvpe", execute)
    with pytest.raises(pytest.UsageError, match=expected) as caught:
        ours.pytest_cmdline_main(asked(site, "features/"))
    assert "\n" not in str(caught.value)


def test_a_site_file_that_is_not_there_is_one_sentence(ours: Any, tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match=r"none\.toml") as caught:
        ours.pytest_cmdline_main(asked(tmp_path / "none.toml", "features/"))
    assert "\n" not in str(caught.value)
