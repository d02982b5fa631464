"""Corosync and HA: what membership and fencing cannot promise.

Sources: pve-docs pvecm.adoc (dedicated network; knet alone has several links and encryption), ha-manager.adoc
(recovery by watchdog), regression logs of pve-ha-manager (123 s; 181 s when the CRM's master was lost),
corosync.conf(5) (token_coefficient, consensus).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.contradictions.rule import Found, rule
from cluster.units import format_seconds

if TYPE_CHECKING:
    from cluster.site import Site

_RECOVERY, _RECOVERY_OF_MASTER = 123.0, 181.0
_COEFFICIENT, _WATCHDOG, _SHORTEST = 0.125, 60.0, 1.0  # what Proxmox VE writes; watchdog-mux; seconds


@rule("PF-QUORUM")
def quorum(site: Site) -> Iterator[Found]:
    """A number of nodes that cannot lose one."""
    count = len(site.nodes)
    if count < 3 or count % 2 == 0:
        yield Found(
            "warning",
            "node",
            f"a cluster of {count}",
            f"{count} votes survive the loss of {(count - 1) // 2}",
            "an odd number, three or more",
        )


@rule("PF-COROSYNC-LINKS")
def links(site: Site) -> Iterator[Found]:
    """Rings that are not redundant (C08)."""
    corosync = site.corosync
    if corosync is None:
        return
    names = corosync.links
    order = f"Corosync over {len(names)} link{'s' if len(names) != 1 else ''}: {', '.join(names)}"
    elsewhere = "link 0 on ports of its own, link 1 on the hosts' VLAN"
    if len(set(names)) < len(names):
        yield Found(
            "error",
            "corosync.links",
            order,
            "two links on one network have the same address, fail together and are refused",
            elsewhere,
        )
    elif len(names) < 2:
        yield Found(
            "warning", "corosync.links", order, "its loss parts every node from every other", elsewhere
        )
    elif all(site.networks[name].id is not None for name in names):
        yield Found(
            "warning",
            "corosync.links",
            order,
            f"both are VLANs of {site.bond.name}: two links, one failure domain",
            elsewhere,
        )
    if corosync.transport != "knet":
        severity = "error" if len(names) > 1 else "warning"
        yield Found(
            "error" if severity == "error" else "warning",
            "corosync.transport",
            f"transport {corosync.transport} with {len(names)} links",
            f"{corosync.transport} has neither link redundancy nor encryption",
            'transport = "knet"',
        )


@rule("PF-COROSYNC-SHARED")
def shared(site: Site) -> Iterator[Found]:
    """Corosync on the network that storage loads (C09)."""
    if site.corosync is None or site.ceph is None or not site.corosync.links:
        return
    first = site.corosync.links[0]
    if first in (site.ceph.public_network, site.ceph.cluster_network):
        yield Found(
            "warning",
            "corosync.links",
            f"Corosync's first link and Ceph on {first}",
            "a rebalance delays the token, and nodes that miss it reset themselves",
            "first link on ports of its own",
        )
    if (
        site.ceph.public_network
        == site.ceph.cluster_network
        == next(name for name, network in site.networks.items() if network.role == "host")
    ):
        yield Found(
            "info",
            "ceph.cluster_network",
            "Ceph's clients, its replicas and management on one network",
            "a rebalance and clients share the links",
            "watch client latency while a rebalance runs",
        )


@rule("PF-COROSYNC-TOKEN")
def token(site: Site) -> Iterator[Found]:
    """A token that outlives the watchdog's patience, or none at all (F-3.6)."""
    if site.corosync is None:
        return
    # Corosync adds the coefficient for each node beyond the second; consensus is 1.2 times the sum.
    lost = site.corosync.token + max(0, len(site.nodes) - 2) * _COEFFICIENT
    agreed = round(2.2 * lost, 1)
    watchdog = site.ha.watchdog if site.ha is not None else _WATCHDOG
    order = f"token {format_seconds(site.corosync.token)} with {len(site.nodes)} nodes"
    if agreed >= watchdog / 2:
        yield Found(
            "error" if agreed >= watchdog else "warning",
            "corosync.token",
            order,
            f"a lost node is agreed upon after {format_seconds(agreed)}, and all others, which cannot write"
            f" until then, reset themselves after {format_seconds(watchdog)}",
            "3 s; a network that needs more is the fault to mend",
        )
    elif site.corosync.token < _SHORTEST:
        yield Found(
            "warning",
            "corosync.token",
            order,
            "a node that is busy for so long counts as lost, and resets itself",
            "3 s",
        )


@rule("PF-HA-FENCE")
def fencing(site: Site) -> Iterator[Found]:
    """Fencing that Proxmox VE does not do (C28, C30)."""
    if site.ha is not None and site.ha.fencing != "watchdog":
        yield Found(
            "error",
            "ha.fencing",
            f"a lost node is fenced by {site.ha.fencing}",
            "Proxmox VE fences by the node's own watchdog and calls no BMC; files that say otherwise are"
            " read by nothing",
            'fencing = "watchdog", and power_cycle = true for a Redfish power cycle once the node is dead',
        )


@rule("PF-HA-SOFTDOG")
def softdog(site: Site) -> Iterator[Found]:
    """A watchdog that dies with the kernel that it is to reset."""
    if site.ha is not None and site.ha.watchdog_module == "softdog":
        yield Found(
            "warning",
            "ha.watchdog_module",
            "a node that hangs is reset by softdog",
            "softdog is a timer of the kernel that hangs: when that stands still, nothing resets the node",
            'the watchdog of the board or the BMC, such as "ipmi_watchdog"',
        )


@rule("PF-HA-POWER")
def power_action(site: Site) -> Iterator[Found]:
    """A graceful shutdown asked of a dead system (C31)."""
    if site.ha is not None and site.ha.power_action == "GracefulShutdown":
        yield Found(
            "error",
            "ha.power_action",
            "GracefulShutdown to take a lost node out",
            "it asks the operating system that does not answer, so the node may still write",
            "ForceOff, and wait until PowerState reads Off",
        )


@rule("PF-HA-RTO")
def recovery(site: Site) -> Iterator[Found]:
    """A recovery time below what the HA manager needs (C29)."""
    ha = site.ha
    if ha is None or ha.recovery >= _RECOVERY_OF_MASTER:
        return
    possible = ha.recovery >= _RECOVERY
    yield Found(
        "warning" if possible else "error",
        "ha.recovery",
        f"guests run again {format_seconds(ha.recovery)} after their node is lost",
        f"the lock must expire and the watchdog be past: {format_seconds(_RECOVERY)}, or"
        f" {format_seconds(_RECOVERY_OF_MASTER)} when the lost node led the HA manager",
        "4 minutes, and record which node led",
    )


@rule("PF-HA-GROUPS")
def groups(site: Site) -> Iterator[Found]:
    """HA groups on a release that has rules (F-7.2)."""
    if site.ha is not None and site.ha.groups and site.install.release.split(".")[0] >= "9":
        yield Found(
            "warning",
            "ha.groups",
            f"HA groups on Proxmox VE {site.install.release}",
            "release 9 turns groups into node affinity rules",
            "rules, and failback for each resource",
        )
