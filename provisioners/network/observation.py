"""What is true of every node's network, as the kernel tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import RackproofError
from provisioners.markers import read_markers
from provisioners.unreachable import Unreachable, answered

if TYPE_CHECKING:
    from cluster.cluster import Cluster

GATHER_S = 120.0
_SCRIPT = Path(__file__).with_name("gather.sh").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Member:
    """A link of the bond. `speed_bps` in bit/s, 0 where unknown; `state` "active" or "backup"; port states
    are the bits of IEEE 802.1AX (63: all well with short timeouts), 0 outside 802.3ad.
    """

    name: str
    mac: str
    carrier: bool
    up: bool
    state: str
    failures: int
    speed_bps: float
    mtu: int
    aggregator: int = 0
    actor_state: int = 0
    partner_state: int = 0


@dataclass(frozen=True)
class Bond:
    """The bond as it runs. Times in seconds, 0.0: off. `mac`: its own now. `aggregator_ports`,
    `partner_mac`: 802.3ad only.
    """

    name: str
    mode: str
    miimon: float
    updelay: float
    downdelay: float
    arp_interval: float
    arp_targets: tuple[str, ...]
    lacp_rate: str
    xmit_hash_policy: str
    mtu: int
    carrier: bool
    active: str
    members: tuple[Member, ...]
    aggregator_ports: int = 0
    partner_mac: str = ""
    mac: str = ""

    @property
    def redundant(self) -> bool:
        """Every member has carrier and is usable; under 802.3ad all of them in one aggregator with a
        partner.
        """
        usable = len(self.members) > 1 and all(m.carrier and m.up for m in self.members)
        if self.mode != "802.3ad":
            return usable
        one = len({m.aggregator for m in self.members}) == 1 and self.aggregator_ports == len(self.members)
        return usable and one and self.partner_mac not in {"", "00:00:00:00:00:00"}


@dataclass(frozen=True)
class PortVlans:
    """VLAN membership of one port of a bridge: `pvid` None where untagged frames are dropped."""

    port: str
    vids: tuple[int, ...]
    untagged: tuple[int, ...]
    pvid: int | None


@dataclass(frozen=True)
class Bridge:
    """A bridge. `own` is the membership of the host itself: empty where no VLAN reaches the host."""

    name: str
    vlan_aware: bool
    default_pvid: int
    mtu: int
    ports: tuple[PortVlans, ...]
    own: PortVlans


@dataclass(frozen=True)
class Vlan:
    """A VLAN interface on another device."""

    name: str
    device: str
    id: int
    mtu: int
    up: bool


@dataclass(frozen=True)
class NodeNetwork:
    """One node. `addresses`: CIDR texts (both families) by interface; `names`: interface by permanent MAC;
    `file`: SHA-256 of /etc/network/interfaces; `clustered`: Corosync runs, so care is needed."""

    name: str
    bond: Bond | None
    bridges: tuple[Bridge, ...]
    vlans: tuple[Vlan, ...]
    addresses: Mapping[str, tuple[str, ...]]
    gateway: str
    gateway_device: str
    names: Mapping[str, str]
    file: str
    clustered: bool

    def holding(self, address: str) -> tuple[str, ...]:
        """Names of the interfaces that hold an address."""
        return tuple(
            n for n, found in self.addresses.items() if any(a.split("/")[0] == address for a in found)
        )

    def bridge(self, name: str) -> Bridge | None:
        """The bridge of that name."""
        return next((b for b in self.bridges if b.name == name), None)

    def vlan(self, name: str) -> Vlan | None:
        """The VLAN interface of that name."""
        return next((v for v in self.vlans if v.name == name), None)


@dataclass(frozen=True)
class Observation:
    """Every node's network by the node's name."""

    nodes: Mapping[str, NodeNetwork | Unreachable]

    def node(self, name: str) -> NodeNetwork:
        """A node that answered. Raises UnreachableError otherwise."""
        return answered(self.nodes, name)


def observe(cluster: Cluster) -> Observation:
    """One round trip to each installed node, all at once. A server that was never installed is not spoken
    to.
    """
    site = cluster.site
    markers = read_markers(cluster)
    installed = [n.name for n in site.nodes if markers[n.name] == "installed"]
    answers = cluster.gather(_SCRIPT, installed, GATHER_S) if installed else {}
    found: dict[str, NodeNetwork | Unreachable] = {}
    for node in site.nodes:
        answer = answers.get(node.name)
        if answer is None:
            found[node.name] = Unreachable(node.name, "it was never installed", False)
        elif isinstance(answer, RackproofError):
            found[node.name] = Unreachable(node.name, str(answer), True)
        else:
            found[node.name] = parse(node.name, answer, site.bond.name)
    return Observation(found)


def parse(name: str, sections: Mapping[str, str], bond: str) -> NodeNetwork:
    """The network that the sections of gather.sh describe; `bond` is the name of the bond that is ordered."""
    links = _rows(sections, "links")
    carriers = {w[0]: w[1:] for line in sections.get("carriers", "").splitlines() if (w := line.split())}
    vlans = {row["ifname"]: row.get("vlans", []) for row in _rows(sections, "vlans")}
    default = next((r for r in _rows(sections, "routes") if r.get("dst") == "default"), {})
    addresses = {
        row["ifname"]: tuple(f"{a['local']}/{a['prefixlen']}" for a in row.get("addr_info", []))
        for row in _rows(sections, "addresses")
    }
    return NodeNetwork(
        name=name,
        bond=next(
            (_bond(row, links, carriers) for row in links if row["ifname"] == bond and _kind(row) == "bond"),
            None,
        ),
        bridges=tuple(_bridge(row, links, vlans) for row in links if _kind(row) == "bridge"),
        vlans=tuple(
            Vlan(row["ifname"], str(row.get("link", "")), int(_data(row).get("id", 0)), row["mtu"], _up(row))
            for row in links
            if _kind(row) == "vlan"
        ),
        addresses=addresses,
        gateway=str(default.get("gateway", "")),
        gateway_device=str(default.get("dev", "")),
        names={_mac(row): row["ifname"] for row in links if not _kind(row)},
        file=(sections.get("file", "").split() or [""])[0],
        clustered=sections.get("corosync", "").strip() == "active",
    )


def _rows(sections: Mapping[str, str], name: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(sections.get(name, ""))
    except ValueError:
        return []
    return [row for row in rows if isinstance(row, dict) and row] if isinstance(rows, list) else []


def _kind(row: Mapping[str, Any]) -> str:
    return str((row.get("linkinfo") or {}).get("info_kind") or "")


def _data(row: Mapping[str, Any]) -> dict[str, Any]:
    return dict((row.get("linkinfo") or {}).get("info_data") or {})


def _up(row: Mapping[str, Any]) -> bool:
    return "LOWER_UP" in row.get("flags", []) and "UP" in row.get("flags", [])


def _mac(row: Mapping[str, Any]) -> str:
    slave = (row.get("linkinfo") or {}).get("info_slave_data") or {}
    return str(slave.get("perm_hwaddr") or row.get("permaddr") or row.get("address") or "").lower()


def _bond(row: Mapping[str, Any], links: list[dict[str, Any]], carriers: Mapping[str, list[str]]) -> Bond:
    data = _data(row)
    lacp = data.get("ad_info") or {}
    targets = data.get("arp_ip_target") or []
    return Bond(
        name=row["ifname"],
        mode=str(data.get("mode", "")),
        miimon=int(data.get("miimon") or 0) / 1000,
        updelay=int(data.get("updelay") or 0) / 1000,
        downdelay=int(data.get("downdelay") or 0) / 1000,
        arp_interval=int(data.get("arp_interval") or 0) / 1000,
        arp_targets=tuple(str(t) for t in targets),
        lacp_rate=str(data.get("ad_lacp_rate", "")),
        xmit_hash_policy=str(data.get("xmit_hash_policy", "")),
        mtu=int(row["mtu"]),
        carrier=_up(row),
        active=str(data.get("active_slave", "")),
        members=tuple(_member(link, carriers) for link in links if link.get("master") == row["ifname"]),
        aggregator_ports=int(lacp.get("num_ports") or 0),
        partner_mac=str(lacp.get("partner_mac", "")),
        mac=str(row.get("address", "")).lower(),
    )


def _member(row: Mapping[str, Any], carriers: Mapping[str, list[str]]) -> Member:
    data = (row.get("linkinfo") or {}).get("info_slave_data") or {}
    seen = carriers.get(row["ifname"], [])
    speed = int(seen[1]) if len(seen) > 1 and seen[1].lstrip("-").isdigit() else 0
    return Member(
        name=row["ifname"],
        mac=_mac(row),
        carrier=seen[:1] == ["1"],
        up=str(data.get("mii_status", "")).upper() == "UP",
        state=str(data.get("state", "")).lower(),
        failures=int(data.get("link_failure_count") or 0),
        speed_bps=max(speed, 0) * 1e6,
        mtu=int(row["mtu"]),
        aggregator=int(data.get("ad_aggregator_id") or 0),
        actor_state=int(data.get("ad_actor_oper_port_state") or 0),
        partner_state=int(data.get("ad_partner_oper_port_state") or 0),
    )


def _bridge(
    row: Mapping[str, Any], links: list[dict[str, Any]], vlans: Mapping[str, list[dict[str, Any]]]
) -> Bridge:
    name = row["ifname"]
    ports = [link["ifname"] for link in links if link.get("master") == name]
    return Bridge(
        name=name,
        vlan_aware=bool(_data(row).get("vlan_filtering")),
        default_pvid=int(_data(row).get("vlan_default_pvid") or 0),
        mtu=int(row["mtu"]),
        ports=tuple(port_vlans(port, vlans.get(port, [])) for port in ports),
        own=port_vlans(name, vlans.get(name, [])),
    )


def port_vlans(port: str, rows: list[dict[str, Any]]) -> PortVlans:
    """One port's membership as `bridge -j vlan show` lists it; `vlanEnd` makes a range."""
    vids: set[int] = set()
    untagged: set[int] = set()
    pvid: int | None = None
    for row in rows:
        first = int(row["vlan"])
        members = range(first, int(row.get("vlanEnd", first)) + 1)
        vids.update(members)
        flags = row.get("flags") or []
        if "Egress Untagged" in flags:
            untagged.update(members)
        if "PVID" in flags:
            pvid = first
    return PortVlans(port, tuple(sorted(vids)), tuple(sorted(untagged)), pvid)
