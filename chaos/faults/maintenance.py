"""A node is taken into maintenance: no break, but the same contract holds, for a node that is left so has no
guests.
"""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Self

from chaos import ha_state
from chaos.bond_state import BondState
from chaos.faults.node import NodeFault
from chaos.faults.storage import ACT_S
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import RefusedError
from cluster.site import Site


@dataclass(frozen=True, kw_only=True)
class NodeMaintenance(NodeFault):
    """A node is kept free of HA guests: they move away first, and nobody is fenced."""

    kind = "node-maintenance"
    summary = "a node is taken into maintenance: its HA guests move away, and back afterwards"
    needs = ("the HA manager, with every node working",)
    blast_radius = "the HA guests of one node move; containers are started anew elsewhere"
    heals_by = "`ha-manager crm-command node-maintenance disable`"
    inject_s = 120.0
    heal_s = 180.0

    deadman_s: float = 600.0

    @property
    def target(self) -> str:
        return f"{self.node} in maintenance"

    @classmethod
    def candidates(cls, site: Site) -> tuple[str, ...]:
        return () if site.ha is None else super().candidates(site)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        return cls(node=random.choice(sorted(cluster.nodes)))

    def check(self, cluster: ClusterPort) -> None:
        state = ha_state.read(cluster)
        away = sorted(name for name, lrm in state.lrms.items() if lrm not in ("active", "idle"))
        if self.node not in state.lrms or away:
            raise RefusedError(
                f"{self.node} is not taken into maintenance: the local resource managers of"
                f" {', '.join(away) or self.node} do not work"
            )

    def break_script(self) -> str:
        return self._command("enable")

    def heal_script(self) -> str:
        return self._command("disable")

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run("set -e\n" + self.break_script(), timeout=ACT_S)

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run(self.heal_script(), timeout=ACT_S)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return ha_state.read(cluster).lrms.get(self.node) == ha_state.MAINTENANCE

    def healed(self, cluster: ClusterPort) -> bool:
        return ha_state.read(cluster).lrms.get(self.node) in ("active", "idle")

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return Prediction(0.0, 0.0, "the node goes on, without guests")

    def _command(self, verb: str) -> str:
        return f"ha-manager crm-command node-maintenance {verb} {self.node}\n"
