"""Writes and reads the ledger's records on one host: run there as a program of its own, fed by its standard
input.

It is sent to nodes as it stands, with `ledger_record` and `ledger_stores`. The controller speaks JSON lines:
a configuration first, then commands (`do`: write, stop, read, clear, ping). Each answer is a JSON line (`k`
says of what kind) that leaves at once, so that what was acknowledged is known elsewhere before the next write
begins, and a dead node takes no acknowledged record with it.

Each target has a thread of its own: where one hangs, the other goes on. One write at a time is outstanding on
a target. The agent ends when its input ends, when nothing came for `quiet_s`, and after `limit_s`; it never
waits for a hanging thread. Stamps are this host's CLOCK_MONOTONIC in ns.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import select
import sys
import threading
import time
from typing import Any

from chaos.ledger_record import Layout, record, short
from chaos.ledger_stores import STORES

WAKE_S = 0.25
STALL_NS = 250_000_000  # a wake later than this is told: the host itself stood still
STUCK_S = 3.0  # a read that takes longer no longer holds up the next one
READERS = 8
LEAVE_S = 5.0  # to close clients in order: what a dead one held is held for a while
GONE = (9, 107, 108)  # EBADF, ENOTCONN, ESHUTDOWN: the client was evicted, only a new one helps


class Agent:
    """Takes commands and runs each in threads of its own, one for each target."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.targets: list[str] = config["targets"]
        self.name = str(config["name"])
        self.ledger = bytes.fromhex(config["ledger"])
        self.seed = int(config["seed"])
        self.layout = Layout(**config["layout"])
        self.interval_ns = int(config["interval_ns"])
        self.ceph: dict[str, Any] = config["ceph"]
        self.quiet_ns = int(float(config["quiet_s"]) * 1e9)
        self.until = time.monotonic_ns() + int(float(config["limit_s"]) * 1e9)
        self.stopping = threading.Event()
        self.telling = threading.Lock()
        self.open: list[tuple[int, int] | None] = [None] * len(self.targets)
        self.abandoned: list[Any] = []  # clients that were evicted: to close one may hang
        self.opened: dict[int, Any] = {}
        self.threads: list[threading.Thread] = []

    def tell(self, kind: str, **facts: Any) -> None:
        """One line to the controller, at once; where nobody listens any more the agent ends."""
        line = json.dumps({"k": kind, **facts}, separators=(",", ":")).encode() + b"\n"
        try:
            with self.telling:
                while line:
                    line = line[os.write(1, line) :]
        except OSError:
            os._exit(3)

    def store(self, number: int) -> Any:
        """A fresh client of a target."""
        kind, _, place = self.targets[number].partition(":")
        return STORES[kind](place, self.name, self.layout, self.ceph)

    def write(self, number: int) -> None:
        """Write records one after the other until told to stop."""
        stage = "connect"
        try:
            store = self.store(number)
            store.connect()
            stage = "open"
            self.sweep(number, store)
            store.open("new")
        except Exception as error:  # noqa: BLE001 - the bindings raise what is no OSError
            self.tell("trouble", t=number, stage=stage, why=_why(error))
            return
        self.tell("ready", t=number)
        sequence, known, due = 0, dict[int, int](), time.monotonic_ns()
        while not self.stopping.wait(max(0, due - time.monotonic_ns()) / 1e9):
            begun = time.monotonic_ns()
            self.open[number] = (sequence, begun)
            try:
                self.one(number, store, sequence, known)
            except Exception as error:  # noqa: BLE001
                self.tell("failed", t=number, n=sequence, s=begun, e=time.monotonic_ns(), why=_why(error))
                store = self.again(number, store, error)
            sequence += 1
            due = max(due + self.interval_ns, time.monotonic_ns())
        self.open[number] = None
        self.tell("end", t=number, n=sequence)
        with contextlib.suppress(Exception):
            store.close()
        self.tell("closed", t=number)

    def one(self, number: int, store: Any, sequence: int, known: dict[int, int]) -> None:
        """Read what is about to be overwritten, write, and tell of both."""
        begun = time.monotonic_ns()
        slot = self.layout.slot(sequence)
        offset = self.layout.offset(slot)
        facts: dict[str, Any] = {}
        if slot in known:
            was = store.read(offset, self.layout.block)
            facts["was"] = short(was)
            if was != record(self.ledger, self.seed, number, known[slot], self.layout):
                facts["found"] = base64.b64encode(was).decode()
        data = record(self.ledger, self.seed, number, sequence, self.layout)
        start = time.monotonic_ns()
        self.open[number] = (sequence, start)
        store.write(offset, data)
        end = time.monotonic_ns()
        known[slot] = sequence
        self.open[number] = None
        self.tell("ack", t=number, n=sequence, b=begun, s=start, e=end, **facts)

    def again(self, number: int, store: Any, error: Exception) -> Any:
        """After an error: a new client where the old one was evicted, else the old one; never in a hurry."""
        self.stopping.wait(max(0.2, self.interval_ns / 1e9))
        if getattr(error, "errno", None) not in GONE:
            return store
        try:
            fresh = self.store(number)
            fresh.connect()
            fresh.open("again")
        except Exception as trouble:  # noqa: BLE001
            self.tell("note", t=number, why=f"no new client: {_why(trouble)}")
            return store
        self.abandoned.append(store)
        self.tell("note", t=number, why=f"a new client after {_why(error)}")
        return fresh

    def sweep(self, number: int, store: Any) -> None:
        """Remove what killed runs left; what is still in use stays for the next time."""
        for name in store.names():
            if name == self.name:
                continue
            try:
                store.remove(name)
                self.tell("swept", t=number, name=name)
            except Exception as error:  # noqa: BLE001
                self.tell("note", t=number, why=f"{name} stays: {_why(error)}")

    def read(self, number: int, used: int, seconds: float) -> None:
        """Read all slots back and send them; what cannot be read within `seconds` is told too."""
        until = time.monotonic() + seconds
        runs = list(self.layout.runs(used))
        done: queue.Queue[tuple[int, bytes | str]] = queue.Queue()
        stage = ["connect"]
        threading.Thread(target=self._opened, args=(number, stage, done), daemon=True).start()
        try:
            _, opened = done.get(timeout=seconds)
        except queue.Empty:
            opened = f"not within {seconds:g} s"
        if opened != b"":
            self.tell("unopened", t=number, stage=stage[0], why=opened)
            return
        store = self.opened[number]
        waiting: queue.Queue[int] = queue.Queue()
        for run in range(len(runs)):
            waiting.put(run)
        left = set(range(len(runs)))

        def work() -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    run = waiting.get_nowait()
                    first, count = runs[run]
                    try:
                        done.put((run, store.read(self.layout.offset(first), count * self.layout.block)))
                    except Exception as error:  # noqa: BLE001
                        done.put((run, _why(error)))

        for _ in range(READERS):
            threading.Thread(target=work, daemon=True).start()
        while left and time.monotonic() < until:
            try:
                run, data = done.get(timeout=min(STUCK_S, max(0.01, until - time.monotonic())))
            except queue.Empty:
                threading.Thread(target=work, daemon=True).start()  # in place of one that hangs
                continue
            left.discard(run)
            self.told(number, runs[run], data)
        for run in sorted(left):
            self.told(number, runs[run], f"not read within {seconds:g} s")
        self.tell("read", t=number, hung=len(left))
        if not left:
            with contextlib.suppress(Exception):
                store.close()

    def _opened(self, number: int, stage: list[str], done: queue.Queue[tuple[int, bytes | str]]) -> None:
        try:
            store = self.store(number)
            store.connect()
            stage[0] = "open"
            store.open("read")
            self.opened[number] = store
            done.put((0, b""))
        except Exception as error:  # noqa: BLE001
            done.put((0, _why(error)))

    def told(self, number: int, run: tuple[int, int], data: bytes | str) -> None:
        """What one run of slots holds, or why it cannot be read."""
        if isinstance(data, str):
            self.tell("unread", t=number, slot=run[0], count=run[1], why=data)
        else:
            self.tell("blocks", t=number, slot=run[0], data=base64.b64encode(data).decode())

    def clear(self, number: int, seconds: float) -> None:
        """Remove our own image or file, and what killed runs left; an image is busy for a while where its
        writer died.
        """
        until = time.monotonic() + seconds
        try:
            store = self.store(number)
            store.connect()
            while True:
                try:
                    store.remove(self.name)
                    break
                except Exception:
                    if time.monotonic() > until:
                        raise
                    time.sleep(2)
            self.sweep(number, store)
        except Exception as error:  # noqa: BLE001
            self.tell("left", t=number, why=_why(error))
            return
        self.tell("cleared", t=number)
        with contextlib.suppress(Exception):
            store.close()

    def obey(self, command: dict[str, Any]) -> None:
        """Begin what a command asks; `ping` is answered at once."""
        what = command["do"]
        if what == "ping":
            self.tell("pong", n=command["n"], at=time.monotonic_ns())
            return
        if what == "stop":
            self.stopping.set()
            return
        for number in range(len(self.targets)):
            arguments = {
                "write": (),
                "read": (int(command.get("used", [0] * 99)[number]), float(command.get("seconds", 0))),
                "clear": (float(command.get("seconds", 0)),),
            }[what]
            thread = threading.Thread(target=getattr(self, what), args=(number, *arguments), daemon=True)
            self.threads.append(thread)
            thread.start()

    def run(self) -> None:
        """Take commands until the input ends or time is over."""
        rest, heard, beat = b"", time.monotonic_ns(), 0
        while True:
            before = time.monotonic_ns()
            ready, _, _ = select.select([0], [], [], WAKE_S)
            now = time.monotonic_ns()
            late = now - before - int(WAKE_S * 1e9)
            if late > STALL_NS:
                self.tell("stall", s=before, e=now)
            if ready:
                data = os.read(0, 65536)
                if not data:
                    return
                heard = now
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))
            if now - beat > 1_000_000_000:
                beat = now
                self.tell("beat", at=now, open=list(self.open))
            if now > self.until or now - heard > self.quiet_ns:
                return


def _why(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text[-300:]


def main(first: bytes) -> None:
    """Run the agent that the first line describes."""
    agent = Agent(json.loads(first))
    agent.run()
    agent.stopping.set()
    until = time.monotonic() + LEAVE_S
    for thread in agent.threads:
        thread.join(timeout=max(0.0, until - time.monotonic()))
    os._exit(0)  # threads that hang in a library must not keep the process


if __name__ == "__main__":
    line = bytearray()
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or sys.exit(3)
    main(bytes(line))
