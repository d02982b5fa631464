"""Asks guests for their heartbeat from where their networks can be reached: `GET /beat`, again and again.

Standard library only: it is sent to a node as it stands, or runs beside the harness. Fed on its standard
input after its program: one line of configuration in JSON (`guests`: [[name, address, port], ...],
`interval_ns`, `timeout_ns`, `most`, `limit_s`, `quiet_s`), then lines `ping N`. It says `pong N STAMP`, and
for each question `beat JSON`: g guest, a when it was asked, t when it was answered or given up, and either
b boot, n counter, h host, or m why there was no answer. Stamps are ns since this machine started.

Each guest is asked every `interval_ns`, whether or not it has answered; no more than `most` questions to one
guest are open at a time. A late wake leaves questions out and never sends a burst. It ends with its input,
when nobody was heard for `quiet_s`, and after `limit_s`.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import sys
import time
from typing import Any

REQUEST = b"GET /beat HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n"
LONGEST = 4096  # bytes of an answer
WAKE_NS = 200_000_000


def now() -> int:
    """This machine's clock: it goes on while the machine is suspended, and is never set."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def say(line: str) -> None:
    """One line, at once; where nobody reads any more, the program ends."""
    data = line.encode() + b"\n"
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        os._exit(0)


def answer(data: bytes) -> dict[str, Any]:
    """The beat in a whole answer. Raises ValueError with why it is none."""
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("no HTTP")
    if words[1] != b"200":
        raise ValueError(f"HTTP status {words[1].decode('ascii', 'replace')}")
    try:
        told = json.loads(body)
        boot, counter, host = str(told["boot"]), int(told["counter"]), str(told.get("host", ""))
        return {"g": str(told["guest"]), "b": boot, "n": counter, "h": host}
    except (ValueError, KeyError, TypeError):
        raise ValueError("the answer is no heartbeat") from None


class Question:
    """One question that is open."""

    def __init__(self, guest: str, address: str, port: int) -> None:
        self.guest = guest
        self.got = b""
        self.asked = now()
        self.request = REQUEST % address.encode()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        code = self.sock.connect_ex((address, port))
        self.failed = "" if code in (0, errno.EINPROGRESS) else os.strerror(code)

    def ended(self, events: int) -> bool:
        """Go on with it; True once it is answered or has failed."""
        try:
            if self.request and events & selectors.EVENT_WRITE:
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self.failed = os.strerror(code)
                    return True
                self.request = self.request[self.sock.send(self.request) :]
                return False
            more = self.sock.recv(LONGEST)
        except BlockingIOError:
            return False
        except OSError as error:
            self.failed = error.strerror or str(error)
            return True
        self.got += more
        return not more or len(self.got) > LONGEST

    def told(self) -> str:
        """The line about it, which has ended."""
        facts: dict[str, Any] = {"g": self.guest, "a": self.asked, "t": now()}
        try:
            if self.failed:
                raise ValueError(self.failed)
            found = answer(self.got)
            if found["g"] != self.guest:
                raise ValueError(f"{found['g']} answered in its place")
            facts.update(found)
        except ValueError as why:
            facts["m"] = str(why)
        return "beat " + json.dumps(facts, separators=(",", ":"))


class Agent:
    """The loop."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.guests = [(str(name), str(address), int(port)) for name, address, port in config["guests"]]
        self.interval = int(config["interval_ns"])
        self.timeout = int(config["timeout_ns"])
        self.most = int(config["most"])
        self.quiet = int(float(config["quiet_s"]) * 1e9)
        self.heard = now()
        self.until = self.heard + int(float(config["limit_s"]) * 1e9)
        self.rest = b""
        self.open: list[Question] = []
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Ask until the input or the time ends."""
        self.selector.register(0, selectors.EVENT_READ)
        apart = self.interval // max(1, len(self.guests))  # not all guests in one moment
        due = [now() + number * apart for number in range(len(self.guests))]
        while now() < min(self.until, self.heard + self.quiet):
            for number, guest in enumerate(self.guests):
                woken = now()
                if due[number] <= woken:
                    due[number] += self.interval
                    if due[number] <= woken:
                        due[number] = woken + self.interval
                    self.ask(*guest)
            first = min([*due, *(each.asked + self.timeout for each in self.open), now() + WAKE_NS])
            for key, events in self.selector.select(max(0, first - now()) / 1e9):
                if key.fd == 0:
                    if not self.obey():
                        return
                elif key.data.ended(events):
                    self.end(key.data)
                elif not key.data.request:
                    self.selector.modify(key.fd, selectors.EVENT_READ, key.data)
            for each in [each for each in self.open if each.asked + self.timeout <= now()]:
                each.failed = f"no answer within {self.timeout / 1e9:g} s"
                self.end(each)

    def ask(self, guest: str, address: str, port: int) -> None:
        """One question more, unless too many are open."""
        if sum(each.guest == guest for each in self.open) >= self.most:
            return
        question = Question(guest, address, port)
        self.open.append(question)
        if question.failed:
            self.end(question)
            return
        self.selector.register(question.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, question)

    def end(self, question: Question) -> None:
        """Tell how it ended."""
        self.open.remove(question)
        if question.sock in self.selector.get_map():
            self.selector.unregister(question.sock)
        say(question.told())
        question.sock.close()

    def obey(self) -> bool:
        """Take what has come on standard input; False at its end."""
        data = os.read(0, 4096)
        if not data:
            return False
        self.heard = now()
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            say(f"pong {line.split()[1].decode()} {now()}")
        return True


def main() -> None:
    """Take the configuration, then run."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or sys.exit(3)
    Agent(json.loads(line)).run()


if __name__ == "__main__":
    main()
