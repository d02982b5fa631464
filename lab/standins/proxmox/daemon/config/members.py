"""Who is in the cluster, and who of them is there: corosync's word, by way of /etc/pve/.members."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass

from ..http.errors import ApiError
from ..http.machine import Machine
from . import corosync

PORT = 8006


@dataclass(frozen=True)
class Member:
    """A node of the cluster; `nodeid` is 0 on a node that stands alone."""

    name: str
    nodeid: int
    online: bool
    address: str


@dataclass(frozen=True)
class Cluster:
    """`name` is empty on a node that stands alone; `version` is corosync's config_version."""

    name: str
    version: int
    quorate: bool
    members: tuple[Member, ...]


def address(machine: Machine, node: str) -> str:
    """The address of a node's host name: the cluster's word, /etc/hosts, the resolver; else ApiError 500."""
    listed = _members_file(machine).get("nodelist", {}).get(node, {}).get("ip", "")
    if listed:
        return str(listed)
    for line in machine.read("/etc/hosts").splitlines():
        words = line.partition("#")[0].split()
        if node in words[1:] and not words[0].startswith(("127.", "::1")):
            return words[0]
    ring = corosync.nodes(corosync.read(machine)).get(node, {}).get("ring0_addr", "")
    if ring:
        return ring
    try:
        return str(socket.getaddrinfo(node, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        said = error.strerror or "Name or service not known"
        words_ = f"failed to get address info for: {node}: {said}"
        raise ApiError(500, f"hostname lookup '{node}' failed - {words_}") from error


def _members_file(machine: Machine) -> dict[str, dict[str, dict[str, object]]]:
    try:
        found = json.loads(machine.read("/etc/pve/.members") or "{}")
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def quorum(machine: Machine) -> tuple[bool, set[int]]:
    """What corosync itself says: quorate, and the ids of the nodes in its membership."""
    said = machine.run(["corosync-quorumtool", "-si"], timeout_s=20, check=False).out
    ids = {int(match, 16) for match in re.findall(r"^0x([0-9a-f]{8})\s", said, re.M)}
    return bool(re.search(r"^Quorate:\s+Yes", said, re.M)), ids


def cluster(machine: Machine) -> Cluster:
    """The cluster as this node sees it."""
    conf = corosync.read(machine)
    nodes = corosync.nodes(conf)
    if not nodes or machine.node not in nodes:
        alone = Member(machine.node, 0, True, _address(machine, machine.node))
        return Cluster("", 0, True, (alone,))
    said = _members_file(machine)
    if "cluster" in said and "nodelist" in said:
        listed = said["nodelist"]
        quorate = bool(said["cluster"].get("quorate"))
        online = {name for name, entry in listed.items() if entry.get("online")}
    else:
        quorate, ids = quorum(machine)
        online = {name for name, node in nodes.items() if int(node.get("nodeid", 0)) in ids}
    members = tuple(
        Member(name, int(node.get("nodeid", 0)), name in online, _address(machine, name))
        for name, node in sorted(nodes.items())
    )
    totem = conf["totem"]
    return Cluster(totem.get("cluster_name", ""), int(totem.get("config_version", 0)), quorate, members)


def _address(machine: Machine, node: str) -> str:
    try:
        return address(machine, node)
    except ApiError:
        return ""


def need_quorum(machine: Machine) -> None:
    """ApiError 500 in PVE's words where the cluster has no quorum."""
    if not cluster(machine).quorate:
        raise ApiError(500, "cluster not ready - no quorum?")
