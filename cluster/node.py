"""Commands on a node over SSH: bounded at both ends, checked host key, one round trip for many facts.

A command travels on standard input of `/bin/sh -s`, never on a command line, and ends with a marker that
nobody can guess. So the two kinds of failure are told apart: with the marker, the command failed
(`CommandError`); without it, the connection did (`UnreachableError`) or the deadline passed
(`DeadlineError`).
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import Any, Protocol

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.ssh import CONNECT_S, LOGIN_S, SshFolder

Observer = Callable[[str, str, str, float], None]
_GRACE_S = (
    5.0  # for the connection to be made and the last bytes to arrive, on top of a command's own deadline
)
_PREAMBLE = "export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n"


class Addressed(Protocol):
    """What a node's specification must tell."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> IPv4Address: ...


@dataclass(frozen=True)
class Result:
    """What a command returned; `seconds` from sending it to having the answer."""

    rc: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        """True where the command returned 0."""
        return self.rc == 0


class CommandError(RackproofError):
    """A command ran on a node and failed; `result` is what it returned."""

    def __init__(self, message: str, result: Result) -> None:
        self.result = result
        super().__init__(message)


class Gathered(dict[str, str]):
    """Text of each section of a gathered script; `rc` and `errors` (standard error) by section."""

    def __init__(self) -> None:
        super().__init__()
        self.rc: dict[str, int] = {}
        self.errors: dict[str, str] = {}


@dataclass(frozen=True)
class _Answer:
    rc: int
    stdout: str
    stderr: str
    seconds: float
    limit: float  # our own deadline
    late: bool = False  # it passed, and ssh was killed


class Node:
    """One node. Methods may be called by several threads at once."""

    def __init__(self, spec: Addressed, ssh: SshFolder, observer: Observer | None = None) -> None:
        self.spec = spec
        self.name = spec.name
        self.where = f"{spec.name} ({spec.address})"
        self._ssh = ssh
        self._observer = observer
        self._first = threading.Lock()
        self._opened = False

    @cached_property
    def host(self) -> Host:
        """A testinfra host whose commands are run by `run`, so that they are bounded too."""
        return Host(_Backend(self))

    def run(
        self,
        command: str,
        *args: str,
        timeout: float = 30,
        check: bool = True,
        data: str | bytes | None = None,
    ) -> Result:
        """Run a shell command; `%s` in it take `args`, quoted, as in testinfra. `data` is its standard input.

        Raises `CommandError` (with `check`), `DeadlineError` after `timeout` seconds, `UnreachableError`.
        """
        line = command % tuple(shlex.quote(arg) for arg in args) if args else command
        return self._run(line, line, timeout, check, data)

    def put(self, text: str | bytes, path: str, mode: int = 0o644, *, timeout: float = 30) -> None:
        """Write a file in one step (temporary file, then rename); its content stands on no command line."""
        target = shlex.quote(path)
        line = f'umask 077; t=$(mktemp {target}.XXXXXX) && cat > "$t" && chmod {mode:o} "$t"'
        line += f' && mv -f "$t" {target}'
        self._run(line, f"put {path} ({len(text)} long, mode {mode:o})", timeout, True, text)

    def gather(self, script: str, timeout: float = 60) -> Gathered:
        """Run a POSIX sh script in one round trip; `section NAME` in it starts a section.

        A section's rc is that of its last command. Raises as `run`; a section that fails does not raise.
        """
        token = secrets.token_hex(16)
        text = (
            f"{_PREAMBLE}section() {{ _rc=$?; printf '%s %d %s\\n' {token} $_rc \"$1\";"
            f" printf '%s %d %s\\n' {token} $_rc \"$1\" >&2; }}\n"
            f"trap 'section .end' EXIT\n{{\nsection .begin\n{script}\n}} </dev/null\n"
        )
        answer = self._execute(text, timeout)
        self._observe(script, answer, token)
        found, last = _sections(token, answer)
        if ".end" not in found.rc or ".begin" not in found:  # .end comes for a bad script, too
            self._fail(answer, f"a script (at section {last or 'none'})", timeout)
        for mark in (".begin", ".end"):
            found.pop(mark, None)
            found.rc.pop(mark, None)
            found.errors.pop(mark, None)
        return found

    def reachable(self, timeout: float = 5) -> bool:
        """True where a fresh SSH login works within `timeout` seconds. Never raises `UnreachableError`."""
        connect = max(1, round(timeout))
        try:
            line = self._ssh.argv(
                self.name, "exit 0", multiplexed=False, options=(f"ConnectTimeout={connect}",)
            )
        except UnreachableError:
            return False
        answer = _spawn(line, b"", timeout)
        return answer.rc == 0 and not answer.late  # one that ended between its deadline and its kill has rc 0

    def argv(self, command: str, *, multiplexed: bool = False, options: tuple[str, ...] = ()) -> list[str]:
        """Command line of a long-running remote command on a connection of its own (probes): see
        `SshFolder.argv`.
        """
        return self._ssh.argv(self.name, command, multiplexed=multiplexed, options=options)

    def forget_host_key(self) -> None:
        """Read the host key from its parameter again: after the node was installed anew."""
        self._ssh.forget(self.name)
        self._opened = False

    def _run(self, line: str, told: str, timeout: float, check: bool, data: str | bytes | None) -> Result:
        token = secrets.token_hex(16)
        call = "_command </dev/null"
        if data is not None:
            raw = data.encode() if isinstance(data, str) else data
            call = f"base64 -d <<'{token}' | _command\n{base64.encodebytes(raw).decode()}{token}"
        script = f"{_PREAMBLE}_command() (\n{line}\n)\n{call}\nprintf '%s%d;' {token} $?\n"
        answer = self._execute(script, timeout)
        self._observe(told, answer, token)
        output, mark, status = answer.stdout.rpartition(token)
        if not mark:
            if answer.rc in (255, 124, 137) or answer.late:
                self._fail(answer, f"`{_brief(told)}`", timeout)
            output, status = (
                answer.stdout,
                f"{answer.rc};",
            )  # the shell itself refused the command: a syntax error
        result = Result(int(status.rstrip(";")), output, answer.stderr, answer.seconds)
        if check and not result.ok:
            why = _last_line(result.stderr) or _last_line(result.stdout) or "no output"
            raise CommandError(f"{self.where}: `{_brief(told)}` failed with {result.rc}: {why}", result)
        return result

    def _execute(self, script: str, timeout: float) -> _Answer:
        line = self._ssh.argv(self.name, f"exec timeout -k 2 {timeout:g} /bin/sh -s")
        limit = timeout + CONNECT_S + _GRACE_S
        with self._first:  # one connection, not one for each thread that comes first
            if not self._opened:
                answer = _spawn(self._ssh.argv(self.name, "exit 0"), b"", LOGIN_S)
                if answer.rc != 0:
                    return answer
                self._opened = True
        return _spawn(line, script.encode(), limit)

    def _fail(self, answer: _Answer, what: str, timeout: float) -> None:
        if answer.rc in (124, 137) and not answer.late:
            raise DeadlineError(f"{self.where}: {what} did not finish within {timeout:g} s")
        if answer.rc not in (255, -signal.SIGKILL) and not answer.late:
            raise CommandError(
                f"{self.where}: {what} ended early with {answer.rc}: {_last_line(answer.stderr)}",
                Result(answer.rc, answer.stdout, answer.stderr, answer.seconds),
            )
        self._opened = False
        if answer.late:  # else the kept connection is gone by itself, or lives and serves other threads
            self._ssh.drop(self.name)
        key = self._ssh.hosts[self.name].key_parameter
        if "Host key verification failed" in answer.stderr or "IDENTIFICATION HAS CHANGED" in answer.stderr:
            raise UnreachableError(
                f"{self.where} is not spoken to: its SSH host key is not the one in parameter {key}"
            )
        if "Permission denied" in answer.stderr:
            raise UnreachableError(
                f"{self.where} refuses user {self._ssh.user} with the key of ssh.private_key"
            )
        limit = answer.limit if answer.late else CONNECT_S
        why = _last_line(answer.stderr) or "the connection was lost"
        raise UnreachableError(
            f"{self.where} did not answer by SSH within {limit:g} s while running {what}: {why}"
        )

    def _observe(self, command: str, answer: _Answer, token: str) -> None:
        if self._observer is not None:
            output = re.sub(rf"{token}( \d+)? ?", "# ", answer.stdout + answer.stderr)
            self._observer(self.name, command, output, answer.seconds)


