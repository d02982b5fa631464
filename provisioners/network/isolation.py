"""Whether a guest can reach the hosts: probes with addresses in every guest network, on two nodes.

For each guest network a namespace `rackproof-v<id>` stands on both nodes, with two ports on the guest
bridge: `acc`, a port with that VLAN's tag as a guest with a tag has, and `trk`, a port that carries every
VLAN, the worst that a careless guest port can be. From them the hosts are tried plainly, with the host
network's tag inside, doubly tagged, and untagged. That the two probes reach each other shows that a failure
to reach the hosts means something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster import deadman
from cluster.errors import UnknownError
from provisioners.each import raise_all
from provisioners.network.interfaces import host_interface

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site
    from cluster.site_models import Network

WINDOW_S = 4.0  # ARP gives up after 3 s
RUN_S = 120.0
CLEAN_S = 300.0  # the node itself removes what a killed run left
UNIT = "rackproof-heal-probes"
# What the plan's hosts listen on, beside what they are seen to listen on.
TCP_PORTS = (22, 111, 3128, 3300, 5403, 6789, 6800, 6801, 6802, 6803, 8006, 8443, 9100, 9283)
FEW_TCP, FEW_UDP = (22, 8006), (5405,)
UDP_PORTS = (111, 123, 5404, 5405, 5406)

_REMOTE = (Path(__file__).parent / "remote" / "isolation.py").read_text(encoding="utf-8")
_CLEAN = """\
for ns in $(ip netns list | awk '/^rackproof-/{print $1}'); do ip netns del "$ns"; done
for port in $(ls /sys/class/net | grep -E '^rp[0-9]+[at]$'); do ip link del "$port" 2>/dev/null; done
true
"""


@dataclass(frozen=True)
class Reached:
    """Something that answered: from which device of the probe, which address, by what (`tcp/22`, `arp`,
    `icmp`).
    """

    device: str
    target: str
    how: str


@dataclass(frozen=True)
class Isolation:
    """What one probe found. `controls`: answers of the other probe; `leaks`: answers of hosts."""

    network: str
    node: str
    peer: str
    controls: tuple[Reached, ...]
    leaks: tuple[Reached, ...]
    attempts: int

    @property
    def connected(self) -> bool:
        """The positive control: the other probe answered to ping and to TCP, plainly, and through the trunk
        port.
        """
        plain = {r.how for r in self.controls if r.device == "acc"}
        return {"icmp", "tcp/22"} <= plain and any(r.device.startswith("trk") for r in self.controls)


@dataclass(frozen=True)
class Hosts:
    """What is tried: TCP and UDP ports, and each host's MAC address by its address in the host network."""

    tcp: tuple[int, ...]
    udp: tuple[int, ...]
    macs: Mapping[str, str]


def probe(cluster: Cluster, nodes: Sequence[str] | None = None) -> dict[str, list[Isolation]]:
    """Probes every guest network from two nodes (the first two, or `nodes`) at once; findings by network
    name.

    Takes about 20 s. Raises UnknownError when the probes could not be set up or did not report: then
    nothing was shown. What was set up is removed in any case, by a timer on the nodes if we are killed.
    """
    site = cluster.site
    names = list(nodes) if nodes is not None else [node.name for node in site.nodes[:2]]
    if len(names) != 2:
        raise UnknownError(f"a probe of guest isolation needs two nodes, not {len(names)}")
    hosts = _hosts(cluster)

    def set_up(name: str) -> None:
        deadman.arm(cluster.nodes[name], UNIT, CLEAN_S, _CLEAN)
        cluster.nodes[name].run(_CLEAN + setup_script(site, names.index(name), hosts.macs), timeout=RUN_S)

    def attack(name: str) -> list[Isolation]:
        order = json.dumps(orders(site, names.index(name), hosts))
        done = cluster.nodes[name].run("python3 - %s", order, data=_REMOTE, timeout=RUN_S)
        peer = names[1 - names.index(name)]
        return read_report(site, name, peer, done.stdout)

    def clean(name: str) -> None:
        cluster.nodes[name].run(_CLEAN, timeout=RUN_S)
        deadman.disarm(cluster.nodes[name], UNIT)

    try:
        raise_all(cluster.each(set_up, names))
        reports = raise_all(cluster.each(attack, names))
    finally:
        raise_all(cluster.each(clean, names))
    found: dict[str, list[Isolation]] = {name: [] for name in site.guest_networks}
    for report in reports.values():
        for entry in report:
            found[entry.network].append(entry)
    return found


