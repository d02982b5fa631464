"""What was seen of a compute drill: who came back, whether too early, and who started anew. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from chaos.ceph_watch import Moment
from chaos.fencing_record import BACK, CONFIRMED, GAVE_UP, REFUSED, SENT, Decision, first
from chaos.heartbeats_beats import news, restarts, silences
from chaos.heartbeats_failover import Failover
from chaos.heartbeats_lives import deaths, placements, sights_of
from chaos.heartbeats_record import Record
from chaos.probe import Outage


@dataclass(frozen=True)
class Anew:
    """A node whose kernel started anew; `kernel` is the one that runs now."""

    node: str
    kernel: str
    started: Moment


def homes(record: Record, since_s: float) -> dict[str, str]:
    """Guest -> the node that ran it at that moment; a guest that was on none is left out."""
    since_ns, known = int(since_s * 1e9), deaths(record)
    found = {}
    for guest in record.guests:
        before = [life for life in placements(record, guest, known) if life.born_ns <= since_ns]
        if before:
            found[guest] = max(before, key=lambda life: life.alive_ns).place
    return found


def began_anew(record: Record, guests: Iterable[str], since_s: float) -> frozenset[str]:
    """Those of the guests of which another boot was heard after that moment."""
    wanted = set(guests)
    return frozenset(
        each.guest for each in restarts(record) if each.guest in wanted and each.first.told_ns > since_s * 1e9
    )


def heard_after(record: Record, guest: str, since_s: float) -> bool:
    """Whether a new beat was certainly told after that moment."""
    return any(beat.asked_ns > since_s * 1e9 for beat in news(record, guest))


def left_s(record: Record, guest: str, nodes: Iterable[str]) -> float | None:
    """By when the guest was on none of the nodes any more, as each was seen last; None where it still is."""
    found = []
    for node in nodes:
        without = list(takewhile(lambda s: guest not in s.running, reversed(sights_of(record, node))))
        if not without:
            return None
        found.append(without[-1].first_hi_ns / 1e9)
    return max(found, default=None)


def silence(record: Record, guest: str, since_s: float) -> Outage | None:
    """The guest's longest silence that had not ended by then; None without one."""
    late = [
        each.outage
        for each in silences(record, guest)
        if each.first is None or each.first.told_ns > since_s * 1e9
    ]
    return max(late, key=lambda outage: outage.seconds, default=None)


def anew(record: Record, node: str, since_s: float) -> Anew | None:
    """The first start of a node after that moment; None where its kernel is still the one of then."""
    sights = sights_of(record, node)
    before = [sight for sight in sights if sight.first_lo_ns <= since_s * 1e9]
    if not before:
        return None
    ours = before[-1].kernel
    for sight in sights:
        if sight.kernel != ours and sight.kernel_hi_ns > since_s * 1e9:
            blur = min(sight.kernel_hi_ns - sight.kernel_lo_ns, sight.kernel_hi_ns - since_s * 1e9)
            return Anew(node, sight.kernel, Moment(sight.kernel_hi_ns / 1e9, blur / 1e9))
    return None


def too_early(courses: Iterable[Failover]) -> list[str]:
    """Guests that certainly began on another node before the one that they were on was dead."""
    found = []
    for course in courses:
        if course.begun is None or course.target == course.origin:
            continue
        if course.dead is not None and course.begun.t_s < course.dead.t_s - course.dead.resolution_s:
            begun_s, dead_s = course.begun.t_s, course.dead.t_s - course.dead.resolution_s
            found.append(
                f"{course.guest} began on {course.target} {begun_s - course.since_s:.1f} s after the loss;"
                f" {course.origin} lived until {dead_s - course.since_s:.1f} s after it or longer"
            )
    return found


def not_seen_dead(courses: Iterable[Failover]) -> list[str]:
    """Nodes of which nobody can tell that they were dead, though their guests began elsewhere."""
    return [
        f"{course.guest} began on {course.target}, and {course.origin} was not seen to be dead"
        for course in courses
        if course.begun is not None and course.target != course.origin and course.dead is None
    ]


def started_between(record: Record, since_s: float, until_s: float) -> list[str]:
    """Guests that certainly began, on whatever node, between two moments, each as a sentence."""
    known = deaths(record)
    return [
        f"{guest} began on {life.place} {life.born_ns / 1e9 - since_s:.1f} s after the loss"
        for guest in record.guests
        for life in placements(record, guest, known)
        if life.from_ns > since_s * 1e9 and life.born_ns < until_s * 1e9
    ]


def ha_lost(record: Record, nodes: Collection[str], since_s: float) -> list[str]:
    """What the HA manager held against nodes that were there all the time, each as a sentence."""
    found: dict[str, None] = {}
    for state in record.ha:
        if state.lo_ns <= since_s * 1e9:
            continue
        for node in nodes:
            word = state.nodes.get(node, "online")
            if word not in ("online", "maintenance"):
                found[f"the HA manager counted {node} as {word}"] = None
        for sid, (node, word) in state.services.items():
            if node in nodes and word in ("fence", "recovery", "error"):
                found[f"the HA manager had {sid} on {node} in the state {word}"] = None
    return list(found)


def confirmed(said: Sequence[Decision], nodes: Iterable[str]) -> list[str]:
    """What lacks in a power cycle of each of the nodes by the fencing service, each as a sentence."""
    found = []
    for node in nodes:
        refused = [each for each in said if each.peer == node and each.word in (REFUSED, GAVE_UP)]
        why = f": {refused[-1].by} said {refused[-1].word}, {refused[-1].reason}" if refused else ""
        if first(said, node, (CONFIRMED,)) is None:
            found.append(f"nobody confirmed that {node} was off{why}")
        elif first(said, node, (BACK,)) is None:
            found.append(f"{node} was confirmed off, and nobody confirmed that it was on again{why}")
    return found


def off_too_early(said: Iterable[Decision], since_s: float, bitten_s: float) -> list[str]:
    """Orders to switch off that were certainly given sooner than `bitten_s` after the loss."""
    return [
        f"{each.by} switched {each.peer} off {each.t_s - since_s:.1f} s after its loss; its watchdog may take"
        f" {bitten_s:g} s"
        for each in said
        if each.word == SENT and each.t_s < since_s + bitten_s
    ]


def claimed(said: Iterable[Decision], nodes: Collection[str]) -> list[str]:
    """What the fencing service claims to have done to nodes whose BMC it cannot use."""
    return [
        f"{each.by} said of {each.peer}: {each.word}, {each.reason}"
        for each in said
        if each.peer in nodes and each.word in (CONFIRMED, BACK)
    ]


def told(said: Iterable[Decision], nodes: Collection[str]) -> list[Decision]:
    """What an operator finds in the journal as an error about the nodes."""
    return [each for each in said if each.peer in nodes and each.word in (REFUSED, GAVE_UP)]
