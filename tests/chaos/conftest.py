"""Three network namespaces, two hosts and a router between them, made by the test and gone with it; needs
root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.world import FakeCluster, relocate

CUTTER = """
import os, sys, time
os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(6))
forward = os.open("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY)
clock = time.monotonic
for line in sys.stdin:
    a = clock(); os.pwrite(forward, b"0", 0); b = clock()
    time.sleep(float(line))
    c = clock(); os.pwrite(forward, b"1", 0); d = clock()
    print(a, b, c, d, flush=True)
"""


@dataclass(frozen=True)
class Wire:
    """Namespaces `left` and `right` with a router between them. `cut` stops the router from forwarding:
    frames are lost, while links, routes and neighbours stay as they are."""

    left: str
    right: str
    router: str

    @property
    def addresses(self) -> dict[str, str]:
        return {"left": "192.0.2.1", "right": "198.51.100.1"}

    def ip(self, where: str, *words: str) -> None:
        subprocess.run(["ip", "-n", where, *words], check=True, timeout=10, capture_output=True)

    def forward(self, on: bool) -> None:
        command = f"echo {int(on)} > /proc/sys/net/ipv4/ip_forward"
        subprocess.run([*self.prefix(self.router), "sh", "-c", command], check=True, timeout=10)

    def cut(self) -> None:
        self.forward(False)

    def join(self) -> None:
        self.forward(True)

    def cut_for(self, *lengths: float, calm: float = 0.4) -> list[tuple[float, float, float]]:
        """Cut once for each length; (start, end, blur) as they truly were, by the monotonic clock that
        all share.
        """
        found = []
        command = [*self.prefix(self.router), sys.executable, "-S", "-c", CUTTER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cutter:
            assert cutter.stdin is not None
            assert cutter.stdout is not None
            for length in lengths:
                cutter.stdin.write(f"{length}\n")
                cutter.stdin.flush()
                a, b, c, d = map(float, cutter.stdout.readline().split())
                found.append(((a + b) / 2, (c + d) / 2, (b - a + d - c) / 2))
                time.sleep(calm)
            cutter.stdin.close()
            cutter.wait(timeout=10)
        return found

    def prefix(self, where: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", where)


@pytest.fixture
def wire() -> Iterator[Wire]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    tag = uuid.uuid4().hex[:6]
    made = Wire(*(f"rackproof-test-{tag}{end}" for end in "abc"))
    try:
        for name in (made.left, made.right, made.router):
            subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
        for name, port, net in ((made.left, "left", "192.0.2"), (made.right, "right", "198.51.100")):
            made.ip(name, "link", "add", "wire", "type", "veth", "peer", "name", port, "netns", made.router)
            made.ip(made.router, "address", "add", f"{net}.254/24", "dev", port)
            made.ip(made.router, "link", "set", port, "up")
            made.ip(name, "address", "add", f"{net}.1/24", "dev", "wire")
            made.ip(name, "link", "set", "wire", "up")
            made.ip(name, "route", "add", "default", "via", f"{net}.254")
        made.join()
        yield made
    finally:
        for name in (made.left, made.right, made.router):
            subprocess.run(["ip", "netns", "delete", name], check=False, timeout=10)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    relocate(monkeypatch, tmp_path / "run")
    monkeypatch.setenv("RACKPROOF_JOURNALS", str(tmp_path / "state"))
    return FakeCluster(tmp_path / "world")
