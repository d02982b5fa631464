"""Daemons of the rack: started in a process group of their own, known by pid and start time.

A service module offers `daemons(rack, state) -> list[Daemon]`, and if it needs them
`prepare(rack, state)` (files, before the start) and `seed(rack, state)` (after all daemons are ready).
All three run inside the rack's namespaces.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import DeadlineError, LabError
from lab.paths import State

# In the environment of everything that the rack starts: `down` finds by it what a killed `up` left.
MARK = "RACKPROOF_RACK_CHILD"
STOP_DEADLINE_S = 5.0
POLL_S = 0.05


@dataclass(frozen=True)
class Daemon:
    """One long-running process. It must stay in the foreground (no forking into the background).

    `ready` is polled until true; it must return quickly (under a second) and must not raise.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_deadline_s: float = 30.0
    cwd: Path | None = None


def listening(address: str, port: int) -> bool:
    """Whether something accepts TCP connections there (waits at most half a second)."""
    try:
        with socket.create_connection((address, port), timeout=0.5):
            return True
    except OSError:
        return False


def start_time(pid: int) -> str | None:
    """Start time of a live process in clock ticks since boot; None if there is none (or a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # after the name, which may itself hold blanks and brackets
    return None if fields[0] in "ZX" else fields[19]


def pid_of(state: State, name: str) -> int | None:
    """Pid of a daemon that lives, else None. A reused pid is told by its start time."""
    try:
        pid, _, started = (state.pids / name).read_text(encoding="utf-8").partition(" ")
    except OSError:
        return None
    return int(pid) if pid.isdigit() and start_time(int(pid)) == started.strip() else None


def alive(state: State, name: str) -> bool:
    return pid_of(state, name) is not None


def start(state: State, daemon: Daemon) -> bool:
    """Start a daemon unless it lives, and wait until it is ready. True if it was started.

    Raises LabError when it ends at once, DeadlineError when it is not ready in time; both quote its log.
    """
    if alive(state, daemon.name):
        return False
    child = launch(state, daemon)
    _wait_ready(state, daemon, child)
    return True


def start_all(state: State, daemons: Sequence[Daemon]) -> list[str]:
    """Start several daemons at once and wait for all of them; the names of those that were started."""
    started = [(daemon, launch(state, daemon)) for daemon in daemons if not alive(state, daemon.name)]
    for daemon, child in started:
        _wait_ready(state, daemon, child)
    return [daemon.name for daemon, _ in started]


def launch(state: State, daemon: Daemon) -> subprocess.Popen[bytes]:
    """Start a daemon without waiting for it."""
    log = state.logs / f"{daemon.name}.log"
    environment = {**os.environ, **daemon.env, MARK: str(state.root)}
    try:
        with log.open("ab") as sink:
            child = subprocess.Popen(
                list(daemon.argv),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                cwd=daemon.cwd,
            )
    except FileNotFoundError as error:
        raise LabError(f"{daemon.name}: cannot run {daemon.argv[0]}: is its package installed?") from error
    (state.pids / daemon.name).write_text(f"{child.pid} {start_time(child.pid)}", encoding="utf-8")
    return child


def _wait_ready(state: State, daemon: Daemon, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + daemon.ready_deadline_s
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise LabError(
                f"{daemon.name} ended with status {child.returncode} before it was ready; "
                f"its log says: {_tail(state, daemon.name)}"
            )
        if daemon.ready():
            return
        time.sleep(POLL_S)
    raise DeadlineError(
        f"{daemon.name} was not ready within {daemon.ready_deadline_s:.0f} s; "
        f"its log says: {_tail(state, daemon.name)}"
    )


def _tail(state: State, name: str, lines: int = 5) -> str:
    try:
        text = (state.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    return " | ".join(text.strip().splitlines()[-lines:]) or "(empty)"


def stop(state: State, name: str, deadline_s: float = STOP_DEADLINE_S) -> bool:
    """Stop a daemon and its group: SIGTERM, after the deadline SIGKILL. True if it lived."""
    pid = pid_of(state, name)
    if pid is not None:
        _signal_group(pid, signal.SIGTERM)
        if not gone([pid], deadline_s):
            _signal_group(pid, signal.SIGKILL)
            gone([pid], deadline_s)
    (state.pids / name).unlink(missing_ok=True)
    return pid is not None


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def gone(pids: Sequence[int], deadline_s: float) -> bool:
    """Wait until none of these processes lives; False when one still does at the deadline."""
    deadline = time.monotonic() + deadline_s
    while True:
        for pid in pids:
            _reap(pid)
        if not any(start_time(pid) for pid in pids):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not a child of ours: init reaps it


def run(
    argv: Sequence[str], *, deadline_s: float = 30.0, check: bool = True, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Raises LabError with what it said when it fails, DeadlineError
    when it is late."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"cannot run {argv[0]}: {error.strerror}; is its package installed?") from error
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(f"`{' '.join(argv[:4])}` was not done within {deadline_s:.0f} s") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        last = said[-1] if said else "no message"
        raise LabError(f"`{' '.join(argv[:6])}` failed ({done.returncode}): {last}")
    return done
