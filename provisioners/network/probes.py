"""Measured between the nodes on the host network: full-size packets, doubled addresses, throughput."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import RackproofError, UnknownError
from provisioners.network.interfaces import host_interface

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.node import Gathered

PINGS = 3
HEADERS = 28  # IPv4 (20) and ICMP (8) around the data of a ping
GATHER_S = 60.0
IPERF_PORT = 5201
IPERF_START_S = 15.0
_IPERF_UNIT = "rackproof-iperf"


@dataclass(frozen=True)
class Path:
    """Full-size pings from one node to another: `size` is the whole IP packet in bytes, `reason` why some
    failed.
    """

    source: str
    target: str
    size: int
    sent: int
    received: int
    reason: str

    @property
    def passes(self) -> bool:
        return self.sent > 0 and self.received == self.sent


@dataclass(frozen=True)
class Doubled:
    """Another station that answered for a node's address."""

    node: str
    address: str
    mac: str


@dataclass(frozen=True)
class Mesh:
    """Every ordered pair of nodes, and every station that answered for an address that is not its own."""

    paths: tuple[Path, ...]
    doubled: tuple[Doubled, ...]


@dataclass(frozen=True)
class Throughput:
    """One iperf3 run: what the target received, in bit/s, over `seconds` with `streams` TCP connections."""

    source: str
    target: str
    bits_per_second: float
    retransmits: int
    seconds: float
    streams: int


def mesh(cluster: Cluster) -> Mesh:
    """Pings at full MTU with the don't-fragment bit between all nodes, and a search for doubled addresses.

    Each node asks who has its own address (RFC 5227) and who has each other node's: a second station may be
    where only some can hear it, and the owner itself need not be among them.
    One round trip to each node, all at once. Raises UnknownError when a node could not probe: nothing was
    shown.
    """
    site = cluster.site
    device = host_interface(site)
    size = site.bond.mtu - HEADERS
    paths: list[Path] = []
    doubled: list[Doubled] = []

    def one(name: str) -> Gathered:
        node = site.node(name)
        lines = [f"section arp; arping -D -c 2 -w 3 -I {device} {node.address}"]
        for other in site.nodes:
            if other.name != name:
                ping = f"ping -n -q -c {PINGS} -i 0.2 -W 2 -M do -s {size} -I {node.address} {other.address}"
                lines.append(f"section {other.name}; {ping} 2>&1")
                asked = f"arping -b -c 2 -w 2 -I {device} -s {node.address} {other.address}"
                lines.append(f"section arp-{other.name}; {asked}")
        return cluster.nodes[name].gather("\n".join(lines), GATHER_S)

    answers = cluster.each(one)
    for name, answer in answers.items():
        if isinstance(answer, RackproofError):
            raise UnknownError(f"{name}: could not probe the host network: {answer}")
        for other in site.nodes:
            if other.name != name:
                paths.append(read_ping(name, other.name, site.bond.mtu, answer.get(other.name, "")))
        for section in (key for key in answer.rc if key.startswith("arp")):
            if answer.rc[section] not in {0, 1}:
                raise UnknownError(
                    f"{name}: could not look for doubled addresses: {answer.errors.get(section, '').strip()}"
                )
        doubled += [
            Doubled(name, str(site.node(name).address), mac) for mac in read_arping(answer.get("arp", ""))
        ]
        for other in site.nodes:
            own = {link.mac.lower() for link in other.links}
            heard = read_arping(answer.get(f"arp-{other.name}", ""))
            doubled += [Doubled(other.name, str(other.address), mac) for mac in heard if mac not in own]
    return Mesh(tuple(paths), tuple(dict.fromkeys(doubled)))


def read_ping(source: str, target: str, size: int, text: str) -> Path:
    """`ping -q`'s summary. Raises UnknownError when there is none: then ping itself failed."""
    found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    if found is None:
        raise UnknownError(f"{source}: ping to {target} gave no result: {text.strip()[-200:] or 'no output'}")
    why = re.search(r"(?i)(message too long[^\n]*|frag needed[^\n]*|unreachable[^\n]*)", text)
    return Path(source, target, size, int(found[1]), int(found[2]), why[0] if why else "")


