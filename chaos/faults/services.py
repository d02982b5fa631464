"""Faults of a node's services: Corosync, the API's proxy, chrony; killed, and kept from starting."""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from chaos.bond_state import BondState
from chaos.faults.node import NodeFault
from chaos.faults.storage import ACT_S, hold, kill_script, release_script, units_seen
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RefusedError

_ANSWER_S = 30.0


@dataclass(frozen=True, kw_only=True)
class _ServiceKilled(NodeFault):
    """One service of a node is killed by SIGKILL and held down; healed means that it answers again."""

    heals_by = "the drop-in removed and the service started"
    inject_s = 60.0
    heal_s = 120.0
    unit: ClassVar[str]
    phase: ClassVar[int]
    """The phase that brings the service."""

    @abstractmethod
    def answers(self) -> str:
        """A command on the node that succeeds once the service does its work."""

    @property
    def target(self) -> str:
        return f"{self.unit.removesuffix('.service')} on {self.node}"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        return cls(node=random.choice(sorted(cluster.nodes)))

    def check(self, cluster: ClusterPort) -> None:
        seen = self._seen(cluster)
        if seen == "inactive free":
            raise NotApplicableError(
                "PF-SERVICE", f"{self.node} does not run {self.unit}.", f"build phase {self.phase}."
            )
        if seen != "active free" or not self._works(cluster):
            raise RefusedError(f"{self.target} is not broken: it is {seen} by systemd, or does not answer")

    def prepare(self, cluster: ClusterPort, drill: str) -> None:
        hold(cluster.nodes[self.node], (self.unit,))

    def break_script(self) -> str:
        return kill_script((self.unit,))

    def heal_script(self) -> str:
        return release_script((self.unit,))

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run("set -e\n" + self.break_script(), timeout=ACT_S)

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run(self.heal_script(), timeout=ACT_S)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return self._seen(cluster) in ("inactive held", "failed held")

    def healed(self, cluster: ClusterPort) -> bool:
        return self._seen(cluster) == "active free" and self._works(cluster)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return Prediction(0.0, 0.0, "no path passes through it")

    def _seen(self, cluster: ClusterPort) -> str:
        return units_seen(cluster.nodes[self.node], (self.unit,))[self.unit]

    def _works(self, cluster: ClusterPort) -> bool:
        return cluster.nodes[self.node].run(self.answers(), timeout=_ANSWER_S, check=False).ok


@dataclass(frozen=True, kw_only=True)
class CorosyncKilled(_ServiceKilled):
    """Corosync of one node is killed: the node leaves the membership and loses its quorum."""

    kind = "corosync-killed"
    summary = "Corosync of a node is killed (SIGKILL) and kept from starting"
    needs = ("Corosync on the node", "systemd on the node")
    blast_radius = "one vote; /etc/pve of that node is read-only; with HA the node fences itself in a minute"
    unit = "corosync.service"
    phase = 3

    deadman_s: float = 60.0

    @property
    def silenced(self) -> tuple[str, ...]:
        return (self.node,)

    def answers(self) -> str:
        return "corosync-cmapctl -g runtime.votequorum.this_node_id > /dev/null"


@dataclass(frozen=True, kw_only=True)
class PveproxyKilled(_ServiceKilled):
    """The proxy of a node's API is killed: the node cannot be managed through its own address."""

    kind = "pveproxy-killed"
    summary = "the API's proxy of a node is killed (SIGKILL) and kept from starting"
    needs = ("Proxmox VE's proxy on the node", "systemd on the node")
    blast_radius = "the API on one node; no workload"
    unit = "pveproxy.service"
    phase = 1

    def answers(self) -> str:
        return "curl --silent --insecure --output /dev/null --max-time 10 https://127.0.0.1:8006/"


@dataclass(frozen=True, kw_only=True)
class ChronyKilled(_ServiceKilled):
    """chrony of a node is killed: its clock runs on by itself."""

    kind = "chrony-killed"
    summary = "chrony of a node is killed (SIGKILL) and kept from starting"
    needs = ("chrony on the node", "systemd on the node")
    blast_radius = "one node's clock drifts, by milliseconds in a drill"
    unit = "chrony.service"
    phase = 1

    def answers(self) -> str:
        return "chronyc -n -c tracking > /dev/null"
