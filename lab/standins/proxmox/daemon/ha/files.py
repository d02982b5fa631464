"""The manager's files in /etc/pve: its status, each node's, and the queue of commands (PVE::HA::Config)."""

from __future__ import annotations

import json
from typing import Any

from ..config.locks import cfs_lock
from ..http.machine import Machine

FOLDER = "/etc/pve/ha"
MANAGER_STATUS = f"{FOLDER}/manager_status"
COMMANDS = f"{FOLDER}/crm_commands"
DOMAIN = "domain-ha"  # the lock of whoever changes these files or the configuration


def _json(machine: Machine, path: str) -> dict[str, Any]:
    """Empty where there is none, or one that is being written."""
    try:
        found = json.loads(machine.read(path) or "{}")
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def manager_status(machine: Machine) -> dict[str, Any]:
    return _json(machine, MANAGER_STATUS)


def write_manager_status(machine: Machine, status: dict[str, Any]) -> None:
    machine.write(MANAGER_STATUS, json.dumps(status, sort_keys=True))


def lrm_path(node: str) -> str:
    return f"/etc/pve/nodes/{node}/lrm_status"


def lrm_status(machine: Machine, node: str) -> dict[str, Any]:
    return _json(machine, lrm_path(node))


def write_lrm_status(machine: Machine, status: dict[str, Any]) -> None:
    machine.write(lrm_path(machine.node), json.dumps(status, sort_keys=True))


def queue(machine: Machine, command: str) -> None:
    """Leave a command to the manager. ApiError 500 in PVE's words without quorum."""
    with cfs_lock(machine, DOMAIN):
        machine.write(COMMANDS, f"{machine.read(COMMANDS)}{command}\n")


def take_commands(machine: Machine) -> list[str]:
    """What was left to the manager since it looked last."""
    if not machine.read(COMMANDS):
        return []
    with cfs_lock(machine, DOMAIN):
        lines = machine.read(COMMANDS).splitlines()
        machine.write(COMMANDS, "")
    return lines
