"""Real pytest runs that tell a webhook on loopback how they ended, and do not change by it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.notify import Outcome
from cluster.site import ROOT
from reports import history
from steps import notifying
from tests.cluster.fakes import certificates
from tests.cluster.fakes.receivers import Hook
from tests.reports.runs import evidence, measurement, scenario

DEADLINE_S = 120
CONFTEST = """
from __future__ import annotations
import pytest
from reports.plugin import features_asked, open_run
from reports.redaction import Redactor

pytest_plugins = ["steps.collect", "reports.plugin", "steps.notifying", "own_steps"]

def pytest_addoption(parser):
    parser.addoption("--site")

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if features_asked(config):
        open_run(config, site="lab", kind="rehearsal", seed=4711, redactor=Redactor())
"""
STEPS = """
from pytest_bdd import given, then

@then("it holds")
def _(): pass

@then("it fails")
def _(): assert False, "it does not hold"

@then("somebody presses Ctrl-C")
def _(): raise KeyboardInterrupt
"""


@dataclass(frozen=True)
class Ended:
    """A run: its exit status, what it printed, and its folder."""

    status: int
    output: str
    folder: Path

    def notified(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "notified.json").read_text(encoding="utf-8"))
        return found


Runner = Callable[..., Ended]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def hook(pair: tuple[Path, Path]) -> Iterator[Hook]:
    made = Hook(*pair)
    yield made
    made.close()


@pytest.fixture
def harness(tmp_path: Path, pair: tuple[Path, Path]) -> Runner:
    """`run(nightly, *steps, options)`: one feature with a scenario for each step, in a process of its own."""

    def run(nightly: str, *steps: str, options: tuple[str, ...] = ("--notify",)) -> Ended:
        lab = (ROOT / "sites" / "lab.toml").read_text(encoding="utf-8")
        table = f'[nightly]\nca_file = "{pair[0]}"\n{nightly}\n\n[hands]'
        (tmp_path / "site.toml").write_text(lab.replace("[hands]", table, 1), encoding="utf-8")
        (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (tmp_path / "own_steps.py").write_text(STEPS, encoding="utf-8")
        scenarios = "".join(f"  Scenario: Thing {n}\n    Then {step}\n" for n, step in enumerate(steps, 1))
        (tmp_path / "features").mkdir(exist_ok=True)
        (tmp_path / "features" / "phase2_x.feature").write_text(f"Feature: x\n{scenarios}", encoding="utf-8")
        plugins = ("pytest_bdd.plugin", "pytest_html.plugin", "pytest_metadata.plugin")
        environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *(word for name in plugins for word in ("-p", name)),
             "-p", "no:cacheprovider", "features", "--site", "site.toml", *options],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        latest = (tmp_path / "reports" / "runs" / "latest").resolve()
        return Ended(done.returncode, done.stdout + done.stderr, latest)

    return run


def test_a_failed_run_is_told_with_its_failures_and_its_report(harness: Runner, hook: Hook) -> None:
    ended = harness(f'notify = ["webhook:{hook.url}/x"]', "it holds", "it fails")
    assert ended.status == 1
    (body,) = hook.received.bodies
    assert (body["verdict"], body["site"], body["seed"]) == ("failed", "lab", 4711)
    assert body["failed"] == [{"scenario": "Thing 2", "status": "failed"}]
    assert body["report"].startswith(str(ended.folder / "report.html"))
    assert body["text"].splitlines()[0].endswith("UTC: failed; 1 of 2 scenarios did not pass.")
    assert "failed: Thing 2" in body["text"].splitlines()
    told = "told how this run ended: webhook 127.0.0.1"
    assert told in ended.output
    assert told in (ended.folder / "report.html").read_text(encoding="utf-8")
    assert ended.notified()["outcomes"] == [{"to": "webhook 127.0.0.1", "sent": True, "detail": ""}]


def test_a_failure_to_tell_is_in_the_report_and_changes_nothing_else(harness: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = f'notify_on = "always"\nnotify = ["webhook:https://127.0.0.1:{port}/canary-4711"]'
    ended = harness(address, "it holds")
    assert ended.status == 0
    told = "NOT told how this run ended: webhook 127.0.0.1: no connection (Connection refused)"
    assert told in ended.output
    assert told in (ended.folder / "report.html").read_text(encoding="utf-8")
    index = (ended.folder.parent / "index.html").read_text(encoding="utf-8")
    assert "not told: webhook 127.0.0.1: no connection (Connection refused)" in index
    everything = "".join(
        path.read_text(encoding="utf-8") for path in ended.folder.rglob("*") if path.is_file()
    )
    assert "canary" not in everything + ended.output + index


def test_a_run_that_passed_is_told_only_where_asked(harness: Runner, hook: Hook) -> None:
    ended = harness(f'notify = ["webhook:{hook.url}/x"]', "it holds")
    assert (ended.status, hook.received.bodies) == (0, [])
    assert not (ended.folder / "notified.json").exists()
    ended = harness(f'notify_on = "always"\nnotify = ["webhook:{hook.url}/x"]', "it holds")
    assert (ended.status, [body["verdict"] for body in hook.received.bodies]) == (0, ["passed"])


def test_an_interrupted_run_is_told_as_such(harness: Runner, hook: Hook) -> None:
    ended = harness(f'notify = ["webhook:{hook.url}/x"]', "somebody presses Ctrl-C")
    assert ended.status == 2
    assert [body["verdict"] for body in hook.received.bodies] == ["interrupted"]


def test_without_the_option_nobody_is_told(harness: Runner, hook: Hook) -> None:
    ended = harness(f'notify = ["webhook:{hook.url}/x"]', "it fails", options=())
    assert (ended.status, hook.received.bodies) == (1, [])


def test_a_parameter_store_that_does_not_answer_costs_no_verdict(harness: Runner, tmp_path: Path) -> None:
    # The lab's own credentials file is not there, as before the rack was ever up.
    ended = harness('notify = ["webhook:ssm:/pve1/hook"]', "it fails")
    assert ended.status == 1
    assert "NOT told how this run ended: webhook ssm:/pve1/hook: aws.credentials_file" in ended.output
    assert "Traceback" not in ended.output


def past(*scenarios: dict[str, Any], folder: Path = Path("2026-01-05T01-00-00Z")) -> history.PastRun:
    return history.of_evidence(folder, evidence(5, *scenarios))


def test_a_message_names_twenty_scenarios_at_most() -> None:
    many = [scenario(scenario=f"Thing {number}", status="failed") for number in range(25)]
    message = notifying.compose(past(*many), "failed", ["outage: 2 s, usually 1 s"])
    lines = message.text.splitlines()
    assert sum(line.startswith("failed: ") for line in lines) == 20
    assert "and 5 more" in lines and "regressed: outage: 2 s, usually 1 s" in lines
    assert len(message.data["failed"]) == 25
    assert message.subject == "rackproof lab: FAILED"


def test_a_message_names_what_has_regressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 5):
        folder = tmp_path / f"2026-01-0{day}T01-00-00Z"
        folder.mkdir()
        text = json.dumps(evidence(day, scenario(measurement(0.3))))
        (folder / "evidence.json").write_text(text, encoding="utf-8")
    now = past(scenario(measurement(0.9)), folder=tmp_path / "2026-01-05T01-00-00Z")
    assert notifying._regressed(now) == ["longest outage: 900 ms, usually 300 ms"]


@pytest.mark.parametrize("text", ["", "[]", '{"outcomes": [1]}', '{"outcomes": [{"to": "x"}]}'])
def test_what_was_told_before_is_read_or_taken_for_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "notified.json").write_text(text, encoding="utf-8")
    assert notifying.earlier(tmp_path) == []


def test_what_came_of_it_is_told_in_sentences() -> None:
    outcomes = [
        Outcome("mail a@b.example", True),
        Outcome("webhook h", True),
        Outcome("SNS topic t", False, "why"),
    ]
    assert notifying.told(outcomes) == [
        "told how this run ended: mail a@b.example, webhook h",
        "NOT told how this run ended: SNS topic t: why",
    ]
    assert notifying.told([]) == []
