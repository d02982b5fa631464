"""Script, parser and judgement with real fio: two servers on Unix sockets, files instead of images."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.errors import UnknownError
from cluster.site_services import Benchmark
from provisioners.ceph.benchmarks import jobs, parse, steady
from provisioners.ceph.benchmarks.fleet import drive_script
from provisioners.ceph.benchmarks.jobs import Image

pytestmark = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed on this machine")

NODES = ("node1", "node2")
CLIENTS = {f"{name}.sock": name for name in NODES}
TABLE = Benchmark.model_validate(
    {
        "ramp": "3s",
        "runtime": "5s",
        "repeats": 1,
        "image_size": "16MiB",
        "jobs": 2,
        "depth": 4,
        "latency_depth": 2,
        "sequential_depth": 2,
        "sequential_block": "1MiB",
    }
)
LISTEN_S = 10.0


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """fio servers by node, in groups of their own; all killed at the end."""
    running = {}
    for name in NODES:
        running[name] = subprocess.Popen(
            ["fio", f"--server=sock:{tmp_path / name}.sock"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    until = time.monotonic() + LISTEN_S
    while not all((tmp_path / f"{name}.sock").exists() for name in NODES):
        assert time.monotonic() < until, f"fio did not listen within {LISTEN_S:g} s"
        time.sleep(0.05)
    yield running
    for server in running.values():
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            server.wait(10)


def on_files(text: str, file: Path) -> str:
    """The job as it stands, on a file: only the engine and the target are others."""
    kept = [line for line in text.splitlines() if not line.startswith(("ioengine=", "filename=", "direct="))]
    return "\n".join([*kept, "ioengine=psync", f"filename={file}", ""])


def drive(folder: Path, text: str, wait_s: float = 60) -> dict[str, str]:
    """Run the driving node's script here; its sections, the exit status of fio as `rc`."""
    files = {name: on_files(text, folder / f"{name}.data") for name in NODES}
    script = drive_script(files, jobs.LOG, wait_s, str(folder))
    mark = "section() { printf '\\n==%s==%s\\n' $? \"$1\"; }\n"
    done = subprocess.run(
        ["sh", "-s"], input=mark + script, capture_output=True, text=True, timeout=wait_s + 20, check=False
    )
    pieces = re.split(r"\n==(\d+)==(\S+)\n", done.stdout)
    found = dict(zip(pieces[2::3], pieces[3::3], strict=True))
    return {**found, "rc": pieces[pieces.index("report") - 1]}


def read(found: dict[str, str], directions: tuple[str, ...], runtime_s: float | None) -> parse.Result:
    return parse.read(
        found["report"],
        int(found["rc"]),
        found["fio"],
        clients=CLIENTS,
        directions=directions,
        runtime_s=runtime_s,
    )


IMAGE = Image("rbd", "node1", "kernel")


def test_a_fill_and_a_mixed_load_on_two_servers_at_once(
    tmp_path: Path, servers: dict[str, subprocess.Popen[bytes]]
) -> None:
    filled = drive(tmp_path, jobs.prefill(TABLE, IMAGE, "/dev/rbd0"))
    moved = {name: p["write"].moved for name, p in read(filled, ("write",), None).nodes.items()}
    assert moved == dict.fromkeys(NODES, jobs.slice_of(TABLE) * TABLE.jobs)
    assert all((tmp_path / f"{name}.data").stat().st_size == 16 * 2**20 for name in NODES)

    mixed = jobs.profiles(TABLE)[-1]
    found = drive(tmp_path, jobs.job(TABLE, mixed, IMAGE, "/dev/rbd0"))
    result = read(found, mixed.directions, TABLE.runtime)
    assert set(result.nodes) == set(NODES)
    assert result.iops > 0
    assert parse.percentile(result.bins, 50) <= parse.percentile(result.bins, 99.9)
    reads = sum(parts["read"].ios for parts in result.nodes.values())
    writes = sum(parts["write"].ios for parts in result.nodes.values())
    assert reads / (reads + writes) == pytest.approx(0.7, abs=0.05)
    seconds = steady.per_second(found[f"log:{name}"] for name in NODES)
    assert 4 <= len(seconds) <= 7  # with the ramp in it there were eight; a late processor moves an edge
    assert sum(seconds[:5]) / 5 == pytest.approx(result.bytes_per_second, rel=0.5)


def test_a_server_that_is_gone_is_no_result(
    tmp_path: Path, servers: dict[str, subprocess.Popen[bytes]]
) -> None:
    os.killpg(servers["node2"].pid, signal.SIGKILL)
    servers["node2"].wait(10)
    large = jobs.profiles(TABLE)[0]
    found = drive(tmp_path, jobs.job(TABLE, large, IMAGE, "/dev/rbd0"))
    assert found["rc"] == "0"  # fio is content with the servers that are left
    with pytest.raises(UnknownError, match=r"fio has no result of node2: .*Connection refused"):
        read(found, large.directions, TABLE.runtime)