def _hosts(cluster: Cluster) -> Hosts:
    """Ports to try (the plan's, and every one that a node listens on now), and the hosts' MAC addresses."""
    device = host_interface(cluster.site)
    script = (
        "section tcp; ss -H -t -l -n\nsection udp; ss -H -u -l -n\n"
        f"section mac; cat /sys/class/net/{device}/address"
    )
    seen = raise_all(cluster.gather(script, timeout=60))
    tcp, udp = set(TCP_PORTS), set(UDP_PORTS)
    macs: dict[str, str] = {}
    for name, sections in seen.items():
        macs[str(cluster.site.node(name).address)] = sections.get("mac", "").strip()
        for kind, ports in (("tcp", tcp), ("udp", udp)):
            for line in sections.get(kind, "").splitlines():
                words = line.split()
                last = words[3].rpartition(":")[2] if len(words) > 3 else ""
                if last.isdigit() and not words[3].startswith(("127.", "[::1]")):
                    ports.add(int(last))
    if not all(macs.values()):
        raise UnknownError(f"a node has no {device}: it has no place in the host network that could be tried")
    return Hosts(tuple(sorted(tcp)), tuple(sorted(udp)), macs)


def guest_address(network: IPv4Network, index: int) -> IPv4Address:
    """Address of a probe in its own network: from the end, where nobody is expected."""
    return network.broadcast_address - 2 - index


def host_addresses(site: Site, index: int) -> list[IPv4Address]:
    """Four addresses that a probe pretends to have in the host network; none of them is in use there."""
    subnet = site.host_network.subnet
    taken = {node.address for node in site.nodes} | {site.host_network.gateway, *site.dns}
    free = [
        a for a in (subnet.broadcast_address - 1 - i for i in range(64)) if a in subnet and a not in taken
    ]
    return free[4 * index : 4 * index + 4]


def _devices(site: Site, vid: int) -> list[str]:
    host = site.host_network.id
    return [f"acc.{host}", "trk", f"trk.{host}", f"trk.{vid}.{host}"]


def setup_script(site: Site, index: int, macs: Mapping[str, str]) -> str:
    """Shell that sets up the probes of one node (0 or 1), all networks."""
    host = site.host_network
    mtu = site.bond.mtu
    batch: list[str] = []
    vlans: list[str] = []
    inside: list[str] = []
    for network in site.guest_networks.values():
        vid = network.id
        if vid is None:
            continue
        space = f"rackproof-v{vid}"
        for kind, name in (("a", "acc"), ("t", "trk")):
            port = f"rp{vid}{kind}"
            batch.append(f"link add {port} mtu {mtu} type veth peer name {name} mtu {mtu} netns {space}")
            batch.append(f"link set {port} master {site.bridge.name} up")
        vlans += [f"vlan del dev rp{vid}a vid 1", f"vlan del dev rp{vid}t vid 1"]
        vlans += [f"vlan add dev rp{vid}a vid {vid} pvid untagged", f"vlan add dev rp{vid}t vid 1-4094"]
        inside.append(
            f"ip -n {space} -batch - <<'END'\n"
            + "\n".join(_inside(site, vid, network, index, macs))
            + "\nEND"
        )
    spaces = " ".join(f"rackproof-v{n.id}" for n in site.guest_networks.values())
    return (
        f"set -e\nfor ns in {spaces}; do ip netns add $ns; done\n"
        "ip -batch - <<'END'\n" + "\n".join(batch) + "\nEND\n"
        # Where the kernel gave the port no VLAN 1 there is none to take away.
        "bridge -force -batch - <<'END' 2>/dev/null || true\n"
        + "\n".join(v for v in vlans if " del " in v)
        + "\nEND\n"
        "bridge -batch - <<'END'\n"
        + "\n".join(v for v in vlans if " add " in v)
        + "\nEND\n"
        + "\n".join(inside)
        + f"\n: host network {host.subnet}\n"
    )


