"""The heartbeat of golden guests, for real: busybox on loopback, killed, torn, started again."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from provisioners.guests.root import SCRIPTS

BUSYBOX = shutil.which("busybox") or "busybox"
LIMIT_S = 20.0


@dataclass
class Guest:
    """A guest without a machine: its disk is a file, its network loopback."""

    folder: Path
    port: int
    name: str = "beat-ct"
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def start(self, *words: str, store: Path | None = None) -> subprocess.Popen[bytes]:
        """The counting process, in a group of its own."""
        command = [BUSYBOX, "sh", str(self.folder / "beat"), self.name, str(store or self.store)]
        process = subprocess.Popen(
            [*command, str(self.folder / "www"), *words], start_new_session=True, stderr=subprocess.PIPE
        )
        self.running.append(process)
        return process

    def serve(self) -> None:
        command = [BUSYBOX, "httpd", "-f", "-p", f"127.0.0.1:{self.port}", "-h", str(self.folder / "www")]
        self.running.append(subprocess.Popen(command, start_new_session=True))

    def ask(self) -> dict[str, Any] | None:
        """One heartbeat as a client sees it; None where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/beat")
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.status == 200 else None
        except OSError:
            return None
        finally:
            connection.close()

    def told(self, above: int = 0, boot: str = "") -> dict[str, Any]:
        """The first heartbeat above a count, of another start than `boot`."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            found = self.ask()
            if found is not None and found["counter"] > above and found["boot"] != boot:
                return found
            time.sleep(0.01)
        raise AssertionError(f"no heartbeat above {above} within {LIMIT_S:g} s")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "www").mkdir()
    (tmp_path / "beat").write_bytes(SCRIPTS["beat"])
    made = Guest(tmp_path, port)
    yield made
    for process in made.running:
        if process.poll() is None:
            made.kill(process)
        if process.stderr is not None:
            process.stderr.close()


def record(number: int) -> bytes:
    return f"beat {number} {number} end\n".encode().ljust(512, b"\0")


def test_a_heartbeat_tells_guest_start_host_and_count(guest: Guest) -> None:
    guest.serve()
    guest.start("the-node's-boot-id")
    found = guest.told()
    assert set(found) == {"guest", "boot", "host", "counter"}
    assert (found["guest"], found["host"]) == ("beat-ct", "the-node's-boot-id")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["boot"])
    later = guest.told(above=found["counter"] + 2)
    assert later["boot"] == found["boot"]


def test_it_counts_about_four_times_a_second(guest: Guest) -> None:
    guest.serve()
    guest.start()
    first = guest.told()
    began = time.monotonic()
    last = guest.told(above=first["counter"] + 7)
    assert 0.2 < (time.monotonic() - began) / (last["counter"] - first["counter"]) < 1.0


def test_what_was_told_is_never_told_again_though_it_is_killed_at_any_moment(guest: Guest) -> None:
    guest.serve()
    draw = random.Random(7)
    seen: list[tuple[str, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if found := guest.ask():
                seen.append((found["boot"], found["counter"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    boot = ""
    try:
        for _ in range(12):
            process = guest.start()
            boot = guest.told(above=seen[-1][1] if seen else 0, boot=boot)["boot"]
            time.sleep(draw.uniform(0, 0.3))
            guest.kill(process)
    finally:
        over.set()
        watcher.join()
    counts = [count for _, count in seen]
    assert counts == sorted(counts)
    for earlier, later in itertools.pairwise(seen):
        if earlier[0] != later[0]:
            assert later[1] > earlier[1], "two starts told the same count"
    assert len({boot for boot, _ in seen}) == 12


@pytest.mark.parametrize(
    ("blocks", "goes_on"),
    [
        ((record(8), record(7)), 9),
        ((record(8), record(9)), 10),
        ((record(8), record(9)[:5] + record(7)[5:]), 9),  # the write of 9 was torn after its first bytes
        ((record(8), b"beat 9 9"), 9),
        ((record(8), b"beat 9 9 en"), 9),
        ((b"beat 1000 999 end".ljust(512, b"\0"), record(999)), 1000),
        ((record(8), b"\xff" * 512), 9),
        ((b"", b""), 1),
        ((b"\0" * 512, b"\0" * 512), 1),  # a new disk
        ((b"\0" * 512, b"beat 1".ljust(512, b"\0")), 1),  # the very first write was torn
        ((b"\0" * 512, record(1)), 2),
    ],
)
def test_a_torn_record_is_told_from_a_whole_one(
    guest: Guest, blocks: tuple[bytes, bytes], goes_on: int
) -> None:
    guest.store.write_bytes(b"".join(blocks))
    guest.serve()
    guest.start()
    assert guest.told()["counter"] == goes_on


@pytest.mark.parametrize(
    "blocks",
    [
        (b"beat 8 8 e".ljust(512, b"\0"), b"beat 9 9 e".ljust(512, b"\0")),
        (b"\xff" * 512, b"\0" * 512),
        (b"beat * * end".ljust(512, b"\0"), b"beat -1 -1 end".ljust(512, b"\0")),
    ],
)
def test_where_nothing_whole_is_left_it_does_not_begin_anew(
    guest: Guest, blocks: tuple[bytes, bytes]
) -> None:
    guest.store.write_bytes(b"".join(blocks))
    process = guest.start()
    assert process.wait(LIMIT_S) == 1
    assert process.stderr is not None and b"what was told before is not known" in process.stderr.read()
    assert not (guest.folder / "www" / "beat").exists()
    assert guest.store.read_bytes() == b"".join(blocks)


def test_a_disk_that_cannot_be_read_is_no_new_one(guest: Guest) -> None:
    process = guest.start(store=guest.folder)  # reading a folder fails as reading a broken disk does
    assert process.wait(LIMIT_S) == 1
    assert not (guest.folder / "www" / "beat").exists()


def test_what_cannot_be_stored_is_not_told(guest: Guest) -> None:
    process = guest.start(store=Path("/dev/full"))
    assert process.stderr is not None
    assert b"cannot be written" in process.stderr.readline()
    assert not (guest.folder / "www" / "beat").exists()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_each_count_is_synced_before_it_is_told(guest: Guest, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=write,fsync,rename", BUSYBOX, "sh"]
    command += [str(tmp_path / "beat"), "beat-ct", str(guest.store), str(tmp_path / "www")]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        until = time.monotonic() + LIMIT_S
        while trace.read_text().count("rename(") < 3 if trace.exists() else True:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        guest.kill(process)
    events = re.findall(r'write\(1, "beat \d|fsync\(\d+\)\s+= 0|rename\("', trace.read_text())
    kinds = [event.split("(")[0] for event in events]
    assert kinds[:9] == ["write", "fsync", "rename"] * 3
