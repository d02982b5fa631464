"""Guests when their node starts and goes down (`pve-guests.service`)."""

from __future__ import annotations

import threading
import time

from ..config import members
from ..http.machine import Machine
from . import files, ha_routing, running, service
from .files import Guest

SUCCESS, FAILED = 0, 1
QUORUM_DEADLINE_S = 60.0
STOP_DEADLINE_S = 180.0
_POLL_S = 1.0


def start_all(machine: Machine) -> int:
    """Start what shall run from boot on and is nobody else's to start, one after another, by VMID.

    Without quorum after 60 s nothing is started, as on a real node.
    """
    deadline = time.monotonic() + QUORUM_DEADLINE_S
    while not members.cluster(machine).quorate:
        if time.monotonic() > deadline:
            return FAILED
        time.sleep(_POLL_S)
    mine = [guest for guest in files.everywhere(machine).values() if guest.node == machine.node]
    wanted = [
        guest
        for guest in mine
        if files.load(machine, guest).get("onboot") == "1" and not ha_routing.managed(machine, guest)
    ]
    return max((service.act(machine, "start", guest.sid) for guest in wanted), default=SUCCESS)


def stop_all(machine: Machine) -> int:
    """Stop every guest that runs, all at once: a mounted image would keep the node from going down."""
    guests = [Guest(vmid, "lxc", machine.node) for vmid in running.containers(machine)]
    guests += [Guest(vmid, "qemu", machine.node) for vmid in running.machines(machine)]
    threads = [
        threading.Thread(target=service.act, args=(machine, "stop", guest.sid), daemon=True)
        for guest in guests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STOP_DEADLINE_S)
    return FAILED if running.containers(machine) | running.machines(machine) else SUCCESS
