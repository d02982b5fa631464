"""The tree with all that hangs on its changes: the database, the age of locks, who wants to be told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from . import rules
from .operations import Operation
from .tree import Changes, Entry, Tree


class Persistence(Protocol):
    """What the store asks of its database."""

    def load(self) -> list[Entry]: ...

    def commit(self, changes: Changes) -> None: ...

    def replace(self, entries: Iterable[Entry]) -> None: ...


class Store:
    """One member's copy. Methods may be called from any thread."""

    def __init__(self, database: Persistence, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.RLock()
        self._database = database
        self._clock = clock
        self.tree = Tree(database.load())
        self._locks: dict[str, tuple[int, float]] = {}
        self.listeners: list[Callable[[frozenset[str]], None]] = []
        self._watch_locks()

    def apply(self, operation: Operation, writer: int) -> Changes:
        """Change the tree and the disk. Raises FileSystemError (nothing changed) or sqlite3.Error."""
        with self.lock:
            changes = self.tree.apply(operation, writer)
            self._database.commit(changes)
            if any(path.startswith(rules.LOCK_FOLDER) for path in changes.paths):
                self._watch_locks()
        self._tell(frozenset(changes.paths))
        return changes

    def replace(self, entries: Iterable[Entry]) -> None:
        """Take over another member's whole tree, in memory and on disk. Raises ValueError, sqlite3.Error."""
        entries = list(entries)
        with self.lock:
            before = {path: entry.version for path, entry in self.tree.walk()}
            fresh = Tree(entries)
            self._database.replace(fresh.entries.values())
            self.tree = fresh
            self._watch_locks()
            after = {path: entry.version for path, entry in fresh.walk()}
        self._tell(frozenset(path for path, _ in before.items() ^ after.items()))

    def expired(self, path: str) -> int | None:
        """The version of a lock that nobody refreshed for its lifetime; None for one that lives."""
        with self.lock:
            seen = self._locks.get(path)
            if seen is None or self._clock() - seen[1] < rules.LOCK_LIFETIME_S:
                return None
            return seen[0]

    def _watch_locks(self) -> None:
        """A lock's age counts from when this member saw its present version first."""
        folder = self.tree.find(rules.LOCK_FOLDER)
        names = self.tree.children.get(folder.inode, {}) if folder else {}
        now = self._clock()
        seen: dict[str, tuple[int, float]] = {}
        for name, inode in names.items():
            path = f"{rules.LOCK_FOLDER}/{name}"
            version = self.tree.entries[inode].version
            old = self._locks.get(path)
            seen[path] = old if old is not None and old[0] == version else (version, now)
        self._locks = seen

    def _tell(self, paths: frozenset[str]) -> None:
        if paths:
            for listener in self.listeners:
                listener(paths)
