"""Tasks: work in a thread, named by a UPID, its log on disk, as PVE::RPCEnvironment's workers.

Log file and index have the places and the last line of the real ones: /var/log/pve/tasks/<last hex digit of
the start time>/<UPID>, last line `TASK OK`, `TASK WARNINGS: n` or `TASK ERROR: text`; index: `UPID endtime
status`.
"""

from __future__ import annotations

import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from .errors import ApiError, ParameterError, TaskError
from .machine import Machine

if TYPE_CHECKING:
    from .registry import Call

FOLDER = "/var/log/pve/tasks"
_UPID = re.compile(
    r"UPID:(?P<node>[A-Za-z0-9-]+):(?P<pid>[0-9A-F]{8}):(?P<pstart>[0-9A-F]{8,9}):(?P<start>[0-9A-F]{8}):"
    r"(?P<kind>[^:\s]+):(?P<id>[^:\s]*):(?P<user>[^:\s]+):"
)


@dataclass(frozen=True)
class Upid:
    """A task's name, taken apart. `starttime` in seconds since 1970, `pstart` in ticks since boot."""

    text: str
    node: str
    pid: int
    pstart: int
    starttime: int
    kind: str
    id: str
    user: str

    @property
    def log(self) -> str:
        return f"{FOLDER}/{self.text.split(':')[4][-1]}/{self.text}"


def decode(text: str) -> Upid:
    """Raises ParameterError where it is no UPID."""
    if not (match := _UPID.fullmatch(text)):
        raise ParameterError(upid="invalid format - unable to parse worker upid")
    part = match.groupdict()
    return Upid(
        text, part["node"], int(part["pid"], 16), int(part["pstart"], 16), int(part["start"], 16),
        part["kind"], part["id"], part["user"],
    )  # fmt: skip


class Log:
    """Takes a task's lines: `log("text")`. `warn` counts towards `TASK WARNINGS: n`."""

    def __init__(self, path: Path, echo: TextIO | None = None) -> None:
        self.warnings = 0
        self._echo = echo
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, text: str) -> None:
        for line in text.rstrip("\n").split("\n"):
            self._file.write(f"{line}\n")
            if self._echo:
                print(line, file=self._echo, flush=True)

    def warn(self, text: str) -> None:
        self.warnings += 1
        self(f"WARN: {text}")

    def end(self, status: str) -> None:
        self._file.write(f"TASK {status}\n")
        self._file.close()


Work = Callable[[Log], object]


def start(call: Call, *, kind: str, id: str = "", work: Work) -> str:
    """Start `work` in a thread and return its UPID at once.

    On the node's own command line (`call.local`) it runs to its end first, its lines on standard output, and
    a failure is raised as ApiError: so do PVE's commands.
    """
    if call.local:
        upid = _open(call, kind, id)
        if error := _work(call.machine, upid, work, sys.stdout):
            raise ApiError(500, error)
        return upid.text
    ready: list[Upid] = []
    named = threading.Event()

    def thread() -> None:
        try:
            ready.append(_open(call, kind, id))
        finally:
            named.set()
        _work(call.machine, ready[0], work, None)

    threading.Thread(target=thread, name=f"task-{kind}", daemon=True).start()
    named.wait(30)
    if not ready:
        raise ApiError(500, "unable to create task log file")
    return ready[0].text


def _open(call: Call, kind: str, id: str) -> Upid:
    """Name the task after the calling thread, which is a process of its own to the kernel (/proc/<tid>)."""
    pid = threading.get_native_id()
    clean = re.sub(r"[:/\s]", "-", id)
    began = f"{pid:08X}:{_pstart(pid) or 0:08X}:{int(time.time()):08X}"
    text = f"UPID:{call.node}:{began}:{kind}:{clean}:{call.user}:"
    upid = decode(text)
    path = call.machine.file(upid.log)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with call.machine.lock, call.machine.file(f"{FOLDER}/active").open("a", encoding="utf-8") as active:
        active.write(f"{text}\n")
    return upid


def _work(machine: Machine, upid: Upid, work: Work, echo: TextIO | None) -> str | None:
    """Do the work; returns the error's text, None where it went well."""
    log = Log(machine.file(upid.log), echo)
    error: str | None = None
    try:
        work(log)
    except (ApiError, TaskError) as failure:
        error = str(failure).strip().replace("\n", " ")
    except Exception as failure:  # noqa: BLE001 - a task must end with its error, whatever it is
        traceback.print_exc()
        error = (str(failure) or type(failure).__name__).strip().replace("\n", " ")
    if error is None:
        status = f"WARNINGS: {log.warnings}" if log.warnings else "OK"
        log.end(status)
    else:
        status = error
        log.end(f"ERROR: {error}")
    with machine.lock, machine.file(f"{FOLDER}/index").open("a", encoding="utf-8") as index:
        index.write(f"{upid.text} {int(time.time()):08X} {status}\n")
    return error


def _pstart(pid: int) -> int | None:
    """Start time of a thread or process in ticks since boot, None where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])


def running(upid: Upid) -> bool:
    return _pstart(upid.pid) == upid.pstart


def exit_status(machine: Machine, upid: Upid) -> str | None:
    """`OK`, `WARNINGS: n`, the error's text, `unexpected status`; None while it runs.

    ParameterError where there is no such task.
    """
    lines = lines_of(machine, upid)
    last = lines[-1] if lines else ""
    if last.startswith("TASK ERROR: "):
        return last.removeprefix("TASK ERROR: ")
    if last.startswith(("TASK OK", "TASK WARNINGS: ")):
        return last.removeprefix("TASK ")
    return None if running(upid) else "unexpected status"


def lines_of(machine: Machine, upid: Upid) -> list[str]:
    """The task's log so far."""
    path = machine.file(upid.log)
    if not path.exists():
        raise ParameterError(upid="no such task")
    return path.read_text(encoding="utf-8").splitlines()


def known(machine: Machine) -> Iterator[Upid]:
    """Every task of this node, the newest first."""
    for line in reversed(machine.read(f"{FOLDER}/active").splitlines()):
        if match := _UPID.match(line):
            yield decode(match.group())


def ends(machine: Machine) -> dict[str, tuple[int, str]]:
    """UPID -> (end in seconds since 1970, status) of the tasks that ended."""
    found: dict[str, tuple[int, str]] = {}
    for line in machine.read(f"{FOLDER}/index").splitlines():
        upid, _, rest = line.partition(" ")
        end, _, status = rest.partition(" ")
        if end:
            found[upid] = int(end, 16), status
    return found
