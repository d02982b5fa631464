"""A node that could not be seen, in whatever phase's observation it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from cluster.errors import UnreachableError

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Unreachable:
    """A node that cannot be seen. `installed`: phase 1 once finished there."""

    name: str
    reason: str
    installed: bool


def answered(nodes: Mapping[str, Seen | Unreachable], name: str) -> Seen:
    """What was seen of a node that answered. Raises UnreachableError otherwise."""
    found = nodes[name]
    if isinstance(found, Unreachable):
        raise UnreachableError(f"{name} did not answer: {found.reason}")
    return found
