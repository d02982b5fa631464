"""The order in which victims fall: drawn from a seed, so that the same seed draws the same order on any
machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


def stream(seed: int, purpose: str) -> Random:
    """A generator for one purpose; what one purpose draws does not depend on what another has drawn."""
    return Random(f"{seed}:{purpose}")  # noqa: S311 - a draw to be repeated, not a secret


def order(seed: int, purpose: str, victims: Iterable[_T]) -> list[_T]:
    """The victims in the order that the seed draws; they are taken as given, so give them in a fixed
    order.
    """
    drawn = list(victims)
    stream(seed, purpose).shuffle(drawn)
    return drawn
