"""A rack description and a state folder for tests that need no rack."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import rack as racks
from lab.paths import State
from lab.rack import Rack


@pytest.fixture(scope="session")
def hardware() -> Rack:
    return racks.load()


@pytest.fixture
def state(tmp_path: Path) -> State:
    one = State(tmp_path / "state")
    one.create()
    return one
