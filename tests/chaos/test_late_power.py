"""A node that is brought back though the harness be gone: real processes, a BMC over TLS on loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import late, late_power
from chaos.late_power import LatePower, bring_back, power_of, silent
from cluster.errors import RefusedError
from cluster.site import ROOT, Site, load
from tests.chaos.fake_power import FakeBmc as Bmc
from tests.cluster.fakes import certificates
from tests.cluster.fakes.redfish_server import PASSWORD, USER, V1, FakeBmc

SYSTEM = f"{V1}/Systems/1"
ON = [(f"{SYSTEM}/Actions/ComputerSystem.Reset", {"ResetType": "On"})]


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[FakeBmc]:
    """A BMC whose server is off."""
    (tmp_path / "tls").mkdir()
    with FakeBmc(*certificates.make(tmp_path / "tls")) as made:
        assert made.tree[SYSTEM]["PowerState"] == "Off"
        yield made


@pytest.fixture
def site(tmp_path: Path, bmc: FakeBmc) -> Site:
    """The lab's order with node1's BMC there."""
    text = (ROOT / "sites" / "lab.toml").read_text()
    for old, new in (
        ('"10.9.0.1"', '"127.0.0.9"'),
        ('{ address = "10.9.0.11", port = 8443', f'{{ address = "127.0.0.1", port = {bmc.port}'),
        ("10.9.0.", "127.0.0."),
        (".rack/tls/ca.pem", str(bmc.certificate)),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "here.toml").write_text(text)
    return load(tmp_path / "here.toml")


def resolve(reference: str) -> str:
    return {"ssm:/pve1/nodes/node1/ipmi_user": USER, "ssm:/pve1/nodes/node1/ipmi_password": PASSWORD}[
        reference
    ]


def eventually(is_so: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


def test_a_node_that_is_off_is_switched_on_when_its_time_is_over(
    site: Site, bmc: FakeBmc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKPROOF_JOURNALS", str(tmp_path / "state"))
    cluster: Any = SimpleNamespace(site=site, secrets=SimpleNamespace(resolve=resolve))
    power = power_of(cluster)
    power.arm_start("0a1b", "node1", 0.5)
    assert eventually(lambda: bmc.sent("POST") == ON)
    assert power.start_fired("0a1b")
    assert eventually(lambda: late.alive(late.late_folder(site)) == [])
    assert power.armed_starts() == [] and not power.disarm_start("0a1b")
    assert not power.start_fired("0a1b")
    assert bmc.tokens == {}, "a session was left on the BMC"


def test_disarmed_it_ends_and_sends_nothing(site: Site, bmc: FakeBmc, tmp_path: Path) -> None:
    power = LatePower(site, resolve, tmp_path / "late")
    power.arm_start("0a1b", "node1", 60)
    assert power.armed_starts() == ["0a1b"]
    assert power.disarm_start("0a1b")
    assert power.armed_starts() == []
    assert list((tmp_path / "late").iterdir()) == []
    assert bmc.log == []


def test_the_password_lies_on_no_disk_and_no_command_line(site: Site, tmp_path: Path) -> None:
    power = LatePower(site, resolve, tmp_path / "late")
    power.arm_start("0a1b", "node1", 60)
    try:
        waiting = [line for line in command_lines() if str(tmp_path / "late").encode() in line]
        assert len(waiting) == 1
        assert PASSWORD.encode() not in b"".join(command_lines())
        kept = b"".join(path.read_bytes() for path in (tmp_path / "late").iterdir())
        assert b"node1" in kept and PASSWORD.encode() not in kept
    finally:
        power.disarm_start("0a1b")


def test_it_outlives_a_harness_that_is_killed(site: Site, bmc: FakeBmc, tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from chaos.late_power import LatePower
from cluster.site import load
LatePower(load(Path(sys.argv[1])), lambda name: sys.stdin.readline().strip(), Path(sys.argv[2])).arm_start(
    "0a1b", "node1", 2.0
)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, site.file, str(tmp_path / "late")],
        input=f"{USER}\n{PASSWORD}\n", text=True, cwd=ROOT, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert eventually(lambda: bmc.sent("POST") == ON)


def test_a_process_that_does_not_start_means_that_nothing_is_broken(tmp_path: Path) -> None:
    switch = late.Late(tmp_path, "power", "chaos.no_such_module")
    with pytest.raises(RefusedError, match="nothing is broken: the process that would heal it"):
        switch.arm("0a1b", 60, {})
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_answers_is_left_alone() -> None:
    bmc = Bmc()
    bring_back(bmc, lambda: False)
    assert bmc.sent == []


def test_a_node_that_hangs_is_switched_off_and_on_and_only_when_it_had_time_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(late_power, "_POLL_S", 0.01)
    monkeypatch.setattr(late_power, "BACK_S", 0.1)
    bmc, asked = Bmc(_Started()), iter([True, True, False])
    bring_back(bmc, lambda: next(asked))
    assert bmc.sent == [], "it was on its way"
    bring_back(bmc, lambda: True)
    assert bmc.sent == ["ForceOff", "On"]


def test_a_node_that_somebody_switches_off_meanwhile_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_power, "_POLL_S", 0.0)
    bmc = Bmc(_Started())

    def goes_off() -> bool:
        bmc.state = "Off"
        return True

    bring_back(bmc, goes_off)
    assert bmc.sent == ["On"]


def test_withdrawn_it_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_power, "BACK_S", 0.0)
    bmc = Bmc()
    bring_back(bmc, lambda: True, lambda: True)
    assert bmc.sent == []


@pytest.mark.parametrize(
    ("greeting", "is_silent"), [(b"SSH-2.0-x\r\n", False), (b"220 mail\r\n", True), (b"", True)]
)
def test_a_node_is_silent_unless_it_greets_by_ssh(greeting: bytes, is_silent: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            taken, _ = door.accept()
            with taken:
                taken.sendall(greeting)

        greeter = threading.Thread(target=answer)
        greeter.start()
        assert silent("127.0.0.1", door.getsockname()[1]) is is_silent
        greeter.join(timeout=10)


def test_a_node_that_takes_connections_and_says_nothing_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_power, "KNOCK_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as door:
        assert silent("127.0.0.1", door.getsockname()[1])


class _Started:
    """A node as a BMC's power reaches it."""

    dead = False

    def start(self) -> None:
        self.dead = False
