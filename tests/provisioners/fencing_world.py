"""A cluster of fencing services: a clock that the test turns, partitions, BMCs that obey or not.

Real: the service's loop, its judgement, and the shared folder with its leases, in a folder of this machine
that takes writes only from the side with quorum, as /etc/pve does. Made up: Corosync's word, the BMCs, time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provisioners.roles.fencing.files.rackproof_fencing import shared
from provisioners.roles.fencing.files.rackproof_fencing.config import Config
from provisioners.roles.fencing.files.rackproof_fencing.corosync import Roll
from provisioners.roles.fencing.files.rackproof_fencing.model import (
    TICK_S,
    Limits,
    Order,
    Outcome,
    Peer,
    Reading,
    Saying,
)
from provisioners.roles.fencing.files.rackproof_fencing.service import Service

LIMITS = Limits(wait_s=75.0, watch_s=300.0, cycles=3)


def peer(number: int) -> Peer:
    return Peer(f"node{number}", number, f"RACK-000{number}")


@dataclass
class Bmc:
    """What a BMC does when asked. seconds: an order takes. deaf: it does not obey, and the agent says
    so. mute: it obeys, and the agent does not hear of it.
    """

    serial: str
    power: str = "On"
    problem: str = ""
    deaf: bool = False
    mute: bool = False
    seconds: float = 4.0


@dataclass(frozen=True)
class Given:
    """An order as it came about: who gave it (node, and which start of its service), on whom, what, when it
    was decided, and until when it may act in the worst case.
    """

    actor: int
    service: int
    peer: int
    order: Order
    begun: float
    ended: float


class Work:
    """As `work.Work`, in the world's time."""

    def __init__(self, world: World, me: int, service: int, target: int) -> None:
        self._world, self._me, self._service, self._target = world, me, service, target
        self._until = 0.0
        self._answer: Reading | Outcome | None = None

    @property
    def busy(self) -> bool:
        return self._answer is not None and self._world.now < self._until

    def told(self) -> Reading | Outcome | None:
        if self._answer is None or self.busy:
            return None
        answer, self._answer = self._answer, None
        return answer

    def look(self) -> None:
        bmc = self._world.bmcs[self._target]
        self._until = self._world.now + 1
        self._answer = Reading(self._until, "" if bmc.problem else bmc.serial, bmc.power, bmc.problem)

    def power(self, order: Order) -> None:
        bmc = self._world.bmcs[self._target]
        self._until = self._world.now + self._world.stall_s + bmc.seconds
        given = Given(self._me, self._service, self._target, order, self._world.now, self._until)
        for check in self._world.checks:
            check(given)
        self._world.given.append(given)
        if not (bmc.problem or bmc.deaf) and bmc.serial == peer(self._target).serial:
            self._world.switch(self._target, order)
        problem = bmc.problem or ("not confirmed" if bmc.deaf or bmc.mute else "")
        self._answer = Outcome(self._until, order, problem)

    def tell(self, outcome: Outcome) -> None:
        self._answer, self._until = outcome, self._world.now

    def stop(self) -> None:
        self._answer = None


@dataclass
class Node:
    """One server. boots: how often it has come up. comes_up: it does when it is switched on."""

    up: bool = True
    service: Service | None = None
    boots: int = 1
    comes_up: bool = True
    boots_at: float | None = None


class Membership:
    """As `corosync.Membership`."""

    def __init__(self, world: World, me: int) -> None:
        self._world, self._me = world, me

    def look(self, nodes: object) -> Roll:
        side = self._world.side(self._me)
        return Roll(self._me, self._world.quorate(side), side)

    def close(self) -> None:
        pass


@dataclass
class Journal:
    """As `journal.Journal`: (seconds, node, peer, saying)."""

    world: World
    me: int

    def say(self, peer: str, saying: Saying) -> None:
        self.world.said.append((self.world.now, self.me, peer, saying))


