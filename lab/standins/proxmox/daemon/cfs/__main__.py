"""`python3 -m pve_standin.cfs`: mount the cluster file system and serve it until SIGTERM."""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import importlib
import logging
import os
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

from . import rules
from .clusterconf import LocalConf
from .database import Database
from .filesystem import FileSystem
from .service import Service
from .store import Store
from .views import Views

LOG = logging.getLogger("cfs")
_MNT_DETACH = 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cfs", description=__doc__)
    parser.add_argument("--mount", type=Path, default=Path("/etc/pve"), help="where to mount")
    parser.add_argument("--database", type=Path, default=Path("/var/lib/pve-cluster/config.db"))
    parser.add_argument("--corosync-conf", type=Path, default=Path("/etc/corosync/corosync.conf"))
    parser.add_argument("--node", default=socket.gethostname().split(".")[0], help="this node's name")
    parser.add_argument("-l", "--local", action="store_true", help="alone, even with a corosync.conf")
    return parser.parse_args()


def _address(node: str) -> str:
    """The node's own address as /etc/hosts has it; empty where it has none but loopback."""
    try:
        found = socket.getaddrinfo(node, None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    addresses = [str(item[4][0]) for item in found]
    address = next((a for a in addresses if not a.startswith("127.") and a != "::1"), "")
    if not address:
        LOG.warning("node name %r has no address but loopback: expected one in /etc/hosts", node)
    return address


def _only_one(database: Path) -> int:
    """Hold a lock for as long as we live; a second one on the same database would ruin it."""
    database.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(database.with_name(".pmxcfs.lockfile"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{database}: another cfs uses this database; stop it first")
    return handle


def _free_mount(mount: Path) -> None:
    """Take away what a killed forerunner left; its mount answers nothing but ENOTCONN."""
    while os.path.ismount(mount) or not _answers(mount):
        if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(mount), _MNT_DETACH):
            sys.exit(f"{mount}: cannot be unmounted: {os.strerror(ctypes.get_errno())}")
    mount.mkdir(parents=True, exist_ok=True)


def _answers(mount: Path) -> bool:
    try:
        mount.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _notify() -> None:
    """Tell systemd that we are mounted (sd_notify(3))."""
    where = os.environ.pop("NOTIFY_SOCKET", "")
    LOG.info("mounted")
    if where:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
            messenger.sendto(b"READY=1", "\0" + where[1:] if where.startswith("@") else where)


def main() -> None:
    """Mount and serve."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    wanted = _arguments()
    # fusepy would search with ldconfig and a compiler.
    os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse.so.2")
    # Debian names the module so; elsewhere it is "fuse".
    fuse: Any = importlib.import_module("fusepy")
    handle = _only_one(wanted.database)
    try:
        store = Store(Database(wanted.database))
    except (sqlite3.Error, ValueError) as error:
        sys.exit(f"{wanted.database}: cannot be read: {error}")
    local = LocalConf(wanted.corosync_conf)
    conf = store.tree.find(rules.COROSYNC_CONF)
    if conf is not None and not wanted.local:
        local.take(conf.data)
    alone = wanted.local or not wanted.corosync_conf.exists()
    service = Service(store, local, wanted.node, _address(wanted.node), standalone=alone)
    views = Views(store, service.replica, wanted.node)
    LOG.info("node %s, %s, version %s", wanted.node, service.replica.mode.value, store.tree.version)
    _free_mount(wanted.mount)
    service.start()
    options = {"allow_other": True, "default_permissions": True, "nonempty": True, "fsname": "/dev/fuse"}
    # Without it libfuse would rename a removed open file, on all members, to .fuse_hidden.
    options |= {"hard_remove": True}
    # libfuse's own times: what another member changed is seen within a second.
    cached = {"direct_io": True, "attr_timeout": 1, "entry_timeout": 1, "negative_timeout": 0}
    try:
        fuse.FUSE(
            FileSystem(service, views, _notify),
            str(wanted.mount),
            foreground=True,
            big_writes=True,
            **options,
            **cached,
        )
    except RuntimeError as error:
        sys.exit(f"{wanted.mount}: cannot be mounted: fuse says {error}")
    finally:
        service.stop()
        os.close(handle)


if __name__ == "__main__":
    main()
