"""Two network namespaces joined by a wire, made by the test and gone with it; needs root."""

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
    """Namespaces `left` (192.0.2.1) and `right` (192.0.2.2); `cut` and `join` work on the wire between
    them.
    """

    left: str
    right: str

    def ip(self, where: str, *words: str) -> None:
        subprocess.run(["ip", "-n", where, *words], check=True, timeout=10, capture_output=True)

    def cut(self) -> None:
        self.ip(self.left, "link", "set", "wire", "down")

    def join(self) -> None:
        self.ip(self.left, "link", "set", "wire", "up")

    def prefix(self, where: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", where)


@pytest.fixture
def wire() -> Iterator[Wire]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    tag = uuid.uuid4().hex[:6]
    made = Wire(f"rackproof-test-{tag}a", f"rackproof-test-{tag}b")
    try:
        for name in (made.left, made.right):
            subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
        made.ip(made.left, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", made.right)
        for name, address in ((made.left, "192.0.2.1"), (made.right, "192.0.2.2")):
            made.ip(name, "address", "add", f"{address}/24", "dev", "wire")
            made.ip(name, "link", "set", "wire", "up")
        yield made
    finally:
        for name in (made.left, made.right):
            subprocess.run(["ip", "netns", "delete", name], check=False, timeout=10)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    relocate(monkeypatch, tmp_path / "run")
    monkeypatch.setenv("RACKPROOF_STATE", str(tmp_path / "state"))
    return FakeCluster(tmp_path / "world")
