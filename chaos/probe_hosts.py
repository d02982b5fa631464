"""Where a probe agent runs: on a node, as a transient systemd unit with a time limit, or on the
controller itself.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chaos import probe_agent
from chaos.ports import NodePort
from cluster.errors import DeadlineError, UnknownError

FOLDER = "/run/rackproof"
_SOURCE = Path(probe_agent.__file__)
_READ_S = 60.0
_STOP_S = 10.0
_CLOCK_TRIES = 4
_CLOCK_GOOD_NS = 20_000_000
_FILES = (
    "started",
    "ticks.bin",
    "arrivals.bin",
    "done",
    "state",
    "errors",
)  # ticks before arrivals: see `Logs`


@dataclass(frozen=True)
class Logs:
    """What one agent recorded.

    `ticks`: stamp (ns, that host's monotonic clock) of each tick. `arrivals`: path number -> (sequence,
    receiver's tick) in the order received, complete up to the last of `ticks`. `ended`: None while it
    runs, else "stopped" or "lost". `boot_ns`: what CLOCK_BOOTTIME was ahead of CLOCK_MONOTONIC.
    """

    ticks: Sequence[int]
    arrivals: Mapping[int, Sequence[tuple[int, int]]]
    ended: str | None
    boot_ns: int
    unsent: int = 0


class AgentHost(Protocol):
    """A host on which an agent can be started. All methods have a deadline."""

    @property
    def name(self) -> str: ...

    def start(self, config: Mapping[str, Any]) -> None:
        """Start the agent; it ends by itself after the configuration's `limit_s`."""

    def wait_ready(self, seconds: float) -> bool:
        """True once datagrams arrived on every path that the agent expects."""

    def read(self) -> Logs:
        """What it has recorded so far, running or not."""

    def stop(self) -> None:
        """End it; its logs stay readable until `clear`."""

    def clear(self) -> None:
        """Remove its folder."""

    def clock(self) -> tuple[int, int]:
        """(what its CLOCK_BOOTTIME is ahead of the controller's monotonic clock, uncertainty), both in ns."""


class NodeHost:
    """An agent on a node. Its unit has `RuntimeMaxSec`, so it dies there even if nobody ever comes back."""

    def __init__(self, node: NodePort, session: int) -> None:
        self.name = node.name
        self._node = node
        self._unit = f"rackproof-probe-{session:08x}"
        self._folder = f"{FOLDER}/probe-{session:08x}"

    def start(self, config: Mapping[str, Any]) -> None:
        source = _SOURCE.read_text(encoding="utf-8")
        limit = int(config["limit_s"]) + 5
        script = (
            "umask 077; mkdir -p %s && cd %s && head -c %s > agent.py && cat > config.json && "
            "systemd-run --quiet --collect --unit=%s --property=RuntimeMaxSec=%s --property=TimeoutStopSec=5 "
            "--property=WorkingDirectory=%s --property=StandardError=file:%s "
            "python3 -I -S agent.py config.json ."
        )
        place = self._folder
        words = (place, place, str(len(source.encode())), self._unit, str(limit), place, f"{place}/errors")
        self._node.run(script, *words, data=source + json.dumps(config), timeout=60)

    def wait_ready(self, seconds: float) -> bool:
        script = "n=0; until [ -e %s/ready ]; do n=$((n+1)); [ $n -le %s ] || exit 1; sleep 0.5; done"
        done = self._node.run(
            script, self._folder, str(max(1, round(seconds * 2))), check=False, timeout=seconds * 2 + 10
        )
        return done.ok

    def read(self) -> Logs:
        files = " ".join(_FILES)
        command = (
            f"cd {self._folder} || exit 1; systemctl is-active {self._unit} > state; "
            f"tar -cz --ignore-failed-read --warning=none -f - {files} 2>/dev/null; exit 0"
        )
        line = self._node.argv(command, multiplexed=True)
        try:
            done = subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, timeout=_READ_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise DeadlineError(
                f"{self.name}: the probe's record was not read within {_READ_S:g} s"
            ) from None
        if done.returncode != 0 or not done.stdout:
            raise UnknownError(f"{self.name}: the probe's record could not be read from {self._folder}")
        return _unpack(_untar(done.stdout), self.name)

    def stop(self) -> None:
        self._node.run("systemctl stop %s", f"{self._unit}.service", check=False, timeout=30)

    def clear(self) -> None:
        self._node.run("rm -rf %s", self._folder, check=False)

    def clock(self) -> tuple[int, int]:
        best: tuple[int, int] | None = None
        for _ in range(_CLOCK_TRIES):
            before = time.monotonic_ns()
            text = self._node.run("cat /proc/uptime").stdout
            after = time.monotonic_ns()
            remote = int(float(text.split()[0]) * 1e9)
            half = (after - before) // 2
            if best is None or half < best[1]:
                best = (remote - before - half, half)
            if half < _CLOCK_GOOD_NS:
                break
        assert best is not None
        return best


class LocalHost:
    """An agent beside the harness, so that a path may start or end at the controller. `prefix`: command
    put before it.
    """

    def __init__(self, name: str = "controller", prefix: Sequence[str] = ()) -> None:
        self.name = name
        self._prefix = tuple(prefix)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, config: Mapping[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rackproof-probe-"))
        (self._folder / "config.json").write_text(json.dumps(config), encoding="ascii")
        line = [*self._prefix, sys.executable, "-I", "-S", str(_SOURCE)]
        line += [str(self._folder / "config.json"), str(self._folder)]
        with (self._folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (self._place() / "ready").exists():
                return True
            if self._running().poll() is not None:
                return False
            time.sleep(0.05)
        return False

    def read(self) -> Logs:
        state = "active" if self._running().poll() is None else "inactive"
        folder = self._place()
        files = {name: (folder / name).read_bytes() for name in _FILES if (folder / name).exists()}
        return _unpack({**files, "state": state.encode()}, self.name)

    def stop(self) -> None:
        process = self._running()
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_STOP_S)

    def clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def clock(self) -> tuple[int, int]:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns(), 0

    def _place(self) -> Path:
        if self._folder is None:
            raise UnknownError(f"{self.name}: the probe was never started")
        return self._folder

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise UnknownError(f"{self.name}: the probe was never started")
        return self._process


def local_address(towards: str) -> str:
    """The controller's own address on the way to `towards`; asks the kernel's routing table, sends nothing.

    Raises `UnknownError` where there is no route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((towards, 9))
        except OSError as error:
            raise UnknownError(f"the controller has no route to {towards}: {error.strerror}") from None
        return str(sock.getsockname()[0])


def _untar(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                files[member.name] = file.read()
    return files


def _unpack(files: Mapping[str, bytes], where: str) -> Logs:
    """Logs from an agent's files; half a record at the end of one is left out."""
    ticks = [stamp for (stamp,) in _records(probe_agent.TICK, files.get("ticks.bin", b""))]
    arrivals: dict[int, list[tuple[int, int]]] = {}
    for _, path, sequence, _, tick in _records(probe_agent.ARRIVAL, files.get("arrivals.bin", b"")):
        arrivals.setdefault(path, []).append((sequence, tick))
    if "started" not in files:
        said = files.get("errors", b"").decode("utf-8", "replace").strip().splitlines()
        why = said[-1] if said else "it did not start, or its time limit was over"
        raise UnknownError(f"{where}: the probe has no record: {why}")
    started = json.loads(files["started"])
    done = json.loads(files.get("done", b"{}") or b"{}")
    ended = done.get("how")
    if ended is None and files.get("state", b"").strip() != b"active":
        ended = "lost"
    return Logs(
        ticks, arrivals, ended, int(started["boot_ns"]) - int(started["mono_ns"]), int(done.get("unsent", 0))
    )


def _records(shape: struct.Struct, data: bytes) -> list[tuple[Any, ...]]:
    whole = len(data) - len(data) % shape.size
    return list(shape.iter_unpack(data[:whole]))