def read_arping(text: str) -> list[str]:
    """MAC addresses that answered, each once, in lower case."""
    return list(dict.fromkeys(mac.lower() for mac in re.findall(r"\[([0-9A-Fa-f:]{17})\]", text)))


def in_force(cluster: Cluster) -> dict[str, list[str]]:
    """Lines of `ifquery --check` that say [fail], by node: what runs and is not what stands on file.

    Takes ifupdown2 several seconds on each node. Raises UnknownError when it does not report.
    """
    found: dict[str, list[str]] = {}
    for name, answer in cluster.gather("section check; ifquery -a --check 2>&1", timeout=120).items():
        if isinstance(answer, RackproofError):
            raise UnknownError(f"{name}: ifquery could not be asked: {answer}")
        text = answer.get("check", "")
        if "[pass]" not in text:
            raise UnknownError(
                f"{name}: ifquery --check gave no report: {text.strip()[-200:] or 'no output'}"
            )
        found[name] = failed_checks(text)
    return found


def failed_checks(report: str) -> list[str]:
    """What `ifquery --check` calls [fail], but for one mistake of its own.

    ifupdown2 3.0 expects PVID 1 on every bridge port and does not heed `bridge-allow-untagged no`
    (addons/bridge.py, query of bridge ports); that the trunk has no PVID is a scenario of its own.
    """
    failed = [" ".join(line.split()) for line in report.splitlines() if "[fail]" in line]
    return [line for line in failed if "(bridge pvid error)" not in line]


def throughput(
    cluster: Cluster,
    pairs: Sequence[tuple[str, str]] | None = None,
    *,
    seconds: float = 10.0,
    streams: int = 8,
) -> list[Throughput]:
    """iperf3 between every pair of nodes (or `pairs`), one after the other so that none takes another's
    bandwidth.

    Raises UnknownError when a run gives no result.
    """
    names = [node.name for node in cluster.site.nodes]
    return [
        _iperf(cluster, source, target, seconds, streams)
        for source, target in (pairs if pairs is not None else itertools.combinations(names, 2))
    ]


def _iperf(cluster: Cluster, source: str, target: str, seconds: float, streams: int) -> Throughput:
    address = str(cluster.site.node(target).address)
    own = str(cluster.site.node(source).address)
    limit = seconds + 60
    server = (
        f"systemctl stop {_IPERF_UNIT}.service 2>/dev/null;"
        f" systemd-run --quiet --collect --unit={_IPERF_UNIT}"
        f" --property=RuntimeMaxSec={limit:.0f} iperf3 -s -1 -B {address} -p {IPERF_PORT}"
    )
    ends = f"-c {address} -B {own} -p {IPERF_PORT} --connect-timeout 3000"
    client = f"iperf3 {ends} -P {streams} -t {seconds:g} -J"
    cluster.nodes[target].run(server, timeout=30)
    try:
        until = time.monotonic() + IPERF_START_S
        while True:
            done = cluster.nodes[source].run(client, timeout=limit, check=False)
            if '"error"' not in done.stdout or "connect" not in done.stdout or time.monotonic() > until:
                return read_iperf(source, target, streams, done.stdout)
            time.sleep(0.5)  # the server has not begun to listen
    finally:
        with contextlib.suppress(RackproofError):
            cluster.nodes[target].run(f"systemctl stop {_IPERF_UNIT}.service 2>/dev/null; true", timeout=30)


def read_iperf(source: str, target: str, streams: int, text: str) -> Throughput:
    """iperf3's JSON. Raises UnknownError for an error or anything else."""
    try:
        report = json.loads(text)
        received = report["end"]["sum_received"]
        sent = report["end"]["sum_sent"]
        bps, seconds = float(received["bits_per_second"]), float(received["seconds"])
    except (ValueError, KeyError, TypeError):
        why = re.search(r'"error":\s*"([^"]*)"', text)
        reason = why[1] if why else text.strip()[-200:] or "no output"
        raise UnknownError(f"{source} to {target}: iperf3 gave no result: {reason}") from None
    return Throughput(source, target, bps, int(sent.get("retransmits") or 0), seconds, streams)
