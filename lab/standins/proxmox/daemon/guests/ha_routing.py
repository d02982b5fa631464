"""Guests that the stack of high availability manages: it is asked, not the guest itself.

PVE's API does so by the same commands (PVE::API2::LXC::Status, PVE::API2::Qemu): whoever starts or stops such
a guest changes what is wanted of it, and the stack acts.
"""

from __future__ import annotations

import json
from typing import Any

from ..config import sections
from ..http.machine import Machine
from .files import Guest

RESOURCES = "/etc/pve/ha/resources.cfg"
STATUS = "/etc/pve/ha/manager_status"
_COMMAND_S = 120.0  # starting the command takes an emulated node seconds


def wanted_state(machine: Machine, sid: str) -> str | None:
    """`started`, `stopped`, `disabled`, `ignored`; None where the guest is no resource."""
    for section in sections.parse(machine.read(RESOURCES)):
        if f"{section.kind}:{section.id}" == sid:
            state = section.values.get("state", "started")
            return "started" if state == "enabled" else state
    return None


def managed(machine: Machine, guest: Guest) -> bool:
    """Whether the stack acts on the guest; a resource that is `ignored` counts as none."""
    return wanted_state(machine, guest.sid) not in (None, "ignored")


def shown(machine: Machine, guest: Guest) -> dict[str, Any]:
    """The member `ha` of a guest's status."""
    state = wanted_state(machine, guest.sid)
    return {"managed": 0} if state is None else {"managed": 1, "state": state}


def states(machine: Machine) -> dict[str, str]:
    """What the manager says of each service: service id -> state."""
    try:
        status = json.loads(machine.read(STATUS) or "{}").get("service_status", {})
    except ValueError:
        return {}
    return {sid: str(entry["state"]) for sid, entry in status.items() if "state" in entry}


def request(machine: Machine, guest: Guest, state: str) -> None:
    """Ask for `started` or `stopped`. ApiError with the command's words."""
    machine.run(["ha-manager", "set", guest.sid, "--state", state], timeout_s=_COMMAND_S)


def request_migration(machine: Machine, guest: Guest, target: str) -> None:
    machine.run(["ha-manager", "migrate", guest.sid, target], timeout_s=_COMMAND_S)


def forget(machine: Machine, guest: Guest) -> None:
    """The guest is no resource any more."""
    machine.run(["ha-manager", "remove", guest.sid], timeout_s=_COMMAND_S)
