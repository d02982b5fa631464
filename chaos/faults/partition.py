"""Partitions: a node and some of its peers do not hear each other, wholly or in Corosync's traffic alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from chaos.bond_state import BondState
from chaos.faults.traffic import PORT_AT, Dropped, paths_between, within
from chaos.ports import ClusterPort
from chaos.predict import Prediction

KNET = (5405, 5412)
"""Corosync's ports: link n uses the base port and n, up to eight links (corosync.conf)."""
_UDP = "match ip protocol 17 0xff"


@dataclass(frozen=True, kw_only=True)
class Partition(Dropped):
    """Nothing passes between a node and named peers, on the host network and on the ring; all else passes."""

    kind = "partition"
    summary = "a node and some of its peers lose every packet between them, on all networks of nodes"
    blast_radius = "one node: its membership, its copies, clients that it serves on those peers"
    rings = True

    peers: tuple[str, ...]
    deadman_s: float = 60.0

    @property
    def silenced(self) -> tuple[str, ...]:
        return (self.node,)

    @property
    def what(self) -> str:
        return f"nothing passes to and from {', '.join(self.peers)}"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        """From one of its peers, or from all of them."""
        node = random.choice(sorted(cluster.nodes))
        others = peers_of(cluster, node)
        return cls.of(cluster, node, random.sample(others, random.choice((1, len(others)))) if others else ())

    @classmethod
    def of(cls, cluster: ClusterPort, node: str, peers: Iterable[str], **more: Any) -> Self:
        """A named node, from named peers."""
        names = tuple(sorted(peers))
        paths = paths_between(cluster, node, names, rings=True)
        return cls(node=node, peers=names, paths=paths, **more)

    def matches(self, direction: str) -> Iterable[str]:
        del direction
        return ("",)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        del bonds
        return Prediction(0.0, None, "the paths themselves are cut until it is healed")


@dataclass(frozen=True, kw_only=True)
class CorosyncPartition(Partition):
    """Only Corosync's packets vanish between a node and named peers: data goes on, membership does not."""

    kind = "corosync-partition"
    summary = "a node and some of its peers lose Corosync's packets, on all rings; all else passes"
    needs = (*Dropped.needs, "Corosync on the node")
    blast_radius = "membership: whoever is left without quorum stops managing, with HA it fences itself"

    @property
    def what(self) -> str:
        return f"Corosync's packets to and from {', '.join(self.peers)} vanish"

    def matches(self, direction: str) -> Iterable[str]:
        del direction
        return [f"{_UDP} {ports}" for ports in within(*KNET, PORT_AT["destination"])]

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        del bonds
        return Prediction(0.0, 0.0, "only Corosync's ports are cut, the paths are not")


def peers_of(cluster: ClusterPort, node: str) -> list[str]:
    """All other nodes of the site, by name."""
    return sorted(spec.name for spec in cluster.site.nodes if spec.name != node)
