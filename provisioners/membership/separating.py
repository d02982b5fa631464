"""Taking a node out of what it holds of a cluster, and a former node off the cluster's list.

Both follow the manual of Proxmox VE ("Remove a Cluster Node", "Separate a Node Without Reinstalling", pvecm):
a node is separated with its cluster file system in local mode; a former node is deleted from the list by one
that stays, and its folder, which that leaves behind, is removed afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import RefusedError
from provisioners.ansible import play
from provisioners.change import Change, Progress
from provisioners.membership.missing import reference, standing
from provisioners.membership.observation import Observation
from provisioners.membership.views import head_of, view, views
from provisioners.membership.waiting import finish_running, until_true, wait_api

if TYPE_CHECKING:
    from cluster.cluster import Cluster

SAVED = "/var/lib/rackproof/saved/phase3"
GONE_S = 60.0
_KEEP = f"""\
set -e
[ -e {SAVED}/.done ] && exit 0
mkdir -p -m 700 {SAVED}
for f in /var/lib/pve-cluster/config.db* /etc/corosync/corosync.conf /etc/corosync/authkey; do
  [ -e "$f" ] && cp -a "$f" {SAVED}/
done
touch {SAVED}/.done
"""
# Storage and highly available guests stand on the cluster: what would be lost is named.
_HELD = """\
cd /etc/pve || exit 0
for f in nodes/*/lxc/*.conf nodes/*/qemu-server/*.conf; do
  [ -e "$f" ] && f=${f##*/} && echo "guest ${f%.conf}"
done
[ -s ceph.conf ] && echo "the configuration of Ceph"
[ -s ha/resources.cfg ] && echo "highly available resources"
true
"""


def keep(cluster: Cluster, name: str) -> None:
    """Keeps, once, what of a cluster stood on a node before phase 3 first touched it."""
    cluster.nodes[name].run(_KEEP, timeout=60)


class Undoable:
    """Taking phase 3 back: every node stands alone again. Refused while anything stands on the cluster."""

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = list(dict.fromkeys(change.node for change in changes))
        refuse_if_used(cluster, names)
        seen = views(cluster)
        joined = [name for name in names if not seen.node(name).alone]
        if not joined:
            return
        separate(cluster, joined, progress)
        others = [node.name for node in cluster.site.nodes]
        for name in joined:
            for other in others:
                if other != name:
                    cluster.nodes[name].run("rm -rf /etc/pve/nodes/%s", other)


class Kept:
    """What goes with the cluster when that is taken back, and needs no undoing of its own."""

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:  # noqa: ARG002
        refuse_if_used(cluster, list(dict.fromkeys(change.node for change in changes)))


def refuse_if_used(cluster: Cluster, names: Sequence[str]) -> None:
    """Raises RefusedError, naming what stands on the cluster, before anything of it is taken back."""
    held: dict[str, list[str]] = {}
    for name in names:
        lines = cluster.nodes[name].run(_HELD, timeout=30).stdout.splitlines()
        if lines:
            held[name] = list(dict.fromkeys(lines))
    if held:
        said = "; ".join(f"{name}: {', '.join(what)}" for name, what in held.items())
        raise RefusedError(
            f"the cluster is not taken back while anything stands on it ({said}): remove that first"
        )


def separate(cluster: Cluster, names: Sequence[str], progress: Progress) -> None:
    """Frees nodes of what they hold of a cluster; what they held is kept beside. Raises ProvisioningError."""
    play(cluster, "membership", names, {"membership_saved": SAVED}, progress, tasks_from="separate")
    for name in names:
        cluster.pve[name].forget()
        wait_api(cluster, name)


@dataclass(frozen=True)
class Reset(Kept):
    """Action `reset`: a node without guests is freed of a half-made membership, so that it can join."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = [change.node for change in changes if _still(cluster, change.node, progress)]
        for name in names:
            seen = views(cluster)
            if guests := seen.node(name).guests:
                raise RefusedError(
                    f"{name}: not freed of its half-made membership: it has guests {', '.join(guests)}"
                )
            head = reference(
                cluster.site, Observation({n: v for n, v in seen.nodes.items() if n != name}, {})
            )
            if head is not None and head.online.get(name):
                raise RefusedError(f"{name}: not freed of its membership: {head.name} sees it online")
            keep(cluster, name)
        if names:
            separate(cluster, names, progress)


@dataclass(frozen=True)
class Expel(Kept):
    """Action `expel`: a node that is none is taken off the list, and its empty folder with it."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        for name in dict.fromkeys(change.node for change in changes):
            if name in cluster.nodes and not _still(cluster, name, progress):
                continue
            head = head_of(cluster, but=name)
            peer = head.name
            if head.online.get(name):
                raise RefusedError(f"{name}: not taken off the list: {peer} sees it online")
            if head.conf is not None and head.conf.entry(name) is not None:
                progress(f"{peer}: deletes {name} from the list of nodes")
                cluster.pve[peer].call("delete", f"cluster/config/nodes/{name}")
                until_true(lambda n=name, p=peer: _listed(cluster, p, n), GONE_S, f"{name} was not deleted")  # type: ignore[misc]
            if name not in cluster.nodes and not head.folders.get(name, ()):
                cluster.nodes[peer].run("rm -rf /etc/pve/nodes/%s", name)


def _listed(cluster: Cluster, peer: str, name: str) -> str:
    conf = view(cluster, peer).conf
    return f"{peer} lists it still" if conf is not None and conf.entry(name) is not None else ""


def _still(cluster: Cluster, name: str, progress: Progress) -> bool:
    """Whether a node is still half joined once a join of a run before has ended."""
    if not finish_running(cluster, name, "clusterjoin", progress):
        return True
    seen = views(cluster)
    return standing(cluster.site, reference(cluster.site, seen), seen.node(name)).kind != "member"
