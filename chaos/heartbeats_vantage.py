"""From where guests are asked for their heartbeat: the controller where it has a leg in their networks, else
a node, through a port of its own on the guest bridge.

On a node the port stands in a namespace that goes with the program, whatever ends that; so the node itself
never gets an address in a guest network.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address
from itertools import count
from pathlib import Path

from chaos.heartbeats_stream import OPTIONS, QUIET_S, Far, python
from chaos.ports import ClusterPort
from chaos.probe import CONTROLLER
from chaos.probe_hosts import local_address
from cluster.errors import RackproofError, UnknownError
from cluster.site import Site
from cluster.site_services import Guest

PORT = 8080
TIMEOUT_S = 1.5
SPACE = "rackproof-beats"
_PROGRAM = Path(__file__).with_name("heartbeats_agent.py")


def vantage(
    cluster: ClusterPort, guests: Sequence[Guest], avoid: Sequence[str], interval_s: float, limit_s: float
) -> Callable[[], Far]:
    """What begins to ask: from the controller, or from one node after the other that is not to be broken.
    Raises `UnknownError` where nothing can reach a guest's network.
    """
    words, first = python(_PROGRAM.read_text(encoding="utf-8"), settings(guests, interval_s, limit_s))
    if all(_on_link(cluster.site, guest) for guest in guests):
        return lambda: Far(CONTROLLER, [sys.executable, *words], first)
    names = [name for name in cluster.nodes if name not in avoid]
    if not names:
        raise UnknownError(
            "guests cannot be heard: the controller is in none of their networks, and no node is spared"
        )
    turns = count()

    def from_a_node() -> Far:
        name = names[next(turns) % len(names)]
        script = port_script(cluster.site, name, guests, limit_s) + shlex.join(["python3", *words])
        return Far(name, cluster.nodes[name].argv(script, multiplexed=False, options=OPTIONS), first)

    return from_a_node


def settings(guests: Sequence[Guest], interval_s: float, limit_s: float) -> str:
    """One line of configuration for the program."""
    config = {
        "guests": [[guest.name, str(guest.address.ip), PORT] for guest in guests],
        "interval_ns": int(interval_s * 1e9),
        "timeout_ns": int(TIMEOUT_S * 1e9),
        "most": max(1, round(TIMEOUT_S / interval_s)),
        "limit_s": limit_s,
        "quiet_s": QUIET_S,
    }
    return json.dumps(config)


def _on_link(site: Site, guest: Guest) -> bool:
    """Whether the controller has an address in the guest's network."""
    try:
        own = ip_address(local_address(str(guest.address.ip)))
    except RackproofError:
        return False
    return own in site.networks[guest.network].subnet


def port_script(site: Site, node: str, guests: Sequence[Guest], limit_s: float) -> str:
    """Shell that makes a namespace with a port in each guest's network on a node, ending in what runs in it.

    It goes with the shell's end, and what a killed run left is taken away first.
    """
    networks = {name: site.networks[name] for name in dict.fromkeys(guest.network for guest in guests)}
    lines = [f"ip netns del {SPACE} 2>/dev/null"]
    lines += [f"ip link del rpb{network.id} 2>/dev/null" for network in networks.values()]
    lines += ["set -e", f"trap 'ip netns del {SPACE}' EXIT", "trap 'exit 1' HUP INT TERM PIPE"]
    lines += [f"ip netns add {SPACE}", f"ip -n {SPACE} link set lo up"]
    for name, network in networks.items():
        port, inside = f"rpb{network.id}", f"beat{network.id}"
        address = free_address(site, node, name)
        lines += [
            f"ip link add {port} mtu {site.bond.mtu} type veth peer name {inside} netns {SPACE}",
            f"ip link set {port} master {site.bridge.name} up",
            f"bridge vlan del dev {port} vid 1 2>/dev/null || true",
            f"bridge vlan add dev {port} vid {network.id} pvid untagged",
            f"ip -n {SPACE} address add {address}/{network.subnet.prefixlen} dev {inside}",
            f"ip -n {SPACE} link set {inside} mtu {site.bond.mtu} up",
        ]
    return "\n".join([*lines, f"ip netns exec {SPACE} timeout -k 5 {limit_s + 30:.0f} "])


def free_address(site: Site, node: str, network: str) -> IPv4Address:
    """An address for a node's port in a guest network: near its end, where nobody is expected. The last few
    are those of the probes of isolation.
    """
    taken = {guest.address.ip for guest in site.guests}
    index = [spec.name for spec in site.nodes].index(node)
    subnet = site.networks[network].subnet
    wanted = (subnet.broadcast_address - 8 - index - len(site.nodes) * step for step in range(8))
    found = next((each for each in wanted if each in subnet and each not in taken), None)
    if found is None:
        raise UnknownError(f"there is no free address in {network} to ask guests from")
    return found
