"""Daemons: started once, ready or an error that quotes the log, stopped with their children."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import processes
from lab.errors import DeadlineError, LabError
from lab.paths import State
from lab.processes import MARK, Daemon

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_started_once_marked_and_stopped(state: State) -> None:
    daemon = Daemon("sleeper", SLEEPER, lambda: True)
    assert processes.start(state, daemon)
    pid = processes.pid_of(state, "sleeper")
    assert pid is not None
    assert os.getpgid(pid) == pid
    assert f"{MARK}={state.root}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert not processes.start(state, daemon)
    assert processes.pid_of(state, "sleeper") == pid
    assert processes.stop(state, "sleeper")
    assert not processes.alive(state, "sleeper")
    assert processes.start_time(pid) is None
    assert not processes.stop(state, "sleeper")


def test_children_end_with_their_daemon(state: State) -> None:
    ready = state.root / "ready"
    script = f"sleep 60 & echo $! > {ready}; wait"
    processes.start(
        state, Daemon("parent", ["sh", "-c", script], lambda: ready.exists() and ready.read_text() != "")
    )
    child = int(ready.read_text(encoding="ascii"))
    assert processes.start_time(child)
    processes.stop(state, "parent")
    assert processes.gone([child], 2)


def test_one_that_ignores_sigterm_is_killed(state: State) -> None:
    ready = state.root / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 1; done"
    processes.start(state, Daemon("deaf", ["sh", "-c", script], ready.exists))
    pid = processes.pid_of(state, "deaf")
    assert pid is not None
    processes.stop(state, "deaf", deadline_s=0.2)
    assert processes.start_time(pid) is None


def test_one_that_ends_at_once_is_quoted(state: State) -> None:
    daemon = Daemon("short", ["sh", "-c", "echo no such thing >&2; exit 3"], lambda: False)
    with pytest.raises(LabError, match=r"short ended with status 3 before it was ready; .*no such thing"):
        processes.start(state, daemon)


def test_one_that_is_never_ready_is_late(state: State) -> None:
    with pytest.raises(DeadlineError, match=r"slow was not ready within 0 s"):
        processes.start(state, Daemon("slow", SLEEPER, lambda: False, ready_deadline_s=0.2))
    processes.stop(state, "slow")


def test_a_program_that_is_not_installed_is_named(state: State) -> None:
    with pytest.raises(LabError, match=r"ghost: cannot run no-such-program: is its package installed\?"):
        processes.start(state, Daemon("ghost", ["no-such-program"], lambda: True))


def test_a_reused_pid_is_not_the_daemon(state: State) -> None:
    (state.pids / "old").write_text(f"{os.getpid()} 1", encoding="ascii")
    assert processes.pid_of(state, "old") is None
    assert not processes.stop(state, "old")


@pytest.mark.parametrize("text", ["", "junk", "99999999 5", "7"])
def test_a_broken_pid_file_is_no_daemon(state: State, text: str) -> None:
    (state.pids / "odd").write_text(text, encoding="ascii")
    assert processes.pid_of(state, "odd") is None


def test_several_start_at_the_same_time(state: State) -> None:
    files = [state.root / name for name in "abc"]
    daemons = [
        Daemon(file.name, ["sh", "-c", f"sleep 0.4; touch {file}; sleep 60"], file.exists) for file in files
    ]
    began = time.monotonic()
    assert processes.start_all(state, daemons) == ["a", "b", "c"]
    assert time.monotonic() - began < 1.1
    assert processes.start_all(state, daemons) == []
    for file in files:
        processes.stop(state, file.name)


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 5
    while processes.start_time(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.start_time(child.pid) is None
    child.wait(timeout=5)


def test_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert processes.listening("127.0.0.1", port)
    assert not processes.listening("127.0.0.1", port)


def test_run_says_what_failed() -> None:
    assert processes.run(["cat"], stdin="hello").stdout == "hello"
    with pytest.raises(LabError, match=r"`sh -c .*` failed \(4\): broken"):
        processes.run(["sh", "-c", "echo well; echo broken >&2; exit 4"])
    assert processes.run(["false"], check=False).returncode == 1
    with pytest.raises(DeadlineError, match=r"`sleep 5` was not done within 0 s"):
        processes.run(["sleep", "5"], deadline_s=0.1)
    with pytest.raises(LabError, match=r"cannot run no-such-program"):
        processes.run(["no-such-program"])
