"""Run on a node, in its guest probes' namespaces: tries every way from a guest network to the hosts.

Argument: JSON {"window_s", "probes": [{"namespace", "devices": [{"name", "address", "controls": [..],
"targets": [..], "tcp": [..], "udp": [..]}]}]}. Standard output: JSON {"attempts": n, "reached": [..]} with
{"namespace", "device", "target", "how", "control"} for each address that was reached.
Reached means that anything came back: a reply to ARP or ICMP, a TCP connection or its refusal, an ICMP
error from the host itself for UDP.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_ARP = 0x0806
_SETNS_NETWORK = 0x40000000  # CLONE_NEWNET


@dataclass
class Try:
    """One socket that waits for a sign of life."""

    sock: socket.socket
    namespace: str
    device: str
    target: str
    how: str
    control: bool


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) ^ 0xFFFF


def echo(number: int) -> bytes:
    """An ICMP echo request."""
    body = struct.pack(">HH8s", os.getpid() & 0xFFFF, number, b"rackprf!")
    head = struct.pack(">BBH", 8, 0, 0)
    return struct.pack(">BBH", 8, 0, checksum(head + body)) + body


def who_has(mac: bytes, source: str, target: str) -> bytes:
    """An ARP request in an Ethernet frame."""
    frame = b"\xff" * 6 + mac + struct.pack(">H", _ARP)
    return (
        frame
        + struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1)
        + mac
        + socket.inet_aton(source)
        + bytes(6)
        + socket.inet_aton(target)
    )


def enter(namespace: str) -> None:
    """Moves this process into a named network namespace; sockets stay where they were opened."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)  # os.setns exists from Python 3.12 on
        if libc.setns(descriptor, _SETNS_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
    finally:
        os.close(descriptor)


def mac_of(device: str) -> bytes:
    """MAC address of a device of the namespace we are in (/sys shows another one's)."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        return bytes(sock.getsockname()[4])


def bound(kind: int, protocol: int, device: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    sock.setblocking(False)
    return sock


def open_tries(probe: dict[str, Any], found: list[dict[str, Any]]) -> list[Try]:
    """Sends everything for one namespace; must be called inside of it."""
    tries: list[Try] = []
    for device in probe["devices"]:
        for target in device["controls"]:
            tries += reach_for(probe["namespace"], device["name"], target, True, [22], [], found)
        for target in device["targets"]:
            ports = device["tcp"], device["udp"]
            tries += reach_for(probe["namespace"], device["name"], target, False, *ports, found)
    return tries


def reach_for(
    space: str,
    device: str,
    target: str,
    control: bool,
    tcp: list[int],
    udp: list[int],
    found: list[dict[str, Any]],
) -> Iterator[Try]:
    """Every try from one device to one address; what is answered at once goes to `found`."""

    def attempt(sock: socket.socket, how: str) -> Try:
        return Try(sock, space, device, target, how, control)

    yield attempt(bound(socket.SOCK_RAW, socket.IPPROTO_ICMP, device), "icmp")
    packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP))
    packet.bind((device, _ARP))
    packet.setblocking(False)
    yield attempt(packet, "arp")
    for port in tcp:
        entry = attempt(bound(socket.SOCK_STREAM, 0, device), f"tcp/{port}")
        code = entry.sock.connect_ex((target, port))
        if code in {0, errno.ECONNREFUSED}:
            found.append(told(entry))
        elif code == errno.EINPROGRESS:
            yield entry
    for port in udp:
        entry = attempt(bound(socket.SOCK_DGRAM, 0, device), f"udp/{port}")
        with contextlib.suppress(OSError):
            entry.sock.connect((target, port))
            entry.sock.send(b"rackproof")
            yield entry


def told(entry: Try) -> dict[str, Any]:
    return {
        "namespace": entry.namespace,
        "device": entry.device,
        "target": entry.target,
        "how": entry.how,
        "control": entry.control,
    }


def ask_again(tries: list[Try], sources: dict[tuple[str, str], tuple[bytes, str]], number: int) -> None:
    """Echo and ARP requests once more: the first ones may have been lost while ports came up."""
    for entry in tries:
        with contextlib.suppress(OSError):
            if entry.how == "icmp":
                entry.sock.sendto(echo(number), (entry.target, 0))
            elif entry.how == "arp":
                mac, source = sources[(entry.namespace, entry.device)]
                entry.sock.send(who_has(mac, source, entry.target))


def reached(entry: Try) -> bool:
    """Whether what the socket has to say shows that its target was reached."""
    if entry.how.startswith("tcp"):
        return entry.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in {0, errno.ECONNREFUSED}
    try:
        data, address = entry.sock.recvfrom(2048)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    if entry.how == "icmp":
        return bool(address[0] == entry.target and data[(data[0] & 15) * 4] == 0)
    if entry.how == "arp":
        return data[20:22] == b"\0\2" and data[28:32] == socket.inet_aton(entry.target)
    return True  # a UDP answer


def watch(
    tries: list[Try], window_s: float, sources: dict[tuple[str, str], tuple[bytes, str]]
) -> list[dict[str, Any]]:
    """Listens until the window closes; one entry for each try that was answered."""
    found: list[dict[str, Any]] = []
    waiting = {entry.sock.fileno(): entry for entry in tries}
    poll = select.poll()
    for entry in tries:
        poll.register(
            entry.sock, select.POLLOUT if entry.how.startswith("tcp") else select.POLLIN | select.POLLERR
        )
    deadline = time.monotonic() + window_s
    again = 0.0
    number = 0
    while waiting and (remaining := deadline - time.monotonic()) > 0:
        if time.monotonic() >= again:
            number += 1
            ask_again(list(waiting.values()), sources, number)
            again = time.monotonic() + window_s / 4
        for descriptor, _ in poll.poll(min(remaining, 0.2) * 1000):
            entry = waiting[descriptor]
            if reached(entry):
                found.append(told(entry))
            elif not entry.how.startswith("tcp"):
                continue  # somebody else's packet
            poll.unregister(descriptor)
            del waiting[descriptor]
    return found


def main(argument: str) -> None:
    order = json.loads(argument)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    found: list[dict[str, Any]] = []
    tries: list[Try] = []
    sources: dict[tuple[str, str], tuple[bytes, str]] = {}
    for probe in order["probes"]:
        enter(probe["namespace"])
        for device in probe["devices"]:
            sources[(probe["namespace"], device["name"])] = (mac_of(device["name"]), device["address"])
        tries += open_tries(probe, found)
    found += watch(tries, order["window_s"], sources)
    json.dump({"reached": found, "attempts": len(tries) + len(found)}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