class _Backend(BaseBackend):  # type: ignore[misc]  # testinfra has no type information
    """testinfra's commands run by `Node.run`: its own ssh backend waits without a deadline."""

    NAME = "rackproof"

    def __init__(self, node: Node) -> None:
        super().__init__(node.name)
        self._node = node
        self._encoding = "UTF-8"

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        line = self.get_command(command, *args)
        result = self._node.run(line, check=False, timeout=float(kwargs.get("timeout", 30)))
        return self.result(result.rc, line.encode(), result.stdout, result.stderr)


def _spawn(line: list[str], script: bytes, limit: float) -> _Answer:
    """Run ssh; after `limit` seconds it is killed with its group and what it had printed is returned as
    `late`.
    """
    start = time.monotonic()
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        late = False
        try:
            out, err = process.communicate(script, timeout=limit)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(process.pid, signal.SIGKILL)
            out, err = _rest(process)
    text, errors = (stream.decode("utf-8", "replace") for stream in (out, err))
    return _Answer(process.returncode, text, errors, time.monotonic() - start, limit, late)


def _rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What a killed ssh had printed; the process of the kept connection may hold its pipes open."""
    try:
        return process.communicate(timeout=1)
    except subprocess.TimeoutExpired as held:
        return held.output or b"", held.stderr or b""


def _sections(token: str, answer: _Answer) -> tuple[Gathered, str]:
    """The answer cut at its markers `TOKEN rc name`, and the last section that began."""
    found = Gathered()
    name = ""
    for name, text, rc, following in _pieces(token, answer.stdout):
        if name:
            found[name] = text
            found.rc[name] = rc
        if following == ".end":
            found.rc[".end"] = rc
        name = following
    for section, text, _, _ in _pieces(token, answer.stderr):
        if section:
            found.errors[section] = text
    return found, name


def _pieces(token: str, text: str) -> list[tuple[str, str, int, str]]:
    """(section, its text, its rc, the section after it) for each marker; "" is what comes before the first
    one.
    """
    pieces: list[tuple[str, str, int, str]] = []
    name, start = "", 0
    for mark in re.finditer(rf"{token} (\d+) (.*)\n", text):
        pieces.append((name, text[start : mark.start()], int(mark[1]), mark[2]))
        name, start = mark[2], mark.end()
    return pieces


def _brief(command: str) -> str:
    """A command as a message names it: its first line, 120 characters at most."""
    first, _, more = command.strip().partition("\n")
    return first if len(first) <= 120 and not more else first[:116].rstrip() + " ..."


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""
