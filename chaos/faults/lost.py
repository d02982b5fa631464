"""What the faults share by which a node is lost: it stops as a whole and comes back only by starting anew.

The dead-man's switch cannot lie on what is dead: a process of its own on the controller brings the node back
by its BMC (`chaos.late_power`). Each fault names the start of the node that it ends, by the kernel's boot id:
so a node that came back in between is never mistaken for one that was hit.
"""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos.bond_state import BondState
from chaos.fault import Fault
from chaos.late_power import BACK_S, bring_back, power_of
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RackproofError, RefusedError, UnknownError, UnreachableError

PROC = "/proc"
LOOK_S = 15.0
KNOCK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class NodeLost(Fault):
    """A node stops. `boot`: the boot id of the start that ends with it."""

    needs: ClassVar[tuple[str, ...]] = ("a BMC that switches the node off and on",)
    heals_by = "its own start; the node switched on by its BMC, or off and on where it does not come back"
    deadman = "a process on the controller that brings the node back by its BMC"
    may_isolate = True
    resets = True
    inject_s = 60.0
    heal_s = BACK_S

    node: str
    boot: str
    deadman_s: float = 300.0

    @property
    def target(self) -> str:
        return self.node

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.node,)

    @property
    def silenced(self) -> tuple[str, ...]:
        return (self.node,)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        node = random.choice(sorted(cluster.nodes))
        return cls(node=node, boot=running_since(cluster, node), **more)

    def check(self, cluster: ClusterPort) -> None:
        offered = cluster.bmcs[self.node].resets()
        lacking = [each for each in ("ForceOff", "On") if offered and each not in offered]
        if lacking:
            raise NotApplicableError(
                "PF-BMC-RESET",
                f"the BMC of {self.node} does not offer {' and '.join(lacking)}: nobody could bring it back.",
                "update the BMC's firmware, or activate its licence.",
            )
        if running_since(cluster, self.node) != self.boot:
            raise RefusedError(f"{self.node} is not lost: it has started anew since it was chosen")

    def arm(self, cluster: ClusterPort, drill: str) -> Mapping[str, str]:
        power_of(cluster).arm_start(drill, self.node, self.deadman_s)
        return {"start": drill}

    def armed(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return drill in power_of(cluster).armed_starts()

    def disarm(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return power_of(cluster).disarm_start(drill)

    def fired(self, cluster: ClusterPort, drill: str) -> bool:
        return power_of(cluster).start_fired(drill)

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        await_back(cluster, self.node)

    def healed(self, cluster: ClusterPort) -> bool:
        if cluster.bmcs[self.node].power_state() != "On":
            return False
        try:
            running_since(cluster, self.node)
        except UnreachableError:
            return False  # on its way back
        return True

    def proven(self, cluster: ClusterPort, drill: str) -> None:
        if running_since(cluster, self.node) == self.boot:
            raise UnknownError(f"{self.node} was not lost: it still runs since before the drill")

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return Prediction(0.0, None, "the node is gone until it has started again")

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        """Its links count anew, and each may fail once while it starts."""
        return frozenset((self.node, leg.interface) for leg in bonds[self.node].members)


def running_since(cluster: ClusterPort, node: str) -> str:
    """The boot id of the kernel that runs. Raises `UnreachableError`."""
    return cluster.nodes[node].run(f'cat "{PROC}/sys/kernel/random/boot_id"', timeout=LOOK_S).stdout.strip()


def silent(cluster: ClusterPort, node: str) -> bool:
    """Whether a node does not answer by SSH."""
    try:
        return not cluster.nodes[node].reachable(timeout=KNOCK_S)
    except RackproofError:
        return True


def await_back(cluster: ClusterPort, node: str) -> None:
    """Where a node does not answer: switch it on, or wait while it starts, or end the start that does not
    come about (after `BACK_S`) and begin another. Raises as `cluster.bmc.Bmc`.
    """
    if silent(cluster, node):
        bring_back(cluster.bmcs[node], lambda: silent(cluster, node))
