"""Bond, switches, VLANs, throughput: what the wiring cannot do.

Sources: measurements of a Linux 6.12 bond against an LACP peer and a plain switch (carrier loss 0.02-0.26 s,
silent loss never seen by miimon, 3-5 s by fast LACP), the kernel's bonding.rst, pve-docs pvecm.adoc
(slow LACP takes up to 90 s, a node resets itself after about 60 s), IEEE 802.1Q for VLAN 1 as default.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.contradictions.hardware import slot_rate
from cluster.contradictions.rule import Found, rule
from cluster.targets import TARGETS
from cluster.units import format_rate, format_seconds

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec

_LACP_TIMEOUT = {"fast": 3.0, "slow": 90.0}  # three LACPDUs missed, one each 1 s or 30 s
_WATCHDOG = 60.0  # Proxmox VE's own, where the site says nothing
_JUMBO = 9000
_JUMBO_FROM = 100e9  # bit/s beyond which 1500-byte frames cost more packets than a host handles


def asked(site: Site, name: str) -> float:
    """The target as this site must meet it: the relaxed one where there is one, in the target's unit."""
    target = TARGETS[name]
    return target.parse(site.relax[name]) if name in site.relax else target.value


def line_rate(site: Site, node: NodeSpec) -> float:
    """Bit/s that a node can send in one direction: links as the bond uses them, within the card's slot."""
    speeds = [link.speed for link in node.links]
    rate = max(speeds) if site.bond.mode == "active-backup" else sum(speeds)
    adapter = site.hardware.adapter
    return min(rate, slot_rate(adapter) * adapter.count) if adapter is not None else rate


@rule("PF-BOND")
def bond_mode(site: Site) -> Iterator[Found]:
    """A bond mode against what the switches offer (C06)."""
    bond = site.bond
    if bond.switch_lag == "lacp" and bond.mode != "802.3ad":
        yield Found(
            "error",
            "bond.mode",
            f"{bond.mode} on the hosts, an LACP LAG on the switches",
            "without a partner the switches keep one port or none; traffic flows by luck until the first"
            " failover, then the node is dead (measured: 100 % loss)",
            'mode = "802.3ad" with lacp_rate = "fast", or switch_lag = "none"',
        )
    if bond.switch_lag == "none" and bond.mode == "802.3ad":
        yield Found(
            "error",
            "bond.mode",
            "802.3ad on the hosts, no LAG on the switches",
            "the ports land in two aggregators and only one carries traffic",
            'switch_lag = "lacp" (same ESI and system id on both switches), or mode = "active-backup"',
        )
    if bond.switch_lag == "none" and bond.mode in ("balance-rr", "balance-xor", "broadcast"):
        yield Found(
            "error",
            "bond.mode",
            f"{bond.mode} on the hosts, no LAG on the switches",
            f"{bond.mode} needs a static group on one switch; over two switches addresses flap",
            'mode = "active-backup"',
        )
    speeds = {link.speed for node in site.nodes for link in node.links}
    if bond.mode == "802.3ad" and any(len({link.speed for link in node.links}) > 1 for node in site.nodes):
        yield Found(
            "error",
            "node.links.speed",
            f"links of {', '.join(map(format_rate, sorted(speeds)))} in one LAG",
            "802.3ad aggregates ports of equal speed alone",
            "equal links",
        )


@rule("PF-BOND-SILENT")
def silent_link(site: Site) -> Iterator[Found]:
    """A link that keeps its carrier and loses every frame (C26)."""
    bond, target = site.bond, asked(site, "silent_link_outage")
    order = f"an outage below {format_seconds(target)} when a link fails"
    if bond.mode == "802.3ad":
        seen = _LACP_TIMEOUT[bond.lacp_rate]
        if seen > target:
            yield Found(
                "warning",
                "bond.lacp_rate",
                order,
                f"carrier loss is seen at once, but a silent link (carrier up, frames lost) after"
                f" {format_seconds(seen)}: three LACPDUs must be missed",
                "name the kind of failure in the target: 1 s for carrier loss, 6 s for silent loss",
            )
    elif not bond.arp_interval:
        yield Found(
            "warning",
            "bond.miimon",
            order,
            "carrier loss is seen, but miimon never sees a silent link (carrier up, frames lost): predicted"
            " outage without end (measured: 82 % loss, no failover)",
            "802.3ad with lacp_rate fast (about 3 s), or ARP monitoring (about 0.6 s)",
        )


@rule("PF-LACP-SLOW")
def slow_lacp(site: Site) -> Iterator[Found]:
    """Slow LACP outlasts the watchdog (F-2.1, C09)."""
    watchdog = site.ha.watchdog if site.ha is not None else _WATCHDOG
    if site.bond.mode == "802.3ad" and site.bond.lacp_rate == "slow" and _LACP_TIMEOUT["slow"] > watchdog:
        yield Found(
            "error",
            "bond.lacp_rate",
            f"slow LACP beside a watchdog of {format_seconds(watchdog)}",
            "a silent link is noticed after 90 s at worst, and by then the node has reset itself",
            'lacp_rate = "fast" on hosts and switches',
        )


