"""Remote hands: the site's own commands, or not applicable."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import hands as module
from cluster.errors import DeadlineError, NotApplicableError
from cluster.hands import Hands, HandsError


def table(command: str) -> Any:
    return SimpleNamespace(pull_drive=command, push_drive=command)


def test_the_command_gets_node_and_serial_as_words(tmp_path: Path) -> None:
    told: list[Any] = []
    hands = Hands(table(f"cp /dev/null '{tmp_path}/{{node}} {{serial}}'"), lambda *what: told.append(what))
    hands.pull_drive("node1", "X; exit 3")
    assert [p.name for p in tmp_path.iterdir()] == ["node1 X; exit 3"]
    assert told[0][0] == "hands"


def test_a_site_without_hands_is_not_applicable() -> None:
    with pytest.raises(
        NotApplicableError, match=r"PF-HANDS: .* drive S1 of node1: the site has no hands.pull_drive"
    ):
        Hands(None).pull_drive("node1", "S1")


def test_failures_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        HandsError, match=r"hands.push_drive for node1, drive S1, failed with 3: nobody there"
    ):
        Hands(table("sh -c 'echo nobody there >&2; exit 3'")).push_drive("node1", "S1")
    with pytest.raises(HandsError, match=r"hands.pull_drive = 'no-such-program' cannot be run"):
        Hands(table("no-such-program")).pull_drive("node1", "S1")
    monkeypatch.setattr(module, "DEADLINE_S", 0.2)
    with pytest.raises(DeadlineError, match=r"hands.pull_drive for node1, drive S1: not done within 0.2 s"):
        Hands(table("sleep 5")).pull_drive("node1", "S1")
