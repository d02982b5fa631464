"""One member at work: the requests of the file system, and the thread that talks with Corosync."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import select
import sqlite3
import threading
import time
from collections import deque

from . import operations, rules
from .clusterconf import LocalConf
from .corosync import CorosyncError, Group, Quorum
from .operations import Operation
from .replica import Mode, Replica, Writable
from .store import Store

LOG = logging.getLogger("cfs")
GROUP = "pve_dcdb_v1"
# A change of members takes Corosync token + consensus, some 7 s, and longer on an emulated processor.
WRITE_DEADLINE_S = 60.0
RECONNECT_S = 1.0
# libquorum speaks within moments of a new ring; where it does not, it is asked.
QUORUM_WORD_S = 2.0
FLOW_CONTROL_S = 0.05


class _Waiter:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.errno = 0


class Service:
    """Owns the replica; its lock serialises all that the replica is told."""

    def __init__(self, store: Store, local: LocalConf, node: str, address: str, *, standalone: bool) -> None:
        self.store = store
        self.node = node
        self._local = local
        self._lock = threading.RLock()
        self._outbox: deque[bytes] = deque()
        self._waiters: dict[int, _Waiter] = {}
        self._numbers = itertools.count()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._settling = threading.Lock()
        self._stopped = threading.Event()
        self.replica = Replica(
            store, self._outbox.append, self._finished, name=node, address=address, standalone=standalone
        )
        store.listeners.append(self._followed)

    def start(self) -> None:
        """Begin: alone at once, in a cluster by a thread that joins the group."""
        if self.replica.mode is Mode.STANDALONE:
            self._settle()
        else:
            threading.Thread(target=self._run, name="cpg", daemon=True).start()

    def stop(self) -> None:
        """Join no group any more. A membership that is under way ends with the process."""
        self._stopped.set()

    def change(self, operation: Operation) -> None:
        """Make a change on all members. Raises OSError; EACCES without quorum, EIO when late."""
        number, waiter = next(self._numbers), _Waiter()
        with self._lock:
            self._waiters[number] = waiter
            try:
                self.replica.request(number, operation)
            except sqlite3.Error as error:
                self._die(error)
        self._wake()
        if not waiter.done.wait(WRITE_DEADLINE_S):
            with self._lock:
                self.replica.abandon(number)
                self._waiters.pop(number, None)
            LOG.error("%s %s: not done within %.0f s", operation.kind, operation.path, WRITE_DEADLINE_S)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if waiter.errno:
            raise OSError(waiter.errno, os.strerror(waiter.errno))

    @property
    def writable(self) -> bool:
        """False where a change would be refused for want of quorum."""
        with self._lock:
            return self.replica.writable is not Writable.NO

    def _finished(self, number: int, result: int) -> None:
        waiter = self._waiters.pop(number, None)
        if waiter is not None:
            waiter.errno = result
            waiter.done.set()

    def _wake(self) -> None:
        # A full pipe holds wakes that nobody has read yet: one is enough.
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def _die(self, error: Exception) -> None:
        """What is acknowledged must be on disk; who cannot write there leaves, and systemd starts it."""
        LOG.critical("cannot store the tree: %s", error)
        os._exit(1)

    def _followed(self, paths: frozenset[str]) -> None:
        if rules.COROSYNC_CONF not in paths or self.replica.mode is Mode.STANDALONE:
            return
        with self.store.lock:
            entry = self.store.tree.find(rules.COROSYNC_CONF)
        try:
            if entry is not None and self._local.take(entry.data):
                self._local.reload_later()
        except OSError as error:
            LOG.error("%s: %s", self._local.path, error)

    def _run(self) -> None:
        """Be a member for as long as the file system is mounted, whatever becomes of Corosync meanwhile."""
        said = ""
        while not self._stopped.is_set():
            said = self._belong(said)
            self._stopped.wait(RECONNECT_S)

    def _belong(self, said: str) -> str:
        """One membership from its beginning to its end. Returns the complaint it had, not to log it twice."""
        try:
            group = Group(self.replica)
        except (CorosyncError, OSError) as error:
            if str(error) != said:
                LOG.warning("%s; trying again each %.0f s", error, RECONNECT_S)
            return str(error)
        try:
            self._serve(group)
        except CorosyncError as error:
            LOG.warning("corosync is gone: %s", error)
        except sqlite3.Error as error:
            self._die(error)
        finally:
            group.close()
        with self._lock:
            self._outbox.clear()
            self.replica.offline()
        return ""

    def _serve(self, group: Group) -> None:
        quorum = Quorum(self.replica)
        try:
            with self._lock:
                self._outbox.clear()
                self.replica.joined((group.nodeid, os.getpid()))
            group.join(GROUP)
            quorum.track()
            poller = select.poll()
            poller.register(quorum.fd, select.POLLIN)
            poller.register(group.fd, select.POLLIN)
            poller.register(self._wake_read, select.POLLIN)
            while True:
                held = self._flush(group)
                self._settle()
                ready = poller.poll(self._patience(held))
                self._drain()
                with self._lock:
                    quorum.dispatch()
                    group.dispatch()
                    if not ready and self._unsaid():
                        self.replica.quorum_confirmed(quorum.quorate)
        finally:
            quorum.close()

    def _flush(self, group: Group) -> bool:
        """Send what waits; True where flow control holds the rest back."""
        with self._lock:
            while self._outbox:
                if not group.send(self._outbox[0]):
                    return True
                self._outbox.popleft()
        return False

    def _unsaid(self) -> bool:
        return self.replica.mode is Mode.SYNCED and self.replica.writable is Writable.WAIT

    def _patience(self, held: bool) -> int | None:
        """How long to sleep, in ms; for ever where only an event can bring work."""
        if held:
            return int(FLOW_CONTROL_S * 1000)
        return int(QUORUM_WORD_S * 1000) if self._unsaid() else None

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    def _settle(self) -> None:
        """Make the folders that a node expects, as soon as it may write."""
        with self._lock, self.store.lock:
            if self.replica.writable is not Writable.YES:
                return
            missing = [path for path in self._folders() if self.store.tree.find(path) is None]
        if missing and self._settling.acquire(blocking=False):
            threading.Thread(target=self._make, args=(missing,), name="settle", daemon=True).start()

    def _make(self, missing: list[str]) -> None:
        try:
            for path in missing:
                try:
                    self.change(Operation(operations.MKDIR, path, int(time.time())))
                except FileExistsError:
                    continue
        except OSError as error:
            LOG.warning("cannot make the node's folders yet: %s", error)
        finally:
            self._settling.release()

    def _folders(self) -> list[str]:
        mine = f"nodes/{self.node}"
        return [
            *("priv", rules.LOCK_FOLDER, "priv/acme", "nodes", mine),
            *(f"{mine}/{name}" for name in ("priv", "lxc", "qemu-server", "openvz")),
            *("firewall", "ha", "mapping", "sdn", "virtual-guest"),
        ]
