"""What guests said of themselves: silences, restarts, counters that went back. Pure.

News is a beat that was not heard before: another boot, or a higher counter of the same one. An answer without
news shows that something answers, not that the service lives. All questions are placed on one clock, so one
answer is certainly later than another where its question was asked after the other had come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from chaos.ceph_watch import Moment
from chaos.heartbeats_record import Beat, Record
from chaos.probe import Outage

SILENCE_S = 2.0
"""A silence counts that certainly lasted so long: a guest on an emulated node may beat once a second."""
DEAF_S = 5.0
"""A guest that nobody asked for so long was not watched."""


@dataclass(frozen=True)
class Silence:
    """A time without news: the last before it and the first after it, None where it has not ended.

    It began at some moment from `last.asked_ns` to `begun_ns`, and ended from `still_ns` to `first.told_ns`.
    """

    guest: str
    last: Beat
    first: Beat | None
    begun_ns: int
    still_ns: int
    until_ns: int
    lost: int

    @property
    def outage(self) -> Outage:
        """The silence as an outage: the truth lies between its `least_s` and its `seconds`."""
        end = self.until_ns if self.first is None else self.first.told_ns
        blur = self.begun_ns - self.last.asked_ns + (0 if self.first is None else end - self.still_ns)
        length = end - self.last.asked_ns
        return Outage(
            self.guest, self.last.asked_ns / 1e9, end / 1e9, min(blur, length) / 1e9,
            ended=self.first is not None, lost=self.lost,
        )  # fmt: skip

    @property
    def heard_again(self) -> Moment | None:
        """When there was news again, and how much earlier there may have been."""
        if self.first is None:
            return None
        return Moment(self.first.told_ns / 1e9, (self.first.told_ns - self.still_ns) / 1e9)


@dataclass(frozen=True)
class Restart:
    """A guest that began anew. `last` of the boot before, `first` of the new one, in the order heard."""

    guest: str
    last: Beat
    first: Beat

    def __str__(self) -> str:
        return (
            f"{self.guest} began anew: beat {self.last.counter} was the last one heard of boot"
            f" {self.last.boot[:8]}, beat {self.first.counter} the first of boot {self.first.boot[:8]}"
        )


@dataclass(frozen=True)
class CounterBack:
    """A beat that is not above one that was certainly told before it: what was on the disk is not there."""

    guest: str
    before: Beat
    after: Beat

    def __str__(self) -> str:
        again = "in the same boot" if self.before.boot == self.after.boot else "after it began anew"
        seconds = (self.after.asked_ns - self.before.told_ns) / 1e9
        return (
            f"{self.guest}: beat {self.after.counter} came {again}, at least {seconds:.2f} s after beat"
            f" {self.before.counter}"
        )


def news(record: Record, guest: str) -> list[Beat]:
    """A guest's beats that were not heard before, in the order heard."""
    highest: dict[str, int] = {}
    found = []
    for beat in record.of(guest):
        if beat.heard and beat.counter > highest.get(beat.boot, -1):
            highest[beat.boot] = beat.counter
            found.append(beat)
    return found


def silences(record: Record, guest: str, least_s: float = SILENCE_S) -> list[Silence]:
    """Times without news that certainly lasted `least_s` seconds, the one that still lasts included."""
    fresh = news(record, guest)
    known = {id(beat) for beat in fresh}
    others = [beat for beat in record.of(guest) if id(beat) not in known]
    found = []
    for last, first in pairwise([*fresh, None]) if fresh else ():
        assert last is not None
        end = record.until_ns if first is None else first.asked_ns
        if (end if first is None else first.told_ns) - last.asked_ns < least_s * 1e9:
            continue
        empty = [beat for beat in others if last.asked_ns <= beat.asked_ns <= end]
        silence = Silence(
            guest, last, first,
            begun_ns=min((beat.told_ns for beat in empty), default=end),
            still_ns=max((beat.asked_ns for beat in empty), default=last.asked_ns),
            until_ns=record.until_ns, lost=sum(not beat.heard for beat in empty),
        )  # fmt: skip
        if silence.outage.least_s >= least_s:
            found.append(silence)
    return found


def gaps(record: Record, least_s: float = SILENCE_S) -> tuple[Outage, ...]:
    """All silences of all guests as outages, in order of time; `path` is the guest."""
    found = [silence.outage for guest in record.guests for silence in silences(record, guest, least_s)]
    return tuple(sorted(found, key=lambda outage: (outage.start_s, outage.path)))


def restarts(record: Record) -> tuple[Restart, ...]:
    """Each boot of each guest but the first heard, in order of time."""
    found = []
    for guest in record.guests:
        seen: set[str] = set()
        for last, first in pairwise(news(record, guest)):
            seen.add(last.boot)
            if first.boot not in seen:
                found.append(Restart(guest, last, first))
    return tuple(sorted(found, key=lambda restart: restart.first.told_ns))


def counters_back(record: Record) -> tuple[CounterBack, ...]:
    """Counters that went back: the first beat of each descent. Within a boot a beat may be told again; a new
    boot must begin above all that was told before it.
    """
    return tuple(back for guest in record.guests for back in _descents(record.of(guest)))


def _descents(beats: tuple[Beat, ...]) -> Iterator[CounterBack]:
    told = [beat for beat in beats if beat.heard]
    highest: dict[str, Beat] = {}  # of each boot, among what had come when the question at hand was asked
    reached = 0
    named: set[tuple[str, str, int]] = set()
    for beat in sorted(told, key=lambda beat: beat.asked_ns):
        while reached < len(told) and told[reached].told_ns <= beat.asked_ns:
            earlier = told[reached]
            if earlier.boot not in highest or earlier.counter > highest[earlier.boot].counter:
                highest[earlier.boot] = earlier
            reached += 1
        for boot, high in highest.items():
            back = beat.counter < high.counter if boot == beat.boot else beat.counter <= high.counter
            descent = (boot, beat.boot, high.counter if boot == beat.boot else -1)
            if back and descent not in named:
                named.add(descent)
                yield CounterBack(beat.guest, high, beat)


def deaf(record: Record, guest: str) -> list[tuple[float, float]]:
    """Stretches, in seconds, in which nobody asked the guest for `DEAF_S` or more, from the begin to the end
    of the record.
    """
    asked = sorted(beat.asked_ns for beat in record.beats if beat.guest == guest)
    inside = [at for at in asked if record.since_ns < at < record.until_ns]
    moments = [record.since_ns, *inside, record.until_ns]
    return [(a / 1e9, b / 1e9) for a, b in pairwise(moments) if b - a >= DEAF_S * 1e9]
