"""Faults of Ceph's other daemons: a monitor, the leading one, the active MGR, the active MDS."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos import ceph_state
from chaos.ceph_state import CephState
from chaos.faults.storage import DaemonsKilled, Effect
from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError


@dataclass(frozen=True, kw_only=True)
class _OneKilled(DaemonsKilled):
    """One daemon, named as its node is (so Proxmox VE names them)."""

    daemon = ""

    @property
    def target(self) -> str:
        return f"{self.daemon}.{self.node}"

    @property
    def units(self) -> tuple[str, ...]:
        return (f"ceph-{self.daemon}@{self.node}.service",)

    @classmethod
    def _of(cls, cluster: ClusterPort, names: list[str], random: Random, **more: Any) -> Self:
        known = sorted(name for name in names if name in cluster.nodes)
        if not known:
            raise NotApplicableError(
                f"PF-CEPH-{cls.daemon.upper()}",
                f"{cls.kind} finds no {cls.daemon} named as a node of the site"
                f" (Ceph names {', '.join(names) or 'none'}).",
                "build phase 4.",
            )
        return cls(node=random.choice(known), **more)


@dataclass(frozen=True, kw_only=True)
class MonKilled(_OneKilled):
    """A monitor that does not lead is killed and held down."""

    kind = "mon-killed"
    summary = "a monitor that does not lead is killed (SIGKILL) and kept from starting"
    needs = ("Ceph whole, as the guard sees it", "three monitors")
    blast_radius = "one of the monitors: a quorum is left without one to spare"
    daemon = "mon"

    effect: ClassVar[Effect] = "mon"

    @property
    def mon(self) -> str | None:
        return self.node

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        state = ceph_state.read(cluster)
        return cls._of(cluster, [mon for mon in state.quorum if mon != state.leader], random, **more)

    def problems(self, state: CephState) -> list[str]:
        told = [] if self.node in state.quorum else [f"mon.{self.node} is not in the quorum"]
        if len(state.quorum) - 1 <= len(state.mons) // 2:
            told.append(f"without it {len(state.quorum) - 1} of {len(state.mons)} monitors are no quorum")
        return told + ([] if (state.leader == self.node) == self._leads() else [self._role()])

    def _leads(self) -> bool:
        return False

    def _role(self) -> str:
        return f"mon.{self.node} {'does not lead' if self._leads() else 'leads'}"


@dataclass(frozen=True, kw_only=True)
class MonLeaderKilled(MonKilled):
    """The leading monitor is killed and held down."""

    kind = "mon-leader-killed"
    summary = "the leading monitor is killed (SIGKILL) and kept from starting"
    blast_radius = "the leading monitor: maps stand still until another leads"

    effect = "leader"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        leader = ceph_state.read(cluster).leader
        return cls._of(cluster, [leader] if leader else [], random, **more)

    def _leads(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class MgrKilled(_OneKilled):
    """The active manager is killed and held down."""

    kind = "mgr-killed"
    summary = "the active manager is killed (SIGKILL) and kept from starting"
    needs = ("Ceph whole, as the guard sees it", "a standby manager")
    blast_radius = "statistics and modules until a standby takes over; no data"
    daemon = "mgr"

    effect = "mgr"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        active = ceph_state.read(cluster).mgr
        return cls._of(cluster, [active] if active else [], random, **more)

    def problems(self, state: CephState) -> list[str]:
        told = [] if state.mgr == self.node else [f"mgr.{self.node} is not the active manager"]
        return told + ([] if state.mgr_standbys else ["no manager stands by"])


@dataclass(frozen=True, kw_only=True)
class MdsKilled(_OneKilled):
    """The active metadata server is killed and held down."""

    kind = "mds-killed"
    summary = "the active metadata server is killed (SIGKILL) and kept from starting"
    needs = ("Ceph whole, as the guard sees it", "a file system", "a standby metadata server")
    blast_radius = "CephFS stands still until a standby takes over"
    daemon = "mds"

    effect = "mds"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        state = ceph_state.read(cluster)
        return cls._of(
            cluster, [name for name, how in state.mds.items() if how == "up:active"], random, **more
        )

    def problems(self, state: CephState) -> list[str]:
        told = [] if state.mds.get(self.node) == "up:active" else [f"mds.{self.node} is not active"]
        return told + ([] if state.mds_standbys else ["no metadata server stands by"])
