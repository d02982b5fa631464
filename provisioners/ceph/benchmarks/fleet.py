"""A fio server on every node and one client that drives them all at once, with no port open to anybody.

A fio server asks nobody who he is and runs what it is told as root, so it listens on a Unix socket in a
folder that only root may enter (fio makes the socket itself open to all). SSH connections of the controller,
whose host keys are checked, carry the sockets of the other nodes to the node that the client runs on. What
ends servers and images if we die is a timer on each node, armed before anything is started.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from cluster import deadman
from cluster.errors import RackproofError, UnknownError

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.node import Gathered

FOLDER = "/run/rackproof-bench"
SERVER = f"{FOLDER}/server.sock"
CLIENT = f"{FOLDER}/client"
UNIT = "rackproof-fio"
SWITCH = f"{deadman.PREFIX}benchmark"
LISTEN_S = 60
RELAY_S = 60.0
ROUND_S = 60.0
"""Beside its own deadline, what writing the job files and reading the report may take."""

_SERVE = f"""\
section serve
systemctl stop {UNIT}.service 2>/dev/null
rm -rf {FOLDER}; umask 077; mkdir -p {CLIENT} || exit 1
command -v fio >/dev/null || {{ echo "fio is not installed" >&2; exit 1; }}
systemd-run --quiet --collect --unit={UNIT} --property=RuntimeMaxSec=@limit@ \\
  --property=WorkingDirectory={FOLDER} fio --server=sock:{SERVER} || exit 1
n=0
until [ -S {SERVER} ]; do
  n=$((n + 1)); [ $n -le {LISTEN_S} ] || {{ echo "fio did not listen within {LISTEN_S} s" >&2; exit 1; }}
  sleep 1
done
"""
STOP = f"systemctl stop {UNIT}.service 2>/dev/null\n"


@dataclass(frozen=True)
class Answer:
    """What one drive of all servers gave: fio's words, and the bandwidth logs by node."""

    report: str
    rc: int
    errors: str
    logs: Mapping[str, str]


