"""Hands that push a drive back though the harness be gone: a process of its own waits on the controller.

A node cannot push its own drive back, so this switch cannot live there. It is a file beside the journal and a
process in a session of its own, which holds a lock on that file while it waits; the file removed, it ends.
It dies with the controller: then only a person, or the next start (the journal), pushes the drive back.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol, runtime_checkable

from chaos.journal import journal_path
from chaos.ports import ClusterPort
from cluster.errors import RackproofError, RefusedError
from cluster.hands import Hands
from cluster.site import Site

START_S = 10.0
_POLL_S = 0.25


@runtime_checkable
class LateHandsPort(Protocol):
    """Hands that can be told beforehand to push a drive back after `seconds`, by a name of the caller's."""

    def pull_drive(self, node: str, serial: str) -> None: ...

    def push_drive(self, node: str, serial: str) -> None: ...

    def arm_push(self, name: str, node: str, serial: str, seconds: float) -> None: ...

    def armed_pushes(self) -> list[str]: ...

    def disarm_push(self, name: str) -> bool: ...

    def push_fired(self, name: str) -> bool: ...


def hands_of(cluster: ClusterPort) -> LateHandsPort:
    """The cluster's hands."""
    own = getattr(cluster, "hands", None)
    return own if isinstance(own, LateHandsPort) else LateHands(cluster.site)


class LateHands:
    """The site's hands, and the switch for them. Raises as `cluster.hands.Hands`."""

    def __init__(self, site: Site, folder: Path | None = None) -> None:
        self._table = site.hands
        self._hands = Hands(site.hands)
        self._folder = folder or journal_path(site).parent

    def pull_drive(self, node: str, serial: str) -> None:
        self._hands.pull_drive(node, serial)

    def push_drive(self, node: str, serial: str) -> None:
        self._hands.push_drive(node, serial)

    def arm_push(self, name: str, node: str, serial: str, seconds: float) -> None:
        """Have the drive pushed back after `seconds`. Raises `RefusedError` where that is not certain."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        order = {
            "push_drive": getattr(self._table, "push_drive", None),
            "node": node,
            "serial": serial,
            "seconds": seconds,
        }
        self._file(name).write_text(json.dumps(order), encoding="utf-8")
        subprocess.Popen(
            [sys.executable, "-m", "chaos.late_hands", str(self._file(name))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_S
        while name not in self.armed_pushes():
            if time.monotonic() > deadline:
                self._file(name).unlink(missing_ok=True)
                raise RefusedError(
                    f"drive {serial} of {node} is not pulled: the process that would have it pushed back"
                    f" did not start within {START_S:g} s"
                )
            time.sleep(_POLL_S)

    def armed_pushes(self) -> list[str]:
        """Names whose process waits now."""
        waiting = [path for path in self._folder.glob("*.hands") if _held(path)]
        return sorted(path.name.removesuffix(".hands") for path in waiting)

    def disarm_push(self, name: str) -> bool:
        """False where it was not armed or has fired already."""
        armed = _held(self._file(name))
        self._file(name).unlink(missing_ok=True)
        self._file(name).with_suffix(".fired").unlink(missing_ok=True)
        return armed

    def push_fired(self, name: str) -> bool:
        return self._file(name).with_suffix(".fired").exists()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.hands"


def _held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def wait_and_push(path: Path) -> int:
    """The process's whole life: 0 once disarmed or pushed, 1 where the hands failed."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        order = json.loads(file.read())
        due = time.monotonic() + float(order["seconds"])
        while time.monotonic() < due:
            if not path.exists():
                return 0
            time.sleep(_POLL_S)
        path.with_suffix(".fired").touch()
        path.unlink(missing_ok=True)
        table = SimpleNamespace(push_drive=order["push_drive"])
        try:
            Hands(table).push_drive(order["node"], order["serial"])  # type: ignore[arg-type]
        except RackproofError:
            return 1
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(wait_and_push(Path(sys.argv[1])))
