"""What was acknowledged is on disk, also when the process is killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lab.standins.proxmox.daemon.cfs import operations
from lab.standins.proxmox.daemon.cfs.database import Database
from lab.standins.proxmox.daemon.cfs.operations import Operation
from lab.standins.proxmox.daemon.cfs.store import Store

WRITER = """
import sys
from pathlib import Path
from lab.standins.proxmox.daemon.cfs import operations
from lab.standins.proxmox.daemon.cfs.database import Database
from lab.standins.proxmox.daemon.cfs.operations import Operation
from lab.standins.proxmox.daemon.cfs.store import Store
store = Store(Database(Path(sys.argv[1])))
for number in range(1_000_000):
    store.apply(Operation(operations.CREATE, f"f{number}", number), 1)
    print(number, store.tree.digest() if number % 50 == 0 else "", flush=True)
"""


def test_nothing_acknowledged_is_lost_by_sigkill(tmp_path: Path) -> None:
    database = tmp_path / "config.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    try:
        for line in writer.stdout:
            if int(line.split()[0]) >= 300:
                break
    finally:
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        writer.wait(timeout=30)
    last = max([300, *(int(line.split()[0]) for line in rest[:-1] if line)])
    tree = Store(Database(database)).tree
    names = set(tree.names(""))
    assert {f"f{number}" for number in range(last + 1)} <= names
    # At most the one that was written and not yet told.
    assert tree.version == len(names) <= last + 2


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(Database(tmp_path / "config.db"))
    for kind, path, data in (
        (operations.MKDIR, "priv", b""),
        (operations.CREATE, "priv/key", b""),
        (operations.WRITE, "priv/key", b"\0key\xff"),
        (operations.CREATE, "gone", b""),
        (operations.DELETE, "gone", b""),
        (operations.RENAME, "priv/key", b""),
    ):
        store.apply(Operation(kind, path, 7, to="priv/moved", data=data), 2)
    again = Store(Database(tmp_path / "config.db"))
    assert again.tree.digest() == store.tree.digest()
    assert again.tree.get("priv/moved").data == b"\0key\xff"
    assert (tmp_path / "config.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.db").write_bytes(b"not a database" * 100)
    with pytest.raises(sqlite3.Error):
        Database(tmp_path / "config.db")


def test_listeners_hear_which_paths_changed(tmp_path: Path) -> None:
    store = Store(Database(tmp_path / "a.db"))
    heard: list[frozenset[str]] = []
    store.listeners.append(heard.append)
    store.apply(Operation(operations.CREATE, "corosync.conf.new", 1), 1)
    store.apply(Operation(operations.RENAME, "corosync.conf.new", 1, to="corosync.conf"), 1)
    assert heard == [frozenset({"corosync.conf.new"}), frozenset({"corosync.conf.new", "corosync.conf"})]
    store.replace([])
    assert heard[-1] == frozenset({"corosync.conf"})
