"""Hands that push a drive back though the harness be gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.late_hands import LateHands


@pytest.fixture
def hands(tmp_path: Path) -> LateHands:
    table = SimpleNamespace(pull_drive=None, push_drive=f"touch {tmp_path}/{{node}}-{{serial}}")
    site: Any = SimpleNamespace(hands=table)
    return LateHands(site, tmp_path)


def eventually(is_so: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def test_the_drive_is_pushed_back_when_its_time_is_over(hands: LateHands, tmp_path: Path) -> None:
    hands.arm_push("0a1b", "node1", "DATA101", 0.5)
    assert eventually((tmp_path / "node1-DATA101").exists)
    assert hands.push_fired("0a1b")
    assert eventually(lambda: hands.armed_pushes() == [])
    assert not hands.disarm_push("0a1b")
    assert not hands.push_fired("0a1b")


def test_disarmed_it_ends_and_pushes_nothing(hands: LateHands, tmp_path: Path) -> None:
    hands.arm_push("0a1b", "node1", "DATA101", 60)
    assert hands.armed_pushes() == ["0a1b"]
    assert hands.disarm_push("0a1b")
    assert hands.armed_pushes() == []
    assert not hands.disarm_push("0a1b")
    assert list(tmp_path.iterdir()) == []
