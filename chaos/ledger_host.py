"""A ledger agent at the far end of a connection, and what it has said so far.

The agent's sources go down its standard input, so nothing is left on a node. What it says is taken by a
thread as it comes, with the time of its arrival.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chaos import ledger_agent, ledger_record, ledger_stores
from chaos.ports import NodePort

_MODULES = (ledger_record, ledger_stores, ledger_agent)  # in the order in which they import each other
PING_S = 5.0
QUIET_S = 90.0  # an agent that hears nothing for so long ends itself
END_S = 10.0
DRIFT = 500e-6  # by which two hosts' clocks may drift apart, parts of the time since they were compared
# what the far end starts with: take modules' sources, then behave as the last one
_LOADER = """import os, sys, json, types
size, text = int(sys.argv[1]), b""
while len(text) < size:
    text += os.read(0, size - len(text)) or sys.exit(3)
sys.modules["chaos"] = types.ModuleType("chaos")
for name, source in json.loads(text):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
line = b""
while not line.endswith(b"\\n"):
    line += os.read(0, 1) or sys.exit(3)
module.main(line)
"""
Message = dict[str, Any]


class LedgerHost(Protocol):
    """Where an agent can run."""

    @property
    def name(self) -> str: ...

    def line(self, words: Sequence[str], limit_s: float) -> list[str]:
        """Command line that runs these words there, with standard input and output, `limit_s` at most."""


class NodeHost:
    """A node, over a connection of its own that outlasts interruptions of two minutes."""

    def __init__(self, node: NodePort) -> None:
        self.name = node.name
        self._node = node

    def line(self, words: Sequence[str], limit_s: float) -> list[str]:
        command = f"exec timeout -k 5 {limit_s:g} {shlex.join(('python3', *words))}"
        return self._node.argv(
            command, multiplexed=False, options=("ServerAliveInterval=5", "ServerAliveCountMax=24")
        )


class LocalHost:
    """A process beside the harness (tests); `prefix` is put before it."""

    def __init__(self, name: str, prefix: Sequence[str] = (), python: str = sys.executable) -> None:
        self.name = name
        self._prefix = tuple(prefix)
        self._python = python

    def line(self, words: Sequence[str], limit_s: float) -> list[str]:
        return [*self._prefix, "timeout", "-k", "5", f"{limit_s:g}", self._python, *words]


@dataclass(frozen=True)
class Compared:
    """One comparison of clocks, ns: at `at` (theirs), theirs was `ahead` of ours, give or take `half`."""

    at: int
    ahead: int
    half: int


class Session:
    """One agent. `take(message)` is called for each of its messages by one thread, in order."""

    def __init__(self, host: LedgerHost, take: Callable[[Message], None]) -> None:
        self.host = host
        self.name = host.name
        self._take = take
        self._process: subprocess.Popen[bytes] | None = None
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._sent: dict[int, int] = {}
        self._errors: deque[str] = deque(maxlen=20)
        self.clocks: list[Compared] = []
        self.ended = False
        self.heard_s = time.monotonic()
        self._threads: list[threading.Thread] = []

    def start(self, config: Mapping[str, Any], limit_s: float) -> None:
        """Start the agent; it tells when it is there."""
        sources = json.dumps([(module.__name__, inspect.getsource(module)) for module in _MODULES]).encode()
        words = ("-I", "-u", "-c", _LOADER, str(len(sources)))
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self.host.line(words, limit_s + 30), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._listen, self._complaints, self._ping)
        ]
        whole = {**config, "limit_s": limit_s, "quiet_s": QUIET_S}
        # by a thread: the far end may take its time, and a pipe holds less than the sources
        first = sources + json.dumps(whole).encode() + b"\n"
        self._writing = threading.Lock()
        self._writing.acquire()
        self._threads.append(threading.Thread(target=self._begin, args=(first,), daemon=True))
        for thread in self._threads:
            thread.start()

    def send(self, command: Mapping[str, Any]) -> None:
        """Tell the agent to do something; one that is gone hears nothing, which `ended` says."""
        with self._writing:
            self._write(json.dumps(command).encode() + b"\n")

    def wait(self, true: Callable[[], bool], seconds: float) -> bool:
        """Until `true()` (asked after each message), the agent's end, or `seconds` are over; what it says
        then.
        """
        with self._news:
            self._news.wait_for(lambda: true() or self.ended, timeout=seconds)
            return true()

    def close(self) -> None:
        """End the agent: its input ends, so it does; the connection is cut where it does not."""
        self._closing.set()
        process = self._process
        if process is None:
            return
        # a writer may hang in a full pipe and hold the lock: then only cutting the connection helps
        if self._writing.acquire(timeout=1):
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
            self._writing.release()
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=END_S)
        for thread in self._threads:
            thread.join(timeout=END_S)

    def why(self) -> str:
        """What the agent or its connection said last on its standard error."""
        return self._errors[-1] if self._errors else "no reason given"

    def local(self, stamp_ns: int) -> tuple[float, float]:
        """(seconds on the controller's monotonic clock, give or take) of a stamp of the agent's host."""
        if not self.clocks:
            return stamp_ns / 1e9, float("inf")
        best = min(self.clocks, key=lambda each: each.half + DRIFT * abs(stamp_ns - each.at))
        blur = best.half + DRIFT * abs(stamp_ns - best.at)
        return (stamp_ns - best.ahead) / 1e9, blur / 1e9

    def remote(self, local_s: float) -> int | None:
        """The agent's host's stamp at a moment of the controller's monotonic clock, None before clocks were
        compared.
        """
        if not self.clocks:
            return None
        best = min(
            self.clocks, key=lambda each: each.half + DRIFT * abs(local_s * 1e9 + each.ahead - each.at)
        )
        return int(local_s * 1e9) + best.ahead

    def _begin(self, first: bytes) -> None:
        try:
            self._write(first)
        finally:
            self._writing.release()

    def _write(self, data: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            now = time.monotonic_ns()
            if not line.endswith(b"\n"):
                break  # cut in the middle
            with self._news:
                try:
                    message = json.loads(line)
                    self.heard_s = now / 1e9
                    if message["k"] == "pong":
                        self._compare(message, now)
                    else:
                        self._take(message)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    self._errors.append(f"it said what it never says: {error}")
                    break
                self._news.notify_all()
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _compare(self, message: Message, now: int) -> None:
        sent = self._sent.pop(int(message["n"]))
        at = int(message["at"])
        self.clocks.append(Compared(at, at - (sent + now) // 2, (now - sent) // 2))

    def _complaints(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._errors.append(text[:300])

    def _ping(self) -> None:
        """Compare clocks again and again, which also keeps the agent from ending for want of news."""
        for number in range(1_000_000):
            with self._writing:
                self._sent[number] = time.monotonic_ns()
                self._write(json.dumps({"do": "ping", "n": number}).encode() + b"\n")
            if self._closing.wait(0.3 if number < 5 else PING_S) or self.ended:
                return
