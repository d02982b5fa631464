"""The fault of docs/how-to/add-a-fault.md is a fault: its code block is held to the whole contract."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import chaos.faults
from chaos.fault import Fault, catalogue
from chaos.journal import State
from tests.chaos import test_fault_contract as contract
from tests.chaos.world import FakeCluster

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "add-a-fault.md"
NAME = "chaos.faults.standby"
TESTS: dict[str, Callable[..., Any]] = {
    name: test
    for name, test in vars(contract).items()
    if name.startswith("test_") and "kind" in inspect.signature(test).parameters
}
VALUES = {"seconds": 1, "state": State.BREAKING}


@pytest.fixture
def kind(tmp_path: Path) -> Iterator[type[Fault]]:
    """The page's class, as a file put into `chaos/faults/` would be found."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "standby.py").write_text(code, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chaos.faults, "__path__", [*chaos.faults.__path__, str(tmp_path / "faults")])
        yield catalogue()["standby-down"]
    module: ModuleType | None = sys.modules.pop(NAME, None)
    if module is not None:
        delattr(chaos.faults, "standby")
    assert "standby-down" not in catalogue()


@pytest.mark.parametrize("name", TESTS)
def test_the_page_s_fault_keeps_the_contract(name: str, kind: type[Fault], world: FakeCluster) -> None:
    test = TESTS[name]
    given = {"kind": kind, "world": world, **VALUES}
    test(**{key: given[key] for key in inspect.signature(test).parameters})


def test_the_contract_has_tests() -> None:
    assert len(TESTS) >= 9
