"""Fresh views of the nodes, for actions that go on from what is true by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.errors import NotConvergedError
from provisioners.membership.missing import reference
from provisioners.membership.observation import NodeMembership, Observation, look

if TYPE_CHECKING:
    from cluster.cluster import Cluster


def views(cluster: Cluster, but: str = "") -> Observation:
    """Every node's view, or that of every node but one. The parameter store is not asked."""
    names = [node.name for node in cluster.site.nodes if node.name != but]
    return Observation(look(cluster, names), {})


def view(cluster: Cluster, name: str) -> NodeMembership:
    """One node's view. Raises UnreachableError."""
    return Observation(look(cluster, [name]), {}).node(name)


def head_of(cluster: Cluster, but: str = "") -> NodeMembership:
    """The view that stands for the cluster, of a node that is not `but`.

    Raises NotConvergedError where none has a quorum.
    """
    head = reference(cluster.site, views(cluster, but))
    if head is None or not head.quorate or head.conf is None:
        raise NotConvergedError(
            f"no node has a quorum of the cluster {cluster.site.cluster}: nothing of it can be changed now"
        )
    return head
