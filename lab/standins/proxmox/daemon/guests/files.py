"""Where the configuration of each guest lies: /etc/pve/nodes/<node>/{lxc,qemu-server}/<vmid>.conf.

The folder says whose guest it is; /etc/pve keeps a VMID once in the cluster and renames at once everywhere.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from ..http.errors import ApiError
from ..http.machine import Machine
from .conf import Config, digest, parse, render

FOLDERS = {"lxc": "lxc", "qemu": "qemu-server"}
WORDS = {"lxc": "CT", "qemu": "VM"}
SIDS = {"ct": "lxc", "vm": "qemu"}
_PATH = re.compile(r"nodes/([^/]+)/(lxc|qemu-server)/([1-9][0-9]{2,8})\.conf")


@dataclass(frozen=True)
class Guest:
    """One guest and the node it belongs to. `kind` is `lxc` or `qemu`."""

    vmid: int
    kind: str
    node: str

    @property
    def path(self) -> str:
        return f"/etc/pve/nodes/{self.node}/{FOLDERS[self.kind]}/{self.vmid}.conf"

    @property
    def sid(self) -> str:
        """Its id in the stack of high availability."""
        return f"{WORDS[self.kind].lower()}:{self.vmid}"

    def __str__(self) -> str:
        return f"{WORDS[self.kind]} {self.vmid}"


def of_sid(sid: str, node: str) -> Guest:
    """The guest `ct:101` or `vm:101` of a node; ValueError where it is no such id."""
    kind, _, vmid = sid.partition(":")
    if kind not in SIDS or not re.fullmatch(r"[1-9][0-9]{2,8}", vmid):
        raise ValueError(f"'{sid}' is no service id, expected ct:<vmid> or vm:<vmid>")
    return Guest(int(vmid), SIDS[kind], node)


def everywhere(machine: Machine) -> dict[int, Guest]:
    """Every guest of the cluster by VMID, in order."""
    root = machine.file("/etc/pve")
    found = {}
    for path in root.glob("nodes/*/*/*.conf"):
        if match := _PATH.fullmatch(path.relative_to(root).as_posix()):
            kind = "lxc" if match[2] == "lxc" else "qemu"
            found[int(match[3])] = Guest(int(match[3]), kind, match[1])
    return dict(sorted(found.items()))


def here(machine: Machine, kind: str) -> list[Guest]:
    """The guests of one kind that belong to this node."""
    return [one for one in everywhere(machine).values() if one.node == machine.node and one.kind == kind]


def text(machine: Machine, guest: Guest) -> str:
    """The file as it stands; ApiError in PVE's words where there is none."""
    try:
        return machine.file(guest.path).read_text(encoding="utf-8")
    except FileNotFoundError:
        place = guest.path.removeprefix("/etc/pve/")
        raise ApiError(500, f"Configuration file '{place}' does not exist") from None


def load(machine: Machine, guest: Guest) -> Config:
    return parse(text(machine, guest), guest.kind)


def save(machine: Machine, guest: Guest, config: Config) -> None:
    machine.write(guest.path, render(config, guest.kind))


def digest_of(machine: Machine, guest: Guest) -> str:
    return digest(text(machine, guest))


def reserve(machine: Machine, guest: Guest) -> None:
    """Take a VMID: a configuration that is locked until what it names is made. ApiError where it is taken."""
    taken = everywhere(machine).get(guest.vmid)
    if taken is None:
        try:
            with machine.file(guest.path).open("x", encoding="utf-8") as file:
                file.write(render(Config({"lock": "create"}), guest.kind))
            return
        except PermissionError:
            raise ApiError(500, "cluster not ready - no quorum?") from None
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            taken = everywhere(machine).get(guest.vmid, guest)  # another node was faster
    raise ApiError(500, f"unable to create {guest} - {taken} already exists on node '{taken.node}'")


def remove(machine: Machine, guest: Guest) -> None:
    machine.file(guest.path).unlink(missing_ok=True)


def move(machine: Machine, guest: Guest, node: str) -> Guest:
    """Give a guest to another node. Nothing of it may run or be mounted where it was."""
    moved = Guest(guest.vmid, guest.kind, node)
    try:
        machine.file(guest.path).rename(machine.file(moved.path))
    except OSError as error:
        raise ApiError(
            500, f"Failed to move config to node '{node}' - rename failed: {error.strerror}"
        ) from error
    return moved
