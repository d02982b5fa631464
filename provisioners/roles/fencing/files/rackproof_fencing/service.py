"""The loop: look at the cluster, ask `decide`, do what it says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from . import proxmox, systemd
from .config import Config
from .corosync import CorosyncError, Membership, Roll
from .decide import decide
from .journal import Journal
from .model import SLACK_S, TICK_S, Decision, Lease, Order, Outcome, Peer, Saying, State, View, Word
from .shared import Shared, SharedError
from .work import Work

_BLIND = frozenset[int]()


@dataclass
class _Watched:
    """A peer, what is remembered of it, and its BMC."""

    peer: Peer
    work: Work
    state: State


class Service:
    """One per node. `works` are the peers' BMCs by name; `clock` is monotonic, in seconds.

    mount: of the cluster file system. run: a folder that lasts until this node is booted anew.
    """

    def __init__(
        self,
        config: Config,
        membership: Membership,
        mount: Path,
        run: Path,
        works: dict[str, Work],
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._membership, self._mount = config, membership, mount
        self._shared, self._journal, self._clock = Shared(mount), journal, clock
        self._name = f"{config.me.name}:{uuid.uuid4().hex}"
        self._memory = run
        self._watched = [
            _Watched(peer, works[peer.name], State(seen=self._seen(peer).exists()))
            for peer, _ in config.peers
        ]
        self._mark_cleared = False
        self._troubles: dict[str, str] = {}

    def run(self, stop: Event) -> None:
        """Until `stop`; then nothing is ordered any more, and an orderly departure is made known."""
        systemd.notify("READY=1")
        while not stop.wait(TICK_S):
            self.tick()
            systemd.notify("WATCHDOG=1")
        systemd.notify("STOPPING=1")
        for watched in self._watched:
            watched.work.stop()
        if systemd.leaves_in_good_order():
            self._say_goodbye()
        self._membership.close()

    def tick(self) -> None:
        """One look, and one decision for each peer."""
        roll = self._look()
        if roll.quorate and not self._mark_cleared:
            self._clear_mark()
        for watched in self._watched:
            view = self._view(watched, roll)
            decision = decide(watched.state, view, watched.peer, self._config.limits, self._clock())
            if decision.state.seen and not watched.state.seen:
                self._seen(watched.peer).touch()
            watched.state = decision.state
            self._do(watched, decision, view)

    # -- looking

    def _look(self) -> Roll:
        """Corosync's roll; one without quorum where it cannot be had or is of another node."""
        me = self._config.me
        try:
            roll = self._membership.look(w.peer.node for w in self._watched)
        except CorosyncError as error:
            self._trouble(me.name, str(error))
            return Roll(me.node, False, _BLIND)
        if roll.me != me.node:
            self._trouble(me.name, f"Corosync's node id is {roll.me}, the configuration says {me.node}")
            return Roll(me.node, False, _BLIND)
        self._troubles.pop(me.name, None)
        return roll

    def _view(self, watched: _Watched, roll: Roll) -> View:
        peer, excuse, mark, trouble = watched.peer, "", "", ""
        lease: Lease | None = None
        if roll.quorate:
            try:
                lease, mark = self._shared.lease(peer.name), self._shared.mark(peer.name)
                excuse = "" if peer.node in roll.members else proxmox.excuse(self._mount, peer)
            except (SharedError, proxmox.ProxmoxError) as error:
                trouble = str(error)
        return View(
            me=roll.me,
            service=self._name,
            quorate=roll.quorate,
            members=roll.members,
            excuse=excuse,
            mark=mark,
            lease=lease,
            trouble=trouble,
            holder_absent_s=self._absent_s(lease, roll),
            busy=watched.work.busy,
            told=watched.work.told(),
        )

    def _absent_s(self, lease: Lease | None, roll: Roll) -> float | None:
        """How long the node of the lease's holder is known to be absent; None while it is a member."""
        for watched in self._watched:
            if lease and watched.peer.node == lease.node and lease.node not in roll.members:
                since = watched.state.absent_since
                return 0.0 if since is None else self._clock() - since
        return None

    # -- doing

    def _do(self, watched: _Watched, decision: Decision, view: View) -> None:
        peer, lease, order = watched.peer, decision.lease, decision.order
        try:
            if order is Order.TAKE and lease is not None:
                self._shared.take(peer.name, view.lease, lease)
            elif order in (Order.KEEP, Order.FREE) and lease is not None:
                self._shared.write(peer.name, lease)
            elif order in (Order.OFF, Order.ON) and lease is not None:
                self._order(watched, order, lease)
            elif order is Order.LOOK:
                watched.work.look()
        except SharedError as error:
            if order in (Order.OFF, Order.ON):
                watched.work.tell(Outcome(self._clock(), order, str(error)))
            else:
                self._trouble(peer.name, str(error))
            return
        if lease is not None:
            self._troubles.pop(peer.name, None)
        for saying in decision.say:
            self._journal.say(peer.name, saying)

    def _order(self, watched: _Watched, order: Order, lease: Lease) -> None:
        """Written first, then looked once more, then given. Raises SharedError where it is not given."""
        begun = self._clock()
        self._shared.write(watched.peer.name, lease)
        roll = self._look()
        if not roll.quorate or watched.peer.node in roll.members:
            raise SharedError("the membership changed at the last moment: no order was given")
        took = self._clock() - begun
        if took > SLACK_S:
            raise SharedError(f"the cluster file system took {took:.0f} s to answer: no order was given")
        watched.work.power(order)

    def _trouble(self, name: str, text: str) -> None:
        """Said once, until it is over."""
        if self._troubles.get(name) != text:
            self._troubles[name] = text
            self._journal.say(name, Saying(Word.REFUSED, text))

    def _seen(self, peer: Peer) -> Path:
        return self._memory / f"{peer.name}.seen"

    def _clear_mark(self) -> None:
        try:
            self._shared.clear_mark(self._config.me.name)
            self._mark_cleared = True
        except SharedError as error:
            self._trouble(self._config.me.name, str(error))

    def _say_goodbye(self) -> None:
        try:
            self._shared.set_mark(self._config.me.name, uuid.uuid4().hex)
        except SharedError as error:
            self._trouble(self._config.me.name, f"this node leaves in good order, but {error}")
