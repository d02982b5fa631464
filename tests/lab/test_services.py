"""DNS and NTP configuration, and the questions that tell whether both answer."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import rack, services


def test_dnsmasq_knows_every_name_and_hands_out_nothing() -> None:
    hardware = rack.load()
    lines = services.dnsmasq_conf(hardware).splitlines()
    for server in hardware.server:
        assert f"host-record={server.name}.{hardware.domain},{server.name},{server.address}" in lines
    assert f"listen-address={hardware.services.dns}" in lines
    assert {"bind-interfaces", "no-resolv", "no-hosts"} <= set(lines)
    assert not [line for line in lines if line.startswith("dhcp")]


def test_chronyd_serves_the_host_network_only() -> None:
    hardware = rack.load()
    lines = services.chrony_conf(hardware, Path("/x")).splitlines()
    assert "allow 10.6.0.0/24" in lines
    assert "bindaddress 10.6.0.1" in lines
    assert f"local stratum {services.STRATUM}" in lines
    assert not [line for line in lines if line.startswith(("server", "pool", "makestep", "rtcsync"))]


@pytest.fixture
def answerer(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A datagram server at 127.0.0.1 for both ports; it sends what the test has put into the list."""
    answers: list[bytes] = []
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    bound.settimeout(5)

    def serve() -> None:
        question, client = bound.recvfrom(512)
        if answers:
            bound.sendto(answers[0].replace(b"ID", question[:2]), client)

    port = bound.getsockname()[1]
    monkeypatch.setattr(services, "DNS_PORT", port)
    monkeypatch.setattr(services, "NTP_PORT", port)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield answers
    thread.join(timeout=5)
    bound.close()


@pytest.mark.parametrize(
    ("answer", "resolves"),
    [
        (b"ID" + struct.pack("!5H", 0x8580, 1, 1, 0, 0), True),
        (b"ID" + struct.pack("!5H", 0x8583, 1, 0, 0, 0), False),  # no such name
        (b"ID" + struct.pack("!5H", 0x8580, 1, 0, 0, 0), False),  # the name exists, no address
        (b"xx", False),
    ],
)
def test_dns_answers(answerer: list[bytes], answer: bytes, resolves: bool) -> None:
    answerer.append(answer)
    assert services.resolves("127.0.0.1", "node1.rack.example") is resolves


@pytest.mark.parametrize(
    ("answer", "stratum"),
    [
        (bytes([0x24, 5]) + bytes(46), 5),
        (bytes([0xE4, 0]) + bytes(46), 0),  # not synchronised
        (b"short", 0),
    ],
)
def test_ntp_answers(answerer: list[bytes], answer: bytes, stratum: int) -> None:
    answerer.append(answer)
    assert services.stratum("127.0.0.1") == stratum


def test_silence_is_no_answer(answerer: list[bytes]) -> None:
    assert services.stratum("127.0.0.1") == 0