@rule("PF-BOND-DELAY")
def delays(site: Site) -> Iterator[Found]:
    """Delays that use up the target, or that let a link flap (C26)."""
    bond, target = site.bond, asked(site, "link_outage")
    looks = bond.miimon or 2 * bond.arp_interval
    if looks + bond.downdelay >= target:
        yield Found(
            "error",
            "bond.downdelay",
            f"an outage below {format_seconds(target)} when a link fails",
            f"looking every {format_seconds(looks)} and waiting {format_seconds(bond.downdelay)} lasts"
            f" {format_seconds(looks + bond.downdelay)}",
            'miimon = "100ms" and downdelay = "0ms"',
        )
    if bond.mode == "active-backup" and bond.updelay == 0:
        yield Found(
            "warning",
            "bond.updelay",
            "active-backup that uses a link the moment its carrier is back",
            "a switch port shows carrier before it forwards, so the return of a link loses frames and a"
            " shaky link flaps",
            'updelay = "200ms" or more',
        )
    for name, delay in (("updelay", bond.updelay), ("downdelay", bond.downdelay)):
        steps = delay / bond.miimon if bond.miimon else 0
        if abs(steps - round(steps)) > 1e-6:
            yield Found(
                "info",
                f"bond.{name}",
                f"{name} {format_seconds(delay)}",
                f"the kernel rounds it down to a multiple of miimon ({format_seconds(bond.miimon)})",
                f"a multiple of {format_seconds(bond.miimon)}",
            )


@rule("PF-THROUGHPUT")
def throughput(site: Site) -> Iterator[Found]:
    """A throughput target above what a node's links or slot carry (C07, C25)."""
    target = asked(site, "host_network_throughput")
    for node in site.nodes:
        possible = line_rate(site, node)
        if target > possible:
            yield Found(
                "error",
                "relax.host_network_throughput" if site.relax else "node.links",
                f"{format_rate(target)} between nodes",
                f"{node.name} has {format_rate(round(possible))} at line rate",
                "faster links, or a relaxed target that the report then shows",
            )
            return


@rule("PF-MTU")
def jumbo_frames(site: Site) -> Iterator[Found]:
    """More than 100 Gbit/s with frames of 1500 bytes (C25, C48)."""
    target = asked(site, "host_network_throughput")
    if site.bond.mtu < _JUMBO and target > _JUMBO_FROM:
        yield Found(
            "warning",
            "bond.mtu",
            f"{format_rate(target)} with an MTU of {site.bond.mtu}",
            f"that is {target / 8 / site.bond.mtu / 1e6:.0f} million packets a second; hosts reach it with"
            " large frames and many streams only",
            "mtu = 9000, on hosts and switches, tested end to end",
        )


@rule("PF-VLAN1")
def vlan_one(site: Site) -> Iterator[Found]:
    """VLAN 1 for guests (C38)."""
    for name, network in site.guest_networks.items():
        if network.id == 1:
            yield Found(
                "warning",
                f"networks.{name}.id",
                f"VLAN 1 for {name}",
                "VLAN 1 is what switch ports and Linux bridges take untagged frames for, so a port without"
                " a tag lands in it",
                "an id from 10 up, or an explicit tag and no untagged VLAN on every port",
            )


@rule("PF-BRIDGE-VIDS")
def bridge_vids(site: Site) -> Iterator[Found]:
    """A guest bridge that carries the nodes' own VLAN (C37)."""
    vids, host = site.bridge.vids, site.host_network
    if vids is None:
        return
    if host.id in vids:
        yield Found(
            "error",
            "bridge.vids",
            f"guests never reach VLAN {host.id}, on a bridge that carries it",
            f"any guest that is given tag {host.id} is on the hosts' network; the rule is a convention only",
            f"leave {host.id} out of the bridge and put the hosts' address on {site.bond.name}.{host.id}",
        )
    missing = [name for name, network in site.guest_networks.items() if network.id not in vids]
    if missing:
        yield Found(
            "error",
            "bridge.vids",
            f"guest networks {', '.join(missing)}",
            "the bridge does not carry their VLAN ids",
            "list every guest network's id",
        )


@rule("PF-ISOLATION")
def isolation(site: Site) -> Iterator[Found]:
    """Services inside a guest network that must reach the hosts, although guests never may (C37, F-8.2)."""
    inside = []
    if site.monitoring is not None:
        inside.append(("monitoring.prometheus_network", site.monitoring.prometheus_network, "Prometheus"))
    if site.backup is not None:
        inside.append(("backup.server_network", site.backup.server_network, "the backup server"))
    flows = site.isolation.allowed_flows if site.isolation is not None else ()
    for key, network, what in inside:
        if network in site.guest_networks:
            yield Found(
                "info" if flows else "error",
                key,
                f"{what} in {network}, and guests never reach the hosts",
                "it must reach every node, so either it fails or the isolation is broken",
                "a named list of flows in isolation.allowed_flows, let through by a firewall, or a place"
                " outside the guest networks",
            )


@rule("PF-SWITCH-SPOF")
def one_switch(site: Site) -> Iterator[Found]:
    """Every link of a node on one switch."""
    for node in site.nodes:
        if len({link.switch for link in node.links}) == 1:
            yield Found(
                "warning",
                f"node.{node.name}.links",
                f"two links of {node.name} for redundancy",
                f"both end on {node.links[0].switch}, whose loss takes the node off the network",
                "one link on each switch",
            )
