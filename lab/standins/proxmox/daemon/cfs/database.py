"""The tree on disk: sqlite, in the layout of pmxcfs, one transaction for each change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from .tree import ROOT, Changes, Entry

_TABLE = """CREATE TABLE IF NOT EXISTS tree (
  inode INTEGER PRIMARY KEY NOT NULL, parent INTEGER NOT NULL CHECK(typeof(parent)=='integer'),
  version INTEGER NOT NULL CHECK(typeof(version)=='integer'),
  writer INTEGER NOT NULL CHECK(typeof(writer)=='integer'),
  mtime INTEGER NOT NULL CHECK(typeof(mtime)=='integer'),
  type INTEGER NOT NULL CHECK(typeof(type)=='integer'), name TEXT NOT NULL, data BLOB)"""
_STORE = "INSERT OR REPLACE INTO tree VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# pmxcfs keeps the root, which bears the tree's version, under this name.
_ROOT_NAME = "__version__"
_FOLDER, _FILE = 4, 8  # DT_DIR, DT_REG


class Database:
    """config.db. Used by one thread at a time; the caller holds the lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        # As pmxcfs: a killed process loses nothing, a power cut at most the last instants, never the whole.
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(_TABLE)

    def load(self) -> list[Entry]:
        """All entries; an empty list for a new database."""
        rows = self._connection.execute(
            "SELECT inode, parent, version, writer, mtime, type, name, data FROM tree"
        )
        return [
            Entry(inode, parent, version, writer, mtime, type_ == _FOLDER, name if inode else "", data or b"")
            for inode, parent, version, writer, mtime, type_, name, data in rows
        ]

    def commit(self, changes: Changes) -> None:
        """Write what one operation changed. Raises sqlite3.Error."""
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "DELETE FROM tree WHERE inode = ?", [(inode,) for inode in changes.removed]
            )
            self._connection.executemany(_STORE, [_row(entry) for entry in changes.stored.values()])

    def replace(self, entries: Iterable[Entry]) -> None:
        """Write a whole tree in the place of the old one. Raises sqlite3.Error."""
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM tree")
            self._connection.executemany(_STORE, [_row(entry) for entry in entries])

    def close(self) -> None:
        self._connection.close()


def _row(entry: Entry) -> tuple[int, int, int, int, int, int, str, bytes]:
    name = _ROOT_NAME if entry.inode == ROOT else entry.name
    kind = _FOLDER if entry.folder else _FILE
    return entry.inode, entry.parent, entry.version, entry.writer, entry.mtime, kind, name, entry.data
