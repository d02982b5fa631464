"""How a drill's scenario ends: closed, then drawn, whatever went wrong."""

from __future__ import annotations

import pytest

from steps.drilled import to_the_end


class Told:
    """A scenario that is its own drill and notes what becomes of it."""

    def __init__(self, fail: bool = False) -> None:
        self.fail = fail
        self.done: list[str] = []

    @property
    def drill(self) -> Told:
        return self

    def close(self) -> None:
        self.done.append("closed")
        if self.fail:
            raise OSError("not healed")

    def draw(self) -> None:
        self.done.append("drawn")


def test_a_scenario_that_fails_is_closed_and_drawn() -> None:
    told = Told()
    with pytest.raises(KeyError), to_the_end(told) as made:
        assert made.done == []
        raise KeyError
    assert told.done == ["closed", "drawn"]


def test_what_could_not_be_healed_is_drawn_and_said() -> None:
    told = Told(fail=True)
    with pytest.raises(OSError, match="not healed"), to_the_end(told):
        pass
    assert told.done == ["closed", "drawn"]
