"""Measured between the nodes: round trips on the cluster's networks, and clocks against the time servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cluster.errors import RackproofError, UnknownError
from provisioners.membership.ordered import addresses

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site
    from cluster.site_models import NodeSpec

PINGS = 50
AGAIN = 250
"""Pings where a first try was doubtful: a bad network is bad for these too, a disturbed one is not."""
STALLED = 10.0
"""A mean of so many times the fastest is doubtful: something stood still meanwhile."""
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
    fastest: float
    average: float
    slowest: float
    earlier: str = ""
    """What a first try had shown, where this is the second."""

    @property
    def doubtful(self) -> bool:
        """Whether it may have been disturbed."""
        return 0 < self.received < self.sent or self.average > STALLED * self.fastest


@dataclass(frozen=True)
class Mesh:
    """Every ordered pair of nodes on every link, and by how many seconds each node's clock is wrong."""

    trips: tuple[RoundTrip, ...]
    clocks: dict[str, float]


def mesh(cluster: Cluster) -> Mesh:
    """Pings between all nodes over all links, and a question to the time servers; one round trip a node.

    The question is asked beside the running daemon, whose own word is only as good as its last answer. Where
    some packets were lost or something stood still, that pair is asked once more, for longer, and this second
    answer stands.
    Raises UnknownError when a node could not probe: nothing was shown.
    """
    site = cluster.site
    every = {node.name: _others(site, node) for node in site.nodes}
    answers = _ask(cluster, {name: script(site, site.node(name), pairs) for name, pairs in every.items()})
    clocks = {name: read_clock(name, answer.get("clock", "")) for name, answer in answers.items()}
    trips = {(t.source, t.target, t.link): t for t in _trips(answers, every)}
    doubtful: dict[str, list[tuple[str, int]]] = {}
    for was in trips.values():
        if was.doubtful:
            doubtful.setdefault(was.source, []).append((was.target, was.link))
    again = {name: script(site, site.node(name), pairs, AGAIN) for name, pairs in doubtful.items()}
    for trip in _trips(_ask(cluster, again), doubtful):
        key = trip.source, trip.target, trip.link
        was = trips[key]
        earlier = f"at first {was.received} of {was.sent} packets came back, in {was.average * 1000:.3g} ms"
        trips[key] = replace(trip, earlier=earlier)
    return Mesh(tuple(trips.values()), clocks)


def _ask(cluster: Cluster, scripts: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Each node's answer, all at once. Raises UnknownError."""

    asked = cluster.each(lambda name: cluster.nodes[name].gather(scripts[name], GATHER_S), scripts)
    found: dict[str, Mapping[str, str]] = {}
    for name, answer in asked.items():
        if isinstance(answer, RackproofError):
            raise UnknownError(f"{name}: could not probe the cluster's networks: {answer}")
        found[name] = answer
    return found


def _others(site: Site, node: NodeSpec) -> list[tuple[str, int]]:
    return [
        (other.name, link) for other in site.nodes if other is not node for link in addresses(site, other)
    ]


def _trips(
    answers: Mapping[str, Mapping[str, str]], pairs: Mapping[str, list[tuple[str, int]]]
) -> list[RoundTrip]:
    return [
        read_ping(name, other, link, answer.get(f"{other}.{link}", ""))
        for name, answer in answers.items()
        for other, link in pairs[name]
    ]


def script(site: Site, node: NodeSpec, pairs: list[tuple[str, int]], pings: int = PINGS) -> str:
    """What one node runs: the clock first, then pings one after the other, so that none delays another."""
    servers = " ".join(f"'server {server} iburst maxsamples 1'" for server in site.ntp)
    lines = [f"section clock; chronyd -Q -t 10 {servers} 2>&1"]
    own = addresses(site, node)
    for name, link in pairs:
        target = addresses(site, site.node(name))[link]
        ping = f"ping -n -q -c {pings} -i {INTERVAL_S} -W 2 -I {own[link]} {target}"
        lines.append(f"section {name}.{link}; {ping} 2>&1")
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
    fastest, average, slowest = (float(text) / 1000 for text in times.groups()) if times else (0.0, 0.0, 0.0)
    return RoundTrip(source, target, link, int(sent[1]), int(sent[2]), fastest, average, slowest)
