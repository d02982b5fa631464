"""What happened when, in one drill: events, bands and outages on the controller's monotonic clock, for a
report to draw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chaos.probe import Outage


@dataclass(frozen=True)
class Event:
    """One moment; `t_s` on the controller's monotonic clock."""

    t_s: float
    label: str


@dataclass(frozen=True)
class Band:
    """One stretch of time; `kind`: "broken" or "recovering"."""

    label: str
    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True)
class Drawing:
    """A drill as a report draws it; seconds since `origin` of its record (the break, where there was one)."""

    title: str
    events: tuple[tuple[float, str], ...]
    bands: tuple[tuple[str, float, float, str], ...]
    outages: tuple[tuple[str, float, float], ...]
    predicted_s: float | None


@dataclass
class Record:
    """Events of one drill as they happen. `clock` gives monotonic seconds."""

    title: str
    clock: Callable[[], float] = time.monotonic
    events: list[Event] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list)
    origin: float | None = None

    def mark(self, label: str, *, origin: bool = False) -> float:
        """Note an event now; returns its time. The origin becomes zero of the drawing."""
        now = self.clock()
        self.events.append(Event(now, label))
        if origin:
            self.origin = now
        return now

    def band(self, label: str, start_s: float, end_s: float, kind: str) -> None:
        """Note a stretch of time."""
        self.bands.append(Band(label, start_s, end_s, kind))

    def drawing(self, outages: Iterable[Outage] = (), predicted_s: float | None = None) -> Drawing:
        """The drill relative to its origin, with the outages that probes saw."""
        zero = (
            self.origin if self.origin is not None else (self.events[0].t_s if self.events else self.clock())
        )
        return Drawing(
            self.title,
            tuple((event.t_s - zero, event.label) for event in self.events),
            tuple((b.label, b.start_s - zero, b.end_s - zero, b.kind) for b in self.bands),
            tuple((o.path, o.start_s - zero, o.end_s - zero) for o in outages),
            predicted_s,
        )
