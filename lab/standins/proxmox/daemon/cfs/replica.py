"""How members keep one tree: a pure state machine over totally ordered messages.

All members of a group see the same messages and membership changes in the same order (what Corosync's CPG
promises). After every membership change they stop, tell each other what they hold, the newest tree wins and
is sent to those who lack it, and then they go on. Every change bears the epoch (the round of this talk) in
which it was sent and counts only in it, so that all members carry out the same changes. The caller
serialises calls.
"""

from __future__ import annotations

import enum
import errno
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import operations, snapshot
from .operations import Operation
from .store import Store
from .tree import FileSystemError

LOG = logging.getLogger("cfs")
# (nodeid, process id) as CPG names a member.
Member = tuple[int, int]
_INTERNAL = -1


class Mode(enum.Enum):
    """Where a member stands."""

    STANDALONE = "standalone"
    OFFLINE = "offline"
    SYNCING = "syncing"
    SYNCED = "synced"


class Writable(enum.Enum):
    """Whether a change may be tried now."""

    YES = "yes"
    NO = "no"
    WAIT = "wait"


@dataclass(frozen=True)
class State:
    """What a member says that it holds, and who it is."""

    version: int
    changed: int
    digest: str
    name: str
    address: str

    @property
    def age(self) -> tuple[int, int]:
        """The greater, the newer."""
        return self.version, self.changed


@dataclass
class _Request:
    operation: Operation
    sent: bool = False


