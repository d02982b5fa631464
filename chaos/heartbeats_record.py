"""What was heard of guests and seen of nodes while something broke: the record that the judges read.

Every moment is given as the two ends between which it lies, ns on the controller's monotonic clock, with the
uncertainty of placing another host's clock already in them. Written as JSON lines, one event a line, as they
come; a file that was cut off is read up to its last whole line.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from cluster.errors import RackproofError

SECOND = 1_000_000_000
SYNC_S = 0.5
"""What is lost when the controller itself dies."""


@dataclass(frozen=True)
class Beat:
    """One question to a guest's heartbeat service from one vantage. It was answered at some moment from
    `asked_ns` to `told_ns`; `missing` says why not, and is "" where it was. `host` is what the guest knows of
    its node.
    """

    vantage: str
    guest: str
    asked_ns: int
    told_ns: int
    boot: str = ""
    counter: int = -1
    host: str = ""
    missing: str = ""

    @property
    def heard(self) -> bool:
        """Whether it was answered."""
        return not self.missing


@dataclass(frozen=True)
class Sight:
    """What one node ran, the same in every sample of a stretch.

    The first sample was taken from `first_lo_ns` to `first_hi_ns`, the last from `last_lo_ns` to
    `last_hi_ns`; no two of them lie further apart than `widest_ns`. `running`: guest -> the instance that ran
    it, see `instance`. `kernel` is the node's boot id; that kernel started from `kernel_lo_ns` to
    `kernel_hi_ns`, and ran nothing that starts guests for the first `early_ns` of it.
    """

    node: str
    kernel: str
    kernel_lo_ns: int
    kernel_hi_ns: int
    first_lo_ns: int
    first_hi_ns: int
    last_lo_ns: int
    last_hi_ns: int
    samples: int
    widest_ns: int
    running: Mapping[str, str]
    early_ns: int = 0


class Owner(NamedTuple):
    """Who holds the exclusive lock of an image: Ceph's client, its handle of the image, and where it is."""

    client: str
    cookie: str
    place: str


@dataclass(frozen=True)
class Holders:
    """Who held the lock of a guest's image and who had it open at some moment from `asked_ns` to `told_ns`.

    `watchers` are names of nodes, or addresses where they are no node's; they were told of some moment from
    `watched_lo_ns` to `watched_hi_ns`, where these are not None. `failed` says why Ceph did not answer.
    """

    guest: str
    asked_ns: int
    told_ns: int
    owners: tuple[Owner, ...] = ()
    watchers: tuple[str, ...] = ()
    failed: str = ""
    watched_lo_ns: int | None = None
    watched_hi_ns: int | None = None

    @property
    def watched(self) -> tuple[int, int]:
        """The ends between which the moment lies at which those had it open."""
        lo, hi = self.watched_lo_ns, self.watched_hi_ns
        return self.asked_ns if lo is None else lo, self.told_ns if hi is None else hi


@dataclass(frozen=True)
class Power:
    """What a node's BMC said of its power at some moment from `asked_ns` to `told_ns`; "" if it did not.

    `reset_s`: when the node was last reset or switched on, in seconds of the BMC's own clock; None if untold.
    """

    node: str
    asked_ns: int
    told_ns: int
    state: str
    failed: str = ""
    reset_s: float | None = None


@dataclass(frozen=True)
class HaState:
    """What the HA manager had written, as `by` saw it: node -> state, service -> (node, state)."""

    by: str
    lo_ns: int
    hi_ns: int
    master: str
    nodes: Mapping[str, str]
    services: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Trouble:
    """A watcher that was lost, or could not begin, and why."""

    watcher: str
    at_ns: int
    why: str


Event: TypeAlias = Beat | Sight | Holders | Power | HaState | Trouble


@dataclass(frozen=True)
class Record:
    """All of it. `guests`: guest -> its name as an HA resource. `interval_ns` of questions to a guest;
    `since_ns` is when all watchers were seen working, `until_ns` when they were ended (or the record was
    read).
    """

    guests: Mapping[str, str]
    nodes: tuple[str, ...]
    interval_ns: int
    since_ns: int
    until_ns: int
    beats: tuple[Beat, ...] = ()
    sights: tuple[Sight, ...] = ()
    holders: tuple[Holders, ...] = ()
    power: tuple[Power, ...] = ()
    ha: tuple[HaState, ...] = ()
    trouble: tuple[Trouble, ...] = ()

    def of(self, guest: str) -> tuple[Beat, ...]:
        """The questions to one guest in the order in which they ended."""
        return tuple(
            sorted((b for b in self.beats if b.guest == guest), key=lambda b: (b.told_ns, b.asked_ns))
        )


