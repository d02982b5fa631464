"""The guard's part for membership: every node sees every node as a member, where there is a cluster, and a
fault leaves a majority unless whoever asks for it consents to the loss.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chaos.fault import Fault, QuorumLoss
from chaos.ports import ClusterPort, NodePort
from cluster.errors import RackproofError

_ASK_S = 30.0
_LOOK = """\
[ -s /etc/corosync/corosync.conf ] || { echo none; exit 0; }
corosync-cmapctl runtime.members. 2>/dev/null | grep -c 'status (str) = joined'
"""


@dataclass(frozen=True)
class Membership:
    """Every node sees all nodes of the site joined. A node that is in no cluster yet is passed over."""

    name: str = "every node is a member"
    before_only: bool = False

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        """What is wrong, each as a sentence."""
        del fault
        if cluster.site.corosync is None or len(cluster.nodes) < 2:
            return []
        with ThreadPoolExecutor(len(cluster.nodes)) as pool:
            seen = list(pool.map(_members, cluster.nodes.values()))
        wanted = len(cluster.site.nodes)
        return [
            f"{name} sees {told} of {wanted} members"
            for name, told in zip(cluster.nodes, seen, strict=True)
            if told not in ("none", str(wanted))
        ]


@dataclass(frozen=True)
class QuorumKept:
    """More than half of the site's nodes stay members while the fault is in. Each node has one vote."""

    name: str = "a majority of the nodes is left"
    before_only: bool = True

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        """What is wrong, each as a sentence."""
        total, lost = len(cluster.site.nodes), len(set(fault.silenced))
        if cluster.site.corosync is None:
            return []
        if 2 * (total - lost) > total or lost == 0 or (isinstance(fault, QuorumLoss) and fault.consent):
            return []
        return [
            f"{total - lost} of {total} nodes would be left, which is no majority:"
            + (" it needs consent = true" if isinstance(fault, QuorumLoss) else " nothing would be managed")
        ]


def checks() -> tuple[Membership, QuorumKept]:
    """The checks to add to a guard."""
    return (Membership(), QuorumKept())


def _members(node: NodePort) -> str:
    """How many members a node sees; "none" where it is in no cluster."""
    try:
        return node.run(_LOOK, timeout=_ASK_S, check=False).stdout.strip() or "0"
    except RackproofError:
        return "0"
