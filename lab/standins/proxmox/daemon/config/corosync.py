"""corosync.conf: read, and written as Proxmox VE writes it (PVE::Corosync: sections and keys sorted)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine

CLUSTER = "/etc/pve/corosync.conf"
LOCAL = "/etc/corosync/corosync.conf"
AUTHKEY = "/etc/corosync/authkey"
Section = dict[str, Any]


def parse(text: str) -> Section:
    """Nested sections; `node` is keyed by name, `interface` by link number. All values are strings."""
    top: Section = {}
    stack: list[Section] = [top]
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.endswith("{"):
            section: Section = {}
            stack[-1].setdefault(line[:-1].strip(), []).append(section)
            stack.append(section)
        elif line == "}" and len(stack) > 1:
            stack.pop()
        elif ":" in line:
            key, _, value = line.partition(":")
            stack[-1][key.strip()] = value.strip()
    conf = {name: sections[0] for name, sections in top.items() if isinstance(sections, list)}
    nodes = conf.get("nodelist", {}).pop("node", [])
    conf.setdefault("nodelist", {})["node"] = {
        node.get("name", node.get("ring0_addr", "")): node for node in nodes
    }
    links = conf.get("totem", {}).pop("interface", [])
    conf.setdefault("totem", {})["interface"] = {link.get("linknumber", "0"): link for link in links}
    return conf


def render(conf: Mapping[str, Any]) -> str:
    """The file's text: two blanks a level, an empty line after each section of the top."""
    lines: list[str] = []
    for name in sorted(conf):
        _section(lines, name, conf[name], 0)
        lines.append("")
    return "\n".join(lines) + "\n"


def _section(lines: list[str], name: str, body: Mapping[str, Any], depth: int) -> None:
    indent = "  " * depth
    lines.append(f"{indent}{name} {{")
    for key in sorted(body):
        value = body[key]
        if isinstance(value, Mapping):
            for inner in sorted(value):
                _section(lines, key, value[inner], depth + 1)
        else:
            lines.append(f"{indent}  {key}: {value}")
    lines.append(f"{indent}}}")


def create(name: str, node: str, links: Mapping[int, Mapping[str, Any]], **options: int) -> Section:
    """The first configuration of a cluster; links: number -> {address[, priority]}.

    Options: nodeid, votes (1 each), token_coefficient (125).
    """
    member: Section = {
        "name": node, "nodeid": str(options.get("nodeid", 1)), "quorum_votes": str(options.get("votes", 1)),
    }  # fmt: skip
    interfaces: Section = {}
    for number, link in links.items():
        member[f"ring{number}_addr"] = str(link["address"])
        interfaces[str(number)] = {"linknumber": str(number)}
        if link.get("priority"):
            interfaces[str(number)]["knet_link_priority"] = str(link["priority"])
    return {
        "logging": {"debug": "off", "to_syslog": "yes"},
        "nodelist": {"node": {node: member}},
        "quorum": {"provider": "corosync_votequorum"},
        "totem": {
            "cluster_name": name,
            "config_version": "1",
            "interface": interfaces,
            "ip_version": "ipv4-6",
            "link_mode": "passive",
            "secauth": "on",
            "token_coefficient": str(options.get("token_coefficient", 125)),
            "version": "2",
        },
    }


def exists(machine: Machine) -> bool:
    return machine.file(CLUSTER).exists()


def read(machine: Machine) -> Section:
    """The cluster's configuration, empty lists where there is none."""
    return parse(machine.read(CLUSTER))


def digest(machine: Machine) -> str:
    return hashlib.sha1(machine.read(CLUSTER).encode(), usedforsecurity=False).hexdigest()


def nodes(conf: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = conf["nodelist"]["node"]
    return found


def link_numbers(node: Mapping[str, str]) -> set[int]:
    """The links that a node of the list has."""
    return {int(key[4:-5]) for key in node if key.startswith("ring") and key.endswith("_addr")}


def write(machine: Machine, conf: Section, *, raise_version: bool = True) -> None:
    """Put a new version in the cluster's place by way of corosync.conf.new, as PVE does."""
    totem = conf["totem"]
    if raise_version:
        try:
            totem["config_version"] = str(int(totem["config_version"]) + 1)
        except (KeyError, ValueError):
            raise ApiError(500, "invalid corosync config: unable to read config version") from None
    try:
        machine.write(f"{CLUSTER}.new", render(conf))
        machine.file(f"{CLUSTER}.new").replace(machine.file(CLUSTER))
    except PermissionError as error:
        raise ApiError(500, "cfs-lock 'file-corosync_conf' error: no quorum!") from error
