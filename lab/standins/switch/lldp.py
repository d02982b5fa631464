"""LLDP (IEEE 802.1AB): hears what servers announce on the switch's ports and announces the switch to them."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from lab.standins.switch import names
from lab.standins.switch.ports import Neighbour

ETHERTYPE = 0x88CC
NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
INTERVAL_S = 10.0
HOLD_S = 120
_CHASSIS, _PORT, _TTL, _PORT_TEXT, _SYSTEM = 1, 2, 3, 4, 5
_SUBTYPE_MAC, _SUBTYPE_INTERFACE_NAME = (4, 5)
_PORT_SUBTYPE_MAC = 3


@dataclass(frozen=True)
class _Heard:
    neighbour: Neighbour
    until: float


def encode(mac: str, chassis: str, port: str, system: str, hold_s: int = HOLD_S) -> bytes:
    """A frame as the switch sends it; `mac` is the port's, `chassis` the switch's (aa:bb:cc:dd:ee:ff)."""

    def tlv(kind: int, value: bytes) -> bytes:
        return struct.pack("!H", kind << 9 | len(value)) + value

    body = b"".join(
        [
            tlv(_CHASSIS, bytes([_SUBTYPE_MAC]) + _raw(chassis)),
            tlv(_PORT, bytes([_SUBTYPE_INTERFACE_NAME]) + port.encode()),
            tlv(_TTL, struct.pack("!H", hold_s)),
            tlv(_PORT_TEXT, f"{port} Interface".encode()),
            tlv(_SYSTEM, system.encode()),
            tlv(0, b""),
        ]
    )
    return (NEAREST_BRIDGE + _raw(mac) + struct.pack("!H", ETHERTYPE) + body).ljust(60, b"\0")


def decode(frame: bytes, port: str) -> tuple[Neighbour, int] | None:
    """(neighbour, seconds that it is valid) of a frame heard on `port`; None when it is no LLDP frame."""
    if len(frame) < 16 or struct.unpack("!H", frame[12:14])[0] != ETHERTYPE:
        return None
    found: dict[int, bytes] = {}
    place = 14
    while place + 2 <= len(frame):
        head = struct.unpack("!H", frame[place : place + 2])[0]
        kind, length = head >> 9, head & 0x1FF
        if kind == 0:
            break
        found.setdefault(kind, frame[place + 2 : place + 2 + length])
        place += 2 + length
    if not {_CHASSIS, _PORT, _TTL} <= found.keys() or len(found[_TTL]) != 2:
        return None
    neighbour = Neighbour(
        port=port,
        chassis=_identity(found[_CHASSIS], _SUBTYPE_MAC),
        port_id=_identity(found[_PORT], _PORT_SUBTYPE_MAC),
        system=found.get(_SYSTEM, b"").decode("utf-8", "replace") or "-",
        port_description=found.get(_PORT_TEXT, b"").decode("utf-8", "replace"),
    )
    return neighbour, struct.unpack("!H", found[_TTL])[0]


def _raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _identity(value: bytes, mac_subtype: int) -> str:
    if len(value) == 7 and value[0] == mac_subtype:
        return names.mac(value[1:].hex())
    return value[1:].decode("utf-8", "replace").replace(" ", "_") or "-"


class Agent:
    """One raw socket for all taps of a switch. `ports` maps tap names to the switch's names for them."""

    def __init__(self, system: str, chassis: str, ports: Mapping[str, str]) -> None:
        self._system, self._chassis, self._ports = system, chassis, dict(ports)
        self._heard: dict[tuple[str, str], _Heard] = {}
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        self.socket.setblocking(False)

    def hear(self) -> None:
        """Take in what waits on the socket (a bounded number of frames)."""
        for _ in range(64):
            try:
                frame, address = self.socket.recvfrom(2048)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an interface went away
            tap, kind = address[0], address[2]
            if tap not in self._ports or kind == socket.PACKET_OUTGOING:
                continue
            self.note(frame, self._ports[tap], time.monotonic())

    def note(self, frame: bytes, port: str, now: float) -> None:
        """Remember what a frame says until its time is up; a time of 0 is a goodbye."""
        decoded = decode(frame, port)
        if decoded is None:
            return
        neighbour, seconds = decoded
        self._heard[(port, neighbour.chassis)] = _Heard(neighbour, now + seconds)

    def neighbours(self, now: float | None = None) -> list[Neighbour]:
        """Who is there now, in the order of ports."""
        moment = time.monotonic() if now is None else now
        self._heard = {key: held for key, held in self._heard.items() if held.until > moment}
        return [held.neighbour for _, held in sorted(self._heard.items(), key=lambda item: item[0])]

    def announce(self, macs: Mapping[str, str]) -> None:
        """Send one frame on every tap that is up; `macs` maps taps to their addresses."""
        for tap, mac in macs.items():
            frame = encode(mac, self._chassis, self._ports[tap], self._system)
            try:
                self.socket.sendto(frame, (tap, ETHERTYPE))
            except OSError:
                continue  # the port is down or gone
