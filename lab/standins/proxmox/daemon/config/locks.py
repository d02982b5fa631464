"""Locks that the whole cluster respects: folders under /etc/pve/priv/lock (PVE::Cluster::cfs_lock)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..http.errors import ApiError
from ..http.machine import Machine


@contextmanager
def cfs_lock(machine: Machine, name: str, timeout_s: float = 10) -> Iterator[None]:
    """Hold the lock `name`. ApiError 500 in PVE's words where there is no quorum or another one holds it."""
    path = machine.file(f"/etc/pve/priv/lock/{name}")
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            break
        except FileExistsError:
            with suppress(OSError):
                os.utime(path, (0, 0))  # asks the cluster file system to expire the lock of one that died
        except (PermissionError, OSError) as error:
            raise ApiError(500, f"cfs-lock '{name}' error: no quorum!") from error
        if time.monotonic() > deadline:
            raise ApiError(500, f"cfs-lock '{name}' error: got lock request timeout")
        time.sleep(0.5)
    try:
        yield
    finally:
        with suppress(OSError):
            path.rmdir()
