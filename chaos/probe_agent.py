"""Watches paths from one host: run there as a program of its own, `python3 probe_agent.py CONFIG FOLDER`.

It needs nothing but the standard library, because it is sent to nodes as it stands. Every `interval_ns`
it wakes once, sends one datagram down each of its paths and empties its socket: one wake, one clock
reading, however many paths. That is what keeps it affordable on an emulated node, where Python is twenty
times slower.

CONFIG is JSON: session (int), bind (address), port, interval_ns, limit_s, send ([[path number, address],
...]), expect ([path number, ...]), ready (arrivals on each expected path before the file `ready`
appears), flush_ticks. FOLDER receives `started` (its clocks), `ticks.bin` (one record a wake),
`arrivals.bin` (one record a datagram), `ready`, and at the end `done`; at its
time limit it removes FOLDER.

A tick's number is the sequence number of all datagrams sent in it. The stamp is this host's
CLOCK_MONOTONIC in ns; it is never compared with another host's clock. A late wake skips ticks and never
sends bursts, so a stall leaves a gap between stamps but none between sequence numbers.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

DATAGRAM = struct.Struct("<IIIq")  # session, path, sequence, sender's stamp
TICK = struct.Struct("<q")  # stamp
ARRIVAL = struct.Struct("<IIIqI")  # the datagram as it came, and the receiver's tick
_DRAIN_LIMIT = 512  # datagrams a tick: a flood must not keep the sender from its clock


class Agent:
    """The loop and its logs. Logs are handed to the kernel every `flush_ticks`, so a killed agent leaves
    what it knew.
    """

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        self.interval_ns = int(config["interval_ns"])
        self.limit_ns = int(float(config["limit_s"]) * 1e9)
        self.flush_ticks = int(config["flush_ticks"])
        self.ready = int(config["ready"])
        self.session = int(config["session"])
        self.mine = struct.pack("<I", self.session)
        self.waiting = {int(path): 0 for path in config["expect"]}
        self.stopped = False
        self.unsent = 0
        self.foreign = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        _deepen(self.sock)
        self.sock.bind((config["bind"], int(config["port"])))
        self.ways = [
            (int(path), _way(config["bind"], (address, int(config["port"]))))
            for path, address in config["send"]
        ]

    def stop(self, *_: object) -> None:
        """Signal handler: the loop ends at its next tick."""
        self.stopped = True

    def drain(self, tick: int, log: bytearray) -> None:
        """Record what has arrived since the last tick; the kernel has queued it meanwhile."""
        receive, size, session, mark = self.sock.recv, DATAGRAM.size, self.mine, struct.pack("<I", tick)
        for _ in range(_DRAIN_LIMIT):
            try:
                data = receive(64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error that the kernel hands to this socket
            if len(data) != size or not data.startswith(session):
                self.foreign += 1
                continue
            log += data
            log += mark
            if self.waiting:
                self._arrived(DATAGRAM.unpack(data)[1])

    def _arrived(self, path: int) -> None:
        if path not in self.waiting:
            return
        self.waiting[path] += 1
        if self.waiting[path] >= self.ready:
            del self.waiting[path]
            if not self.waiting:
                self.mark("ready", "")

    def _again(self, send: Callable[[bytes], int], data: bytes) -> None:
        """A connected socket reports an error of an earlier datagram instead of sending this one: try
        once more.
        """
        try:
            send(data)
        except OSError:
            self.unsent += 1  # no route, no carrier, full queue: to the path it is a loss

    def mark(self, name: str, text: str) -> None:
        """Write a small file of the folder in one step, so that a reader never sees half of it."""
        half = self.folder / f"{name}.new"
        half.write_text(text, encoding="ascii")
        half.replace(self.folder / name)

    def run(self) -> str:
        """Loop until stopped or out of time; returns which of the two it was."""
        ticks, arrivals = bytearray(), bytearray()
        clock, sleep, pack = time.monotonic_ns, time.sleep, DATAGRAM.pack
        interval, session = self.interval_ns, self.session
        with _log(self.folder / "ticks.bin") as tick_file, _log(self.folder / "arrivals.bin") as arrival_file:
            if not self.waiting:
                self.mark("ready", "")
            due = clock()
            until = due + self.limit_ns
            tick = 0
            while not self.stopped and due < until:
                now = clock()
                if now < due:
                    sleep((due - now) / 1e9)
                    now = clock()
                due += interval
                if due <= now:
                    due = now + interval
                for path, send in self.ways:
                    try:
                        send(pack(session, path, tick, now))
                    except OSError:
                        self._again(send, pack(session, path, tick, now))
                ticks += TICK.pack(now)
                self.drain(tick, arrivals)
                tick += 1
                # arrivals first: a tick that can be read vouches for its arrivals
                if tick % self.flush_ticks == 0:
                    _flush(arrivals, arrival_file)
                    _flush(ticks, tick_file)
            _flush(arrivals, arrival_file)
            _flush(ticks, tick_file)
        return "stopped" if self.stopped else "limit"


def _way(source: str, target: tuple[str, int]) -> Callable[[bytes], int]:
    """What sends down one path: a connected socket, so that the kernel looks its route up once."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((source, 0))
    sock.connect(target)
    return sock.send


def _deepen(sock: socket.socket) -> None:
    """A receive buffer that outlasts a stall of many seconds: as root beyond net.core.rmem_max, else up
    to it.
    """
    force = getattr(socket, "SO_RCVBUFFORCE", 33)  # Linux; Python names it from 3.13 on
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, 1 << 22)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)


def _log(path: Path) -> BinaryIO:
    return path.open("wb", buffering=0)


def _flush(buffer: bytearray, file: BinaryIO) -> None:
    if buffer:
        file.write(buffer)
        buffer.clear()


def main() -> int:
    """Run the agent that CONFIG describes in FOLDER."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="ascii"))
    agent = Agent(config, Path(sys.argv[2]))
    signal.signal(signal.SIGTERM, agent.stop)
    # an operator's ^C reaches a local agent too; the harness stops it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))  # below Corosync; it sleeps nearly always
    clocks = {"mono_ns": time.monotonic_ns(), "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    agent.mark("started", json.dumps(clocks))
    how = agent.run()
    if how == "limit":  # nobody came back for it
        shutil.rmtree(agent.folder)
        return 0
    agent.mark("done", json.dumps({"how": how, "unsent": agent.unsent, "foreign": agent.foreign}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
