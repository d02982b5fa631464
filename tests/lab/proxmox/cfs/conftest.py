"""A group of members in memory: one total order per partition, as Corosync's CPG promises it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.standins.proxmox.daemon.cfs import operations
from lab.standins.proxmox.daemon.cfs.database import Database
from lab.standins.proxmox.daemon.cfs.operations import Operation
from lab.standins.proxmox.daemon.cfs.replica import Member, Replica
from lab.standins.proxmox.daemon.cfs.store import Store


class Clock:
    """A monotonic clock that only tests move; s."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Node:
    nodeid: int
    store: Store
    replica: Replica
    outbox: deque[bytes]
    results: dict[int, int] = field(default_factory=dict)
    finished: list[int] = field(default_factory=list)

    @property
    def member(self) -> Member:
        return self.nodeid, 100 + self.nodeid


class Rack:
    """Members 1..n, all reachable; `run` delivers until nobody has anything to say."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.clock = Clock()
        self.nodes: dict[int, Node] = {}
        self.parts: list[list[int]] = []
        self.queues: list[deque[tuple[Member, bytes]]] = []
        self._numbers = iter(range(10**9))
        self._ring = 0
        for nodeid in range(1, count + 1):
            self.start(nodeid)

    def start(self, nodeid: int) -> Node:
        """A process on the node's database, not yet in a group."""
        outbox: deque[bytes] = deque()
        store = Store(Database(self.folder / f"{nodeid}.db"), self.clock)
        node = Node(nodeid, store, None, outbox)  # type: ignore[arg-type]

        def finish(number: int, result: int) -> None:
            node.results[number] = result
            node.finished.append(number)

        node.replica = Replica(store, outbox.append, finish, name=f"node{nodeid}", address=f"10.0.0.{nodeid}")
        node.replica.joined(node.member)
        self.nodes[nodeid] = node
        return node

    def split(self, *parts: Iterable[int], quorum_word: bool = True) -> None:
        """New partitions; what was under way is delivered nowhere."""
        self.parts = [sorted(part) for part in parts]
        self.queues = [deque() for _ in self.parts]
        for node in self.nodes.values():
            node.outbox.clear()
        for part in self.parts:
            self._ring += 1
            for nodeid in part:
                replica = self.nodes[nodeid].replica
                replica.ring_changed(self._ring)
                replica.members_changed([self.nodes[other].member for other in part])
            if quorum_word:
                self.quorum_word()

    def quorum_word(self) -> None:
        for part in self.parts:
            for nodeid in part:
                replica = self.nodes[nodeid].replica
                replica.quorum_changed(len(part) * 2 > self.count, replica._ring)

    def collect(self) -> None:
        """What members said enters their partition's order."""
        for part, queue in zip(self.parts, self.queues, strict=True):
            for nodeid in part:
                node = self.nodes[nodeid]
                while node.outbox:
                    queue.append((node.member, node.outbox.popleft()))

    def step(self, index: int) -> bool:
        """Deliver one message in one partition; False where there is none."""
        self.collect()
        if not self.queues[index]:
            return False
        sender, message = self.queues[index].popleft()
        for nodeid in self.parts[index]:
            self.nodes[nodeid].replica.delivered(sender, message)
        return True

    def run(self) -> None:
        for _ in range(100_000):
            if not any(self.step(index) for index in range(len(self.parts))):
                return
        raise AssertionError("the members never stop talking")

    def ask(self, nodeid: int, kind: str, path: str, **fields: object) -> int:
        """Request a change; returns its number."""
        number = next(self._numbers)
        operation = Operation(kind, path, int(self.clock.now), **fields)  # type: ignore[arg-type]
        self.nodes[nodeid].replica.request(number, operation)
        return number

    def do(self, nodeid: int, kind: str, path: str, **fields: object) -> int:
        """Request a change and wait; returns its errno."""
        number = self.ask(nodeid, kind, path, **fields)
        self.run()
        return self.nodes[nodeid].results[number]

    def put(self, nodeid: int, path: str, data: bytes) -> int:
        """Make a file with this content; returns the errno of the write."""
        self.do(nodeid, operations.CREATE, path)
        self.do(nodeid, operations.TRUNCATE, path)
        return self.do(nodeid, operations.WRITE, path, data=data)

    def content(self, nodeid: int) -> dict[str, bytes | None]:
        walk = self.nodes[nodeid].store.tree.walk()
        return {path: None if entry.folder else entry.data for path, entry in walk}

    def digests(self) -> set[str]:
        return {node.store.tree.digest() for node in self.nodes.values()}


@pytest.fixture
def make_rack(tmp_path: Path) -> Callable[..., Rack]:
    """Members that already talk, or not."""

    def make(count: int = 3, *, joined: bool = True) -> Rack:
        rack = Rack(tmp_path, count)
        if joined:
            rack.split(range(1, count + 1))
            rack.run()
        return rack

    return make


@pytest.fixture
def rack(make_rack: Callable[..., Rack]) -> Rack:
    return make_rack()


@pytest.fixture
def dice() -> random.Random:
    return random.Random(20)
