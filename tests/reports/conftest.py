"""A small harness with fake features, run by real pytest in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).parent / "fake"
DEADLINE_S = 120


STRING, NUMBER, TRUTH = str, (int, float), bool
MEASUREMENT = {
    "name": STRING,
    "value": NUMBER,
    "unit": STRING,
    "relation": STRING,
    "target": NUMBER,
    "relaxed_from": (int, float, type(None)),
    "met": TRUTH,
    "resolution": NUMBER,
    "method": STRING,
}
SCENARIO = {
    "feature": STRING,
    "scenario": STRING,
    "tags": list,
    "status": STRING,
    "reason": STRING,
    "seconds": NUMBER,
    "changes": list,
    "measurements": list,
}
TOP = {
    "schema": int,
    "site": STRING,
    "kind": STRING,
    "started": STRING,
    "finished": STRING,
    "seed": int,
    "versions": dict,
    "scenarios": list,
    "criteria": list,
}
CRITERION = {"id": int, "text": STRING, "status": STRING, "scenarios": list}


def shaped(data: dict[str, Any], shape: dict[str, Any]) -> None:
    """Every key of the schema is there with its type; more keys are allowed."""
    for key, kind in shape.items():
        assert isinstance(data[key], kind), f"{key} is {data[key]!r}"


def _check(data: dict[str, Any]) -> None:
    """evidence.json as the house plan draws it."""
    shaped(data, TOP)
    assert data["schema"] == 1
    assert data["kind"] in ("rehearsal", "acceptance")
    assert data["started"].endswith("Z")
    assert data["finished"].endswith("Z")
    for scenario in data["scenarios"]:
        shaped(scenario, SCENARIO)
        assert scenario["status"] in ("passed", "failed", "unknown", "blocked", "not applicable", "skipped")
        for change in scenario["changes"]:
            shaped(change, {"node": STRING, "summary": STRING})
        for measurement in scenario["measurements"]:
            shaped(measurement, MEASUREMENT)
            assert measurement["relation"] in ("<", ">", "=")
    assert [criterion["id"] for criterion in data["criteria"]] == list(range(1, 11))
    for criterion in data["criteria"]:
        shaped(criterion, CRITERION)
        assert criterion["status"] in ("met", "not met", "not tried")


@dataclass(frozen=True)
class Finished:
    """One run of the fake harness: where, how it ended, what it printed."""

    root: Path
    status: int
    output: str

    @property
    def folder(self) -> Path:
        return (self.root / "reports" / "runs" / "latest").resolve()

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


def run_fake(
    root: Path, *arguments: str, features: dict[str, str] | None = None, kind: str = "rehearsal"
) -> Finished:
    """Copy the fake harness to `root`, add features, run pytest there."""
    if not root.joinpath("conftest.py").exists():
        shutil.copytree(FAKE, root, dirs_exist_ok=True)
        root.joinpath("conftest_of_fake.py").rename(root / "conftest.py")
    for name, text in (features or {}).items():
        (root / "features" / name).write_text(text, encoding="utf-8")
    plugins = ["pytest_bdd.plugin", "pytest_html.plugin", "pytest_metadata.plugin"]
    command = [sys.executable, "-m", "pytest", *(word for name in plugins for word in ("-p", name))]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{root}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "FAKE_KIND": kind,
    }
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Finished(root, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of all the fake features, one of each status."""
    return run_fake(tmp_path_factory.mktemp("whole"), "features")


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Finished]:
    """Runs the fake harness with the arguments and features of the test."""
    return lambda *arguments, **more: run_fake(tmp_path, *arguments, **more)


@pytest.fixture(scope="session")
def check_schema() -> Callable[[dict[str, Any]], None]:
    """Asserts that data is evidence.json as the house plan draws it."""
    return _check
