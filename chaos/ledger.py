"""Writes to the cluster's storage while something breaks, and proves afterwards that every write that was
acknowledged is there.

    with Ledger(cluster, node="node1", targets=("rbd:rbd-vms", "cephfs:cephfs")) as ledger:
        ...  # the fault; another node than `node` is its victim
        report = ledger.verify()
    report.prove()

The agent on the node (`ledger_agent`) writes; each acknowledgement is told here at once, and what is told
here is the truth (`ledger_model`). A block that is used again is read back before it is overwritten, and all
blocks are read back by `verify`, by fresh clients on another node and on the writer's: so each acknowledged
write is read back once at least.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

from chaos.ledger_host import LedgerHost, Message, NodeHost, Session, blocks
from chaos.ledger_model import Ack, History, Judge, Loss
from chaos.ledger_record import Layout
from chaos.ledger_report import LedgerReport, LostWriteError
from chaos.ledger_stores import PREFIX
from chaos.ledger_times import GapNs, Second, Span, gaps, rank, seconds
from chaos.ports import ClusterPort
from chaos.probe import Outage
from cluster.errors import RackproofError, UnknownError
from cluster.site import Site

__all__ = ["Ledger", "LedgerReport", "Loss", "LostWriteError", "ordered_targets"]

START_S = 180.0
STOP_S = 60.0  # for a write that hangs, once nothing more shall be written
READ_S = 120.0
CLEAR_S = 60.0
FIRST_ACKS = 3
CEPH = {"conf": "/etc/ceph/ceph.conf", "name": "client.admin"}


def ordered_targets(site: Site) -> tuple[str, ...]:
    """The first RBD pool of the order and the file system."""
    if site.ceph is None:
        return ()
    pools = [f"rbd:{name}" for name, pool in site.ceph.pools.items() if pool.application == "rbd"]
    return (*pools[:1], *([f"cephfs:{site.ceph.filesystem}"] if site.ceph.filesystem else []))


@dataclass
class _Target:
    """What is known of one target while the writer runs."""

    name: str
    history: History
    judge: Judge
    ready: bool = False
    closed: bool = False
    broken: str | None = None
    open: tuple[int, int] | None = None


@dataclass
class _Reading:
    """What one reader found."""

    losses: list[Loss] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    trouble: dict[int, str] = field(default_factory=dict)


class Ledger:
    """One ledger, as a context manager: entered when each target has acknowledged some writes, left when its
    image and file are removed.

    `node` writes, one record each `interval_s` on each target; a gap longer than `stall_s` counts as an
    outage. `readers`: nodes to read back from (default: another node, and `node`). The agent dies by itself
    after `limit_s`. `say(text)` is told of progress. `hosts` replaces the nodes of the cluster (tests).
    """

    def __init__(
        self,
        cluster: ClusterPort | None,
        node: str,
        targets: Sequence[str],
        interval_s: float = 0.1,
        limit_s: float = 3600.0,
        *,
        stall_s: float = 1.0,
        seed: int | None = None,
        layout: Layout | None = None,
        readers: Sequence[str] | None = None,
        read_s: float = READ_S,
        ceph: Mapping[str, str] = CEPH,
        hosts: Mapping[str, LedgerHost] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not targets:
            raise ValueError("no target to write to was given")
        if not 0.005 <= interval_s <= 10:
            raise ValueError(f"interval_s = {interval_s}: expected 0.005 to 10")
        self.node, self.interval_s, self.limit_s, self.stall_s = node, interval_s, limit_s, stall_s
        self.layout = layout or Layout()
        self.ledger = secrets.token_bytes(16)
        self.seed = secrets.randbits(62) if seed is None else seed
        self.name = f"{PREFIX}{self.ledger.hex()[:12]}"
        self.read_s = read_s
        self._ceph, self._say = dict(ceph), say
        self._hosts = dict(hosts) if hosts is not None else _hosts(cluster)
        if node not in self._hosts:
            raise ValueError(f"the ledger's node {node!r} is no node of the cluster")
        others = [name for name in self._hosts if name != node]
        self._readers = tuple(readers) if readers is not None else (*others[:2], node)
        self._every = readers is not None
        self._targets = [
            _Target(name, History(self.layout), Judge(self.ledger, self.seed, number, name, self.layout))
            for number, name in enumerate(targets)
        ]
        self._lock = threading.Lock()
        self._writer: Session | None = None
        self._open: list[Session] = []
        self._stalls: list[Span] = []
        self._losses: list[Loss] = []
        self._notes: list[str] = []
        self._since_s = 0.0
        self._stopped_s: float | None = None
        self._dead: str | None = None
        self._verified: tuple[str, ...] = ()
        self._cleared: set[int] = set()
        self._left: dict[int, str] = {}
        self._final: LedgerReport | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """What is written to."""
        return tuple(target.name for target in self._targets)

    def start(self) -> None:
        """Start writing; returns when each target has acknowledged some writes. Raises `UnknownError`."""
        self._say(f"ledger: {self.node} begins to write to {', '.join(self.targets)}")
        began = time.monotonic()
        session = self._writer = Session(self._hosts[self.node], self._heard)
        session.start(self._config(), self.limit_s)
        session.send({"do": "write"})
        session.wait(lambda: all(self._begun(t) for t in self._targets) or self._troubled(), START_S)
        not_begun = [t for t in self._targets if not self._begun(t)]
        if not_begun or not session.clocks:
            why = "; ".join(f"{t.name}: {t.broken or self._silence(t, session)}" for t in not_begun)
            self.close()
            raise UnknownError(
                f"the ledger on {self.node} did not begin within {START_S:g} s: {why or 'it answers no ping'}"
            )
        self._since_s = time.monotonic()
        self._say(f"ledger: {self.node} writes, {self._since_s - began:.1f} s to begin")

    def report(self) -> LedgerReport:
        """What is known so far; a write that hangs counts as an outage that has not ended."""
        if self._final is not None:
            return self._final
        with self._lock:
            return self._judged()

    def stop(self) -> LedgerReport:
        """End the writing; what it has written stays. Asked twice, answers the same."""
        session = self._writer
        if session is None:
            raise UnknownError("the ledger was never started")
        if self._stopped_s is None:
            if session.ended:
                self._dead = f"the agent on {self.node} ended before it was told to: {session.why()}"
            self._stopped_s = time.monotonic()
            session.send({"do": "stop"})
            session.wait(lambda: all(t.closed or t.broken for t in self._targets), STOP_S)
            if session.ended and self._dead is None and not all(t.closed for t in self._targets):
                self._dead = f"the agent on {self.node} ended before it had stopped: {session.why()}"
            session.close()
            report = self.report()
            self._say(f"ledger: stopped, {report.summary()}")
        return self.report()

    def verify(self) -> LedgerReport:
        """Stop, and read everything back by fresh clients, on another node and on the writer's.

        Raises `UnknownError` where no node could read (that is no loss: nothing was seen); the report says
        which did.
        """
        self.stop()
        if self._verified:
            return self.report()
        used = [target.history.used for target in self._targets]
        began = time.monotonic()
        self._say(f"ledger: {sum(used)} blocks are read back from {', '.join(self._readers)}")
        sessions = {name: (Session(self._hosts[name], _nothing), _Reading()) for name in self._readers}
        for session, reading in sessions.values():
            session._take = self._reader(session.name, reading)
            session.start(self._config(), self.read_s * 2 + START_S)
            session.send({"do": "read", "used": used, "seconds": self.read_s})
            self._open.append(session)
        deadline = began + START_S + self.read_s
        for session, reading in sessions.values():
            self._follow(session, reading, deadline, began, sum(used))
        self._collect(sessions)
        self._final = None
        report = self.report()
        self._say(f"ledger: read back in {time.monotonic() - began:.1f} s: {report.summary()}")
        self._final = report
        return report

    def close(self) -> tuple[str, ...]:
        """End all agents and remove image and file; returns what could not be removed, and why. The next
        ledger's start removes it then.
        """
        if self._writer is not None:
            self._writer.close()
        left = self._clear()
        for session in self._open:
            session.close()
        self._open.clear()
        for text in left:
            self._say(f"ledger: {text}")
        return left

    def __enter__(self) -> Ledger:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self.close()

    def _config(self) -> dict[str, Any]:
        return {
            "targets": list(self.targets),
            "name": self.name,
            "ledger": self.ledger.hex(),
            "seed": self.seed,
            "layout": asdict(self.layout),
            "interval_ns": int(self.interval_s * 1e9),
            "ceph": self._ceph,
        }

    def _begun(self, target: _Target) -> bool:
        return target.ready and len(target.history.acks) >= FIRST_ACKS

    def _troubled(self) -> bool:
        return any(target.broken for target in self._targets)

    def _silence(self, target: _Target, session: Session) -> str:
        if session.ended:
            return f"the agent ended: {session.why()}"
        if not target.ready:
            return "it was not opened"
        failed = list(target.history.failed.values())
        return f"{len(target.history.acks)} writes were acknowledged" + (f"; {failed[-1]}" if failed else "")

    def _heard(self, message: Message) -> None:
        """Take one message of the writer. Raises ValueError, KeyError, TypeError for what it never says."""
        kind = message["k"]
        with self._lock:
            if kind == "stall":
                self._stalls.append(Span(int(message["s"]), int(message["e"])))
            elif kind == "beat":
                for target, open_now in zip(self._targets, message["open"], strict=True):
                    target.open = tuple(open_now) if open_now else None
            else:
                self._of_target(kind, self._targets[message["t"]], message)

    def _of_target(self, kind: str, target: _Target, message: Message) -> None:
        history = target.history
        if kind == "ack":
            if "was" in message:
                found = base64.b64decode(message["found"]) if "found" in message else None
                slot = self.layout.slot(message["n"])
                loss = target.judge.overwritten(history, slot, message["was"], found)
                if loss is not None:
                    self._losses.append(_from(loss, f"{self.node}, while writing"))
            history.acknowledge(Ack(message["n"], message["s"], message["e"]))
        elif kind == "failed":
            history.fail(message["n"], message["why"])
        elif kind == "ready":
            target.ready = True
        elif kind == "end":
            history.ended(message["n"])
        elif kind == "closed":
            target.closed = True
        elif kind == "trouble":
            target.broken = f"{message['stage']}: {message['why']}"
        else:
            self._notes.append(f"{target.name}: {message.get('why') or 'removed ' + message['name']}")

    def _reader(self, node: str, reading: _Reading) -> Callable[[Message], None]:
        def take(message: Message) -> None:
            kind = message["k"]
            if kind in ("beat", "stall"):
                return
            number = int(message["t"])
            target = self._targets[number]
            if kind == "blocks":
                self._read(target, reading, message, node)
            elif kind == "unread":
                self._unread(target, reading, message["slot"], message["count"], message["why"], node)
            elif kind == "unopened" and message["stage"] == "connect":
                reading.trouble[number] = f"{target.name} from {node}: no connection: {message['why']}"
                reading.done.add(number)
            elif kind == "unopened":
                for first, count in self.layout.runs(target.history.used):
                    self._unread(target, reading, first, count, f"not opened: {message['why']}", node)
                reading.done.add(number)
            elif kind == "read":
                reading.done.add(number)
            elif kind == "cleared":
                self._cleared.add(number)
            elif kind == "left":
                self._left[number] = message["why"]

        return take

    def _read(self, target: _Target, reading: _Reading, message: Message, node: str) -> None:
        data, size = blocks(message), self.layout.block
        number = self._targets.index(target)
        count = len(range(message["slot"], target.history.used, self.layout.objects))
        for index in range(count):
            slot = message["slot"] + index * self.layout.objects
            loss = target.judge.judge(target.history, slot, data[index * size : (index + 1) * size])
            if loss is not None:
                reading.losses.append(_from(loss, node))
            reading.seen[number] = reading.seen.get(number, 0) + 1

    def _unread(
        self, target: _Target, reading: _Reading, first: int, count: int, why: str, node: str
    ) -> None:
        for index in range(count):
            loss = target.judge.unread(target.history, first + index * self.layout.objects, why)
            if loss is not None:
                reading.losses.append(_from(loss, node))

    def _follow(self, session: Session, reading: _Reading, deadline: float, began: float, used: int) -> None:
        """Wait for one reader, telling of progress."""
        while time.monotonic() < deadline:
            if session.wait(lambda: len(reading.done) == len(self._targets), 10) or session.ended:
                break
            now = time.monotonic() - began
            self._say(
                f"ledger: {sum(reading.seen.values())} of {used} blocks read back from {session.name},"
                f" {now:.0f} s"
            )
        for number, target in enumerate(self._targets):
            if number not in reading.done:
                why = f"its agent ended: {session.why()}" if session.ended else "it did not finish in time"
                reading.trouble[number] = f"{target.name} from {session.name}: {why}"

    def _collect(self, sessions: Mapping[str, tuple[Session, _Reading]]) -> None:
        """Losses of all readers; a node counts as reader only where it could look at every target."""
        trouble: list[str] = []
        for name, (_, reading) in sessions.items():
            self._losses.extend(reading.losses)
            if reading.trouble:
                trouble.extend(reading.trouble.values())
            else:
                self._verified = (*self._verified, name)
        self._notes.extend(trouble)
        lacking = [name for name in self._readers if name not in self._verified] if self._every else []
        if (not self._verified or lacking) and not self._losses:
            raise UnknownError(f"the ledger could not be read back: {'; '.join(trouble)}")

    def _clear(self) -> tuple[str, ...]:
        """Remove what was written, through an agent that still lives, else through a new one."""
        if self._writer is None:
            return ()
        session = next((each for each in self._open if not each.ended), None)
        if session is None:
            session = Session(self._hosts[self.node], self._reader(self.node, _Reading()))
            session.start(self._config(), CLEAR_S * 2 + START_S)
            self._open.append(session)
        session.send({"do": "clear", "seconds": CLEAR_S})
        count = len(self._targets)
        session.wait(lambda: len(self._cleared) + len(self._left) == count, CLEAR_S + 60)
        return tuple(
            f"{target.name}/{self.name} stays behind: {self._left.get(number, 'no answer in time')}"
            for number, target in enumerate(self._targets)
            if number not in self._cleared
        )

    def _judged(self) -> LedgerReport:
        session = self._writer
        if session is None:
            raise UnknownError("the ledger was never started")
        until = self._stopped_s or time.monotonic()
        outages: list[Outage] = []
        longest: dict[str, Outage] = {}
        latency: dict[str, tuple[Second, ...]] = {}
        blur = 0.0
        for target in self._targets:
            now = None if target.closed and self._stopped_s else session.remote(until)
            found = [
                self._outage(target.name, gap, session)
                for gap in gaps(target.history.acks, target.history.failed, self._stalls, now)
            ]
            found = [gap for gap in found if gap.end_s > self._since_s]
            outages.extend(gap for gap in found if gap.least_s > self.stall_s)
            if found:
                longest[target.name] = max(found, key=lambda gap: gap.seconds)
            latency[target.name] = self._seconds((target,), session, until)
            if target.history.acks:
                blur = max(blur, session.local(target.history.acks[-1].end_ns)[1])
        return LedgerReport(
            node=self.node,
            targets=self.targets,
            interval_s=self.interval_s,
            writes_acknowledged=sum(len(t.history.acks) for t in self._targets),
            acknowledged={t.name: len(t.history.acks) for t in self._targets},
            failed={t.name: len(t.history.failed) for t in self._targets},
            findings=_once(self._losses),
            verified_from=self._verified,
            outages=tuple(sorted(outages, key=lambda gap: (gap.start_s, gap.path))),
            longest=longest,
            latency_per_second=self._seconds(self._targets, session, until),
            latency=latency,
            unknown=self._unknown(session),
            placement_s=blur,
            notes=tuple(self._notes),
        )

    def _unknown(self, session: Session) -> dict[str, str]:
        why = self._dead
        if why is None and session.ended and self._stopped_s is None:
            why = f"the agent on {self.node} ended: {session.why()}"
        if why is not None:
            return dict.fromkeys(self.targets, why)
        return {t.name: t.broken for t in self._targets if t.broken is not None}

    def _outage(self, target: str, gap: GapNs, session: Session) -> Outage:
        start = session.local(gap.start_ns)[0]
        length = (gap.end_ns - gap.start_ns) / 1e9  # by one clock; only its place is by the other
        return Outage(target, start, start + length, gap.resolution_ns / 1e9, gap.ended, gap.failed)

    def _seconds(self, targets: Iterable[_Target], session: Session, until: float) -> tuple[Second, ...]:
        origin, end = session.remote(self._since_s), session.remote(until)
        if origin is None or end is None or not self._since_s:
            return ()
        merged: dict[int, list[int]] = {}
        for target in targets:
            for begin, latencies in seconds(target.history.acks, origin, end):
                merged.setdefault(begin, []).extend(latencies)
        told = []
        for begin, values in sorted(merged.items()):
            real = sorted(value for value in values if value >= 0)
            shown = real or [max(-value for value in values)]
            p50, p95, most = (rank(shown, 0.5), rank(shown, 0.95), shown[-1])
            told.append(Second(session.local(begin)[0], p50 / 1e9, p95 / 1e9, most / 1e9, len(real)))
        return tuple(told)


def _nothing(_: Message) -> None:
    """A session that nobody has given a listener yet."""


def _from(loss: Loss, node: str) -> Loss:
    return Loss(loss.target, loss.offset, loss.sequence, loss.what, loss.kind, node)


def _once(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """The same loss seen from several nodes is one loss, seen from all of them; in order of sequence."""
    seen: dict[tuple[str, int, int], Loss] = {}
    for loss in losses:
        key = (loss.target, loss.offset, loss.sequence)
        first = seen.get(key)
        if first is None:
            seen[key] = loss
        elif loss.read_from not in first.read_from.split("; "):
            seen[key] = _from(first, f"{first.read_from}; {loss.read_from}")
    return tuple(sorted(seen.values(), key=lambda loss: (loss.target, loss.sequence)))


def _hosts(cluster: ClusterPort | None) -> dict[str, LedgerHost]:
    if cluster is None:
        raise RackproofError("a ledger needs a cluster, or hosts")
    return {name: NodeHost(node) for name, node in cluster.nodes.items()}
