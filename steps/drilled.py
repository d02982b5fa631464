"""What storage and compute drills share: how a scenario ends, and a figure beside its prediction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from chaos.predict import Prediction
from chaos.predict_ceph import outside


class Closing(Protocol):
    """Heals and ends its watch; asked twice, done once."""

    def close(self) -> None: ...


class Scenario(Protocol):
    """A drill and where its figures go."""

    @property
    def drill(self) -> Closing: ...

    def draw(self) -> None: ...


_S = TypeVar("_S", bound=Scenario)


@contextmanager
def to_the_end(scenario: _S) -> Iterator[_S]:
    """Whatever becomes of the scenario, its drill is closed and its course is drawn."""
    with ExitStack() as end:
        end.callback(scenario.draw)
        end.callback(lambda: scenario.drill.close())
        yield scenario


def beside(what: str, value: float, blur: float, expected: Prediction) -> str:
    """One figure and the range that the live configuration implies."""
    most = "never" if expected.most_s is None else f"{expected.most_s:.1f} s"
    verdict = outside(expected, value, blur) or "as predicted"
    return f"{what}: {value:.1f} s, predicted {expected.least_s:.1f} s to {most} ({expected.why}): {verdict}"
