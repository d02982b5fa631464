"""Watches guests while something breaks: whether they are alive, where they run, who holds their disks.

    with Heartbeats(cluster, guests, avoid=fault.nodes, path=folder / "heartbeats.jsonl") as beats:
        ...  # the fault, until all is whole again
    failover(beats.record, "beat-ct", broken_s)
    seen_twice(beats.record).prove()

Each guest is asked for its heartbeat every `interval_s`, from where its network can be reached. On every node
a shell says twice as often which guests really run there; a node that is silent may be off, so its BMC is
asked. On a spared node Ceph is asked every few seconds who has the guests' images open. What it all means is
for the judges: `heartbeats_beats`, `heartbeats_twice`, `heartbeats_failover`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from chaos.heartbeats_locks import LockWatch, ordered
from chaos.heartbeats_nodes import NodeWatch
from chaos.heartbeats_record import Beat, Event, Keeper, Record, Sight, Trouble, assemble
from chaos.heartbeats_stream import Far, Placing, Stream
from chaos.heartbeats_vantage import vantage
from chaos.ports import ClusterPort
from cluster.errors import DeadlineError, UnknownError
from cluster.site import Site
from cluster.site_services import Guest

START_S = 90.0
VANTAGE = "vantage"
_POLL_S = 0.2


class Heartbeats:
    """A watch, as a context manager: entered when each guest was heard and each node was seen.

    `avoid`: nodes that will be broken; what needs a node runs on another. `path`: the file that the record is
    written to. All of it ends by itself after `limit_s`. `asking` replaces what asks the guests, and `root`
    is put before the nodes' paths (tests).
    """

    def __init__(
        self,
        cluster: ClusterPort,
        guests: Sequence[Guest],
        interval_s: float = 0.25,
        limit_s: float = 7200.0,
        *,
        avoid: Sequence[str] = (),
        path: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
        asking: Callable[[], Far] | None = None,
        root: str = "",
    ) -> None:
        if not guests:
            raise ValueError("no guest to watch was given")
        if not 0.05 <= interval_s <= 10:
            raise ValueError(f"interval_s = {interval_s}: expected 0.05 to 10")
        self.guests = tuple(guests)
        self._say = say
        self._interval_ns = int(interval_s * 1e9)
        self._nodes = tuple(cluster.nodes)
        begin = asking or vantage(cluster, guests, avoid, interval_s, limit_s)
        self._keeper = Keeper(path, {g.name: g.sid for g in guests}, self._nodes, self._interval_ns)
        self._news = threading.Condition()
        self._since_ns = time.monotonic_ns()
        self._until_ns: int | None = None
        self._asking = Stream(VANTAGE, begin, self._take, self._lost)
        by_number = {guest.vmid: guest for guest in guests}
        self._watches = [
            NodeWatch(node, cluster.bmcs.get(name), by_number, self._keep, interval_s / 2, limit_s, root)
            for name, node in cluster.nodes.items()
        ]
        on_ceph = ordered(cluster.site, guests)
        self._locks = LockWatch(cluster, on_ceph, avoid, self._keep, limit_s) if on_ceph else None

    def start(self) -> None:
        """Begin; returns when each guest was heard and each node was seen. Raises `UnknownError`."""
        self._say(f"heartbeats: {', '.join(guest.name for guest in self.guests)} on {', '.join(self._nodes)}")
        try:
            self._asking.start()
            for watch in self._watches:
                watch.start()
            if self._locks is not None:
                self._locks.start()
            self._await_all()
        except BaseException:
            self.stop()
            raise
        self._since_ns = time.monotonic_ns()
        self._keeper.begin(self._since_ns)

    def stop(self) -> Record:
        """End the watching; the record. Asked twice, done once."""
        if self._until_ns is None:
            self._until_ns = time.monotonic_ns()
            closers = [self._asking.close, *(watch.close for watch in self._watches)]
            if self._locks is not None:
                closers.append(self._locks.close)
            ending = [threading.Thread(target=close) for close in closers]
            for thread in ending:
                thread.start()
            for thread in ending:
                thread.join()
            self._keeper.end(self._until_ns)
        return self.record

    @property
    def record(self) -> Record:
        """All that was heard and seen, so far or in all."""
        events = self._keeper.taken()
        until = self._until_ns
        if until is None:
            until = time.monotonic_ns()
            events += [shown for watch in self._watches if (shown := watch.shown()) is not None]
        guests = {guest.name: guest.sid for guest in self.guests}
        return assemble(guests, self._nodes, self._interval_ns, self._since_ns, until, events)

    def until(self, is_so: Callable[[Record], bool], deadline_s: float, what: str) -> Record:
        """Wait until the record shows it. Raises `DeadlineError` after `deadline_s`, naming `what`."""
        deadline = time.monotonic() + deadline_s
        while True:
            began = time.monotonic()
            record = self.record
            if is_so(record):
                return record
            if time.monotonic() > deadline:
                raise DeadlineError(f"{what}: not seen within {deadline_s:g} s")
            # A long record takes long to look through: three times as long it is left alone.
            time.sleep(max(_POLL_S, 3 * (time.monotonic() - began)))

    def __enter__(self) -> Heartbeats:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        with self._news:
            self._news.wait(_POLL_S)

    def _await_all(self) -> None:
        deadline = time.monotonic() + START_S
        while missing := self._unseen():
            if time.monotonic() > deadline:
                trouble = {f"{e.watcher}: {e.why}" for e in self._keeper.taken() if isinstance(e, Trouble)}
                why = "; ".join(sorted(trouble)) or "nothing went wrong that they tell of"
                raise UnknownError(
                    f"heartbeats did not begin within {START_S:g} s: {', '.join(missing)}: {why}"
                )
            self._wait()

    def _unseen(self) -> list[str]:
        events = self._keeper.taken()
        heard = {event.guest for event in events if isinstance(event, Beat) and event.heard}
        seen = {event.node for event in events if isinstance(event, Sight)}
        seen |= {watch.name for watch in self._watches if watch.shown() is not None}
        return [
            *(f"{guest.name} was not heard" for guest in self.guests if guest.name not in heard),
            *(f"{name} was not seen" for name in self._nodes if name not in seen),
        ]

    def _keep(self, event: Event) -> None:
        self._keeper.add(event)
        with self._news:
            self._news.notify_all()

    def _lost(self, why: str) -> None:
        self._keep(Trouble(VANTAGE, time.monotonic_ns(), why))

    def _take(self, place: str, kind: str, text: str, told_ns: int, clock: Placing) -> None:
        if kind == "beat":
            facts = json.loads(text)
            asked, told = (clock.place(int(facts[key]), told_ns) for key in "at")
            if asked is not None and told is not None:
                self._keep(beat(place, facts, asked[0], told[1]))


def expected(site: Site) -> tuple[Guest, ...]:
    """The guests that are ordered to run."""
    return tuple(guest for guest in site.guests if guest.ha is None or guest.ha.state == "started")


def beat(vantage: str, facts: dict[str, Any], asked_ns: int, told_ns: int) -> Beat:
    """What the program said of one question."""
    guest = str(facts["g"])
    if "m" in facts:
        return Beat(vantage, guest, asked_ns, told_ns, missing=str(facts["m"]))
    return Beat(vantage, guest, asked_ns, told_ns, str(facts["b"]), int(facts["n"]), str(facts["h"]))
