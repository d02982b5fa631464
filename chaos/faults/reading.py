"""What link faults read of a node: its bond, its interfaces and their queues, and what is cabled where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chaos import bond_state
from chaos.bond_state import LACP_MODE, BondState
from chaos.ports import ClusterPort, NodePort
from cluster.errors import UnknownError

LOOK_S = 5.0  # a look at a node that may be cut off: its switch must not fire while we wait for an answer


def bond_of(cluster: ClusterPort, node: str) -> BondState:
    """The node's bond that the site names, as it is now."""
    return bond_state.read(cluster.nodes[node], cluster.site.bond.name)


def carries(bond: BondState, interface: str) -> bool:
    """Whether a leg carries traffic: under 802.3ad all do, else the active one."""
    return bond.mode == LACP_MODE or bond.active == interface


def link(node: NodePort, interface: str) -> dict[str, Any]:
    """One interface as `ip -j link show` tells it. Raises `UnknownError` where that cannot be read."""
    return _first(
        node.run("ip -j link show dev %s", interface, timeout=LOOK_S).stdout, f"{node.name} {interface}"
    )


def _first(text: str, where: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)[0]
    except (ValueError, IndexError):
        raise UnknownError(f"{where}: its state could not be read") from None
    return found


def queues(node: NodePort, interface: str) -> list[dict[str, Any]]:
    """The queueing disciplines of an interface. Raises `UnknownError` where they cannot be read."""
    text = node.run("tc -j qdisc show dev %s", interface, timeout=LOOK_S).stdout
    try:
        found: list[dict[str, Any]] = json.loads(text or "[]")
    except ValueError:
        raise UnknownError(f"{node.name} {interface}: its queueing disciplines could not be read") from None
    return found


def foreign(queue: Mapping[str, Any]) -> bool:
    """Whether somebody put it there: what the kernel attaches by default has handle 0."""
    return queue["kind"] in ("netem", "clsact", "ingress") or queue.get("handle", "0:") != "0:"


def cable_of(cluster: ClusterPort, node: str, mac: str) -> tuple[str, str]:
    """(switch, leg) of the port with this MAC address: what the site says is cabled where, what the node
    calls it.
    """
    interface = bond_of(cluster, node).by_mac(mac).interface
    for cable in cluster.site.node(node).links:
        if cable.mac == mac:
            return cable.switch, f"{node} {interface} {cable.port}"
    raise UnknownError(f"{node}: the site names no cable for MAC address {mac}")
