"""What a cluster that stands is set to: configuration, services, clocks, the network guests move over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import NotConvergedError, RefusedError
from cluster.node import CommandError
from provisioners.ansible import play
from provisioners.change import Change, Progress
from provisioners.membership.missing import KEY_MODE, members, reference, stale_files
from provisioners.membership.observation import SERVICES, NodeMembership
from provisioners.membership.ordered import addresses, clock_limit, differences, migration_network, revise
from provisioners.membership.separating import Kept, keep
from provisioners.membership.views import head_of, views
from provisioners.membership.waiting import until_true, wait_api, wait_quorum

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site

FORCE_S = 120.0
STALE = 3  # exit status: the file has changed since it was read
# The manual's procedure (pvecm, "Edit corosync.conf"): a complete new file beside it, then one rename.
_REPLACE = """\
umask 077
[ "$(sha256sum < /etc/pve/corosync.conf | cut -d' ' -f1)" = %s ] || exit 3
cat > /etc/pve/corosync.conf.new && mv /etc/pve/corosync.conf.new /etc/pve/corosync.conf
"""


@dataclass(frozen=True)
class ConfigurationChange(Kept):
    """Action `configuration`: corosync.conf as ordered, as a new version that every node takes over."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:  # noqa: ARG002
        seen = views(cluster)
        head = reference(cluster.site, seen)
        if head is None or head.conf is None or not head.quorate:
            raise NotConvergedError("corosync.conf is not changed: no node has a quorum")
        belonging = members(cluster.site, seen)
        highest = max(node.local.version for node in belonging if node.local) if belonging else 0
        version = max(head.conf.version, highest) + 1
        if not differences(cluster.site, head.conf) and all(
            _in_force(n, head.conf.version) for n in belonging
        ):
            return
        refuse_parting(cluster.site, belonging, head)
        keep(cluster, head.name)
        progress(f"{head.name}: writes corosync.conf, version {version} (it was {head.conf.version})")
        text = revise(cluster.site, head.conf, version)
        try:
            cluster.nodes[head.name].run(_REPLACE, head.files.get("corosync.conf", ""), data=text, timeout=60)
        except CommandError as error:
            if error.result.rc == STALE:
                raise RefusedError(
                    f"{head.name}: corosync.conf was changed by somebody else meanwhile: run again"
                ) from None
            raise
        names = [node.name for node in belonging if node.running]

        def lagging() -> str:
            now = views(cluster)
            late = [n for n in names if not _in_force(now.node(n), version)]
            return ", ".join(late)

        until_true(
            lagging, FORCE_S, f"version {version} of corosync.conf did not come into force on every node"
        )
        wait_quorum(cluster, names, len(names), progress)


def _in_force(node: NodeMembership, version: int) -> bool:
    return node.local is not None and node.local.version == version and node.version == version


def refuse_parting(site: Site, belonging: Sequence[NodeMembership], head: NodeMembership) -> None:
    """Raises RefusedError when the addresses of a link are to change while no other link joins all nodes."""
    conf = head.conf
    if conf is None:
        return
    moved = {
        link
        for node in site.nodes
        if (entry := conf.entry(node.name)) is not None
        for link in {*addresses(site, node), *entry.addresses}
        if entry.addresses.get(link) is not None
        and entry.addresses.get(link) != addresses(site, node).get(link)
    }
    if not moved:
        return
    kept = set(conf.links) - moved
    sound = [
        link
        for link in kept
        if all(seen.connected for node in belonging for seen in node.links if seen.number == link)
        and all(any(seen.number == link for seen in node.links) for node in belonging)
    ]
    if not sound:
        raise RefusedError(
            f"the addresses of link {', '.join(map(str, sorted(moved)))} are not changed: no other link joins"
            " every pair of nodes meanwhile, and the cluster would fall apart"
        )


@dataclass(frozen=True)
class Services(Kept):
    """Action `services`: what the cluster needs runs, starts at boot, and has read the cluster's files."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = list(dict.fromkeys(change.node for change in changes))
        seen = views(cluster)
        head = reference(cluster.site, seen)
        each = {name: variables(seen.node(name), head) for name in names}
        play(cluster, "membership", names, {}, progress, host_variables=each)
        for name in names:
            cluster.pve[name].forget()
            wait_api(cluster, name)
        running = [node.name for node in members(cluster.site, views(cluster)) if node.running]
        count = len(running)
        if count:
            wait_quorum(cluster, running, count, progress)


def variables(node: NodeMembership, head: NodeMembership | None) -> dict[str, object]:
    """The role's variables for one node: what is to be started, and what has to read its files anew."""
    stale = head is not None and node.quorate and bool(stale_files(node, head))
    return {
        "membership_services": [
            name
            for name in SERVICES
            if (service := node.services.get(name)) is None or not (service.active and service.enabled)
        ],
        "membership_restart": ["pve-cluster"] if stale else [],
        "membership_key_mode": f"0{KEY_MODE}",
    }


@dataclass(frozen=True)
class ClockRight(Kept):
    """Action `clock`: the time servers are asked again and the clock is stepped to them."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = list(dict.fromkeys(change.node for change in changes))
        variables = {"membership_clock_limit": clock_limit(cluster.site)}
        play(cluster, "membership", names, variables, progress, tasks_from="clock")


@dataclass(frozen=True)
class Migration(Kept):
    """Action `migration`: the network that guests are moved over; how they are encrypted stays as it is."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:  # noqa: ARG002
        head = head_of(cluster)
        value = f"type={head.migration[0]},network={migration_network(cluster.site)}"
        cluster.pve[head.name].call("put", "cluster/options", migration=value)
        progress(f"{head.name}: guests are moved over {migration_network(cluster.site)}")
