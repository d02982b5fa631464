"""Cuts: what the kernel is told, that the truth is stated, and that every cut is mended."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from lab import cutting
from lab.rack import Rack

TAPS = ("node1p0", "node1p1", "node2p0", "node2p1")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The batches that `tc` was given, in order; no kernel is touched."""
    batches: list[str] = []
    monkeypatch.setattr(cutting, "run", lambda _argv, stdin: batches.append(stdin))
    return batches


def test_every_port_of_both_servers_is_cut_and_mended(hardware: Rack, told: list[str]) -> None:
    text = cutting.cut(hardware, "node1:node2", 0.05)
    assert told == [
        "".join(f"qdisc replace dev {tap} root blackhole\n" for tap in TAPS),
        "".join(f"qdisc del dev {tap} root\n" for tap in TAPS),
    ]
    start, end, lasted = text.splitlines()
    assert 0.045 < float(end.split()[2]) - float(start.split()[2]) < 5
    assert lasted.startswith("lasted between ")


def test_an_interrupted_cut_is_mended_and_leaves_no_process(
    hardware: Rack, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spares: list[int] = []
    popen = cutting.subprocess.Popen

    def spawn(*arguments: object, **more: object) -> object:
        made = popen(*arguments, **more)  # type: ignore[call-overload]
        spares.append(made.pid)
        return made

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cutting.subprocess, "Popen", spawn)
    # The module's own clock only: Popen.wait sleeps by the same name while it waits for the killed process.
    clock = SimpleNamespace(monotonic=time.monotonic, time=time.time, sleep=interrupted)
    monkeypatch.setattr(cutting, "time", clock)
    with pytest.raises(KeyboardInterrupt):
        cutting.cut(hardware, "node1:node2", 1.0)
    assert told[-1].startswith("qdisc del dev node1p0 root\n")
    (spare,) = spares
    with pytest.raises(ProcessLookupError):
        os.kill(spare, 0)
