"""What starts the night: units that systemd accepts, a workflow that parses, and both name what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.site_services import Nightly
from steps import nightly

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "contrib" / "systemd"
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"


def unit(name: str) -> RawConfigParser:
    parser = RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / f"rackproof-nightly.{name}", encoding="utf-8")
    return parser


@pytest.fixture
def workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return loaded


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here")
    # The checkout's place is the installation's own; here the program must only be one that exists.
    for source in UNITS.iterdir():
        text = source.read_text(encoding="utf-8").replace("/opt/rackproof/.venv/bin/python", "/bin/true")
        (tmp_path / source.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [program, "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "rackproof-nightly" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


def test_the_service_starts_the_night_and_lets_it_heal() -> None:
    service = unit("service")["Service"]
    words = service["ExecStart"].split()
    assert words[1:3] == ["-m", "steps.nightly"]
    assert service["Type"] == "oneshot"
    # systemd waits longer than the night itself does for a run to heal.
    assert service["TimeoutStopSec"] == "20min"
    assert nightly.GRACE_S < 20 * 60
    assert service["KillMode"] == "process"


def test_the_timer_starts_the_service_every_night() -> None:
    timer = unit("timer")["Timer"]
    assert timer["Unit"] == "rackproof-nightly.service"
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:\d\d", timer["OnCalendar"])


def test_the_workflow_runs_every_night_on_a_machine_of_ones_own(workflow: dict[Any, Any]) -> None:
    triggers = workflow[True]  # YAML 1.1 reads `on` as true
    assert re.fullmatch(r"\d+ \d+ \* \* \*", triggers["schedule"][0]["cron"])
    assert set(triggers["workflow_dispatch"]["inputs"]) == {"site", "minutes", "seed"}
    job = workflow["jobs"]["nightly"]
    assert "self-hosted" in job["runs-on"]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    limit_s = Nightly.model_validate({}).limit
    assert job["timeout-minutes"] * 60 > limit_s + nightly.GRACE_S


def test_the_workflow_keeps_the_history_and_the_artefacts(workflow: dict[Any, Any]) -> None:
    steps = workflow["jobs"]["nightly"]["steps"]
    checkout = next(step for step in steps if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["with"]["clean"] is False
    keep = next(step for step in steps if step.get("uses", "").startswith("actions/upload-artifact@"))
    assert keep["if"].startswith("always()")
    assert keep["with"]["retention-days"] == 30


def test_no_input_of_the_workflow_is_pasted_into_a_script(workflow: dict[Any, Any]) -> None:
    scripts = [step["run"] for step in workflow["jobs"]["nightly"]["steps"] if "run" in step]
    assert len(scripts) == 3
    assert not any("${{" in script for script in scripts)


@pytest.mark.parametrize(
    ("inputs", "arguments"),
    [
        ({"SITE": "sites/lab.toml", "MINUTES": "", "SEED": ""}, ["--site", "sites/lab.toml"]),
        (
            {"SITE": "a b; touch x", "MINUTES": "5", "SEED": "7"},
            ["--site", "a b; touch x", "--minutes", "5", "--seed", "7"],
        ),
    ],
)
def test_the_workflows_script_hands_its_inputs_on(
    inputs: dict[str, str], arguments: list[str], workflow: dict[Any, Any], tmp_path: Path
) -> None:
    script = next(
        step["run"] for step in workflow["jobs"]["nightly"]["steps"] if "steps.nightly" in step.get("run", "")
    )
    program = tmp_path / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **inputs},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["-m", "steps.nightly", *arguments]
    # What it hands on is what the program takes.
    options = nightly._parser().parse_args(arguments)
    assert str(options.site) == inputs["SITE"]
