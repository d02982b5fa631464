"""Three network namespaces, two hosts and a router between them, made by the test and gone with it; needs
root.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.world import FakeCluster, relocate


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
