"""A second rack beside the first: up, up again, killed in mid-up, down, and nothing left. Needs root.

Run with `pytest tests/rack/test_rack_lifecycle.py`; about two minutes when the node image is in the cache.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import namespace, rack
from lab.paths import State
from lab.processes import start_time

pytestmark = [pytest.mark.rack, pytest.mark.root]
NAME = "rackproof-test"
UP_DEADLINE_S = 300
OTHERS_DEADLINE_S = 120
KILLS = 6


class Racked:
    """The command line of a rack of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.environment = {**os.environ, "RACKPROOF_STATE": str(folder), "RACKPROOF_NAMESPACE": NAME}

    def lab(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        deadline = UP_DEADLINE_S if arguments[0] == "up" else OTHERS_DEADLINE_S
        return subprocess.run(
            [sys.executable, "-m", "lab", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=check,
        )

    def killed_up(self, after_s: float) -> bool:
        """Begin `up` and SIGKILL it; whether it was still at work then."""
        child = subprocess.Popen(
            [sys.executable, "-m", "lab", "up"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(after_s)
        at_work = child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
        return at_work

    def left(self) -> list[str]:
        """Everything of this rack that can still be found on the machine."""
        found = [f"process {pid}" for pid in namespace.leftovers(NAME, self.state) if start_time(pid)]
        found += [f"namespace {NAME}"] if namespace.exists(NAME) else []
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        found += [f"mount {line}" for line in mounts if str(self.state.root) in line]
        found += [f"file {path}" for path in (self.state.root, Path("/etc/netns") / NAME) if path.exists()]
        return found

    def pids(self) -> dict[str, str]:
        return {file.name: file.read_text(encoding="ascii") for file in self.state.pids.iterdir()}


@pytest.fixture
def racked(tmp_path: Path) -> Iterator[Racked]:
    one = Racked(tmp_path / "rack")
    yield one
    one.lab("down", check=False)


def _root_devices() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _root_addresses() -> str:
    done = subprocess.run(
        ["ip", "-4", "-o", "address"], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout


def test_up_twice_and_down(racked: Racked) -> None:
    devices = _root_devices()
    racked.lab("up")
    hardware = rack.load()
    status = racked.lab("status").stdout
    for server in hardware.server:
        assert f"{server.name:8} off" in status
        assert server.bmc not in _root_addresses()
    assert "DEAD" not in status
    for drive in hardware.drives(hardware.server[0]):
        file = racked.state.disks / f"{drive.serial}.qcow2"
        assert file.stat().st_size < 1 << 20, f"{drive.serial} is not blank"
    assert _root_devices() == devices

    before = racked.pids()
    again = racked.lab("up").stdout
    assert "all are racked already" in again
    assert "all run already" in again
    assert racked.pids() == before

    racked.lab("down")
    assert racked.left() == []
    assert _root_devices() == devices


def test_down_after_a_killed_up_leaves_nothing(racked: Racked) -> None:
    seed = int(os.environ.get("RACKPROOF_SEED", "1"))
    moments = random.Random(seed)
    devices = _root_devices()
    for _ in range(KILLS):
        after_s = moments.uniform(0.1, 10.0)
        racked.killed_up(after_s)
        racked.lab("down")
        assert racked.left() == [], f"killed after {after_s:.2f} s (seed {seed})"
        assert _root_devices() == devices


def test_up_finishes_what_a_killed_up_began(racked: Racked) -> None:
    assert racked.killed_up(4.0)
    racked.lab("up")
    assert "DEAD" not in racked.lab("status").stdout


def test_a_dead_daemon_is_started_again(racked: Racked) -> None:
    racked.lab("up")
    pid = int((racked.state.pids / "bmc-node2").read_text(encoding="ascii").split()[0])
    os.kill(pid, signal.SIGKILL)
    assert "started: bmc-node2\n" in racked.lab("up").stdout


def test_drives_and_secrets_outlive_a_down_that_keeps_disks(racked: Racked) -> None:
    racked.lab("up")
    authority = (racked.state.tls / "ca.pem").read_bytes()
    racked.lab("hands", "pull-drive", "node1", "BOOT12")
    racked.lab("down", "--keep-disks")
    assert not namespace.exists(NAME)
    assert (racked.state.disks / "BOOT11.qcow2").exists()
    racked.lab("up")
    assert (racked.state.tls / "ca.pem").read_bytes() == authority
    assert "(BOOT12 out)" in racked.lab("status").stdout


def test_a_namespace_of_another_rack_is_refused(racked: Racked, tmp_path: Path) -> None:
    racked.lab("up")
    other = Racked(tmp_path / "other")
    for command in ("up", "down"):
        refused = other.lab(command, check=False)
        assert refused.returncode == 1
        assert f"belongs to the rack of {racked.state.root}" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "DEAD" not in racked.lab("status").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("hands", "pull-drive", "node9", "BOOT11"), "no server 'node9' in the rack"),
        (("hands", "pull-drive", "node1", "BOOT99"), "node1 has no drive 'BOOT99'"),
        (("hands", "pull-link", "node1", "p7"), "node1 has no port 'p7'"),
        (("restore", "nowhere"), "nothing is saved as 'nowhere'"),
        (("save", "../x"), "'../x' cannot be a name"),
        (("cut", "node1", "--for", "1"), "'node1' names no two points"),
        (("cut", "node1:node2", "--for", "0"), "--for 0.0"),
        (("console", "node1"), "node1 is off"),
        (("break", "no-such-defect"), "no-such-defect"),
    ],
)
def test_mistakes_are_one_sentence(shared: Racked, arguments: tuple[str, ...], sentence: str) -> None:
    refused = shared.lab(*arguments, check=False)
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_nothing_can_be_asked_of_a_rack_that_is_down(racked: Racked) -> None:
    refused = racked.lab("status", check=False)
    assert refused.returncode == 1
    assert refused.stderr == "lab status: the rack is not up; run `python -m lab up` first\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racked]:
    one = Racked(tmp_path_factory.mktemp("shared") / "rack")
    one.lab("up")
    yield one
    one.lab("down", check=False)
