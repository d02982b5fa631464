"""A world of guests whose truth is known, and what a watch of it would have recorded.

Every node has a clock of its own, that drifts; samples jitter, are late, or are lost; round trips take their
time. All times are seconds of the controller's clock; records are in ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from chaos.heartbeats_nodes import TICK_NS, Stretch
from chaos.heartbeats_record import Beat, Event, Holders, Owner, Power, Record, Sight, assemble
from chaos.heartbeats_stream import DRIFT, Clock

NODES = ("node1", "node2", "node3")
GUEST = "beat-ct"
SID = "ct:9001"
PERIOD_S = 0.25


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


@dataclass(frozen=True)
class Run:
    """The truth: a guest ran on a node from `start` to `end`; it beat every `PERIOD_S` from `first` on."""

    node: str
    start: float
    end: float
    boot: str
    first: int = 1
    instance: str = ""

    def counter(self, at: float) -> int | None:
        """The last beat published by then."""
        if not self.start <= at < self.end:
            return None
        return self.first + int((at - self.start) / PERIOD_S)


@dataclass(frozen=True)
class Outage:
    """The truth: a node was off from `start` to `end`; `bmc`: its BMC answers meanwhile. `reset`: it was not
    switched off but reset, and its BMC says when.
    """

    node: str
    start: float
    end: float
    bmc: bool = True
    reset: bool = False


@dataclass
class World:
    """`length` seconds of truth. `cut`: stretches in which a node's samples are lost. `sample_s` is how often
    nodes are sampled; `jitter` by how much a sample or a round trip may be late, and `loss` the share lost.
    `hears`: nodes whose guests can be heard; `watched`: those that are sampled at all.
    """

    random: Random
    length: float = 60.0
    runs: Sequence[Run] = ()
    offs: Sequence[Outage] = ()
    cut: Sequence[tuple[str, float, float]] = ()
    sample_s: float = 0.125
    jitter: float = 0.03
    loss: float = 0.0
    locks: bool = False
    hears: Sequence[str] = NODES
    watched: Sequence[str] = NODES
    events: list[Event] = field(default_factory=list)

    def record(self) -> Record:
        """What is recorded of it."""
        for node in self.watched:
            self._sights(node)
        self._beats()
        self._power()
        if self.locks:
            self._holders()
        return assemble({GUEST: SID}, NODES, ns(PERIOD_S), ns(1.0), ns(self.length), self.events)

    def at_once_s(self) -> float:
        """The truth: the longest time for which two nodes ran the guest at once."""
        return max(
            (
                min(a.end, b.end) - max(a.start, b.start)
                for n, a in enumerate(self.runs)
                for b in self.runs[:n]
                if a.node != b.node
            ),
            default=0.0,
        )

    def off(self, node: str, at: float) -> bool:
        return any(o.node == node and o.start <= at < o.end for o in self.offs)

    def _sights(self, node: str) -> None:
        """Kernel after kernel, each with a clock of its own."""
        starts = [-1000.0, *(off.end for off in self.offs if off.node == node)]
        ends = [*(off.start for off in self.offs if off.node == node), self.length]
        stretch = Stretch(self.events.append)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            self._kernel(node, f"kernel {number}", start, end, stretch)
        stretch.close()

    def _kernel(self, node: str, kernel: str, start: float, end: float, stretch: Stretch) -> None:
        """Samples with the node's stamps, placed by the comparisons of a real `Clock`."""
        drift = 1 + self.random.uniform(-0.8, 0.8) * DRIFT
        clock, compared, at = Clock(TICK_NS), -1.0, max(start + 0.5, 0.0)
        while at < end:
            trip, took = self.random.uniform(0.001, 0.001 + self.jitter), self.random.uniform(0, self.jitter)
            stamps = [ns((t - start) * drift) // TICK_NS * TICK_NS for t in (at, at + took)]
            if at - compared > 1.0:
                clock.compare(ns(at - self.random.uniform(0, self.jitter)), ns(at + trip), stamps[0])
                compared = at
            told, looked = ns(at + took + trip), at + self.random.uniform(0, took)
            lost = self.random.random() < self.loss or self._cut(node, at)
            before, after, began = clock.place(stamps[0], told), clock.place(stamps[1], told), clock.started()
            if before and after and began and not lost and at + took < end:
                lo, hi = before[0], after[1]
                stretch.add(Sight(node, kernel, *began, lo, hi, lo, hi, 1, 0, self._running(node, looked)))
            at += took + self.sample_s + self.random.uniform(0, self.jitter)

    def _running(self, node: str, at: float) -> dict[str, str]:
        here = [run for run in self.runs if run.node == node and run.start <= at < run.end]
        return {GUEST: here[0].instance or here[0].boot} if here else {}

    def _cut(self, node: str, at: float) -> bool:
        return any(name == node and since <= at < until for name, since, until in self.cut)

    def _beats(self) -> None:
        """Each question is answered by one of those that run on a node that can be heard."""
        at = 0.1
        while at < self.length:
            trip, answered = self.random.uniform(0.001, self.jitter), self.random.uniform(0, 1)
            there = at + trip * answered
            told = [(r.boot, r.counter(there)) for r in self.runs if r.node in self.hears]
            alive = [(boot, counter) for boot, counter in told if counter is not None]
            if alive and self.random.random() >= self.loss:
                boot, counter = self.random.choice(alive)
                assert counter is not None
                self.events.append(Beat("controller", GUEST, ns(at), ns(at + trip), boot, counter))
            else:
                self.events.append(Beat("controller", GUEST, ns(at), ns(at + 1.5), missing="no answer"))
            at += PERIOD_S

    def _power(self) -> None:
        for off in self.offs:
            at = 0.5
            while off.bmc and at < min(off.end + 5, self.length):
                state = "Off" if self.off(off.node, at) and not off.reset else "On"
                blur = self.random.uniform(0, 2)
                reset_s = (off.start if at > off.start else -1000.0) + blur if off.reset else None
                self.events.append(Power(off.node, ns(at - 0.2), ns(at + 0.3), state, reset_s=reset_s))
                at = max(at + 2.0, off.start + 3.0)

    def _holders(self) -> None:
        """A dead client is a watcher for 30 s more."""
        at = 2.0
        while at < self.length:
            watching = {r.node for r in self.runs if r.start <= at < r.end + 30}
            owners = [r for r in self.runs if r.start <= at < r.end]
            who = tuple(Owner(f"client.{r.boot}", "auto 1", r.node) for r in owners[-1:])
            self.events.append(Holders(GUEST, ns(at - 0.1), ns(at + 0.1), who, tuple(sorted(watching))))
            at += 4.0


def without(record: Record, node: str, since: float, until: float) -> Record:
    """The same record with one node's stretches lost in between: the watcher was blind."""
    kept = tuple(
        s for s in record.sights if s.node != node or s.last_hi_ns < ns(since) or s.first_lo_ns > ns(until)
    )
    return replace(record, sights=kept)
