"""Which guests run on this node, as the kernel shows it. Imports little: a monitor starts it often."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..http.machine import Machine

RUN = "/run/qemu-server"
_COMMAND_SOCKET = re.compile(r"@/var/lib/lxc/([1-9][0-9]+)/command$", re.M)


def containers(machine: Machine) -> set[int]:
    """VMIDs whose LXC monitor listens: its abstract command socket ends with it (so asks lxc-ls, too)."""
    return {int(vmid) for vmid in _COMMAND_SOCKET.findall(machine.read("/proc/net/unix"))}


def machine_pid(machine: Machine, vmid: int) -> int | None:
    """The QEMU process of a virtual machine: what its pid file names, if that was started with it."""
    text = machine.read(f"{RUN}/{vmid}.pid").strip()
    if not text.isdigit():
        return None
    words = machine.read(f"/proc/{text}/cmdline").split("\0")
    return int(text) if "qemu-system" in words[0] and f"{RUN}/{vmid}.pid" in words else None


def machines(machine: Machine) -> set[int]:
    """VMIDs of the virtual machines that run."""
    names = [path.stem for path in machine.file(RUN).glob("*.pid")]
    return {int(name) for name in names if name.isdigit() and machine_pid(machine, int(name)) is not None}


def is_running(machine: Machine, kind: str, vmid: int) -> bool:
    """`kind` is `lxc` or `qemu`."""
    return vmid in containers(machine) if kind == "lxc" else machine_pid(machine, vmid) is not None
