"""A node's link is slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chaos.bond_state import BondState
from chaos.fault import FaultError
from chaos.faults.traffic import Queued
from chaos.predict import Prediction


@dataclass(frozen=True, kw_only=True)
class RateLimit(Queued):
    """A node sends to its peers no faster than a slow link would."""

    kind = "rate-limit"
    summary = "a node sends to its peers no faster than a slow link would"
    blast_radius = "one node's traffic with its peers: bulk traffic crawls"

    mbit: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.1 <= self.mbit <= 100_000:
            raise FaultError(f"rate-limit: mbit = {self.mbit:g}: expected 0.1 to 100000")

    @property
    def what(self) -> str:
        return f"no more than {self.mbit:g} Mbit/s to its peers"

    @property
    def netem(self) -> str:
        return f"rate {round(self.mbit * 1000)}kbit"

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        del bonds
        return None  # how long a datagram queues depends on what else is sent
