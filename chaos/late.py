"""A process of its own on the controller that acts later, though the harness be gone: the dead-man's switch
for what no target can heal by itself, such as a drive that was pulled or a node without power.

It is a file beside the journal and a process in a session of its own, which holds a lock on that file while
it waits and acts; the file removed, it ends. What it must know and what may lie on no disk (passwords) comes
by its standard input. It dies with the controller: then only a person, or the next start (the journal),
heals.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chaos.journal import journal_path
from cluster.errors import RackproofError, RefusedError
from cluster.site import ROOT, Site

START_S = 60.0
"""Within this time the process must be seen to wait; the libraries of some take seconds to load."""
_POLL_S = 0.25
_FIRED = ".fired"


def late_folder(site: Site) -> Path:
    """Where the orders of a site's late processes lie."""
    return journal_path(site).with_suffix(".late")


class Late:
    """Late processes of one kind; `module` is what they run, and calls `serve`."""

    def __init__(self, folder: Path, kind: str, module: str) -> None:
        self._folder, self._kind, self._module = folder, kind, module

    def arm(self, name: str, seconds: float, order: Mapping[str, Any], private: str = "") -> None:
        """Have `order` carried out after `seconds`; `private` goes to the process alone.

        Raises `RefusedError` where it is not certain that it will be.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._file(name)
        path.write_text(json.dumps({**order, "seconds": seconds}), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", self._module, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=ROOT,
        )
        assert process.stdin is not None, "it was asked for"
        try:
            with process.stdin as pipe:
                pipe.write(private.encode())
        except BrokenPipeError:
            pass  # it ended at once, which is told below
        deadline = time.monotonic() + START_S
        while not _held(path):
            if process.poll() is not None or time.monotonic() > deadline:
                path.unlink(missing_ok=True)
                raise RefusedError(
                    f"nothing is broken: the process that would heal it ({self._module}) did not start"
                    f" within {START_S:g} s"
                )
            time.sleep(_POLL_S)

    def armed(self) -> list[str]:
        """Names whose process waits now."""
        names = [name.removesuffix(f".{self._kind}") for name in alive(self._folder, self._kind)]
        return [name for name in names if not self.fired(name)]

    def disarm(self, name: str) -> bool:
        """False where it was not armed or has fired already."""
        armed = _held(self._file(name)) and not self.fired(name)
        self._file(name).unlink(missing_ok=True)
        self._file(name).with_suffix(_FIRED).unlink(missing_ok=True)
        return armed

    def fired(self, name: str) -> bool:
        """Whether its time came and it began to act."""
        return self._file(name).with_suffix(_FIRED).exists()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.{self._kind}"


def alive(folder: Path, kind: str = "*") -> list[str]:
    """Names of the files whose processes wait or act now."""
    return sorted(path.name for path in folder.glob(f"*.{kind}") if _held(path))


def serve(act: Callable[[Mapping[str, Any], str, Callable[[], bool]], None]) -> int:
    """A late process's whole life; `act(order, private, withdrawn)` is told by `withdrawn()` to give up.

    0 once withdrawn or done, 1 where `act` failed.
    """
    os.umask(0o077)
    path, private = Path(sys.argv[1]), sys.stdin.read()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        order = json.loads(file.read())
        due = time.monotonic() + float(order["seconds"])
        while time.monotonic() < due:
            if not path.exists():
                return 0
            time.sleep(_POLL_S)
        path.with_suffix(_FIRED).touch()
        try:
            act(order, private, lambda: not path.exists())
        except RackproofError:
            return 1
        finally:
            path.unlink(missing_ok=True)
    return 0


def _held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
