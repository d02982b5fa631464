"""What the stack of high availability does with a guest of this node: asked twice is done once."""

from __future__ import annotations

import sys

from ..http.errors import ApiError
from ..http.machine import Machine
from . import containers, files, live_migration, machines, migration, running
from .files import Guest

SUCCESS, FAILED, ARGUMENTS = 0, 1, 2


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def act(machine: Machine, action: str, sid: str, target: str = "") -> int:
    """An exit code of OCF; what went wrong is one sentence on standard error."""
    try:
        guest = files.of_sid(sid, machine.node)
        if action == "start":
            start(machine, guest)
        elif action == "stop":
            stop(machine, guest)
        elif action == "migrate":
            migrate(machine, guest, target)
        elif action == "release" and guest.kind == "lxc":
            containers.release(machine, guest.vmid)
        else:
            raise ValueError(f"'{action} {sid}' is not known")
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return ARGUMENTS
    except (ApiError, OSError) as error:
        sys.stderr.write(f"{sid}: {error}\n")
        return FAILED
    return SUCCESS


def start(machine: Machine, guest: Guest) -> None:
    """Start a guest whose configuration is this node's."""
    if running.is_running(machine, guest.kind, guest.vmid):
        return
    if guest.kind == "lxc":
        containers.start(machine, guest, _say)
    else:
        machines.start(machine, guest)


def stop(machine: Machine, guest: Guest) -> None:
    """Ask a guest to end, for PVE's 60 s, then end it; what it held is given back when this returns.

    It needs no configuration: a guest that was given to another node meanwhile must end here all the same.
    """
    if guest.kind == "qemu":
        machines.shutdown(machine, guest, force=True)
    elif running.is_running(machine, "lxc", guest.vmid):
        containers.shutdown(machine, guest, force=True)
    else:
        containers.stop(machine, guest)


def migrate(machine: Machine, guest: Guest, target: str) -> None:
    """A container by restart, a virtual machine that runs with its memory."""
    migration.require_target(machine, target)
    if guest.kind == "lxc":
        migration.container(machine, guest, target, _say, restart=True)
    elif running.is_running(machine, "qemu", guest.vmid):
        live_migration.migrate(machine, guest, target, _say)
    else:
        migration.machine_offline(machine, guest, target, _say)