class Fleet:
    """fio on the named nodes. A context manager: servers are stopped and switches disarmed whatever happens.

    `clean` gives the script (POSIX sh) that removes what else the benchmark has put on a node; it is run at
    the end, and by the node itself `limit_s` seconds after the start if nobody else has.
    """

    def __init__(
        self, cluster: Cluster, names: tuple[str, ...], limit_s: float, clean: Callable[[str], str]
    ) -> None:
        if not names:
            raise UnknownError("a benchmark needs a node")
        self.cluster = cluster
        self.names = names
        self.driver = names[0]
        self._limit_s = limit_s
        self._clean = clean
        self._folder: Path | None = None
        self._relays: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def clients(self) -> dict[str, str]:
        """Each node by the name that fio's client gives its server."""
        return {f"{name}.sock": name for name in self.names}

    def __enter__(self) -> Fleet:
        try:
            self._each(self._serve, "a fio server could not be started")
            self._open_relays()
        except BaseException:
            with contextlib.suppress(RackproofError):
                self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(RackproofError):  # the first error is the one to be told
            self.close()

    def drive(self, jobs: Mapping[str, str], log: str, deadline_s: float) -> Answer:
        """Run each node's job file at the same time; `log` is the prefix of the bandwidth logs.

        Raises UnknownError where the client could not be run at all, DeadlineError, UnreachableError.
        """
        if set(jobs) != set(self.names):
            raise UnknownError(f"job files for {sorted(jobs)}, expected {sorted(self.names)}")
        self._alive()
        answer = self.cluster.nodes[self.driver].gather(
            drive_script(jobs, log, deadline_s), deadline_s + ROUND_S
        )
        if answer.rc.get("fio") in (124, 137):
            raise UnknownError(f"fio did not end within {deadline_s:g} s: {answer.get('fio', '')[-300:]}")
        errors = answer.get("fio", "") + answer.errors.get("fio", "")
        logs = {name: answer.get(f"log:{name}", "") for name in self.names}
        return Answer(answer.get("report", ""), answer.rc.get("fio", 127), errors, logs)

    def close(self) -> None:
        """Stop servers and relays, clean the nodes, disarm the switches. Raises UnknownError for a node where
        that failed: its own switch then does it later.
        """
        for relay in self._relays.values():
            relay.kill()
        for relay in self._relays.values():
            relay.wait(10)
        self._relays.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._each(self._leave, "the benchmark could not be taken away")

    def clean_script(self, name: str) -> str:
        """What takes the benchmark off a node; may be run at any time and again."""
        return f"{STOP}{self._clean(name)}rm -rf {FOLDER}\n"

    def _serve(self, name: str) -> None:
        node = self.cluster.nodes[name]
        deadman.arm(node, SWITCH, self._limit_s, self.clean_script(name))
        answer = node.gather(_SERVE.replace("@limit@", f"{self._limit_s:.0f}"), LISTEN_S + ROUND_S)
        _succeeded(name, answer, "serve")

    def _leave(self, name: str) -> None:
        node = self.cluster.nodes[name]
        node.run(f"set +e\n{self.clean_script(name)}true", timeout=300)
        deadman.disarm(node, SWITCH)

    def _open_relays(self) -> None:
        others = self.names[1:]
        run = f"ln -s {SERVER} {CLIENT}/{self.driver}.sock"
        self.cluster.nodes[self.driver].run(run)
        if not others:
            return
        self._folder = Path(tempfile.mkdtemp(prefix="rackproof-fio-"))
        for name in others:
            self._relays[name] = self._ssh(name, [f"LocalForward={self._folder}/{name}.sock {SERVER}"])
        for name in others:
            self._wait_for(name, lambda name=name: (self._local(name)).exists())  # type: ignore[misc]
        back = [f"RemoteForward={CLIENT}/{name}.sock {self._local(name)}" for name in others]
        self._relays[self.driver] = self._ssh(self.driver, back)
        tests = " && ".join(f"[ -S {CLIENT}/{name}.sock ]" for name in others)
        self._wait_for(
            self.driver, lambda: self.cluster.nodes[self.driver].run(tests, check=False, timeout=30).ok
        )

    def _local(self, name: str) -> Path:
        if self._folder is None:
            raise UnknownError("the sockets' folder is gone")
        return self._folder / f"{name}.sock"

    def _ssh(self, name: str, forwards: list[str]) -> subprocess.Popen[bytes]:
        """A connection that lives as long as its standard input, which dies with us."""
        line = self.cluster.nodes[name].argv(
            "exec cat >/dev/null", options=("ExitOnForwardFailure=yes", *forwards)
        )
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe)

    def _wait_for(self, name: str, there: Callable[[], bool]) -> None:
        until = time.monotonic() + RELAY_S
        while not there():
            self._alive()
            if time.monotonic() > until:
                raise UnknownError(f"{name}: its fio server could not be reached by SSH within {RELAY_S:g} s")
            time.sleep(0.5)

    def _alive(self) -> None:
        for name, relay in self._relays.items():
            if relay.poll() is not None:
                said = relay.stderr.read().decode("utf-8", "replace") if relay.stderr else ""
                raise UnknownError(
                    f"{name}: the SSH connection to its fio server ended:"
                    f" {said.strip()[-300:] or 'no reason given'}"
                )

    def _each(self, call: Callable[[str], None], what: str) -> None:
        failed = [
            f"{name}: {error}"
            for name, error in self.cluster.each(call, self.names).items()
            if isinstance(error, RackproofError)
        ]
        if failed:
            raise UnknownError(f"{what}: {'; '.join(failed)}")


def drive_script(jobs: Mapping[str, str], log: str, deadline_s: float, folder: str = CLIENT) -> str:
    """One script for the driving node: job files, fio's client, its report and logs as sections.

    Sockets are named relative to the folder: fio names each log after its server, and a path is no name.
    """
    lines = [f"cd {folder} || exit 1", f"rm -f ./*.fio ./{log}*.log.* report.json"]
    words = []
    for name, text in jobs.items():
        lines.append(f"cat > {name}.fio <<'END-OF-JOB'\n{text.rstrip()}\nEND-OF-JOB")
        words.append(f"--client=sock:{name}.sock {name}.fio")
    lines += [
        "section fio",
        f"timeout -k 5 {deadline_s:.0f} fio --eta=never --output-format=json+ --output=report.json"
        f" {' '.join(words)} 2>&1",
        "section report",
        "cat report.json",
    ]
    for name in jobs:
        lines += [f"section log:{name}", f"cat {log}_bw.*.log.{name}.sock 2>/dev/null"]
    return "\n".join(lines)


def _succeeded(name: str, answer: Gathered, section: str) -> None:
    if answer.rc.get(section) != 0:
        said = answer.errors.get(section, "").strip() or answer.get(section, "").strip() or "no reason given"
        raise UnknownError(f"{name}: {said[-300:]}")
