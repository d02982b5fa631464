"""Cuts: the bytes that go to the switch, what a refusal becomes, and that every cut is mended."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

import pytest

from lab import cutting, openflow, ovs
from lab.errors import LabError
from lab.openflow import Drop, Switch
from lab.rack import Rack

HEADER = struct.Struct("!BBHI")


class FakeSwitch:
    """Speaks OpenFlow's handshake and barriers, and keeps the flow modifications that it was sent."""

    def __init__(self, path: Path, refuse: bool = False) -> None:
        self.bodies: list[bytes] = []
        self._refuse = refuse
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, contextlib.suppress(ConnectionError):  # a client that was refused leaves early
            connection.sendall(HEADER.pack(1, openflow.HELLO, 8, 7))
            connection.sendall(HEADER.pack(1, openflow.ECHO_REQUEST, 12, 9) + b"ping")
            stream = connection.makefile("rb")
            while len(head := stream.read(8)) == 8:
                version, kind, length, transaction = HEADER.unpack(head)
                assert version == 1
                body = stream.read(length - 8)
                if kind == openflow.FLOW_MOD:
                    self.bodies.append(body)
                    if self._refuse:
                        connection.sendall(HEADER.pack(1, openflow.ERROR, 12, transaction) + b"\0\3\0\1")
                elif kind == openflow.BARRIER_REQUEST:
                    connection.sendall(HEADER.pack(1, openflow.BARRIER_REPLY, 8, transaction))


def test_a_drop_is_what_openflow_says(tmp_path: Path) -> None:
    fake = FakeSwitch(tmp_path / "sw1.mgmt")
    drop = Drop("52:54:00:01:00:00", "52:54:00:02:00:00", 1000, 0xC07, 4)
    with Switch("sw1", str(tmp_path)) as switch:
        switch.add([drop])
        switch.delete([drop])
    assert [len(body) for body in fake.bodies] == [64, 64]
    for body, command in zip(fake.bodies, (0, 4), strict=True):
        (wildcards,) = struct.unpack_from("!I", body)
        assert wildcards == 0x3FFFFF & ~0b1100
        assert body[6:12].hex() == "525400010000"
        assert body[12:18].hex() == "525400020000"
        cookie, order, idle, hard, priority = struct.unpack_from("!QHHHH", body, 40)
        assert (cookie, order, idle, hard, priority) == (0xC07, command, 0, 4, 1000)


def test_a_refusal_is_an_error(tmp_path: Path) -> None:
    FakeSwitch(tmp_path / "sw1.mgmt", refuse=True)
    with (
        Switch("sw1", str(tmp_path)) as switch,
        pytest.raises(LabError, match=r"sw1 refused .* error 00030001"),
    ):
        switch.add([Drop("52:54:00:01:00:00", "52:54:00:02:00:00", 1, 1, 1)])


def test_a_switch_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="switch sw9 does not answer"):
        Switch("sw9", str(tmp_path))


class Recorder:
    """Stands for the kept connection; remembers what was done and when it was closed."""

    done: list[tuple[str, str, int]]

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append((self.bridge, "close", 0))

    def add(self, flows: list[Drop]) -> None:
        self.done.append((self.bridge, "add", len(flows)))

    def delete(self, flows: list[Drop]) -> None:
        self.done.append((self.bridge, "delete", len(flows)))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    Recorder.done = []
    monkeypatch.setattr(cutting, "Switch", Recorder)
    return Recorder.done


def test_both_switches_are_cut_and_mended(hardware: Rack, recorded: list[tuple[str, str, int]]) -> None:
    text = cutting.cut(hardware, "node1:node2", 0.05)
    assert recorded[:4] == [("sw1", "add", 8), ("sw2", "add", 8), ("sw1", "delete", 8), ("sw2", "delete", 8)]
    start, end, lasted = text.splitlines()
    assert 0.049 < float(end.split()[2]) - float(start.split()[2]) < 5
    assert lasted.startswith("lasted between ")


def test_an_interrupted_cut_is_mended(
    hardware: Rack, recorded: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cutting.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cutting.cut(hardware, "node1:node3", 1.0)
    assert ("sw1", "delete", 8) in recorded
    assert ("sw2", "delete", 8) in recorded


def test_ports_are_cabled_as_the_mode_says(hardware: Rack) -> None:
    import dataclasses

    assert [ovs.bridge_of(hardware, port) for port in ("p0", "p1", "m0")] == ["sw1", "sw2", "swm"]
    lag = dataclasses.replace(hardware, switch_mode="lacp")
    assert [ovs.bridge_of(lag, port) for port in ("p0", "p1", "m0")] == ["fabric", "fabric", "swm"]
