"""Just enough OpenFlow 1.0 to put drop flows into a switch and take them out, with a barrier after each.

`ovs-ofctl` does the same, but starting it takes as long as what is to be timed. Layouts: OpenFlow Switch
Specification 1.0.0, sections 5.1 (header), 5.2.3 (match), 5.3.3 (flow modification), 5.3.7 (barrier).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from lab.errors import DeadlineError, LabError

VERSION = 1
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FLOW_MOD, BARRIER_REQUEST, BARRIER_REPLY = 0, 1, 2, 3, 14, 18, 19
ADD, DELETE_STRICT = 0, 4
HEADER = struct.Struct("!BBHI")  # version, type, length, transaction
MATCH = struct.Struct("!IH6s6sHBxHBB2xIIHH")
FLOW = struct.Struct("!QHHHHIHH")  # cookie, command, idle, hard, priority, buffer, ...
ALL_WILDCARDS, BY_SOURCE, BY_DESTINATION = 0x3FFFFF, 1 << 2, 1 << 3
NO_BUFFER, NO_PORT = 0xFFFFFFFF, 0xFFFF
DEADLINE_S = 5.0


@dataclass(frozen=True)
class Drop:
    """Frames from one MAC to another are dropped; `hard_timeout_s` ends it if nobody else does."""

    source: str
    destination: str
    priority: int
    cookie: int
    hard_timeout_s: int

    def message(self, command: int) -> bytes:
        """The flow modification, without its header. A flow without actions drops."""
        match = MATCH.pack(
            ALL_WILDCARDS & ~(BY_SOURCE | BY_DESTINATION),
            0,
            _mac(self.source),
            _mac(self.destination),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        )
        return match + FLOW.pack(
            self.cookie, command, 0, self.hard_timeout_s, self.priority, NO_BUFFER, NO_PORT, 0
        )


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class Switch:
    """A kept connection to a bridge's management socket. Use it as a context manager."""

    def __init__(self, bridge: str, folder: str = "/run/openvswitch") -> None:
        self._name = bridge
        self._transaction = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(DEADLINE_S)
        try:
            self._socket.connect(f"{folder}/{bridge}.mgmt")
        except OSError as error:
            raise LabError(f"switch {bridge} does not answer: {error}") from error
        self._send(HELLO, b"")
        self._receive(HELLO)

    def __enter__(self) -> Switch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def add(self, flows: Sequence[Drop]) -> None:
        """Put flows in; returns when the switch says they are in. Raises LabError when it refuses."""
        self._change(flows, ADD)

    def delete(self, flows: Sequence[Drop]) -> None:
        """Take flows out; returns when the switch says they are out."""
        self._change(flows, DELETE_STRICT)

    def _change(self, flows: Sequence[Drop], command: int) -> None:
        for flow in flows:
            self._send(FLOW_MOD, flow.message(command))
        self._send(BARRIER_REQUEST, b"")
        self._receive(BARRIER_REPLY)

    def _send(self, kind: int, body: bytes) -> None:
        self._transaction += 1
        message = HEADER.pack(VERSION, kind, HEADER.size + len(body), self._transaction) + body
        try:
            self._socket.sendall(message)
        except OSError as error:
            raise LabError(f"switch {self._name} closed the connection: {error}") from error

    def _receive(self, wanted: int) -> None:
        """Read messages until one of the wanted kind; at most as many as were sent can be on their way."""
        for _ in range(self._transaction + 8):
            _, kind, length, transaction = HEADER.unpack(self._exactly(HEADER.size))
            body = self._exactly(length - HEADER.size)
            if kind == wanted:
                return
            if kind == ERROR:
                raise LabError(f"switch {self._name} refused message {transaction}: error {body[:4].hex()}")
            if kind == ECHO_REQUEST:
                self._send(ECHO_REPLY, body)
        raise LabError(f"switch {self._name} did not answer with message {wanted}")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self._socket.recv(size - len(data))
            except TimeoutError as error:
                raise DeadlineError(
                    f"switch {self._name} did not answer within {DEADLINE_S:.0f} s"
                ) from error
            if not part:
                raise LabError(f"switch {self._name} closed the connection")
            data += part
        return data
