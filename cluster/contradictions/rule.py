"""What a contradiction is, and how a rule that finds one is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cluster.site import Site

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Contradiction:
    """One order that cannot hold (error), holds in part or at a risk (warning), or is worth knowing (info).

    `key` is the site key it concerns, `order` what was ordered, `truth` why not, `instead` what to do.
    """

    id: str
    severity: Severity
    key: str
    order: str
    truth: str
    instead: str

    def __str__(self) -> str:
        return f"{self.id} ({self.severity}) {self.key}: {self.order}; {self.truth}. Instead: {self.instead}."


@dataclass(frozen=True)
class Found:
    """What a rule yields: a contradiction without its id."""

    severity: Severity
    key: str
    order: str
    truth: str
    instead: str


Rule = Callable[["Site"], Iterator[Found]]
RULES: list[tuple[str, Rule]] = []


def rule(reason_id: str) -> Callable[[Rule], Rule]:
    """Registers a rule under its stable id; docs/contradictions.md has a section of that name."""

    def register(function: Rule) -> Rule:
        RULES.append((reason_id, function))
        return function

    return register
