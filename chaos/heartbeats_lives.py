"""Stretches in which something was alive somewhere, with what is certain of their ends. Pure.

A life is one and unbroken: one boot of a guest, one instance that ran it on a node (one process), one client
that held the lock of its disk by one handle. It was seen at moments each of which is known to lie between two
ends; so two lives certainly overlapped if, and only if, no choice of moments within those ends puts one
wholly before the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from chaos.heartbeats_record import SECOND, Power, Record, Sight

UNNAMED = "-"
"""An instance without a process to name: only samples in an unbroken row are one life of it."""
SAME_RESET_S = 5.0
"""A BMC may tell the time of one reset by a little later or earlier the next time; none follows so soon."""
_ROW_NS = 2 * SECOND


@dataclass(frozen=True)
class Life:
    """`place` is where, `name` what it is told by. It was certainly alive by `born_ns` and still at
    `alive_ns` (which may lie before `born_ns` where it was seen once); it cannot have begun before `from_ns`
    nor lasted beyond `to_ns`. `received`: it was begun to receive a migration.
    """

    place: str
    name: str
    born_ns: int
    alive_ns: int
    from_ns: int
    to_ns: int
    received: bool = False

    def met(self, other: Life) -> bool:
        """Whether both certainly lived at one moment."""
        return self.alive_ns >= other.born_ns and other.alive_ns >= self.born_ns

    def met_from_ns(self, other: Life) -> int:
        """By when both lived, where they met."""
        return max(self.born_ns, other.born_ns)

    def met_for_ns(self, other: Life) -> int:
        """For how long both certainly lived at once; 0 where it may have been a moment."""
        return max(0, min(self.alive_ns, other.alive_ns) - self.met_from_ns(other))

    def may_meet_ns(self, other: Life) -> int:
        """For how long both may have lived at once; negative where one was over before the other began."""
        return min(self.to_ns, other.to_ns) - max(self.from_ns, other.from_ns)


@dataclass(frozen=True)
class Dead:
    """A node that is known to have been off from `since_ns` to `until_ns`, and by what."""

    node: str
    since_ns: int
    until_ns: int
    by: str


def seen(place: str, name: str, moments: Sequence[tuple[int, int]]) -> Life:
    """A life of which nothing but these moments, each (not before, not after), is known."""
    first, last = min(lo for lo, _ in moments), max(hi for _, hi in moments)
    return Life(place, name, min(hi for _, hi in moments), max(lo for lo, _ in moments), first, last)


def sights_of(record: Record, node: str) -> list[Sight]:
    """A node's stretches in order of time, each with the closest that is told of its kernel's start."""
    sights = sorted((s for s in record.sights if s.node == node), key=lambda s: (s.first_lo_ns, s.last_lo_ns))
    starts: dict[str, tuple[int, int]] = {}
    for sight in sights:
        known, told = starts.get(sight.kernel), (sight.kernel_lo_ns, sight.kernel_hi_ns)
        if known is None or told[1] - told[0] < known[1] - known[0]:
            starts[sight.kernel] = told
    return [
        replace(sight, kernel_lo_ns=starts[sight.kernel][0], kernel_hi_ns=starts[sight.kernel][1])
        for sight in sights
    ]


def deaths(record: Record, told: Iterable[Dead] = ()) -> list[Dead]:
    """When nodes were off, by their BMCs and by `told`. After an Off or a reset a node is starting, not
    running, until the kernel has started that is seen next.
    """
    found = list(told)
    for node in record.nodes:
        sights = sights_of(record, node)
        answers = sorted((a for a in record.power if a.node == node), key=lambda a: a.asked_ns)
        for first, last in _offs(answers):
            later = [s.kernel_lo_ns for s in sights if s.kernel_lo_ns >= first.told_ns]
            found.append(Dead(node, first.told_ns, max([last.asked_ns, *later[:1]]), "its BMC says Off"))
        for first, last in _resets(answers):
            # Only where it still tells of this reset once a kernel had started: no other one came between.
            later = [
                s.kernel_lo_ns
                for s in sights
                if s.kernel_lo_ns >= first.told_ns and s.kernel_hi_ns <= last.asked_ns
            ]
            found += [Dead(node, first.told_ns, at, "its BMC says that it was reset") for at in later[:1]]
    return found


def starting(record: Record) -> list[Dead]:
    """When nodes started that were seen later, and no service of them ran yet that could start a guest."""
    found = {}
    for node in record.nodes:
        for sight in sights_of(record, node):
            since, until = sight.kernel_hi_ns, sight.kernel_lo_ns + sight.early_ns
            if until > since:
                found[sight.kernel] = Dead(node, since, until, "it was starting")
    return list(found.values())


def _resets(answers: Sequence[Power]) -> Iterator[tuple[Power, Power]]:
    """(first, last) answer of each row of answers that told of one reset, but for the first row: when that
    one was is not known.
    """
    rows: list[list[tuple[float, Power]]] = []
    for answer in answers:
        if answer.reset_s is not None:
            if not rows or abs(answer.reset_s - rows[-1][0][0]) > SAME_RESET_S:
                rows.append([])
            rows[-1].append((answer.reset_s, answer))
    for row in rows[1:]:
        yield row[0][1], row[-1][1]


def _offs(answers: Sequence[Power]) -> Iterator[tuple[Power, Power]]:
    """(first, last) answer of each row of answers that said Off; a BMC that did not answer breaks no row."""
    row: list[Power] = []
    for answer in answers:
        if answer.state == "Off":
            row.append(answer)
        elif row and answer.state:
            yield row[0], row[-1]
            row = []
    if row:
        yield row[0], row[-1]


def placements(record: Record, guest: str, dead: Sequence[Dead] = ()) -> list[Life]:
    """Lives of all instances that ran a guest, node by node, in order of time."""
    found = []
    for node in record.nodes:
        ours = [each for each in dead if each.node == node]
        sights = sights_of(record, node)
        found += [_bounded(life, ours) for life in _on_node(sights, guest, record.since_ns, record.until_ns)]
    return sorted(found, key=lambda life: life.born_ns)


def _on_node(sights: Sequence[Sight], guest: str, since_ns: int, until_ns: int) -> Iterator[Life]:
    for first, last in _rows(sights, guest):
        begin, end = sights[first], sights[last]
        instance = begin.running[guest]
        before = sights[first - 1].last_lo_ns if first else min(since_ns, begin.first_lo_ns)
        yield Life(
            begin.node, instance, min(begin.first_hi_ns, begin.last_hi_ns), end.last_lo_ns,
            from_ns=max(before, begin.kernel_lo_ns + begin.early_ns),
            to_ns=_gone(end, sights[last + 1]) if last + 1 < len(sights) else max(until_ns, end.last_hi_ns),
            received=instance.endswith("i"),
        )  # fmt: skip


def _rows(sights: Sequence[Sight], guest: str) -> Iterator[tuple[int, int]]:
    """(first, last) stretch of each instance."""
    rows: dict[tuple[str, str], tuple[int, int]] = {}
    for number, sight in enumerate(sights):
        instance = sight.running.get(guest)
        if instance is None:
            continue
        key = (sight.kernel, instance)
        first, last = rows.get(key, (number, number))
        apart = sight.first_hi_ns - sights[last].last_lo_ns
        if instance == UNNAMED and (number - last > 1 or apart > _ROW_NS):
            yield rows.pop(key)
            first = number
        rows[key] = (first, number)
    yield from rows.values()


def _gone(last: Sight, following: Sight) -> int:
    """By when an instance was gone that is missing from the stretch after its last: at the latest when that
    began, and before that when another kernel had started.
    """
    if following.kernel == last.kernel:
        return following.first_hi_ns
    return min(following.first_hi_ns, following.kernel_hi_ns)


def _bounded(life: Life, dead: Sequence[Dead]) -> Life:
    """The same, over when its node was off."""
    ends = [each.since_ns for each in dead if each.since_ns >= life.alive_ns]
    if not ends or min(ends) >= life.to_ns:
        return life
    return replace(life, to_ns=min(ends))


def by_place(lives: Iterable[Life]) -> Mapping[str, list[Life]]:
    """Lives by where they were."""
    found: dict[str, list[Life]] = {}
    for life in lives:
        found.setdefault(life.place, []).append(life)
    return found
