"""The order in which victims fall: drawn from a seed, so that the same seed draws the same order on any
machine. A night's sequence is drawn from names alone (the order, the library), never from what is true at the
moment: time decides only how far a night gets in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, TypeVar

from chaos.fault import Fault, FaultError
from cluster.site import Site

WEIGHTS: Mapping[str, float] = {
    "all-rings-down": 0.0,
    "bmc-unreachable": 0.5,
    "bmc-wrong-password": 0.3,
    "both-links-down": 0.5,
    "corosync-cut": 0.3,
    "kernel-crash": 0.3,
    "kernel-hang": 0.3,
    "node-lost-bmc-unreachable": 0.2,
    "node-lost-bmc-wrong-password": 0.2,
    "node-maintenance": 0.5,
    "node-osds-down": 0.5,
    "node-power-lost": 0.3,
    "osd-disk-pulled": 0.5,
    "osd-out": 0.3,
    "pool-at-min-size": 0.3,
    "silent-link": 0.5,
    "switch-down": 0.5,
    "two-nodes-lost": 0.0,
}
"""How often a fault falls, against 1 for those not named: what takes long or hits much comes less often. A
night consents to no loss of quorum: 0.
"""
FAULTS_PER_WATCH = 4
"""After so many faults another node keeps the ledger, so that each node becomes a victim some time."""
PAUSE_S = (5.0, 30.0)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Step:
    """One fault of a night. The first of `victims` that qualifies is struck: a fault of a role (the leading
    monitor) falls on who has the role by then. `keeper`: the node that is spared. `pause_s`: before it.
    """

    number: int
    watch: int
    keeper: str
    kind: str
    victims: tuple[str, ...]
    pause_s: float

    def told(self) -> str:
        """One line for people."""
        return f"{self.number + 1}. {self.kind}: {', '.join(self.victims)}; {self.keeper} keeps the ledger"

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Step:
        """From JSON. Raises `FaultError` where it is none."""
        try:
            return cls(
                int(data["number"]), int(data["watch"]), str(data["keeper"]), str(data["kind"]),
                tuple(map(str, data["victims"])), float(data["pause_s"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise FaultError(f"a step of a night's plan cannot be read: {error!r}") from None


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


def pools(site: Site, kinds: Mapping[str, type[Fault]]) -> dict[str, tuple[str, ...]]:
    """Kind -> what could be its victim, by the order alone."""
    return {kind: fault.candidates(site) for kind, fault in sorted(kinds.items())}


def night(
    seed: int,
    nodes: Iterable[str],
    pools: Mapping[str, tuple[str, ...]],
    weights: Mapping[str, float] = WEIGHTS,
) -> Iterator[Step]:
    """The endless sequence of a seed. Raises `FaultError` where there is nothing to draw."""
    keepers = order(seed, "keepers", nodes)
    kinds = [kind for kind in sorted(pools) if pools[kind] and weights.get(kind, 1.0) > 0]
    if not keepers or not kinds:
        raise FaultError("a night needs nodes, and a fault that has a victim: none is known")
    heavy = [weights.get(kind, 1.0) for kind in kinds]
    draws = stream(seed, "night")
    for number in count():
        watch = number // FAULTS_PER_WATCH
        keeper = keepers[watch % len(keepers)]
        kind = draws.choices(kinds, heavy)[0]
        spared = [name for name in pools[kind] if name.split()[0] != keeper]
        victims = order(seed, f"victims {number}", spared)
        pause = round(draws.uniform(*PAUSE_S), 1)
        yield Step(number, watch, keeper, kind, tuple(victims), pause)