class Replica:
    """One member. `send` puts a message into the group's order; `finish(number, errno)` ends a request."""

    def __init__(
        self,
        store: Store,
        send: Callable[[bytes], None],
        finish: Callable[[int, int], None],
        *,
        name: str,
        address: str = "",
        standalone: bool = False,
    ) -> None:
        self.store = store
        self._send = send
        self._finish = finish
        self._name = name
        self._address = address
        self.mode = Mode.STANDALONE if standalone else Mode.OFFLINE
        self.me: Member = (0, 0)
        self.members: tuple[Member, ...] = ()
        self.peers: dict[int, State] = {}
        self._epoch = ""
        self._states: dict[Member, State] = {}
        self._source: Member | None = None
        self._received: list[bytes] = []
        self._requests: dict[int, _Request] = {}
        self._quorate = False
        self._quorum_ring = -1
        self._ring = -1

    @property
    def quorate(self) -> bool:
        """What is shown to readers."""
        return self.mode is Mode.STANDALONE or (self.mode is not Mode.OFFLINE and self._quorate)

    @property
    def writable(self) -> Writable:
        """WAIT while members talk or while the group is newer than the last word on quorum."""
        if self.mode is Mode.STANDALONE:
            return Writable.YES
        if self.mode is Mode.OFFLINE:
            return Writable.NO
        if self._quorum_ring != self._ring:
            return Writable.WAIT
        if not self._quorate:
            return Writable.NO
        return Writable.YES if self.mode is Mode.SYNCED else Writable.WAIT

    def joined(self, me: Member) -> None:
        """CPG has let us in; the first list of members follows."""
        self.me = me

    def offline(self) -> None:
        """Corosync is gone: nothing may be written."""
        self.mode = Mode.OFFLINE
        self.members, self._epoch, self._quorate = (), "", False
        self._ring = self._quorum_ring = -1
        self._refuse(everything=True)

    def ring_changed(self, ring: int) -> None:
        """Totem's ring as CPG reports it."""
        self._ring = ring
        self._go_on()

    def quorum_changed(self, quorate: bool, ring: int) -> None:
        """The word of libquorum, and the ring it is said of."""
        if quorate != self._quorate:
            LOG.info("node has quorum" if quorate else "node lost quorum")
        self._quorate, self._quorum_ring = quorate, ring
        self._go_on()

    def quorum_confirmed(self, quorate: bool) -> None:
        """Asked outright: for a ring of which libquorum never sent a word."""
        self.quorum_changed(quorate, self._ring)

    def members_changed(self, members: list[Member]) -> None:
        """A membership change at this place of the order: everyone syncs anew."""
        self.members = tuple(sorted(members))
        self.mode = Mode.SYNCING
        self._epoch, self._states, self._source, self._received = "", {}, None, []
        for request in self._requests.values():
            request.sent = False
        LOG.info("members: %s", " ".join(f"{node}/{pid}" for node, pid in self.members))
        if self.members and self.members[0] == self.me:
            # Random: a former process of the same number must not be mistaken for this one.
            epoch = f"{self.me[0]}.{self.me[1]}.{secrets.token_hex(8)}"
            self._send(operations.pack({"type": "sync", "epoch": epoch, "members": self.members}))

    def delivered(self, sender: Member, message: bytes) -> None:
        """The next message of the order. What cannot be read is logged and left out by all alike."""
        try:
            head, body = operations.unpack(message)
            kind = head.get("type")
            if kind == "sync":
                self._on_sync(sender, head)
            elif head.get("epoch") != self._epoch or not self._epoch:
                return
            elif kind == "state":
                self._on_state(sender, head)
            elif kind == "tree":
                self._on_tree(sender, head, body)
            elif kind == "change" and self.mode is Mode.SYNCED:
                self._on_change(sender, head, body)
        except (ValueError, KeyError, TypeError) as error:
            LOG.error("message of member %s/%s left out: %s", *sender, error)

    def request(self, number: int, operation: Operation) -> None:
        """Ask for a change; `finish` is called once with its number, perhaps before this returns."""
        writable = self.writable
        if writable is Writable.NO:
            self._finish(number, errno.EACCES)
        elif self.mode is Mode.STANDALONE:
            self._finish(number, self._carry_out(operation, 0))
        else:
            self._requests[number] = _Request(operation)
            self._go_on()

    def abandon(self, number: int) -> None:
        """Nobody waits for this request any more."""
        self._requests.pop(number, None)

    def _on_sync(self, sender: Member, head: dict[str, Any]) -> None:
        members = tuple((int(node), int(pid)) for node, pid in head["members"])
        if self.mode is not Mode.SYNCING or members != self.members or sender != self.members[0]:
            return
        self._epoch, self._states, self._source, self._received = str(head["epoch"]), {}, None, []
        with self.store.lock:
            tree = self.store.tree
            mine = State(tree.version, tree.changed, tree.digest(), self._name, self._address)
        self._send(operations.pack({"type": "state", "epoch": self._epoch, **vars(mine)}))

    def _on_state(self, sender: Member, head: dict[str, Any]) -> None:
        fields = {key: head[key] for key in ("version", "changed", "digest", "name", "address")}
        self._states[sender] = State(**fields)
        if self.mode is not Mode.SYNCING or set(self._states) != set(self.members):
            return
        self.peers.update({member[0]: state for member, state in self._states.items()})
        newest = max(state.age for state in self._states.values())
        self._source = min(member for member, state in self._states.items() if state.age == newest)
        if len({state.digest for state in self._states.values()}) == 1:
            self._synced()
        elif self._source == self.me:
            with self.store.lock:
                packed = snapshot.dump(self.store.tree.entries.values())
            pieces = list(snapshot.chunks(packed))
            LOG.info("sending version %s to those who lack it (%s bytes)", newest[0], len(packed))
            for number, piece in enumerate(pieces, start=1):
                head = {"type": "tree", "epoch": self._epoch, "last": number == len(pieces)}
                self._send(operations.pack(head, piece))

    def _on_tree(self, sender: Member, head: dict[str, Any], body: bytes) -> None:
        if self.mode is not Mode.SYNCING or sender != self._source:
            return
        self._received.append(body)
        if not head["last"]:
            return
        if self._states[self.me].digest != self._states[sender].digest:
            self.store.replace(snapshot.load(b"".join(self._received)))
            LOG.info("took over version %s from member %s", self.store.tree.version, sender[0])
        self._synced()

    def _synced(self) -> None:
        self.mode, self._received = Mode.SYNCED, []
        LOG.info("all members hold version %s", self.store.tree.version)
        self._go_on()

    def _on_change(self, sender: Member, head: dict[str, Any], body: bytes) -> None:
        result = self._carry_out(operations.operation(head["change"], body), sender[0])
        number = int(head["number"])
        if sender == self.me and number in self._requests:
            del self._requests[number]
            if number >= 0:
                self._finish(number, result)

    def _carry_out(self, operation: Operation, writer: int) -> int:
        """The errno of the change, 0 where it was made."""
        if operation.kind == operations.UNLOCK_REQUEST:
            return self._look_at_lock(operation)
        try:
            self.store.apply(operation, writer)
        except FileSystemError as error:
            return error.errno
        return 0

    def _look_at_lock(self, operation: Operation) -> int:
        with self.store.lock:
            if self.store.tree.find(operation.path) is None:
                return errno.ENOENT
        version = self.store.expired(operation.path)
        if version is None:
            return 0
        unlock = Operation(operations.UNLOCK, operation.path, operation.time, version=version)
        if self.mode is Mode.STANDALONE:
            return self._carry_out(unlock, 0)
        if self.members[0] == self.me:
            LOG.info("lock %s has expired", operation.path)
            number = min(self._requests, default=0)
            self._requests[min(number, 0) + _INTERNAL] = _Request(unlock)
            self._go_on()
        return 0

    def _go_on(self) -> None:
        """Send what may be sent now, refuse what may not."""
        writable = self.writable
        if writable is Writable.NO:
            self._refuse(everything=False)
        elif writable is Writable.YES:
            for number, request in list(self._requests.items()):
                if not request.sent:
                    request.sent = True
                    head = {"type": "change", "epoch": self._epoch, "number": number}
                    head["change"] = request.operation.fields()
                    self._send(operations.pack(head, request.operation.data))

    def _refuse(self, *, everything: bool) -> None:
        """EACCES for requests; one that is on its way ends when it comes back or when the members change."""
        for number in [n for n, request in self._requests.items() if everything or not request.sent]:
            del self._requests[number]
            if number >= 0:
                self._finish(number, errno.EACCES)
