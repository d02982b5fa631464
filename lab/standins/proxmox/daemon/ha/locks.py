"""The two kinds of lock by which PVE's HA knows who may act: the manager's, and one for each node's agent.

A lock is a folder of the cluster file system that expires when nobody refreshed it for two minutes.
Whoever could not refresh its agent lock for as long was reset by its watchdog before: that is the safety of
recovering a node's guests elsewhere, here as there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from ..http.machine import Machine

MANAGER = "ha_manager_lock"
TRUST_S = 100.0  # after so long without a refresh the lock may be another's: the file system's limit is 120 s


def agent(node: str) -> str:
    return f"ha_agent_{node}_lock"


class HaLock:
    """One lock, held by this process or not. `clock` in seconds."""

    def __init__(self, machine: Machine, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = machine.file(f"/etc/pve/priv/lock/{name}")
        self._clock = clock
        self._refreshed: float | None = None

    @property
    def held(self) -> bool:
        return self._refreshed is not None and self._clock() - self._refreshed < TRUST_S

    def take(self) -> bool:
        """Take it where it is free; where it is not, ask that it be freed if it has expired."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.mkdir()
        except FileExistsError:
            with suppress(OSError):
                os.utime(self._path, (0, 0))
            return False
        except OSError:
            return False
        self._refreshed = self._clock()
        return True

    def adopt(self) -> bool:
        """Refresh it, also what an earlier process of this node held; False if it is gone, or no quorum."""
        try:
            os.utime(self._path, (0, time.time()))
        except FileNotFoundError:
            self._refreshed = None
            return False
        except OSError:
            return False
        self._refreshed = self._clock()
        return True

    def keep(self) -> bool:
        """Refresh what is held, or try to take it."""
        return self.adopt() if self.held else self.take()

    def forget(self) -> None:
        """Leave it to its age: what it protects may still be there."""
        self._refreshed = None

    def release(self) -> None:
        """Free it for others at once."""
        self._refreshed = None
        with suppress(OSError):
            self._path.rmdir()
