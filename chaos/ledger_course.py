"""What the controller was told by a ledger's writer, and the report that follows from it."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaos.ledger_host import Message, Session
from chaos.ledger_model import Ack, History, Judge, Loss
from chaos.ledger_record import Layout
from chaos.ledger_report import LedgerReport
from chaos.ledger_times import GapNs, Second, Span, gaps, rank, seconds
from chaos.probe import Outage


@dataclass
class Target:
    """What is known of one target. `broken`: why it could not be opened. `open`: the write that is under way
    (sequence, start).
    """

    name: str
    history: History
    judge: Judge
    ready: bool = False
    closed: bool = False
    broken: str | None = None
    open: tuple[int, int] | None = None


class Course:
    """Takes the writer's messages as they come; `report` may be asked at any time, by any thread."""

    def __init__(self, ledger: bytes, seed: int, node: str, names: Sequence[str], layout: Layout) -> None:
        self.node = node
        self.layout = layout
        self.targets = [
            Target(name, History(layout), Judge(ledger, seed, number, name, layout))
            for number, name in enumerate(names)
        ]
        self.losses: list[Loss] = []
        self.notes: list[str] = []
        self.verified: tuple[str, ...] = ()
        self.since_s: float | None = None
        self.until_s: float | None = None
        self.dead: str | None = None
        self._stalls: list[Span] = []
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The targets' names in order."""
        return tuple(target.name for target in self.targets)

    def heard(self, message: Message) -> None:
        """Take one message. Raises ValueError, KeyError, TypeError or IndexError for what no agent says."""
        kind = message["k"]
        with self._lock:
            if kind == "stall":
                self._stalls.append(Span(int(message["s"]), int(message["e"])))
            elif kind == "beat":
                for target, now in zip(self.targets, message["open"], strict=True):
                    target.open = (int(now[0]), int(now[1])) if now else None
            else:
                self._of_target(kind, self.targets[int(message["t"])], message)

    def _of_target(self, kind: str, target: Target, message: Message) -> None:
        if kind == "ack":
            self._acknowledged(target, message)
        elif kind == "failed":
            target.history.fail(int(message["n"]), str(message["why"]))
        elif kind == "ready":
            target.ready = True
        elif kind == "end":
            target.history.ended(int(message["n"]))
        elif kind == "closed":
            target.closed = True
        elif kind == "trouble":
            target.broken = f"{message['stage']}: {message['why']}"
        elif kind == "swept":
            self.notes.append(f"{target.name}: {message['name']} of an earlier run was removed")
        else:
            self.notes.append(f"{target.name}: {message['why']}")

    def _acknowledged(self, target: Target, message: Message) -> None:
        ack = Ack(*(int(message[key]) for key in "nbse"))
        if "was" in message:
            found = base64.b64decode(message["found"]) if "found" in message else None
            slot = self.layout.slot(ack.sequence)
            loss = target.judge.overwritten(target.history, slot, str(message["was"]), found)
            if loss is not None:
                self.losses.append(loss.seen_from(f"{self.node}, while writing"))
        target.history.acknowledge(ack)

    def report(self, session: Session, interval_s: float, stall_s: float) -> LedgerReport:
        """What is known by now; a write that hangs is an outage that has not ended."""
        with self._lock:
            until = self.until_s or time.monotonic()
            if session.ended and not all(target.closed for target in self.targets):
                until = min(until, session.heard_s)  # beyond, nobody knows
            since = until if self.since_s is None else self.since_s
            found = {t.name: self._outages(t, session, since, until) for t in self.targets}
            certain = [gap for each in found.values() for gap in each if gap.least_s > stall_s]
            return LedgerReport(
                node=self.node,
                targets=self.names,
                interval_s=interval_s,
                acknowledged={t.name: len(t.history.acks) for t in self.targets},
                failed={t.name: len(t.history.failed) for t in self.targets},
                findings=_once(self.losses),
                verified_from=self.verified,
                outages=tuple(sorted(certain, key=lambda gap: (gap.start_s, gap.path))),
                longest={
                    name: max(each, key=lambda gap: gap.seconds) for name, each in found.items() if each
                },
                latency_per_second=_seconds(self.targets, session, since, until),
                latency={t.name: _seconds((t,), session, since, until) for t in self.targets},
                unknown=self._unknown(session),
                placement_s=max(
                    (session.local(t.history.acks[-1].end_ns)[1] for t in self.targets if t.history.acks),
                    default=0.0,
                ),
                notes=tuple(self.notes),
            )

    def _unknown(self, session: Session) -> dict[str, str]:
        why = self.dead
        if why is None and session.ended and self.until_s is None:
            why = f"the agent on {self.node} ended: {session.why()}"
        if why is not None:
            return dict.fromkeys(self.names, why)
        return {t.name: t.broken for t in self.targets if t.broken is not None}

    def _outages(self, target: Target, session: Session, since: float, until: float) -> list[Outage]:
        now = None if target.closed and self.until_s is not None else session.remote(until)
        told = gaps(target.history.acks, target.history.failed, self._stalls, now)
        found = [_outage(target.name, gap, session) for gap in told]
        return [gap for gap in found if gap.end_s > since]


def _outage(target: str, gap: GapNs, session: Session) -> Outage:
    start = session.local(gap.start_ns)[0]
    length = (gap.end_ns - gap.start_ns) / 1e9  # by the writer's clock alone; only its place is by ours
    return Outage(target, start, start + length, gap.resolution_ns / 1e9, gap.ended, gap.failed)


def _seconds(targets: Iterable[Target], session: Session, since: float, until: float) -> tuple[Second, ...]:
    origin, end = session.remote(since), session.remote(until)
    if origin is None or end is None:
        return ()
    merged: dict[int, list[int]] = {}
    for target in targets:
        for begin, latencies in seconds(target.history.acks, origin, end):
            merged.setdefault(begin, []).extend(latencies)
    told = []
    for begin, values in sorted(merged.items()):
        real = sorted(value for value in values if value >= 0)
        shown = real or [max(-value for value in values)]
        p50, p95 = rank(shown, 0.5), rank(shown, 0.95)
        told.append(Second(session.local(begin)[0], p50 / 1e9, p95 / 1e9, shown[-1] / 1e9, len(real)))
    return tuple(told)


def _once(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """The same loss seen from several nodes is one loss, seen from all of them; in order of sequence."""
    seen: dict[tuple[str, int, int], Loss] = {}
    for loss in losses:
        key = (loss.target, loss.offset, loss.sequence)
        first = seen.get(key)
        if first is None:
            seen[key] = loss
        elif loss.read_from not in first.read_from.split("; "):
            seen[key] = first.seen_from(f"{first.read_from}; {loss.read_from}")
    return tuple(sorted(seen.values(), key=lambda loss: (loss.target, loss.sequence)))