@dataclass
class World:
    """`count` nodes and `mount`, the folder that is their /etc/pve."""

    mount: Path
    memory: Path
    count: int = 3
    boot_s: float = 60.0
    now: float = 1000.0
    parts: dict[int, int] = field(default_factory=dict)  # node -> number of its partition
    nodes: dict[int, Node] = field(default_factory=dict)
    bmcs: dict[int, Bmc] = field(default_factory=dict)
    given: list[Given] = field(default_factory=list)
    said: list[tuple[float, int, str, Saying]] = field(default_factory=list)
    checks: list[Callable[[Given], None]] = field(default_factory=list)
    outside_since: dict[int, float] = field(default_factory=dict)
    acting: int = 0
    starts: int = 0
    stall_s: float = 0.0  # between the decision and the order

    def __post_init__(self) -> None:
        for number in range(1, self.count + 1):
            self.parts[number] = 0
            self.nodes[number] = Node()
            self.bmcs[number] = Bmc(peer(number).serial)
        self.members()
        for number in self.nodes:
            self.start(number)

    # -- what is true

    def side(self, number: int) -> frozenset[int]:
        """The nodes that run and can be reached from one that runs."""
        return frozenset(
            n for n, node in self.nodes.items() if node.up and self.parts[n] == self.parts[number]
        )

    def quorate(self, side: frozenset[int]) -> bool:
        return len(side) * 2 > self.count

    def members(self) -> None:
        """Proxmox VE's own word follows the membership; so does the record of who is outside since when."""
        majority = next(
            (s for n in self.nodes if self.nodes[n].up and self.quorate(s := self.side(n))), frozenset()
        )
        for n in self.nodes:
            if n in majority:
                self.outside_since.pop(n, None)
            else:
                self.outside_since.setdefault(n, self.now)
        nodes = {f"node{n}": {"id": n, "online": int(n in majority)} for n in self.nodes}
        (self.mount / ".members").write_text(json.dumps({"nodelist": nodes}))

    # -- what happens

    def start(self, number: int) -> None:
        """The service of a node starts (anew)."""
        config = Config(peer(number), tuple((peer(n), None) for n in self.nodes if n != number), LIMITS)  # type: ignore[misc]
        memory = self.memory / f"{number}.{self.nodes[number].boots}"
        memory.mkdir(exist_ok=True)
        self.starts += 1
        works = {f"node{n}": Work(self, number, self.starts, n) for n in self.nodes if n != number}
        self.nodes[number].service = Service(
            config,
            Membership(self, number),
            self.mount,
            memory,
            works,
            Journal(self, number),
            lambda: self.now,
        )  # type: ignore[arg-type]

    def kill_service(self, number: int) -> None:
        self.nodes[number].service = None

    def crash(self, number: int) -> None:
        self.nodes[number].up = False
        self.nodes[number].service = None
        self.members()

    def boot(self, number: int) -> None:
        node = self.nodes[number]
        node.up, node.boots, node.boots_at = True, node.boots + 1, None
        self.members()
        self.start(number)

    def part(self, *sides: frozenset[int]) -> None:
        """Each side is a partition of its own; what is in none is with the first."""
        self.parts = {n: next((i for i, side in enumerate(sides) if n in side), 0) for n in self.nodes}
        self.members()

    def switch(self, number: int, order: Order) -> None:
        """A BMC obeys."""
        if order is Order.OFF:
            self.bmcs[number].power = "Off"
            self.crash(number)
            self.nodes[number].boots_at = None
        else:
            self.bmcs[number].power = "On"
            if self.nodes[number].comes_up:
                self.nodes[number].boots_at = self.now + self.boot_s

    def turn(self, seconds: float) -> None:
        """Time passes; every service looks each TICK_S, one after the other."""
        until = self.now + seconds
        while self.now < until:
            self.now += TICK_S
            for number, node in self.nodes.items():
                if node.boots_at is not None and self.now >= node.boots_at:
                    self.boot(number)
            for number, node in self.nodes.items():
                if node.up and node.service is not None:
                    self.acting = number
                    node.service.tick()

    # -- what was seen

    def orders(self, number: int) -> list[tuple[int, Order]]:
        """(actor, order) on one node, in order."""
        return [(g.actor, g.order) for g in self.given if g.peer == number]

    def words(self, me: int, number: int) -> list[str]:
        return [s.word.value for _, who, name, s in self.said if who == me and name == f"node{number}"]


def make_world(monkeypatch: pytest.MonkeyPatch, folder: Path, count: int = 3) -> World:
    """A world whose shared folder refuses a node without quorum, as /etc/pve does."""
    mount, memory = folder / "pve", folder / "run"
    mount.mkdir()
    memory.mkdir()
    world = World(mount, memory, count)

    def mounted(_self: shared.Shared) -> None:
        if not world.quorate(world.side(world.acting)):
            raise shared.SharedError("Permission denied")

    monkeypatch.setattr(shared.Shared, "_mounted", mounted)
    return world
