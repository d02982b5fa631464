"""Faults of OSDs: one killed, all of a node killed, one taken out, pools left with their least copies."""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Self

from chaos import ceph_state
from chaos.ceph_state import CephState
from chaos.faults.storage import DaemonsKilled, OneOsd, osd_unit, sound, victims
from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError, RefusedError


@dataclass(frozen=True, kw_only=True)
class OsdKilled(OneOsd, DaemonsKilled):
    """One OSD is killed and held down."""

    kind = "osd-killed"
    summary = "an OSD is killed (SIGKILL) and kept from starting"
    blast_radius = "one OSD: its placement groups have a copy less"

    effect = "osd"

    @property
    def units(self) -> tuple[str, ...]:
        return (osd_unit(self.osd),)

    def problems(self, state: CephState) -> list[str]:
        return sound(state, self.node, int(self.osd))


@dataclass(frozen=True, kw_only=True)
class NodeOsdsDown(DaemonsKilled):
    """All OSDs of one node are killed at once and held down; the node itself and its monitor live on."""

    kind = "node-osds-down"
    summary = "all OSDs of a node are killed (SIGKILL) and kept from starting"
    blast_radius = "all OSDs of one node: every placement group has a copy less"

    effect = "osd"
    osds: tuple[str, ...]

    @property
    def target(self) -> str:
        return f"{len(self.osds)} OSDs of {self.node}"

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(osd_unit(osd) for osd in self.osds)

    @property
    def osd_ids(self) -> tuple[int, ...]:
        return tuple(int(osd) for osd in self.osds)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        state, found = victims(cluster)
        node = random.choice(sorted({osd.host for osd in found}))
        return cls(node=node, osds=tuple(str(osd.id) for osd in state.of_host(node)), **more)

    def problems(self, state: CephState) -> list[str]:
        told = [each for osd in self.osd_ids for each in sound(state, self.node, osd)]
        left_out = {osd.id for osd in state.of_host(self.node)} - set(self.osd_ids)
        return told + [f"OSD {osd} of {self.node} would live on" for osd in sorted(left_out)]


@dataclass(frozen=True, kw_only=True)
class PoolAtMinSize(NodeOsdsDown):
    """One node's OSDs fail where that leaves every pool exactly the copies that it needs to serve.

    With one copy less a pool stops: that would be a second fault, which the guard refuses.
    """

    kind = "pool-at-min-size"
    summary = "every pool is left with its least number of copies (min_size)"
    needs = ("Ceph whole, as the guard sees it", "pools whose min_size is one less than their size")
    blast_radius = "every placement group serves with no copy to spare"

    def check(self, cluster: ClusterPort) -> None:
        state = ceph_state.read(cluster)
        other = [pool for pool in state.pools if pool.size - pool.min_size != 1]
        hosts = {osd.host for osd in state.osds.values()}
        if any(pool.size <= pool.min_size for pool in other):
            stuck = ", ".join(pool.name for pool in other if pool.size <= pool.min_size)
            raise RefusedError(f"{self.target} are not broken: {stuck} would stop with one copy less")
        if other or any(pool.size < len(hosts) for pool in state.pools):
            raise NotApplicableError(
                "PF-MIN-SIZE",
                "the loss of one node does not leave every pool with its least number of copies.",
                "see node-osds-down.",
            )
        super().check(cluster)


@dataclass(frozen=True, kw_only=True)
class OsdOut(OneOsd):
    """One OSD is taken out of the map while it runs: its data moves elsewhere; then it is taken in again."""

    kind = "osd-out"
    summary = "an OSD is taken out, so that its data is placed elsewhere"
    needs = ("Ceph whole, as the guard sees it", "room on the other OSDs")
    blast_radius = "the data of one OSD moves"
    heals_by = "`ceph osd in`"

    effect = "out"

    def check(self, cluster: ClusterPort) -> None:
        told = sound(ceph_state.read(cluster), self.node, int(self.osd))
        if told:
            raise RefusedError(f"{self.target} is not taken out: {'; '.join(told)}")

    def break_script(self) -> str:
        return f"ceph --connect-timeout 20 osd out {int(self.osd)}\n"

    def heal_script(self) -> str:
        return f"ceph --connect-timeout 20 osd in {int(self.osd)}\n"

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return not ceph_state.read(cluster).osds[int(self.osd)].in_

    def healed(self, cluster: ClusterPort) -> bool:
        return ceph_state.read(cluster).osds[int(self.osd)].in_
