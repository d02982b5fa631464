"""What would form the cluster anew, kept in the parameter store, encrypted, with the operator's identity.

The key never passes a command line, a transcript or a variable of a role: it is read over a connection that
tells nobody, and written at once.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import NotConvergedError
from cluster.node import Node
from provisioners.change import Change, Progress
from provisioners.membership.missing import unsaved
from provisioners.membership.observation import Observation, digest, stored
from provisioners.membership.separating import refuse_if_used
from provisioners.membership.views import head_of

if TYPE_CHECKING:
    from cluster.cluster import Cluster

KEY = "/etc/corosync/authkey"


@dataclass(frozen=True)
class Save:
    """Action `save`: key, configuration, identity and nodes of the cluster, as they are in force."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:  # noqa: ARG002
        head = head_of(cluster)
        if head.conf is None:
            raise NotConvergedError(f"{head.name}: has no configuration that could be saved")
        lacking = unsaved(cluster.site, Observation({}, stored(cluster)), head)
        root = f"{cluster.site.aws.root}/cluster"
        for leaf in (entry.split(" ")[0] for entry in lacking):
            if leaf == "corosync_key":
                value = _key(cluster, head.name, head.key)
            elif leaf == "corosync_conf":
                value = base64.b64encode(head.conf.text.encode()).decode()
            elif leaf == "cluster_id":
                value = head.authority
            else:
                value = ",".join(node.name for node in cluster.site.nodes)
            if not value:
                raise NotConvergedError(f"{head.name}: there is nothing that could be saved as {root}/{leaf}")
            secret = leaf.startswith("corosync_")
            _write(cluster, f"{root}/{leaf}", value, secret=secret)
            progress(f"{head.name}: saved {root}/{leaf}{', encrypted' if secret else ''}")
        cluster.secrets.forget()

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """What was saved stays: it tells of a cluster that was. Asked first, so it refuses for all."""
        refuse_if_used(cluster, list(dict.fromkeys(change.node for change in changes)))
        progress(f"{cluster.site.aws.root}/cluster keeps what was saved of the cluster")


def _key(cluster: Cluster, name: str, expected: str) -> str:
    """The key of the cluster in base64. Raises NotConvergedError when it is not the one that was seen."""
    silent = Node(cluster.nodes[name].spec, cluster.ssh)  # no observer: transcripts are kept
    text = silent.run(f"base64 -w 0 {KEY}", timeout=30).stdout.strip()
    if digest(base64.b64decode(text)) != expected:
        raise NotConvergedError(f"{name}: the cluster's key changed while it was saved: run again")
    return text


def _write(cluster: Cluster, name: str, value: str, *, secret: bool) -> None:
    """A parameter changes its type only by being made anew."""
    entry = cluster.secrets.tree().get(name)
    if entry is not None and entry.secret != secret:
        cluster.aws.delete_parameter(name)
    cluster.aws.put_parameter(name, value, secret=secret)
