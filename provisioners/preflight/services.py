"""Names, time and the services around a cluster, asked from the controller with real queries."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.exception
import dns.resolver

if TYPE_CHECKING:
    from cluster.site import Site

TIMEOUT_S = 5.0
_NTP_EPOCH = 2208988800  # seconds from 1900 to 1970, RFC 5905
_NTP_REQUEST = bytes([0x23]) + bytes(47)  # version 4, mode 3 (client)
_LDAPS, _NFS = 636, 2049


@dataclass(frozen=True)
class Answer:
    """One query: to whom, what was asked, what came back, and what was wrong with it ("" for nothing)."""

    server: str
    asked: str
    got: str
    problem: str = ""


def names(site: Site) -> tuple[Answer, ...]:
    """Each ordered name server is asked for the address of each node."""
    return tuple(
        _resolve(str(server), site.fqdn(n), str(n.address)) for server in site.dns for n in site.nodes
    )


def _resolve(server: str, name: str, expected: str) -> Answer:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [server]
    try:
        found = sorted(r.to_text() for r in resolver.resolve(name, "A", lifetime=TIMEOUT_S))
    except dns.exception.DNSException as error:
        return Answer(server, name, "", f"{type(error).__name__}: {error}".splitlines()[0])
    except OSError as error:
        return Answer(server, name, "", str(error))
    got = ", ".join(found)
    return Answer(server, name, got, "" if found == [expected] else f"expected {expected}")


def times(site: Site) -> tuple[Answer, ...]:
    """Each ordered time server is asked for the time (SNTP, RFC 4330)."""
    return tuple(_time(str(server)) for server in site.ntp)


def _time(server: str) -> Answer:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect((server, 123))
            sent = time.time()
            sock.send(_NTP_REQUEST)
            packet = sock.recv(512)
            back = time.time()
    except OSError as error:
        return Answer(server, "time", "", f"no answer: {error}")
    return read_time(server, packet, sent, back)


def read_time(server: str, packet: bytes, sent: float, back: float) -> Answer:
    """Judges one SNTP answer: synchronised (leap not 3, stratum 1 to 15). `sent`, `back`: our clock,
    seconds.
    """
    if len(packet) < 48:
        return Answer(server, "time", f"{len(packet)} bytes", "expected an NTP packet of 48 bytes")
    leap, stratum = packet[0] >> 6, packet[1]
    seconds, fraction = struct.unpack(">II", packet[40:48])  # transmit timestamp
    there = seconds - _NTP_EPOCH + fraction / 2**32
    offset = there - (sent + back) / 2
    got = f"stratum {stratum}, {offset:+.3f} s from our clock"
    if leap == 3 or not 1 <= stratum <= 15:
        return Answer(server, "time", got, "it is not synchronised itself")
    return Answer(server, "time", got)


def directory(site: Site) -> tuple[Answer, ...]:
    """The directory and the file service, where they are ordered: whether their ports accept connections."""
    found = []
    if site.auth is not None and site.auth.domain:
        found.append(_connect(site.auth.domain, _LDAPS, "directory (LDAPS)"))
    if site.weka is not None:
        found.append(
            _connect(site.weka.export.split(":")[0], _NFS if site.weka.protocol == "nfs" else 14000, "Weka")
        )
    return tuple(found)


def _connect(host: str, port: int, what: str) -> Answer:
    asked = f"{what}, port {port}"
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S):
            return Answer(host, asked, "accepts connections")
    except OSError as error:
        return Answer(host, asked, "", f"no connection: {error}")
