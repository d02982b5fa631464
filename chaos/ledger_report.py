"""What a ledger has to say: writes, losses, outages and latencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chaos.ledger_model import Loss
from chaos.ledger_times import Second
from chaos.probe import Outage
from cluster.errors import RackproofError, UnknownError

_TOLD = 5


class LostWriteError(RackproofError):
    """A write that was acknowledged cannot be read back as it was written."""


@dataclass(frozen=True)
class LedgerReport:
    """Seconds on the controller's monotonic clock.

    `outages`: gaps between acknowledged writes that certainly lasted longer than the ledger's `stall_s`;
    `longest`: the longest gap of each target, whatever its length. A gap includes the time to the next write
    and what a write usually takes; both are in its resolution. `verified_from`: nodes from which all was read
    back. `unknown`: target -> why its outages are not known. `failed`: writes that ended with an error.
    """

    node: str
    targets: tuple[str, ...]
    interval_s: float
    acknowledged: Mapping[str, int]
    failed: Mapping[str, int]
    findings: tuple[Loss, ...]
    verified_from: tuple[str, ...]
    outages: tuple[Outage, ...]
    longest: Mapping[str, Outage]
    latency_per_second: tuple[Second, ...]
    latency: Mapping[str, tuple[Second, ...]]
    unknown: Mapping[str, str]
    placement_s: float
    notes: tuple[str, ...]

    @property
    def writes_acknowledged(self) -> int:
        """On all targets together."""
        return sum(self.acknowledged.values())

    @property
    def lost(self) -> tuple[Loss, ...]:
        """Acknowledged writes that are lost. Raises `UnknownError` where nothing was read back yet, and
        nothing was seen lost before.
        """
        self._read_back()
        return tuple(loss for loss in self.findings if loss.kind == "lost")

    @property
    def torn(self) -> tuple[Loss, ...]:
        """Blocks that hold a mixture of writes. Raises as `lost`."""
        self._read_back()
        return tuple(loss for loss in self.findings if loss.kind == "torn")

    @property
    def longest_gap(self) -> tuple[Outage, ...]:
        """The longest gap of each target, in the order of the targets."""
        return tuple(self.longest[target] for target in self.targets if target in self.longest)

    @property
    def resolution_s(self) -> float:
        """Of the longest gaps: the widest."""
        return max((gap.resolution_s for gap in self.longest_gap), default=self.interval_s)

    def prove(self) -> None:
        """Raises `LostWriteError` where an acknowledged write is lost or torn, `UnknownError` where that was
        not looked at.
        """
        if self.findings:
            told = "; ".join(str(loss) for loss in self.findings[:_TOLD])
            more = len(self.findings) - _TOLD
            raise LostWriteError(
                f"{len(self.lost)} acknowledged writes are lost and {len(self.torn)} torn, of"
                f" {self.writes_acknowledged}: {told}" + (f"; and {more} more" if more > 0 else "")
            )
        self._read_back()

    def certain(self) -> tuple[Outage, ...]:
        """The outages. Raises `UnknownError` where any target could not be watched throughout."""
        if self.unknown:
            told = "; ".join(f"{target}: {why}" for target, why in sorted(self.unknown.items()))
            raise UnknownError(f"the ledger cannot tell how long writes were interrupted: {told}")
        return self.outages

    def summary(self) -> str:
        """One line for people."""
        gaps = ", ".join(f"{gap.path} {gap.seconds:.2f} s" for gap in self.longest_gap)
        read = (
            f"{sum(1 for f in self.findings if f.kind == 'lost')} lost,"
            f" {sum(1 for f in self.findings if f.kind == 'torn')} torn, read back from"
            f" {', '.join(self.verified_from)}"
            if self.verified_from
            else "not read back"
        )
        return f"{self.writes_acknowledged} writes acknowledged, {read}; longest gap: {gaps or 'unknown'}"

    def _read_back(self) -> None:
        if not self.verified_from and not self.findings:
            raise UnknownError("the ledger was not read back, so it cannot be said that nothing was lost")
