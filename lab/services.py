"""Names and time on the controller: dnsmasq for the rack's domain, chronyd as NTP server.

Service module of the rack: `prepare`, `daemons`. Both answer in the host network only. chronyd never touches
the machine's clock (-x); it serves it as it is. dnsmasq knows the rack's names and forwards nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path

from lab.paths import State
from lab.processes import Daemon
from lab.rack import Rack

DNS_PORT, NTP_PORT = 53, 123
ANSWER_TIMEOUT_S = 0.5
STRATUM = 5
"""What the server calls itself: its own clock is all that it has."""
SYNCHRONISED = range(1, 16)


def hosts(rack: Rack) -> dict[str, str]:
    """Name -> address of everything that has one in the rack, names without the domain."""
    named = {server.name: server.address for server in rack.server}
    named |= {f"bmc-{server.name}": server.bmc for server in rack.server}
    named |= {switch.name: switch.management for switch in rack.switch}
    return named | {"controller": rack.services.dns, "aws": rack.oob.aws}


def dnsmasq_conf(rack: Rack) -> str:
    """Configuration of dnsmasq: DNS only, this domain only."""
    records = [f"host-record={name}.{rack.domain},{name},{address}" for name, address in hosts(rack).items()]
    return "\n".join(
        [
            f"listen-address={rack.services.dns}",
            "bind-interfaces",
            "no-resolv",
            "no-hosts",
            "no-poll",
            "user=root",
            "log-facility=-",
            f"domain={rack.domain}",
            f"local=/{rack.domain}/",
            "local-ttl=5",
            *records,
            "",
        ]
    )


def chrony_conf(rack: Rack, folder: Path) -> str:
    """Configuration of chronyd: serve this machine's clock to the host network, listen to nobody."""
    return "\n".join(
        [
            f"local stratum {STRATUM}",
            f"bindaddress {rack.services.ntp}",
            f"allow {_network_of(rack, rack.services.ntp)}",
            "cmdport 0",
            "bindcmdaddress /",
            f"pidfile {folder / 'chronyd.pid'}",
            "",
        ]
    )


def _network_of(rack: Rack, address: str) -> str:
    wanted = ipaddress.ip_address(address)
    return next(v.subnet for v in rack.vlans.values() if wanted in ipaddress.ip_network(v.subnet))


def prepare(rack: Rack, state: State) -> None:
    """Write both configurations."""
    folder = _folder(state)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dnsmasq.conf").write_text(dnsmasq_conf(rack), encoding="ascii")
    (folder / "chrony.conf").write_text(chrony_conf(rack, folder), encoding="ascii")


def _folder(state: State) -> Path:
    return state.services / "controller"


def daemons(rack: Rack, state: State) -> list[Daemon]:
    """dnsmasq and chronyd, each ready when it answers a question."""
    folder = _folder(state)
    name = f"{rack.server[0].name}.{rack.domain}"
    return [
        Daemon(
            "dnsmasq",
            ["dnsmasq", "--keep-in-foreground", f"--conf-file={folder / 'dnsmasq.conf'}", "--pid-file="],
            ready=lambda: resolves(rack.services.dns, name),
        ),
        Daemon(
            "chronyd",
            ["chronyd", "-x", "-d", "-u", "root", "-f", str(folder / "chrony.conf")],
            ready=lambda: stratum(rack.services.ntp) in SYNCHRONISED,
        ),
    ]


def resolves(server: str, name: str) -> bool:
    """Whether a DNS server has an address for `name` (one question over UDP)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack("!6H", 0x5AC4, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    answer = _ask(server, DNS_PORT, question)
    if len(answer) < 12:
        return False
    identity, flags, _, answers = struct.unpack("!4H", answer[:8])
    return bool(identity == 0x5AC4 and flags & 0x800F == 0x8000 and answers > 0)


def stratum(server: str) -> int:
    """Stratum of an NTP server; 0 when it does not answer or is not synchronised."""
    answer = _ask(server, NTP_PORT, bytes([0x23]) + bytes(47))
    unsynchronised = len(answer) < 48 or answer[0] >> 6 == 3
    return 0 if unsynchronised else answer[1]


def _ask(server: str, port: int, question: bytes) -> bytes:
    """The answer to one datagram; empty when none comes within ANSWER_TIMEOUT_S."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ANSWER_TIMEOUT_S)
        try:
            asking.connect((server, port))
            asking.send(question)
            return asking.recv(512)
        except OSError:
            return b""
