"""A node's packets overtake each other."""

from __future__ import annotations

from dataclasses import dataclass

from chaos.fault import FaultError
from chaos.faults.traffic import Queued


@dataclass(frozen=True, kw_only=True)
class Reorder(Queued):
    """Most packets that a node sends to its peers wait a little; the others overtake them."""

    kind = "reorder"
    summary = "some of what a node sends to its peers overtakes the rest"
    blast_radius = "one node's traffic with its peers: it arrives in another order"

    percent: float = 25.0
    delay_ms: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= self.percent <= 99 and 1 <= self.delay_ms <= 1000):
            raise FaultError(
                f"reorder: percent = {self.percent:g}, delay_ms = {self.delay_ms:g}:"
                " expected 1 to 99 and 1 to 1000"
            )

    @property
    def what(self) -> str:
        return f"{self.percent:g} % of the packets to its peers overtake others by {self.delay_ms:g} ms"

    @property
    def netem(self) -> str:
        return f"delay {self.delay_ms:g}ms reorder {self.percent:g}% 50%"
