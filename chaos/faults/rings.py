"""Corosync's rings are cut: those of one node, so that it stands alone against the others, and those of all.

A node without quorum that has HA guests resets itself by its watchdog, which mends the cut as well: filters
do not outlast a start. So healing first waits for a node that is on its way back.
"""

# ruff: noqa: ARG003 - the contract's arguments are not needed by every fault
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos.bond_state import BondState
from chaos.fault import Fault, QuorumLoss
from chaos.faults.lost import await_back
from chaos.faults.partition import CorosyncPartition, peers_of
from chaos.faults.several import Several
from chaos.late_power import BACK_S
from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError


@dataclass(frozen=True, kw_only=True)
class CorosyncCut(CorosyncPartition):
    """A node hears Corosync of no other node, on any ring: one against the rest. All else passes."""

    kind = "corosync-cut"
    summary = "a node loses Corosync's packets to and from all others, on all rings; all else passes"
    blast_radius = "one vote: that node manages nothing and, with HA guests, resets itself in a minute"
    heals_by = "filters removed on the node, or its own reset"
    may_isolate = True
    resets = True
    heal_s = BACK_S

    deadman_s: float = 300.0

    @property
    def what(self) -> str:
        return f"all of Corosync's rings to {', '.join(self.peers)} are cut"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        node = random.choice(sorted(cluster.nodes))
        return cls.of(cluster, node, peers_of(cluster, node))

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        await_back(cluster, self.node)
        super().heal(cluster, drill)

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        """Where it resets itself, its links count anew."""
        return frozenset((self.node, leg.interface) for leg in bonds[self.node].members)


@dataclass(frozen=True, kw_only=True)
class AllRingsDown(Several, QuorumLoss):
    """No node hears Corosync of any other: everybody is alone, and nobody has quorum."""

    kind = "all-rings-down"
    summary = "every node loses Corosync's packets to and from every other, on all rings"
    needs: ClassVar[tuple[str, ...]] = (*CorosyncCut.needs, "consent to the loss of quorum")
    blast_radius = "the whole cluster manages nothing; every node with HA guests resets itself in a minute"
    heals_by = "filters removed on the nodes, or their own resets"
    deadman = "systemd timers on the nodes"
    may_isolate = True
    resets = True
    heal_s = BACK_S

    cuts: tuple[str, ...]
    """ "node interface peer-address" for each path that is cut."""
    deadman_s: float = 300.0

    @property
    def target(self) -> str:
        return f"Corosync's rings of {', '.join(self.nodes)}"

    @property
    def parts(self) -> tuple[Fault, ...]:
        paths: dict[str, list[str]] = {}
        for cut in self.cuts:
            node, _, path = cut.partition(" ")
            paths.setdefault(node, []).append(path)
        return tuple(
            CorosyncCut(
                node=node, peers=tuple(other for other in paths if other != node), paths=tuple(found),
                deadman_s=self.deadman_s,
            )
            for node, found in paths.items()
        )  # fmt: skip

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        return cls.draw(cluster, random)  # whoever is named, all are hit

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        names = sorted(cluster.nodes)
        if len(names) < 2:
            raise NotApplicableError("PF-NO-PEER", "the site has one node alone.", "use a larger cluster.")
        found = {name: CorosyncCut.of(cluster, name, peers_of(cluster, name)).paths for name in names}
        return cls(cuts=tuple(f"{name} {path}" for name, paths in found.items() for path in paths), **more)
