"""A node's packets are late."""

from __future__ import annotations

from dataclasses import dataclass

from chaos.fault import FaultError
from chaos.faults.traffic import Queued


@dataclass(frozen=True, kw_only=True)
class Latency(Queued):
    """What a node sends to its peers is late by a delay that varies."""

    kind = "latency"
    summary = "what a node sends to its peers is late, by a delay that varies"
    blast_radius = "one node's traffic with its peers: all that waits for an answer is slower"

    delay_ms: float = 100.0
    jitter_ms: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= self.delay_ms <= 2000 and 0 <= self.jitter_ms <= self.delay_ms):
            raise FaultError(
                f"latency: delay_ms = {self.delay_ms:g}, jitter_ms = {self.jitter_ms:g}: expected 1 to 2000,"
                " and no more jitter than delay"
            )

    @property
    def what(self) -> str:
        return f"packets to its peers are late by {self.delay_ms:g} ms, give or take {self.jitter_ms:g} ms"

    @property
    def netem(self) -> str:
        return f"delay {self.delay_ms:g}ms {self.jitter_ms:g}ms"
