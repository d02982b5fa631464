"""The course of one failover: last beat, detected, fenced, dead, begun elsewhere, first beat. Pure.

Each is the moment at which it was first seen, and how much earlier it may have been true. Only the first beat
ends the recovery: a guest that runs and says nothing is not back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chaos.ceph_watch import Moment
from chaos.heartbeats_beats import Silence, gaps, silences
from chaos.heartbeats_lives import Dead, Life, deaths, placements, sights_of
from chaos.heartbeats_record import HaState, Record
from chaos.timeline import Drawing, Event

ONLINE = "online"


@dataclass(frozen=True)
class Failover:
    """What became of one guest after `since_s`, on the controller's monotonic clock. None: it was not seen.

    `origin` ran it then, `target` runs it afterwards (the same node where it began anew there). `detected`:
    the HA manager no longer counts the node as online; `fenced`: the guest waits for the node's fencing;
    `released`: it gave the guest free to be started elsewhere. `dead`: the node, or its kernel, was over.
    """

    guest: str
    since_s: float
    origin: str | None
    target: str | None
    last_beat: Moment | None
    detected: Moment | None
    fenced: Moment | None
    dead: Moment | None
    released: Moment | None
    begun: Moment | None
    first_beat: Moment | None

    @property
    def recovery_s(self) -> float | None:
        """From `since_s` to the first beat; it may have been shorter by `recovery_resolution_s`."""
        return None if self.first_beat is None else self.first_beat.t_s - self.since_s

    @property
    def recovery_resolution_s(self) -> float:
        """Of the recovery time; 0 where there is none."""
        return 0.0 if self.first_beat is None else self.first_beat.resolution_s

    def events(self) -> tuple[Event, ...]:
        """For a timeline, in order of time."""
        named = (
            (self.last_beat, f"last beat of {self.guest}"),
            (self.detected, f"{self.origin} counts as lost"),
            (self.fenced, f"{self.guest} waits for the fencing of {self.origin}"),
            (self.dead, f"{self.origin} is certainly dead"),
            (self.released, f"{self.guest} may start elsewhere"),
            (self.begun, f"{self.guest} runs on {self.target}"),
            (self.first_beat, f"first beat of {self.guest}"),
        )
        found = [Event(moment.t_s, text) for moment, text in named if moment is not None]
        return tuple(sorted(found, key=lambda event: event.t_s))


def failover(record: Record, guest: str, since_s: float, dead: Iterable[Dead] = ()) -> Failover:
    """The course of a guest's failover after a fault at `since_s`. `dead` as for `seen_twice`.

    Raises KeyError for a guest that was not watched.
    """
    since_ns, sid = int(since_s * 1e9), record.guests[guest]
    known = deaths(record, dead)
    lives = placements(record, guest, known)
    before = [life for life in lives if life.born_ns <= since_ns]
    origin = max(before, key=lambda life: life.alive_ns, default=None)
    later = [life for life in lives if life.born_ns > since_ns]
    begun = min(later, key=lambda life: life.born_ns, default=None)
    silence = _silence(silences(record, guest), since_ns)
    states = sorted((state for state in record.ha if state.hi_ns > since_ns), key=lambda state: state.hi_ns)
    left = origin.place if origin else ""
    return Failover(
        guest, since_s, origin.place if origin else None, begun.place if begun else None,
        last_beat=None if silence is None else _moment(silence.last.told_ns, silence.last.asked_ns),
        detected=_first(states, lambda state: state.nodes.get(left, ONLINE) != ONLINE, since_ns),
        fenced=_first(states, lambda state: state.services.get(sid, ("", ""))[1] == "fence", since_ns),
        dead=_death(record, left, since_ns, known),
        released=_first(states, lambda state: state.services.get(sid, ("", ""))[1] == "recovery", since_ns),
        begun=None if begun is None else _begun(begun, since_ns),
        first_beat=None if silence is None else silence.heard_again,
    )  # fmt: skip


def drawing(record: Record, course: Failover, predicted_s: float | None = None) -> Drawing:
    """The course for a report to draw, in seconds since the fault: events, where the guest ran, and its
    silences.
    """
    zero = course.since_s
    runs = (
        (f"on {life.place}", life.born_ns / 1e9 - zero, max(life.alive_ns, life.born_ns) / 1e9 - zero, "info")
        for life in placements(record, course.guest)
    )
    silent = (each for each in gaps(record) if each.path == course.guest)
    return Drawing(
        f"{course.guest}: failover",
        tuple((event.t_s - zero, event.label) for event in course.events()),
        tuple(runs),
        tuple((each.path, each.start_s - zero, each.end_s - zero) for each in silent),
        predicted_s,
    )


def _silence(found: Sequence[Silence], since_ns: int) -> Silence | None:
    """The longest that had not ended when the fault came."""
    late = [each for each in found if each.first is None or each.first.told_ns > since_ns]
    return max(late, key=lambda each: each.outage.seconds, default=None)


def _moment(ns: int, since_ns: int) -> Moment:
    return Moment(ns / 1e9, max(0, ns - since_ns) / 1e9)


def _begun(life: Life, since_ns: int) -> Moment:
    return _moment(life.born_ns, max(life.from_ns, since_ns))


def _first(states: Sequence[HaState], is_so: Callable[[HaState], bool], since_ns: int) -> Moment | None:
    """The first state after the fault that shows it; the one before, by the same node, did not yet."""
    earlier: dict[str, int] = {}
    for state in states:
        if is_so(state):
            return _moment(state.hi_ns, max(since_ns, earlier.get(state.by, since_ns)))
        earlier[state.by] = state.lo_ns
    return None


def _death(record: Record, node: str, since_ns: int, known: Sequence[Dead]) -> Moment | None:
    """By when the kernel that ran on the node at the fault was certainly over."""
    sights = sights_of(record, node)
    ours = [sight for sight in sights if sight.first_lo_ns <= since_ns]
    if not ours:
        return None
    kernel = ours[-1].kernel
    alive = max(sight.last_lo_ns for sight in sights if sight.kernel == kernel)
    ends = [each.since_ns for each in known if each.node == node and each.since_ns >= alive]
    ends += [sight.kernel_hi_ns for sight in sights if sight.kernel != kernel and sight.kernel_hi_ns >= alive]
    return _moment(min(ends), alive) if ends else None
