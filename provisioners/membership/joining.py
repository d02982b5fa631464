"""Creating the cluster on one node and letting the others join, one at a time, each over a verified way.

The first node's certificate is read over SSH, whose host key has been checked; the node that joins is told
its fingerprint, and refuses another. A killed run leaves the task running in the node's daemon: the next one
waits for it and goes on from what is true then.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import RackproofError
from provisioners.change import Change, Progress
from provisioners.membership.missing import members
from provisioners.membership.observation import NodeMembership
from provisioners.membership.ordered import addresses, corosync, node_id, priorities
from provisioners.membership.separating import Undoable, keep
from provisioners.membership.views import head_of, view, views
from provisioners.membership.waiting import finish_running, wait_api, wait_quorum

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site
    from cluster.site_models import NodeSpec

CREATE_S = 300.0
JOIN_S = 600.0
_CERTIFICATE = 'for f in "$d/pveproxy-ssl.pem" "$d/pve-ssl.pem"; do [ -e "$f" ] && cat "$f" && break; done'


@dataclass(frozen=True)
class Create(Undoable):
    """Action `create`: the cluster, on the first node alone."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        name = changes[0].node
        if finish_running(cluster, name, "clustercreate", progress) and view(cluster, name).conf is not None:
            return
        keep(cluster, name)
        values = create_parameters(cluster.site, cluster.site.node(name))
        cluster.pve[name].task("post", "cluster/config", CREATE_S, progress, **values)
        wait_quorum(cluster, [name], 1, progress)


@dataclass(frozen=True)
class Join(Undoable):
    """Action `join`: one node after the other."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = list(dict.fromkeys(change.node for change in changes))
        for number, name in enumerate(names, start=1):
            began = time.monotonic()
            join(cluster, name, progress)
            took = time.monotonic() - began
            progress(f"{name}: is a member ({number} of {len(names)} joined, {took:.0f} s)")


def join(cluster: Cluster, name: str, progress: Progress) -> None:
    """Lets one node join. Raises NotConvergedError when there is no cluster, and what the API raises."""
    if finish_running(cluster, name, "clusterjoin", progress) and view(cluster, name).conf is not None:
        cluster.pve[name].forget()
        _settle(cluster, name, progress)
        return
    keep(cluster, name)
    head = head_of(cluster, but=name)
    shown = fingerprint(cluster, head.name)
    values = {
        **join_parameters(cluster.site, cluster.site.node(name), head),
        "hostname": str(cluster.site.node(head.name).address),
        "fingerprint": shown,
        "password": peer_password(cluster, head.name),
    }
    progress(f"{name}: joins by way of {head.name}, certificate {shown[:23]}...")
    try:
        cluster.pve[name].task("post", "cluster/config/join", JOIN_S, progress, **values)
    finally:
        cluster.pve[name].forget()  # its certificate is renewed by the cluster's own authority
    _settle(cluster, name, progress)


def _settle(cluster: Cluster, name: str, progress: Progress) -> None:
    """Waits until the node and every member see each other: the next join needs all of them."""
    names = [node.name for node in members(cluster.site, views(cluster))]
    wait_quorum(cluster, names or [name], max(2, len(names)), progress)
    wait_api(cluster, name)


def create_parameters(site: Site, node: NodeSpec) -> dict[str, object]:
    """Parameters of POST /cluster/config."""
    given, want = bool(corosync(site).priorities), priorities(site)
    links = {
        f"link{i}": f"address={text},priority={want[i]}" if given else f"address={text}"
        for i, text in addresses(site, node).items()
    }
    return {"clustername": site.cluster, "nodeid": node_id(site, node), "votes": 1, **links}


def join_parameters(site: Site, node: NodeSpec, head: NodeMembership) -> dict[str, object]:
    """Parameters of POST /cluster/config/join, but for the peer's. A node has the id of its place in the
    order, unless another holds that.

    The links are those that the cluster has now, as the join demands: others are added afterwards.
    """
    conf = head.conf
    links = set(conf.links) if conf is not None else set()
    taken = {entry.nodeid for entry in conf.entries} if conf is not None else set()
    values: dict[str, object] = {
        f"link{i}": f"address={text}" for i, text in addresses(site, node).items() if not links or i in links
    }
    if node_id(site, node) not in taken:
        values["nodeid"] = node_id(site, node)
    return {"votes": 1, **values}


def fingerprint(cluster: Cluster, name: str) -> str:
    """SHA-256 of the certificate that a node's API shows, read over SSH; bytes in hexadecimal with colons."""
    text = cluster.nodes[name].run(f"d=/etc/pve/nodes/%s\n{_CERTIFICATE}", name).stdout
    end = "-----END CERTIFICATE-----"
    try:
        # A chain may follow; the first certificate is the node's own.
        der = ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)].strip() + "\n")
    except ValueError:
        raise RackproofError(f"{name}: expected a certificate in /etc/pve/nodes/{name}/pve-ssl.pem") from None
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


def peer_password(cluster: Cluster, name: str) -> str:
    """Password with which a joining node logs in to its peer, out of the parameter store."""
    table = cluster.site.pve
    if table is None:
        raise RackproofError(f"{cluster.site.name}: pve: expected a table that says who speaks to the API")
    return cluster.secrets.resolve(table.password, node=name)