@dataclass
class Keeper:
    """Takes events from any thread, and keeps them here and in a file. `begin` comes first, `end` last."""

    path: Path | None
    guests: Mapping[str, str]
    nodes: tuple[str, ...]
    interval_ns: int
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[str] = []
        self._ended = threading.Event()
        self._file = None
        self._thread: threading.Thread | None = None
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("x", encoding="utf-8")
            self._thread = threading.Thread(target=self._sync_often, daemon=True)
            self._thread.start()

    def begin(self, since_ns: int) -> None:
        """All watchers were seen working."""
        self._line(
            {"k": "begin", "guests": dict(self.guests), "nodes": list(self.nodes),
             "interval_ns": self.interval_ns, "since_ns": since_ns}
        )  # fmt: skip

    def add(self, event: Event) -> None:
        """Keep one event."""
        with self._lock:
            self.events.append(event)
        self._line({"k": _KINDS[type(event)], **asdict(event)})

    def end(self, until_ns: int) -> None:
        """The watchers were ended; all is on the disk on return."""
        self._line({"k": "end", "until_ns": until_ns})
        self._ended.set()
        if self._thread is not None and self._file is not None:
            self._thread.join()
            self._file.close()

    def taken(self) -> list[Event]:
        """All events so far."""
        with self._lock:
            return list(self.events)

    def _line(self, data: Mapping[str, Any]) -> None:
        if self._file is not None:
            text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
            with self._lock:
                self._pending.append(text)

    def _sync_often(self) -> None:
        assert self._file is not None
        stopped = False
        while not stopped:
            stopped = self._ended.wait(SYNC_S)
            with self._lock:
                lines, self._pending = self._pending, []
            if lines:
                self._file.write("\n".join(lines) + "\n")
                self._file.flush()
                os.fsync(self._file.fileno())


_CLASSES: Mapping[str, type[Event]] = {
    "beat": Beat, "sight": Sight, "holders": Holders, "power": Power, "ha": HaState, "trouble": Trouble
}  # fmt: skip
_KINDS: Mapping[type[Event], str] = {kind: name for name, kind in _CLASSES.items()}


def assemble(
    guests: Mapping[str, str],
    nodes: tuple[str, ...],
    interval_ns: int,
    since_ns: int,
    until_ns: int,
    events: list[Event],
) -> Record:
    """The record of these events, each kind by itself in the order given."""
    return Record(
        guests, nodes, interval_ns, since_ns, until_ns,
        tuple(e for e in events if isinstance(e, Beat)),
        tuple(e for e in events if isinstance(e, Sight)),
        tuple(e for e in events if isinstance(e, Holders)),
        tuple(e for e in events if isinstance(e, Power)),
        tuple(e for e in events if isinstance(e, HaState)),
        tuple(e for e in events if isinstance(e, Trouble)),
    )  # fmt: skip


def read(path: Path) -> Record:
    """The record that a run left, whole or cut off. Raises `RackproofError` where it is none."""
    head: dict[str, Any] | None = None
    events: list[Event] = []
    until: int | None = None
    for number, data in _lines(path):
        kind = data.pop("k", None)
        if kind == "begin":
            head = data
        elif kind == "end":
            until = int(data["until_ns"])
        else:
            try:
                events.append(_event(str(kind), data))
            except (KeyError, TypeError, ValueError):
                raise RackproofError(f"{path}:{number}: expected an event of heartbeats") from None
    if head is None:
        raise RackproofError(f"{path} is no record of heartbeats: it has no beginning")
    last = max((_latest(event) for event in events), default=head["since_ns"])
    return assemble(
        head["guests"], tuple(head["nodes"]), head["interval_ns"], head["since_ns"],
        last if until is None else until, events,
    )  # fmt: skip


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise RackproofError(f"{path}: {error.strerror}; expected a record of heartbeats") from None
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline is half a line
        try:
            data = json.loads(line)
        except ValueError:
            raise RackproofError(f"{path}:{number}: expected a JSON object") from None
        yield number, data


def _event(kind: str, data: dict[str, Any]) -> Event:
    if kind == "holders":
        data["owners"] = tuple(Owner(*map(str, each)) for each in data["owners"])
        data["watchers"] = tuple(data["watchers"])
    if kind == "ha":
        data["services"] = {sid: (node, state) for sid, (node, state) in data["services"].items()}
    return _CLASSES[kind](**data)


def _latest(event: Event) -> int:
    if isinstance(event, Sight):
        return event.last_hi_ns
    if isinstance(event, HaState):
        return event.hi_ns
    return event.at_ns if isinstance(event, Trouble) else event.told_ns
