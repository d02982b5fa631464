"""The harness is killed at random moments of phases 3 and 4; a later run converges with no manual cleaning.

Needs a rack whose nodes stand and have their networks, kept under the name `networked`:
    .venv/bin/python -m pytest features/phase1_base_install.feature features/phase2_network.feature --no-chaos
    .venv/bin/python -m lab save networked
    .venv/bin/python -m pytest tests/rack/test_killed_provisioning.py -s
Two chains of five kills, about 10 minutes each. In a chain every run begins with what the killed one before
it left, so that each kill falls elsewhere; the last run of a chain has to end with nothing missing, and one
that only looks after it has to find nothing. RACKPROOF_SEED=N draws other moments.
"""

# ruff: noqa: T201 - the table is the evidence
from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("RACKPROOF_SEED", "1"))
SAVE = "networked"
KILLS = 5
EARLIEST_S, LATEST_S = 3.0, 60.0
"""A run is killed within this range of its first change."""
RUN_S = 1500.0
FEATURES = ("features/phase3_cluster.feature", "features/phase4_ceph.feature", "--no-chaos", "-q")
pytestmark = [pytest.mark.rack, pytest.mark.timeout(7200)]


def _lab(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr or done.stdout


def _begin(*options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", *FEATURES, *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _run_of(pid: int) -> Path | None:
    """The folder of the newest run, once that process has begun its record."""
    for folder in sorted((ROOT / "reports/runs").glob("2*"), reverse=True)[:1]:
        record = folder / "record.jsonl"
        if record.exists() and folder.stat().st_mtime > Path(f"/proc/{pid}").stat().st_mtime:
            return folder
    return None


def _changes(folder: Path) -> list[str]:
    """Changes that a run has recorded so far, each before it was applied."""
    found = []
    for line in (folder / "record.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        if event.get("event") == "change":
            found.append(f"{event['node']}: {event['summary']}")
    return found


def _killed(random_: random.Random) -> str:
    """Kills a run at a random moment after its first change; says what it did last. "" where it had ended."""
    process = _begin()
    deadline = time.monotonic() + RUN_S
    folder: Path | None = None
    while process.poll() is None and time.monotonic() < deadline:
        folder = folder or _run_of(process.pid)
        if folder is not None and _changes(folder):
            break
        time.sleep(0.2)
    if process.poll() is not None or folder is None:
        process.wait(timeout=60)
        return ""
    wait = random_.uniform(EARLIEST_S, LATEST_S)
    try:
        process.wait(timeout=wait)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        return f"killed {wait:.0f} s after its first change, last recorded: {_changes(folder)[-1]}"
    return ""


@pytest.mark.parametrize("chain", [1, 2])
def test_killed_anywhere_it_converges_when_run_again(chain: int) -> None:
    random_ = random.Random(f"{SEED} {chain}")
    _lab("restore", SAVE)
    for number in range(1, KILLS + 1):
        told = _killed(random_)
        print(f"chain {chain}, kill {number}: {told or 'the run had ended before'}", flush=True)
    began = time.monotonic()
    assert _begin().wait(timeout=RUN_S) == 0, "the run after the last kill did not converge"
    print(f"chain {chain}: the next run converged, exit 0, {time.monotonic() - began:.0f} s", flush=True)
    assert _begin("--provision", "never").wait(timeout=RUN_S) == 0, "something was left undone"
