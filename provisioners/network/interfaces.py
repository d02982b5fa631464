"""/etc/network/interfaces for ifupdown2, rendered from the site as Proxmox VE itself would write it. Pure.

One layout: the fast links form a bond; the host address stands on the bond's VLAN interface, outside the
guest bridge; the bridge is VLAN-aware and carries the guest networks and nothing else. Rules kept here,
each for a reason:

- Comments stand on lines of their own: at the end of an option line they would become part of its value.
- `bridge-allow-untagged no` on the bond: the trunk has no PVID. With one, a doubly tagged frame of a guest
  would lose its outer tag on the way out and arrive in the network of its inner tag.
- The bridge is made with default PVID 0: no port gets a VLAN that nobody gave it, the bridge itself
  included. The kernel would otherwise put the host into VLAN 1, where it answers ARP for each of its
  addresses. The kernel refuses to change the default once filtering is on, so the bridge is made before
  ifupdown2 would make it.
- No IPv6 address is made up on the bridge: guests could reach the host by it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec

INTERFACES = "/etc/network/interfaces"


def link_names(node: NodeSpec) -> list[str]:
    """Names of the fast links, as phase 1 pinned them to their MAC addresses: nic0, nic1, ..."""
    return [f"nic{i}" for i in range(len(node.links))]


def host_interface(site: Site) -> str:
    """Name of the interface that bears the host address: the bond's VLAN interface."""
    return f"{site.bond.name}.{site.host_network.id}"


def guest_vids(site: Site) -> tuple[int, ...]:
    """VLAN ids that the guest bridge carries, sorted; the host network is never among them."""
    wanted = site.bridge.vids or tuple(n.id for n in site.guest_networks.values() if n.id is not None)
    return tuple(sorted({vid for vid in wanted if vid != site.host_network.id}))


def digest(text: str) -> str:
    """SHA-256 of a rendered file, as an observation states it."""
    return hashlib.sha256(text.encode()).hexdigest()


def render(site: Site, node: NodeSpec) -> str:
    """The file of one node: lo, links, bond, bridge, host VLAN, ring; tab-indented."""
    host = site.host_network
    links = link_names(node)
    stanzas = [
        ["auto lo", "iface lo inet loopback"],
        *([f"auto {name}", f"iface {name} inet manual", _mtu(site)] for name in links),
        [f"auto {site.bond.name}", f"iface {site.bond.name} inet manual", *_bond(site, node, links)],
        [f"auto {site.bridge.name}", f"iface {site.bridge.name} inet manual", *_bridge(site)],
        [
            f"auto {host_interface(site)}",
            f"iface {host_interface(site)} inet static",
            f"\taddress {node.address}/{host.subnet.prefixlen}",
            *([f"\tgateway {host.gateway}"] if host.gateway else []),
            _mtu(site),
            "#host network: nodes only",
        ],
    ]
    ring = site.ring_network
    if node.ring is not None and ring is not None:
        stanzas.append(
            [
                "auto ring0",
                "iface ring0 inet static",
                f"\taddress {node.ring.address}/{ring.subnet.prefixlen}",
                "#second ring of Corosync",
            ]
        )
    body = "\n\n".join("\n".join(lines) for lines in stanzas)
    return f"{body}\n\n\nsource /etc/network/interfaces.d/*\n"


def _mtu(site: Site) -> str:
    return f"\tmtu {site.bond.mtu}"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _bond(site: Site, node: NodeSpec, links: list[str]) -> list[str]:
    """Options of the bond, in the order in which Proxmox VE writes them; what it does not know comes last."""
    bond = site.bond
    lines = [f"\tbond-slaves {' '.join(links)}"]
    if not bond.arp_interval:
        lines.append(f"\tbond-miimon {_milliseconds(bond.miimon)}")
    lines.append(f"\tbond-mode {bond.mode}")
    if bond.mode in {"802.3ad", "balance-xor"}:
        lines.append(f"\tbond-xmit-hash-policy {bond.xmit_hash_policy}")
    lines.append(_mtu(site))
    if bond.arp_interval:
        # ifupdown2 has no option for ARP monitoring, which excludes miimon.
        targets = ",".join(map(str, bond.arp_targets))
        every = _milliseconds(bond.arp_interval)
        kind = f"type bond miimon 0 arp_interval {every} arp_ip_target {targets}"
        lines.append(f"\tpost-up ip link set {bond.name} {kind}")
    else:
        lines.append(f"\tbond-downdelay {_milliseconds(bond.downdelay)}")
        lines.append(f"\tbond-updelay {_milliseconds(bond.updelay)}")
    if bond.mode == "802.3ad":
        lines.append(f"\tbond-lacp-rate {bond.lacp_rate}")
    # No primary: the link that took over stays in use, so that coming back costs no second interruption.
    lines.append("\tbridge-allow-untagged no")
    # The first link's address: udev would else race ifupdown2 for one, and the node's would change by itself.
    lines.append(f"\thwaddress {node.links[0].mac.lower()}")
    # ifupdown2 takes the links down for that address, and up again only where it has heard by then that they
    # are down: on a busy node it has not, and a link stays down until somebody looks.
    lines.append(f"\tpost-up {'; '.join(f'ip link set {link} up' for link in links)}")
    return lines


def _bridge(site: Site) -> list[str]:
    name = site.bridge.name
    made = f"ip link add {name} type bridge vlan_default_pvid 0 && ip link set {name} addrgenmode none"
    vids = " ".join(map(str, guest_vids(site)))
    return [
        f"\tbridge-ports {site.bond.name}",
        "\tbridge-stp off",
        "\tbridge-fd 0",
        "\tbridge-vlan-aware yes",
        f"\tbridge-vids {vids}",
        # No mtu: a bridge takes that of its ports, and ifreload counts a line here as a mistake.
        f"\tpre-up ip link show {name} >/dev/null 2>&1 || {{ {made}; }}",
        "\tipv6-addrgen off",
        "#guest networks only: never the host network",
    ]
