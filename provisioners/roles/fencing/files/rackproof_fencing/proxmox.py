"""What Proxmox VE itself says of a node: whether it is gone, in maintenance, or HA is disarmed. Only read.

Source: pve-cluster's status.c (.members), pve-ha-manager's Config.pm and NodeStatus.pm (ha/manager_status,
nodes/NODE/lrm_status).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .model import Peer


class ProxmoxError(Exception):
    """A file of Proxmox VE cannot be read or understood; one sentence."""


def excuse(mount: Path, peer: Peer) -> str:
    """Why the absent `peer` is not to be fenced, by the files below `mount`; "" for no reason.

    Raises ProxmoxError where Proxmox VE cannot be asked: nobody is fenced on a guess.
    """
    try:
        return _not_gone(_read(mount / ".members"), peer) or _resting(mount, peer)
    except (OSError, ValueError) as error:
        raise ProxmoxError(f"Proxmox VE's word on {peer.name} cannot be read: {error}") from None


def _not_gone(members: Mapping[str, Any], peer: Peer) -> str:
    nodes = _table(members, "nodelist")
    if peer.name not in nodes:
        return "it is not among the nodes of the cluster"
    node = _table(nodes, peer.name)
    if node.get("id") != peer.node:
        return f"its node id is {node.get('id')}, the configuration says {peer.node}"
    return "the cluster file system still counts it as online" if node.get("online") else ""


def _resting(mount: Path, peer: Peer) -> str:
    """Maintenance as Proxmox VE's HA knows it: asked for, in force, or the node's own last word."""
    try:
        manager = _read(mount / "ha/manager_status")
    except FileNotFoundError:
        manager = {}  # HA was never used
    if manager.get("disarm"):
        return "HA is disarmed"
    requested = _table(_table(manager, "node_request"), peer.name).get("maintenance")
    if requested or _table(manager, "node_status").get(peer.name) == "maintenance":
        return "it is in maintenance"
    try:
        agent = _read(mount / "nodes" / peer.name / "lrm_status")
    except FileNotFoundError:
        return ""
    return "it went into maintenance" if agent.get("mode") == "maintenance" else ""


def _read(path: Path) -> Mapping[str, Any]:
    text = path.read_text(encoding="utf-8")
    told = json.loads(text) if text.strip() else {}
    if not isinstance(told, Mapping):
        raise ValueError(f"{path} holds no JSON object")
    return told


def _table(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = told.get(key) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is no JSON object")
    return value
