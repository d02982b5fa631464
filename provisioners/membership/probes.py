"""Measured between the nodes: round trips on the cluster's networks, and clocks against the time servers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import RackproofError, UnknownError
from provisioners.membership.ordered import addresses

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site
    from cluster.site_models import NodeSpec

PINGS = 50
INTERVAL_S = 0.02
GATHER_S = 180.0
CLOCK_RESOLUTION_S = 0.001  # a round trip to the time server, halved, on a network of one switch
_TIMES = re.compile(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/[\d.]+ ms")
_SENT = re.compile(r"(\d+) packets transmitted, (\d+) received")
_WRONG = re.compile(r"System clock wrong by (-?[\d.]+) seconds")


@dataclass(frozen=True)
class RoundTrip:
    """Pings from one node to another over one link. Times in seconds, 0.0 where none came back."""

    source: str
    target: str
    link: int
    sent: int
    received: int
    average: float
    slowest: float


@dataclass(frozen=True)
class Mesh:
    """Every ordered pair of nodes on every link, and by how many seconds each node's clock is wrong."""

    trips: tuple[RoundTrip, ...]
    clocks: dict[str, float]


def mesh(cluster: Cluster) -> Mesh:
    """Pings between all nodes over all links, and a question to the time servers; one round trip a node.

    The question is asked beside the running daemon, whose own word is only as good as its last answer.
    Raises UnknownError when a node could not probe: nothing was shown.
    """
    site = cluster.site
    answers = cluster.each(lambda name: cluster.nodes[name].gather(script(site, site.node(name)), GATHER_S))
    trips: list[RoundTrip] = []
    clocks: dict[str, float] = {}
    for name, answer in answers.items():
        if isinstance(answer, RackproofError):
            raise UnknownError(f"{name}: could not probe the cluster's networks: {answer}")
        clocks[name] = read_clock(name, answer.get("clock", ""))
        for other in site.nodes:
            if other.name != name:
                trips += [
                    read_ping(name, other.name, link, answer.get(f"{other.name}.{link}", ""))
                    for link in addresses(site, other)
                ]
    return Mesh(tuple(trips), clocks)


def script(site: Site, node: NodeSpec) -> str:
    """What one node runs: the clock first, then pings one after the other, so that none delays another."""
    servers = " ".join(f"'server {server} iburst maxsamples 1'" for server in site.ntp)
    lines = [f"section clock; chronyd -Q -t 10 {servers} 2>&1"]
    own = addresses(site, node)
    ping = f"ping -n -q -c {PINGS} -i {INTERVAL_S} -W 2"
    for other in site.nodes:
        if other.name != node.name:
            lines += [
                f"section {other.name}.{link}; {ping} -I {own[link]} {text} 2>&1"
                for link, text in addresses(site, other).items()
            ]
    return "\n".join(lines)


def read_clock(name: str, text: str) -> float:
    """Seconds by which a clock is wrong, as chronyd -Q tells. Raises UnknownError when it tells nothing."""
    found = _WRONG.search(text)
    if found is None:
        last = text.strip().splitlines()[-1:] or ["no output"]
        raise UnknownError(f"{name}: no time server answered the question for the time: {last[0][-200:]}")
    return float(found[1])


def read_ping(source: str, target: str, link: int, text: str) -> RoundTrip:
    """`ping -q`'s summary. Raises UnknownError when there is none: then ping itself failed."""
    sent = _SENT.search(text)
    if sent is None:
        why = text.strip()[-200:] or "no output"
        raise UnknownError(f"{source}: ping to {target} over link {link} gave no result: {why}")
    times = _TIMES.search(text)
    average, slowest = (float(times[2]) / 1000, float(times[3]) / 1000) if times else (0.0, 0.0)
    return RoundTrip(source, target, link, int(sent[1]), int(sent[2]), average, slowest)
