"""An MTU black hole: large packets vanish, small ones and the carrier do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaos.fault import FaultError
from chaos.faults.traffic import LENGTH_AT, Dropped, within


@dataclass(frozen=True, kw_only=True)
class MtuBlackHole(Dropped):
    """Packets above a size vanish between a node and its peers, and nobody is told: pings work, bulk hangs.

    Lengths are those that the kernel sees: several packets of one flow that it joins on arrival count as one.
    """

    kind = "mtu-black-hole"
    summary = "packets above a size vanish between a node and its peers; small ones pass"
    blast_radius = "one node's bulk traffic with its peers stands still"

    largest: float = 1000.0
    """Bytes of the largest IP packet that passes."""
    deadman_s: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 576 <= self.largest <= 9000:
            raise FaultError(f"mtu-black-hole: largest = {self.largest:g}: expected 576 to 9000")

    @property
    def what(self) -> str:
        return f"packets of more than {self.largest:g} bytes to and from its peers vanish"

    def matches(self, direction: str) -> Iterable[str]:
        del direction
        return within(int(self.largest) + 1, 0xFFFF, LENGTH_AT)
