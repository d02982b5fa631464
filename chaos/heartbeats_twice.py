"""Whether a guest ever ran twice: two boots that beat at once, two nodes that ran it at once, two clients
that held the lock of its disk. Pure.

What is found is certain: every uncertainty of clocks, of round trips and of sampling is on the side of the
accused (`heartbeats_lives`). What cannot be excluded is unknown, never a pass:

- two nodes that each ran it may have done so at once for longer than `UNSURE_S`;
- a node that was not known to be off was not seen for longer than `BLIND_S` while another ran the guest.
  Ceph's word that the node had the guest's image not open counts as seeing it, and a node that has started
  but runs nothing yet that starts guests counts as off. The HA manager works in rounds of ten seconds, so
  nothing that it starts fits into less.

A virtual machine that moves while it runs has a process on both nodes, only one of which runs it, as QEMU
sees to: a process that was begun to receive is not accused for being there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from chaos.heartbeats_lives import Dead, Life, deaths, placements, seen, sights_of, starting
from chaos.heartbeats_record import SECOND, Owner, Record
from cluster.errors import RackproofError, UnknownError

UNSURE_S = 1.0
BLIND_S = 10.0
_TOLD = 5
_Span = tuple[int, int]


class RunningTwiceError(RackproofError):
    """A guest ran twice at one moment."""


@dataclass(frozen=True)
class Twice:
    """A guest that certainly lived twice at one moment. `how`: "boot", "node" or "lock"; `from_s` is by when,
    on the controller's monotonic clock, and `seconds` for how long at least.
    """

    guest: str
    how: str
    one: str
    other: str
    from_s: float
    seconds: float

    def __str__(self) -> str:
        what = {
            "boot": "two boots of it beat at once,",
            "node": "two nodes ran it at once,",
            "lock": "two clients held the lock of its disk by turns or at once,",
        }[self.how]
        both = f"{self.one} and {self.other}"
        return f"{self.guest} was alive twice: {what} {both}, for {self.seconds:.2f} s or more"


@dataclass(frozen=True)
class TwiceReport:
    """`unknown`: guest -> why a second life cannot be excluded. `resolution_s`: one that was shorter may not
    have been seen.
    """

    findings: tuple[Twice, ...]
    unknown: Mapping[str, tuple[str, ...]]
    resolution_s: float

    def prove(self) -> None:
        """Raises `RunningTwiceError` where a guest ran twice, `UnknownError` where it may have."""
        if self.findings:
            more = len(self.findings) - _TOLD
            told = "; ".join(map(str, self.findings[:_TOLD]))
            raise RunningTwiceError(told + (f"; and {more} more" if more > 0 else ""))
        if self.unknown:
            told = "; ".join(why for reasons in self.unknown.values() for why in reasons[:_TOLD])
            raise UnknownError(f"it cannot be told whether a guest ran twice: {told}")


def seen_twice(record: Record, dead: Iterable[Dead] = ()) -> TwiceReport:
    """Judge a record. `dead`: nodes that are known to have been off, beside what their BMCs say."""
    known = deaths(record, dead)
    findings: list[Twice] = []
    unknown: dict[str, tuple[str, ...]] = {}
    resolution = max((sight.widest_ns for sight in record.sights), default=0)
    for guest in record.guests:
        lives = placements(record, guest, known)
        pairs = [(a, b) for a, b in combinations(lives, 2) if a.place != b.place and not _handed_over(a, b)]
        findings += [_twice(guest, "node", a, b) for a, b in pairs if a.met(b)]
        findings += [
            _twice(guest, "boot", a, b) for a, b in combinations(boots(record, guest), 2) if a.met(b)
        ]
        findings += list(_locks(record, guest))
        unsure = [(a, b) for a, b in pairs if not a.met(b)]
        may = {(a, b): a.may_meet_ns(b) for a, b in unsure}
        blind = list(_unwatched(record, guest, lives, [*known, *starting(record)]))
        why = [_unsure(guest, a, b, ns) for (a, b), ns in may.items() if ns > UNSURE_S * SECOND]
        why += [_blind(guest, *each) for each in _apart(each for each in blind if each[2] > BLIND_S * SECOND)]
        if not lives:
            why.append(f"{guest} was not seen running on any node")
        if why:
            unknown[guest] = tuple(why)
        resolution = max([resolution, *may.values(), *(ns for _, _, ns in blind)])
    return TwiceReport(
        tuple(sorted(findings, key=lambda each: each.from_s)), unknown, max(0, resolution) / SECOND
    )


def boots(record: Record, guest: str) -> list[Life]:
    """Each boot of a guest as it was heard, where the guest knows the kernel that it runs on."""
    kernels = {sight.kernel: sight.node for sight in record.sights}
    hosts: dict[str, str] = {}
    moments: dict[str, list[_Span]] = {}
    for beat in record.of(guest):
        if beat.heard:
            moments.setdefault(beat.boot, []).append((beat.asked_ns, beat.told_ns))
            hosts[beat.boot] = kernels.get(beat.host, "")
    return [seen(hosts[boot], f"boot {boot[:8]}", spans) for boot, spans in moments.items()]


def _handed_over(one: Life, other: Life) -> bool:
    return max(one, other, key=lambda life: life.born_ns).received


def _twice(guest: str, how: str, one: Life, other: Life) -> Twice:
    first, second = (f"{life.place} ({life.name})" if life.place else life.name for life in (one, other))
    return Twice(guest, how, first, second, one.met_from_ns(other) / 1e9, one.met_for_ns(other) / 1e9)


def _locks(record: Record, guest: str) -> Iterator[Twice]:
    """Clients in two places that held the lock at once, or one before and after the other: each holds it by
    one handle, which was open all the while.
    """
    moments: dict[Owner, list[_Span]] = {}
    at_once: set[frozenset[Owner]] = set()
    for look in record.holders:
        if look.guest == guest:
            at_once.update(map(frozenset, combinations(look.owners, 2)))
            for owner in look.owners:
                moments.setdefault(owner, []).append((look.asked_ns, look.told_ns))
    lives = {who: seen(who.place, f"{who.client} {who.cookie}", spans) for who, spans in moments.items()}
    for (one, first), (other, second) in combinations(lives.items(), 2):
        if first.place != second.place and (first.met(second) or frozenset((one, other)) in at_once):
            yield _twice(guest, "lock", first, second)


def _unwatched(
    record: Record, guest: str, lives: Sequence[Life], dead: Sequence[Dead]
) -> Iterator[tuple[str, _Span, int]]:
    """(node, when it was not seen, for how long of that it may have run the guest while another did)."""
    for node in record.nodes:
        elsewhere = _joined((life.from_ns, life.to_ns) for life in lives if life.place != node)
        off = _joined((each.since_ns, each.until_ns) for each in dead if each.node == node)
        for gap in _gaps(record, guest, node):
            left = list(_without(gap, off))
            exposed = [min(e, until) - max(s, since) for s, e in left for since, until in elsewhere]
            if max(exposed, default=0) > 0:
                yield node, gap, max(exposed)


def _gaps(record: Record, guest: str, node: str) -> Iterator[_Span]:
    """Stretches of the record in which it is not known whether a node ran the guest, at their widest."""
    known = [(sight.first_hi_ns, sight.last_lo_ns) for sight in sights_of(record, node)]
    known += [
        (look.watched[1], look.watched[0])
        for look in record.holders
        if look.guest == guest and not look.failed and node not in look.watchers
    ]
    reach = record.since_ns
    for by, until in sorted([*known, (record.until_ns, record.until_ns)]):
        if until > reach:
            if by > reach:
                yield reach, min(by, record.until_ns)
            reach = until


def _apart(blind: Iterable[tuple[str, _Span, int]]) -> list[tuple[str, _Span, int]]:
    """The longest first, and none that overlaps a longer one of its node: samples that are known to lie
    between the same wide ends would all be told.
    """
    told: list[tuple[str, _Span, int]] = []
    for node, span, ns in sorted(blind, key=lambda each: -each[2]):
        if all(node != other or span[1] <= s or span[0] >= e for other, (s, e), _ in told):
            told.append((node, span, ns))
    return told


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """The same without overlaps, in order."""
    found: list[_Span] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _without(gap: _Span, off: Sequence[_Span]) -> Iterator[_Span]:
    """What is left of a stretch without those in order."""
    start, end = gap
    for since, until in off:
        if until <= start or since >= end:
            continue
        if since > start:
            yield start, since
        start = max(start, until)
    if start < end:
        yield start, end


def _unsure(guest: str, one: Life, other: Life, for_ns: int) -> str:
    return (
        f"{guest} ran on {one.place} and on {other.place}, and may have done so at once for up to"
        f" {for_ns / SECOND:.1f} s: its end on the one and its begin on the other were not seen closely"
    )


def _blind(guest: str, node: str, span: _Span, for_ns: int) -> str:
    return (
        f"{node} was not seen for {(span[1] - span[0]) / SECOND:.1f} s, and not known to be off; for up to"
        f" {for_ns / SECOND:.1f} s of that it may have run {guest} while another node did"
    )
