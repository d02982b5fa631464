"""What a record of heartbeats amounts to, judged as a whole, for a drill or a watch of a night."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaos.heartbeats_beats import CounterBack, Restart, counters_back, deaf, gaps, restarts
from chaos.heartbeats_lives import Dead
from chaos.heartbeats_record import Record
from chaos.heartbeats_twice import TwiceReport, seen_twice
from chaos.probe import Outage
from cluster.errors import RackproofError, UnknownError

_TOLD = 5


class CounterBackError(RackproofError):
    """A guest lost what it had written to its disk."""


@dataclass(frozen=True)
class HeartbeatsReport:
    """`beats`: guest -> how many were heard. `unheard`: guest -> why its silences are not known."""

    beats: Mapping[str, int]
    gaps: tuple[Outage, ...]
    restarts: tuple[Restart, ...]
    back: tuple[CounterBack, ...]
    twice: TwiceReport
    unheard: Mapping[str, str]

    def prove(self) -> None:
        """Raises `RunningTwiceError`, `CounterBackError`, or `UnknownError` where either may have been."""
        if self.twice.findings:
            self.twice.prove()
        if self.back:
            more = len(self.back) - _TOLD
            told = "; ".join(map(str, self.back[:_TOLD]))
            raise CounterBackError(told + (f"; and {more} more" if more > 0 else ""))
        self.twice.prove()
        silent = [guest for guest, count in self.beats.items() if not count]
        if silent:
            raise UnknownError(
                f"no beat of {', '.join(silent)} was heard, so nothing is known of its counter"
            )

    def summary(self) -> str:
        """One line for people."""
        unknown = f", unknown for {', '.join(self.twice.unknown)}" if self.twice.unknown else ""
        longest = max(self.gaps, key=lambda gap: gap.seconds, default=None)
        silence = f"{longest.path} {longest.seconds:.1f} s" if longest else "none"
        return (
            f"{sum(self.beats.values())} beats of {', '.join(self.beats)}, {len(self.restarts)} restarts,"
            f" {len(self.back)} counters back, {len(self.twice.findings)} seen twice{unknown};"
            f" longest silence: {silence}"
        )


def judge(record: Record, dead: Iterable[Dead] = ()) -> HeartbeatsReport:
    """Judge all of a record. `dead`: nodes known to have been off, beside what their BMCs say."""
    heard = {guest: sum(beat.heard for beat in record.of(guest)) for guest in record.guests}
    unheard = {}
    for guest in record.guests:
        stretches = deaf(record, guest)
        if stretches:
            longest = max(end - start for start, end in stretches)
            unheard[guest] = f"nobody asked it for {longest:.1f} s: what asks guests was lost or stood still"
    return HeartbeatsReport(
        heard, gaps(record), restarts(record), counters_back(record), seen_twice(record, dead), unheard
    )
