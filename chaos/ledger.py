"""Writes to the cluster's storage while something breaks, and proves afterwards that every write that was
acknowledged is there.

    with Ledger(cluster, node="node1", targets=("rbd:rbd-vms", "cephfs:cephfs")) as ledger:
        ...  # the fault; another node than `node` is its victim; then healed
        report = ledger.verify()
    report.prove()

The agent on the node (`ledger_agent`) writes; each acknowledgement is told here at once, and what is told
here is the truth (`ledger_model`). A block that is used again is read back before it is overwritten, and all
blocks are read back by `verify`, by fresh clients on another node and on the writer's: so each acknowledged
write is read back once at least.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any

from chaos.ledger_course import Course, Target
from chaos.ledger_host import LedgerHost, NodeHost, Session
from chaos.ledger_model import Loss
from chaos.ledger_reading import Reading
from chaos.ledger_record import Layout
from chaos.ledger_report import LedgerReport, LostWriteError
from chaos.ledger_stores import PREFIX
from chaos.ports import ClusterPort
from cluster.errors import RackproofError, UnknownError
from cluster.site import Site

__all__ = ["Ledger", "LedgerReport", "Loss", "LostWriteError", "ordered_targets"]

START_S = 180.0
STOP_S = 60.0  # for a write that hangs, once nothing more shall be written
READ_S = 120.0
CLEAR_S = 45.0  # an image whose client was killed is busy for 30 s
FIRST_ACKS = 3
CEPH = {"conf": "/etc/ceph/ceph.conf", "name": "client.admin"}


def ordered_targets(site: Site) -> tuple[str, ...]:
    """The first RBD pool of the order and the file system."""
    if site.ceph is None:
        return ()
    pools = [f"rbd:{name}" for name, pool in site.ceph.pools.items() if pool.application == "rbd"]
    return (*pools[:1], *([f"cephfs:{site.ceph.filesystem}"] if site.ceph.filesystem else []))


class Ledger:
    """One ledger, as a context manager: entered when each target has acknowledged some writes, left when its
    image and file are removed.

    `node` writes, one record each `interval_s` on each target; a gap that certainly lasted longer than
    `stall_s` counts as an outage. `readers`: nodes to read back from, all of which must (default: one other
    node that can, and `node` if it can). The agent dies by itself after `limit_s`; a block that is not read
    within `read_s` counts as lost. `say(text)` is told of progress. `hosts` replaces the nodes of the cluster
    (tests).
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
        _check(targets, interval_s)
        self.node, self.interval_s, self.limit_s, self.stall_s = node, interval_s, limit_s, stall_s
        self.read_s = read_s
        self.layout = layout or Layout()
        self.ledger = secrets.token_bytes(16)
        self.seed = secrets.randbits(62) if seed is None else seed
        self.name = f"{PREFIX}{self.ledger.hex()[:12]}"
        self._ceph, self._say = dict(ceph), say
        self._hosts = dict(hosts) if hosts is not None else _hosts(cluster)
        for name in (node, *(readers or ())):
            if name not in self._hosts:
                raise RackproofError(f"the ledger's node {name!r} is no node of the cluster")
        self._readers = readers
        self._course = Course(self.ledger, self.seed, node, targets, self.layout)
        self._writer: Session | None = None
        self._others: list[tuple[Session, Reading]] = []
        self._final: LedgerReport | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """What is written to."""
        return self._course.names

    def start(self) -> None:
        """Start writing; returns when each target has acknowledged some writes. Raises `UnknownError`."""
        course = self._course
        self._say(f"ledger: {self.node} begins to write to {', '.join(self.targets)}")
        began = time.monotonic()
        session = self._writer = Session(self._hosts[self.node], course.heard)
        try:
            session.start(self._config(), self.limit_s)
            session.send({"do": "write"})
            session.wait(
                lambda: all(map(_begun, course.targets)) or any(t.broken for t in course.targets), START_S
            )
        except BaseException:
            self.close()
            raise
        silent = [target for target in course.targets if not _begun(target)]
        if silent or not session.clocks:
            why = "; ".join(f"{target.name}: {_silence(target, session)}" for target in silent)
            self.close()
            raise UnknownError(
                f"the ledger on {self.node} did not begin within {START_S:g} s: {why or 'no clock compared'}"
            )
        course.since_s = time.monotonic()
        self._say(f"ledger: {self.node} writes, {course.since_s - began:.1f} s to begin")

    def report(self) -> LedgerReport:
        """What is known so far; a write that hangs counts as an outage that has not ended."""
        if self._final is not None:
            return self._final
        return self._course.report(self._started(), self.interval_s, self.stall_s)

    def stop(self) -> LedgerReport:
        """End the writing; what was written stays. Asked twice, answers the same."""
        session, course = self._started(), self._course
        if course.until_s is None:
            if session.ended:
                course.dead = f"the agent on {self.node} ended before it was told to: {session.why()}"
            course.until_s = time.monotonic()
            session.send({"do": "stop"})
            session.wait(lambda: all(t.closed or t.broken for t in course.targets), STOP_S)
            if session.ended and course.dead is None and not all(t.closed for t in course.targets):
                course.dead = f"the agent on {self.node} ended before it had stopped: {session.why()}"
            session.close()
            self._say(f"ledger: stopped, {self.report().summary()}")
        return self.report()

    def verify(self) -> LedgerReport:
        """Stop, and read everything back by fresh clients, on another node and on the writer's. To be asked
        when the fault is healed: what cannot be read then is lost.

        Raises `UnknownError` where no other node could read at all: nothing was seen then, so nothing is
        known to be lost. Asked twice, answers the same.
        """
        self.stop()
        if self._final is not None:
            return self._final
        began = time.monotonic()
        others = [name for name in self._hosts if name != self.node]
        trouble: list[str] = []
        if self._readers is not None:
            trouble += self._read(tuple(self._readers), began)
            enough = len(self._course.verified) == len(set(self._readers))
        else:
            trouble += self._read((*others[:1], self.node), began)
            for other in others[1:]:
                if set(self._course.verified) - {self.node}:
                    break
                trouble += self._read((other,), began)
            enough = bool(set(self._course.verified) - {self.node})
        self._course.notes.extend(trouble)
        if not enough and not self._course.losses:
            raise UnknownError(f"the ledger could not be read back: {'; '.join(trouble) or 'no other node'}")
        report = self.report()
        self._say(f"ledger: read back in {time.monotonic() - began:.1f} s: {report.summary()}")
        self._final = report
        return report

    def close(self) -> tuple[str, ...]:
        """End all agents and remove image and file; returns what could not be removed, and why. The next
        ledger's start removes that.
        """
        if self._writer is None:
            return ()
        self._writer.close()
        left = self._clear()
        for session, _ in self._others:
            session.close()
        self._others.clear()
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

    def _started(self) -> Session:
        if self._writer is None:
            raise UnknownError("the ledger was never started")
        return self._writer

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

    def _reader(self, node: str, limit_s: float) -> tuple[Session, Reading]:
        reading = Reading(node, self._course.targets, self.layout)
        session = Session(self._hosts[node], reading.take)
        self._others.append((session, reading))
        session.start(self._config(), limit_s + START_S)
        return session, reading

    def _read(self, nodes: Sequence[str], began: float) -> list[str]:
        """Read all from each of the nodes at once; takes their losses, returns why some could not judge."""
        used = [target.history.used for target in self._course.targets]
        self._say(f"ledger: {sum(used)} blocks are read back from {', '.join(nodes)}")
        deadline = time.monotonic() + START_S + self.read_s
        readers = [self._reader(node, 2 * self.read_s + CLEAR_S) for node in dict.fromkeys(nodes)]
        for session, _ in readers:
            session.send({"do": "read", "used": used, "seconds": self.read_s})
        trouble: list[str] = []
        for session, reading in readers:
            self._follow(session, reading, deadline, began, sum(used))
            self._course.losses.extend(reading.losses)
            trouble.extend(reading.trouble.values())
            if not reading.trouble:
                self._course.verified = (*self._course.verified, session.name)
        return trouble

    def _follow(self, session: Session, reading: Reading, deadline: float, began: float, used: int) -> None:
        """Wait for one reader, telling of progress."""
        count = len(self._course.targets)
        while time.monotonic() < deadline:
            if session.wait(lambda: len(reading.done) == count, 10) or session.ended:
                break
            self._say(
                f"ledger: {reading.seen} of {used} blocks read back from {session.name},"
                f" {time.monotonic() - began:.0f} s"
            )
        why = f"its agent ended: {session.why()}" if session.ended else "it did not finish in time"
        reading.unfinished(why)

    def _clear(self) -> tuple[str, ...]:
        """Remove what was written, through an agent that still lives, else through a new one."""
        alive = [each for each in self._others if not each[0].ended]
        session, reading = alive[0] if alive else self._reader(self.node, CLEAR_S)
        session.send({"do": "clear", "seconds": CLEAR_S})
        targets = self._course.targets
        limit = CLEAR_S + (15 if alive else START_S)
        session.wait(lambda: len(reading.cleared | reading.left.keys()) == len(targets), limit)
        silent = f"its agent ended: {session.why()}" if session.ended else f"not done within {limit:g} s"
        return tuple(
            f"{target.name}: {self.name} stays behind: {reading.left.get(number, silent)}"
            for number, target in enumerate(targets)
            if number not in reading.cleared
        )


def _begun(target: Target) -> bool:
    return target.ready and len(target.history.acks) >= FIRST_ACKS


def _silence(target: Target, session: Session) -> str:
    """Why a target has not begun."""
    if target.broken is not None:
        return target.broken
    if session.ended:
        return f"the agent ended: {session.why()}"
    if not target.ready:
        return "it was not opened"
    failed = list(target.history.failed.values())
    return f"{len(target.history.acks)} writes were acknowledged" + (f"; {failed[-1]}" if failed else "")


def _check(targets: Sequence[str], interval_s: float) -> None:
    if not targets:
        raise ValueError("no target to write to was given")
    for target in targets:
        if target.partition(":")[0] not in ("rbd", "cephfs", "file") or not target.partition(":")[2]:
            raise ValueError(f"target {target!r}: expected rbd:POOL, cephfs:NAME or file:FOLDER")
    if not 0.005 <= interval_s <= 10:
        raise ValueError(f"interval_s = {interval_s}: expected 0.005 to 10")


def _hosts(cluster: ClusterPort | None) -> dict[str, LedgerHost]:
    if cluster is None:
        raise ValueError("a ledger needs a cluster, or hosts")
    return {name: NodeHost(node) for name, node in cluster.nodes.items()}