def _inside(site: Site, vid: int, network: Network, index: int, macs: Mapping[str, str]) -> list[str]:
    """What `ip -batch` does in one namespace."""
    host = site.host_network
    devices = _devices(site, vid)
    lines = [
        "link set lo up",
        "link set acc up",
        "link set trk up",
        f"address add {guest_address(network.subnet, index)}/{network.subnet.prefixlen} dev acc",
        f"link add link acc name acc.{host.id} type vlan id {host.id}",
        f"link add link trk name trk.{host.id} type vlan id {host.id}",
        f"link add link trk name trk.{vid} type vlan id {vid}",
        f"link add link trk.{vid} name trk.{vid}.{host.id} type vlan id {host.id}",
        f"link set trk.{vid} up",
        # Another address in the guest network, through the port that carries everything: its control.
        f"address add {guest_address(network.subnet, index) - 2}/{network.subnet.prefixlen} dev trk.{vid}",
    ]
    for device, address in zip(devices, host_addresses(site, index), strict=True):
        lines.append(f"link set {device} up")
        lines.append(f"address add {address}/{host.subnet.prefixlen} dev {device}")
    via = f"via {network.gateway} " if network.gateway else ""
    lines.append(f"route add {host.subnet} {via}dev acc metric 900")
    # An intruder need not ask for the hosts' MAC addresses: frames go to them whether or not ARP is answered.
    reaching = [*devices, f"trk.{vid}", *([] if via else ["acc"])]
    lines += [
        f"neigh add {a} lladdr {m} dev {device} nud permanent" for device in reaching for a, m in macs.items()
    ]
    return lines


def orders(site: Site, index: int, hosts: Hosts) -> dict[str, Any]:
    """What the program on one node is told. A guest with its tag tries every port; a frame that must not
    cross a VLAN border is the same for every port, so the other ways try a few, beside ARP and ICMP.
    """
    few = {"tcp": FEW_TCP, "udp": FEW_UDP, "targets": list(hosts.macs)}
    every = {**few, "tcp": hosts.tcp, "udp": hosts.udp}
    probes = []
    for network in site.guest_networks.values():
        vid = network.id
        if vid is None:
            continue
        mine = guest_address(network.subnet, index)
        peer = str(guest_address(network.subnet, 1 - index))
        devices: list[dict[str, Any]] = [
            {"name": "acc", "address": str(mine), "controls": [peer], **every},
            {"name": f"trk.{vid}", "address": str(mine - 2), "controls": [peer], **few},
        ]
        for device, address in zip(_devices(site, vid), host_addresses(site, index), strict=True):
            devices.append({"name": device, "address": str(address), "controls": [], **few})
        probes.append({"namespace": f"rackproof-v{vid}", "devices": devices})
    return {"window_s": WINDOW_S, "probes": probes}


def read_report(site: Site, node: str, peer: str, text: str) -> list[Isolation]:
    """The program's report by network. Raises UnknownError for anything else than a report."""
    try:
        report: Mapping[str, Any] = json.loads(text)
        entries = report["reached"]
        attempts = int(report["attempts"])
    except (ValueError, KeyError, TypeError):
        raise UnknownError(
            f"{node}: the isolation probe gave no report: {text.strip()[-200:] or 'nothing'}"
        ) from None
    found = []
    for name, network in site.guest_networks.items():
        own = [e for e in entries if e["namespace"] == f"rackproof-v{network.id}"]
        controls = tuple(Reached(e["device"], e["target"], e["how"]) for e in own if e["control"])
        leaks = tuple(Reached(e["device"], e["target"], e["how"]) for e in own if not e["control"])
        found.append(
            Isolation(name, node, peer, controls, leaks, attempts // max(1, len(site.guest_networks)))
        )
    return found
