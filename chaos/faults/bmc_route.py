"""A BMC is out of reach of those who would fence its node: alone, and while the node has lost its power.

It is cut on the nodes that would act, never at the BMC: a switch port of the out-of-band network would take
the harness's own way to it as well, which is the way back in.
"""

# ruff: noqa: ARG002, ARG003 - the contract's arguments are not needed by every fault
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos.fault import Fault
from chaos.faults.lost import running_since
from chaos.faults.partition import peers_of
from chaos.faults.power import NodePowerLost
from chaos.faults.several import Several
from chaos.faults.traffic import Dropped
from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError

_CURL_S = 10


@dataclass(frozen=True, kw_only=True)
class _BmcCut(Dropped):
    """Nothing passes between one node and a BMC at `door` (address:port)."""

    kind = "bmc-unreachable"
    summary = "a node and a BMC lose every packet between them"
    blast_radius = "one node's way to one BMC"

    door: str

    @property
    def what(self) -> str:
        return f"nothing passes to and from the BMC at {self.door}"

    def check(self, cluster: ClusterPort) -> None:
        super().check(cluster)
        ask = f"curl --silent --insecure --output /dev/null --max-time {_CURL_S}"
        line = f"{ask} https://{self.door}/redfish/v1/"
        if not cluster.nodes[self.node].run(line, timeout=_CURL_S + 20, check=False).ok:
            raise _no_way(self.node, self.door)

    def matches(self, direction: str) -> Iterable[str]:
        return ("",)


@dataclass(frozen=True, kw_only=True)
class BmcUnreachable(Several):
    """The BMC of a node cannot be reached by any of its peers, so that none can fence it."""

    kind = "bmc-unreachable"
    summary = "the BMC of a node is out of reach of all other nodes; the harness still reaches it"
    needs: ClassVar[tuple[str, ...]] = (*Dropped.needs, "a way from the nodes to each other's BMCs")
    blast_radius = "fencing of one node by its peers"
    heals_by = Dropped.heals_by
    deadman = "systemd timers on the other nodes"

    node: str
    doors: tuple[str, ...]
    """ "peer interface address:port": who is cut off, and where its way to the BMC begins."""
    deadman_s: float = 300.0

    @property
    def target(self) -> str:
        return f"BMC of {self.node} as seen by {', '.join(door.split()[0] for door in self.doors)}"

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().nodes, self.node)))

    @property
    def parts(self) -> tuple[Fault, ...]:
        return tuple(self._cuts())

    def _cuts(self) -> Iterable[Fault]:
        for each in self.doors:
            peer, interface, door = each.split()
            paths = (f"{interface} {door.partition(':')[0]}",)
            yield _BmcCut(node=peer, paths=paths, door=door, deadman_s=self.deadman_s)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        return cls.of(cluster, random.choice(sorted(cluster.nodes)))

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        return cls.of(cluster, candidate)

    @classmethod
    def of(cls, cluster: ClusterPort, node: str, **more: Any) -> Self:
        """The BMC of a named node. Raises `NotApplicableError` where a peer has no way to it."""
        bmc = cluster.site.node(node).bmc
        doors = []
        for peer in peers_of(cluster, node):
            found = cluster.nodes[peer].run("ip -j route get %s", str(bmc.address), check=False)
            try:
                interface = str(json.loads(found.stdout)[0]["dev"])
            except (ValueError, LookupError, TypeError):
                raise _no_way(peer, f"{bmc.address}:{bmc.port}") from None
            doors.append(f"{peer} {interface} {bmc.address}:{bmc.port}")
        if not doors:
            raise NotApplicableError("PF-NO-PEER", "the site has one node alone.", "use a larger cluster.")
        return cls(node=node, doors=tuple(doors), **more)


@dataclass(frozen=True, kw_only=True)
class NodeLostBmcUnreachable(BmcUnreachable):
    """A node has lost its power, and its BMC cannot be reached by those who would fence it."""

    kind = "node-lost-bmc-unreachable"
    summary = "a node's power is cut while its BMC is out of reach of all other nodes"
    needs = (*BmcUnreachable.needs, *NodePowerLost.needs)
    blast_radius = f"{NodePowerLost.blast_radius}; nobody can fence it"
    heals_by = f"{BmcUnreachable.heals_by}; {NodePowerLost.heals_by}"
    deadman = f"{BmcUnreachable.deadman}, and {NodePowerLost.deadman}"
    may_isolate = True
    resets = True
    only_last_counts = True
    heal_s = NodePowerLost.heal_s

    boot: str

    @property
    def target(self) -> str:
        return f"power of {self.node}, and {super().target}"

    @property
    def parts(self) -> tuple[Fault, ...]:
        return (*self._cuts(), NodePowerLost(node=self.node, boot=self.boot, deadman_s=self.deadman_s))

    @classmethod
    def of(cls, cluster: ClusterPort, node: str, **more: Any) -> Self:
        return super().of(cluster, node, boot=running_since(cluster, node), **more)


def _no_way(node: str, door: str) -> NotApplicableError:
    return NotApplicableError(
        "PF-BMC-ROUTE",
        f"{node} does not reach the BMC at {door}, so nothing can be taken from it.",
        "route the nodes to the out-of-band network, as fencing by Redfish needs it.",
    )
