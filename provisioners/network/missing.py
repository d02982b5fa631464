"""What phase 2 lacks: a pure function of the site and the observation.

Every difference is closed by one action, the node's network configuration. A link without carrier or a
silent switch is no difference of configuration: scenarios find those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioners.change import Change
from provisioners.network.interfaces import digest, guest_vids, host_interface, link_names, render
from provisioners.network.observation import Bond, Bridge, NodeNetwork, Observation
from provisioners.unreachable import Unreachable

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec


def missing(site: Site, observation: Observation) -> list[Change]:
    """Every change that phase 2 lacks, node by node in the order of the site."""
    found: list[Change] = []
    for node in site.nodes:
        seen = observation.nodes[node.name]
        unseen = isinstance(seen, Unreachable)
        if isinstance(seen, Unreachable):
            sentences = _whole(site, node)
            if seen.installed:
                sentences = [f"see its network, which does not answer ({seen.reason})"]
        else:
            sentences = _differences(site, node, seen)
        found += [Change(node.name, text, "network", blocks=unseen) for text in sentences]
    return found


def _whole(site: Site, node: NodeSpec) -> list[str]:
    """All that a node without a network of ours lacks."""
    links = " and ".join(link_names(node))
    found = [
        f"make {site.bond.name} ({site.bond.mode}, MTU {site.bond.mtu}) of {links}",
        f"make {site.bridge.name}, VLAN-aware, for the guest networks {_list(guest_vids(site))} only",
        f"move the host address {node.address} to {host_interface(site)}",
    ]
    if node.ring is not None and site.ring_network is not None:
        found.append(f"give ring0 the address {node.ring.address}")
    return found


def _differences(site: Site, node: NodeSpec, seen: NodeNetwork) -> list[str]:
    found = []
    if seen.bond is None:
        found.append(_whole(site, node)[0])
    else:
        found += _bond(site, node, seen, seen.bond)
    bridge = seen.bridge(site.bridge.name)
    if bridge is None:
        found.append(_whole(site, node)[1])
    else:
        found += _bridge(site, bridge)
    found += _addresses(site, node, seen)
    if not found and seen.file != digest(render(site, node)):
        found.append("write /etc/network/interfaces as ordered: it differs, though what runs does not")
    return found


def _bond(site: Site, node: NodeSpec, seen: NodeNetwork, bond: Bond) -> list[str]:
    want = site.bond
    pairs: list[tuple[str, object, object]] = [
        ("mode", want.mode, bond.mode),
        ("MTU", want.mtu, bond.mtu),
        ("address", node.links[0].mac.lower(), bond.mac),
    ]
    if want.arp_interval:
        pairs.append(("ARP interval", want.arp_interval, bond.arp_interval))
        pairs.append(("ARP targets", {str(a) for a in want.arp_targets}, set(bond.arp_targets)))
    else:
        pairs += [
            ("miimon", want.miimon, bond.miimon),
            ("updelay", want.updelay, bond.updelay),
            ("downdelay", want.downdelay, bond.downdelay),
        ]
    if want.mode == "802.3ad":
        pairs += [("LACP rate", want.lacp_rate, bond.lacp_rate)]
    if want.mode in {"802.3ad", "balance-xor"}:
        pairs.append(("hash policy", want.xmit_hash_policy, bond.xmit_hash_policy))
    found = [
        f"set the {what} of {want.name} to {_say(ordered)} (it is {_say(true)})"
        for what, ordered, true in pairs
        if ordered != true
    ]
    members = {m.mac for m in bond.members}
    for link in node.links:
        mac = link.mac.lower()
        if mac not in members and mac in seen.names:
            found.append(f"put {seen.names[mac]} ({mac}) into {want.name}")
    wanted = {link.mac.lower() for link in node.links}
    for member in bond.members:
        if member.mac not in wanted:
            found.append(f"take {member.name} ({member.mac}) out of {want.name}: it is no ordered link")
        elif member.mtu != want.mtu:
            found.append(f"set the MTU of {member.name} to {want.mtu} (it is {member.mtu})")
    return found


def _bridge(site: Site, bridge: Bridge) -> list[str]:
    found = []
    want = set(guest_vids(site))
    if not bridge.vlan_aware:
        found.append(f"make {bridge.name} VLAN-aware")
    if bridge.default_pvid:
        found.append(
            f"take the default PVID {bridge.default_pvid} from {bridge.name}: no port may get it unasked"
        )
    if bridge.own.vids:
        found.append(
            f"take the host out of VLAN {_list(bridge.own.vids)} of {bridge.name}: guests could reach it"
        )
    if bridge.mtu != site.bond.mtu:
        found.append(f"set the MTU of {bridge.name} to {site.bond.mtu} (it is {bridge.mtu})")
    trunk = next((port for port in bridge.ports if port.port == site.bond.name), None)
    if trunk is None:
        return [*found, f"put {site.bond.name} into {bridge.name}"]
    absent, surplus = want - set(trunk.vids), set(trunk.vids) - want
    if absent:
        found.append(f"let {bridge.name} carry VLAN {_list(sorted(absent))}")
    if surplus:
        found.append(f"let {bridge.name} carry VLAN {_list(sorted(surplus))} no longer")
    if trunk.pvid is not None or trunk.untagged:
        which = trunk.pvid if trunk.pvid is not None else _list(trunk.untagged)
        found.append(f"tag everything on {trunk.port} in {bridge.name} (VLAN {which} is untagged there)")
    return found


def _addresses(site: Site, node: NodeSpec, seen: NodeNetwork) -> list[str]:
    found = []
    host = site.host_network
    name = host_interface(site)
    ordered = f"{node.address}/{host.subnet.prefixlen}"
    where = seen.holding(str(node.address))
    vlan = seen.vlan(name)
    if where != (name,) or ordered not in seen.addresses.get(name, ()):
        found.append(
            f"move the host address {node.address} to {name} (it is on {_list(where) or 'no interface'})"
        )
    elif vlan is None or vlan.id != host.id or vlan.device != site.bond.name:
        found.append(f"make {name} VLAN {host.id} of {site.bond.name}")
    elif vlan.mtu != site.bond.mtu:
        found.append(f"set the MTU of {name} to {site.bond.mtu} (it is {vlan.mtu})")
    if host.gateway and (seen.gateway, seen.gateway_device) != (str(host.gateway), name):
        found.append(f"route everything else over {host.gateway} on {name}")
    ring = site.ring_network
    if node.ring is not None and ring is not None:
        mine = f"{node.ring.address}/{ring.subnet.prefixlen}"
        port = seen.names.get(node.ring.mac.lower())
        if port is not None and mine not in seen.addresses.get(port, ()):
            found.append(f"give {port} the address {node.ring.address}")
    return found


def _list(items: object) -> str:
    return ", ".join(str(item) for item in items) if isinstance(items, tuple | list | set) else str(items)


def _say(value: object) -> str:
    if isinstance(value, float):
        return f"{value * 1000:g} ms"
    return _list(sorted(value)) if isinstance(value, set) else str(value) or "unset"
