"""Faults of power: a node's is taken away, and that of two nodes at once."""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos.fault import Fault, QuorumLoss
from chaos.faults.lost import NodeLost, running_since
from chaos.faults.partition import peers_of
from chaos.faults.several import Several
from chaos.late_power import OFF_S
from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError


@dataclass(frozen=True, kw_only=True)
class NodePowerLost(NodeLost):
    """A node loses its power at once, as if both its cords were pulled; nothing on it is told."""

    kind = "node-power-lost"
    summary = "a node's power is cut by its BMC (ForceOff)"
    blast_radius = "one node and all on it: a vote, a copy of the data, its guests until they run elsewhere"
    heals_by = "the node switched on by its BMC"

    @property
    def target(self) -> str:
        return f"power of {self.node}"

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        bmc = cluster.bmcs[self.node]
        bmc.power("ForceOff")
        bmc.wait_power("Off", OFF_S)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return cluster.bmcs[self.node].power_state() == "Off"


@dataclass(frozen=True, kw_only=True)
class TwoNodesLost(Several, QuorumLoss):
    """Two nodes lose their power: of three nodes, the one that is left has no quorum."""

    kind = "two-nodes-lost"
    summary = "the power of two nodes is cut by their BMCs (ForceOff)"
    needs: ClassVar[tuple[str, ...]] = (*NodePowerLost.needs, "consent to the loss of quorum")
    blast_radius = "two nodes; of three, the third manages nothing and, with HA guests, resets itself"
    heals_by = "the nodes switched on by their BMCs"
    deadman = NodePowerLost.deadman
    may_isolate = True
    resets = True
    inject_s = NodePowerLost.inject_s
    heal_s = NodePowerLost.heal_s

    starts: tuple[str, ...]
    """ "node boot-id" of each."""
    deadman_s: float = 600.0

    @property
    def target(self) -> str:
        return f"power of {' and '.join(self.nodes)}"

    @property
    def parts(self) -> tuple[Fault, ...]:
        pairs = [start.split() for start in self.starts]
        return tuple(NodePowerLost(node=node, boot=boot, deadman_s=self.deadman_s) for node, boot in pairs)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        return cls.of(cluster, random.choice(sorted(cluster.nodes)), random, **more)

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        return cls.of(cluster, candidate, random)

    @classmethod
    def of(cls, cluster: ClusterPort, first: str, random: Random, **more: Any) -> Self:
        """A named node, and another that is drawn."""
        others = peers_of(cluster, first)
        if not others:
            raise NotApplicableError("PF-NO-PEER", "the site has one node alone.", "use a larger cluster.")
        names = (first, random.choice(others))
        return cls(starts=tuple(f"{name} {running_since(cluster, name)}" for name in names), **more)
