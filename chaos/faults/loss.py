"""A node's packets are lost at random."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from chaos.bond_state import BondState
from chaos.fault import FaultError
from chaos.faults.traffic import Queued
from chaos.predict import Prediction

_RARE = 1e-6
"""Runs of losses as rare as this are not expected in a drill."""
_SPARSE_S = 0.05
"""The interval of the sparsest probe in use."""


@dataclass(frozen=True, kw_only=True)
class Loss(Queued):
    """Some of the packets that a node sends to its peers are lost, each by the same chance."""

    kind = "loss"
    summary = "some of what a node sends to its peers is lost at random"
    blast_radius = "one node's traffic with its peers: retransmissions, fewer bytes a second"

    percent: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.1 <= self.percent <= 50:
            raise FaultError(f"loss: percent = {self.percent:g}: expected 0.1 to 50")

    @property
    def what(self) -> str:
        return f"{self.percent:g} % of the packets to its peers are lost"

    @property
    def netem(self) -> str:
        return f"loss {self.percent:g}%"

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        """A run of losses: so many in a row that a longer one is rare, seen by a sparse probe."""
        del bonds
        run = math.ceil(math.log(_RARE) / math.log(self.percent / 100)) + 1
        return Prediction(0.0, run * _SPARSE_S, f"{run} losses in a row at {self.percent:g} % are rare")
