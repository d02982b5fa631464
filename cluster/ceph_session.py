"""A kept conversation with Ceph through one node: `ceph_agent` runs there, and each question is one line.

Starting Python and a librados client was seen to cost a busy emulated node two to nine seconds a question.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cluster.errors import DeadlineError, UnreachableError

AGENT = Path(__file__).with_name("ceph_agent.py")
# The program comes first on standard input, by its length, so that nothing of it is on a command line.
BOOT = (
    "exec python3 -I -u -c '"
    'import os, sys; text = b""\n'
    "while len(text) < int(sys.argv[1]): text += os.read(0, int(sys.argv[1]) - len(text)) or sys.exit(1)\n"
    'exec(compile(text, "ceph_agent", "exec"))\' '
)
END_S = 5.0


class CephUnreachableError(UnreachableError):
    """No monitor answered in time, or the node has no Ceph to ask with."""


class HostOfAgent(Protocol):
    """What is needed of a node."""

    @property
    def where(self) -> str: ...

    def argv(
        self, command: str, *, multiplexed: bool = False, options: tuple[str, ...] = ()
    ) -> list[str]: ...


class Session:
    """One agent on one node. Not for use by several threads at once."""

    def __init__(self, node: HostOfAgent, timeout_s: float) -> None:
        """Starts the agent. Raises CephUnreachableError, UnreachableError, DeadlineError."""
        self.where = node.where
        program = AGENT.read_bytes()
        line = node.argv(f"{BOOT}{len(program)}", multiplexed=True)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - kept until `close`
        self._rest = b""
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            bufsize=0,
        )
        try:
            self._write(program)
            first = self._read(time.monotonic() + timeout_s, timeout_s)
            if "unreachable" in first:
                raise CephUnreachableError(
                    f"{self.where}: no Ceph monitor was reached: {first['unreachable']}"
                )
        except BaseException:
            self.close()
            raise

    def ask(
        self, commands: Mapping[str, Mapping[str, Any]], limit_s: float, timeout_s: float
    ) -> dict[str, Any]:
        """The agent's answers by name. Raises UnreachableError where the connection has ended,
        DeadlineError where no answer came within `timeout_s`: the session is of no use after either.
        """
        self._write((json.dumps({"commands": commands, "limit": limit_s}) + "\n").encode())
        found: dict[str, Any] = self._read(time.monotonic() + timeout_s, timeout_s)["answers"]
        return found

    def close(self) -> None:
        """End the agent, by the end of its input. Never raises."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=END_S)
        self._errors.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
        except OSError:
            raise self._ended() from None

    def _read(self, until: float, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                raise DeadlineError(f"{self.where}: Ceph's answer did not come within {timeout_s:g} s")
            more = os.read(stream, 1 << 16)
            if not more:
                raise self._ended()
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> UnreachableError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_S)
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().splitlines() or ["no output"]
        return UnreachableError(f"{self.where}: Ceph could not be asked: {said[-1][:300]}")
