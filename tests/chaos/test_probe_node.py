"""An agent on a node: what is sent there, run by a real shell in place of SSH, dies by itself and is read
back.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import probe_hosts
from chaos.probe import Path as Way
from chaos.probe import ProbeMesh
from chaos.probe_hosts import LocalHost, NodeHost, local_address
from cluster.errors import UnknownError
from cluster.node import Result
from tests.chaos.conftest import Wire

RUN = """#!/bin/sh
# stands in for systemd-run: keeps the unit's name, changes to its folder, runs the command behind its back
for word; do case $word in
--unit=*) unit=${word#--unit=};;
--property=WorkingDirectory=*) cd "${word#--property=WorkingDirectory=}" || exit 1;;
--property=RuntimeMaxSec=*) limit=${word#--property=RuntimeMaxSec=};;
--*) ;;
*) break;; esac; shift; done
timeout "$limit" "$@" >/dev/null 2>&1 & echo $! > "$UNITS/$unit"
"""
CTL = """#!/bin/sh
unit=${2%.service}; pid=$(cat "$UNITS/$unit" 2>/dev/null)
alive() { readlink /proc/$pid/exe >/dev/null; }  # a dead process that nobody has reaped has none
case $1 in
is-active) if alive; then echo active; else echo inactive; exit 3; fi;;
stop) kill "$pid" 2>/dev/null; n=0; while alive && [ $n -lt 50 ]; do n=$((n+1)); sleep 0.1; done;;
esac
"""


class ShellNode:
    """A node whose commands run here, in a namespace, with fake systemd programs first in PATH."""

    def __init__(self, folder: Path, prefix: tuple[str, ...]) -> None:
        self.name = "left"
        self._prefix = prefix
        (folder / "bin").mkdir()
        (folder / "units").mkdir()
        for name, text in (("systemd-run", RUN), ("systemctl", CTL)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self._env = {
            **os.environ,
            "UNITS": str(folder / "units"),
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
        }

    def run(
        self, command: str, *args: str, timeout: float = 30, check: bool = True, data: str | None = None
    ) -> Result:
        line = command % tuple(shlex.quote(arg) for arg in args) if args else command
        done = subprocess.run(
            [*self._prefix, "sh", "-c", line],
            input=data or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
            env=self._env,
        )
        return Result(done.returncode, done.stdout, done.stderr, 0.0)

    def argv(self, command: str, *, multiplexed: bool = False, options: tuple[str, ...] = ()) -> list[str]:
        words = [f"{key}={self._env[key]}" for key in ("UNITS", "PATH")]
        return ["env", *words, *self._prefix, "sh", "-c", command]


@pytest.fixture
def probes(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProbeMesh]:
    monkeypatch.setattr(probe_hosts, "FOLDER", str(tmp_path / "run"))
    node = NodeHost(ShellNode(tmp_path, wire.prefix(wire.left)), 0x1234)  # type: ignore[arg-type]
    yield ProbeMesh(
        None,
        [Way("left", "right"), Way("right", "left")],
        0.01,
        20,
        hosts={"left": node, "right": LocalHost("right", wire.prefix(wire.right))},
        addresses=wire.addresses,
    )


def test_it_runs_measures_and_leaves_nothing(probes: ProbeMesh, wire: Wire, tmp_path: Path) -> None:
    with probes:
        assert (tmp_path / "run" / "probe-00001234" / "agent.py").exists()
        time.sleep(0.6)
        begin = time.monotonic()
        wire.cut()
        cut = time.monotonic()
        time.sleep(0.3)
        wire.join()
        joined = time.monotonic()
        time.sleep(1.2)
        assert probes.report().unknown == {}
    found = [outage for outage in probes.stop().certain() if outage.least_s > 0]
    assert {outage.path for outage in found} == {"left → right", "right → left"}
    for outage in found:
        assert 0.295 <= outage.seconds <= joined - begin + outage.resolution_s + 0.03
        assert begin - 0.1 < outage.start_s < cut + 0.1
    assert list((tmp_path / "run").iterdir()) == []


def test_an_agent_that_is_gone_is_unknown(probes: ProbeMesh, tmp_path: Path) -> None:
    with probes:
        time.sleep(0.6)
        unit = tmp_path / "units" / "rackproof-probe-00001234"
        subprocess.run(["pkill", "-KILL", "-P", unit.read_text().strip()], check=True, timeout=10)
        time.sleep(0.3)
    with pytest.raises(UnknownError, match="left ended before it was told to"):
        probes.outages()


def test_a_record_that_cannot_be_had_is_unknown(probes: ProbeMesh, tmp_path: Path) -> None:
    with probes:
        time.sleep(0.3)
        for file in (tmp_path / "run" / "probe-00001234").iterdir():
            file.unlink()
    with pytest.raises(UnknownError, match="left"):
        probes.outages()


def test_the_controller_s_own_address_is_the_one_towards_the_target() -> None:
    assert local_address("127.0.0.9") == "127.0.0.1"
