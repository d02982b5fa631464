"""Locks of a guest: one process of the node at a time, and the `lock` that stands in its configuration."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..http.errors import ApiError
from ..http.machine import Machine
from .conf import Config
from .files import WORDS, Guest

FILES = {"lxc": "/run/lock/lxc/pve-config-{}.lock", "qemu": "/var/lock/qemu-server/lock-{}.conf"}
TIMEOUT_S = 10.0
_POLL_S = 0.1


@contextmanager
def held(machine: Machine, guest: Guest, timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """Hold the guest's lock file; ApiError in PVE's words where another one holds it for longer."""
    name = FILES[guest.kind].format(guest.vmid)
    path = machine.file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ApiError(500, f"can't lock file '{name}' - got timeout") from None
            time.sleep(_POLL_S)
        yield


def check(guest: Guest, config: Config) -> None:
    """ApiError where the configuration says that something is being done with the guest."""
    if lock := config.get("lock"):
        raise ApiError(500, f"{WORDS[guest.kind]} is locked ({lock})")
