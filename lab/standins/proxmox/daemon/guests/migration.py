"""A stopped guest given to another node, and a container that is stopped for it and started there.

Order and words: PVE::LXC::Migrate and PVE::QemuMigrate. The configuration moves when nothing of the guest is
mounted or runs on this node any more; from then on it is the other node's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..config import members, storages
from ..http.errors import ApiError
from ..http.machine import Machine
from . import containers, drives, files, locks, running, volumes
from .conf import Config
from .containers import Say
from .files import Guest
from .peer import Peer

SHUTDOWN_S = 180


def require_target(machine: Machine, node: str) -> None:
    """ApiError where a node is not in the cluster or not there."""
    known = {member.name: member.online for member in members.cluster(machine).members}
    if node not in known:
        raise ApiError(500, f"no such cluster node '{node}'")
    if not known[node]:
        raise ApiError(595, "No route to host")


def container(
    machine: Machine, guest: Guest, target: str, log: Say, restart: bool = False, timeout_s: int = SHUTDOWN_S
) -> None:
    """Move a container; with `restart` one that runs is shut down here and started there."""
    config = files.load(machine, guest)
    locks.check(guest, config)
    volume = containers.rootfs(machine, config)
    storages.usable(machine, volume.storage.id, target)
    was_running = running.is_running(machine, "lxc", guest.vmid)
    if was_running and not restart:
        raise ApiError(500, "lxc live migration is currently not implemented")
    if was_running:
        log(f"shutdown {guest}")
        containers.shutdown(machine, guest, timeout_s)
    try:
        moved = hand_over(machine, guest, Peer(machine, target), [volume], log)
    except BaseException:
        if was_running:
            log("start container on source node")
            containers.start(machine, guest, log)
        raise
    if was_running:
        log("start container on target node")
        for line in Peer(machine, target).task(moved, "status/start"):
            log(f"  {line}")


def machine_offline(machine: Machine, guest: Guest, target: str, log: Say) -> None:
    """Move a virtual machine that does not run."""
    used = shared_volumes(machine, files.load(machine, guest), target)
    hand_over(machine, guest, Peer(machine, target), used, log)


def shared_volumes(machine: Machine, config: Config, target: str) -> list[volumes.Volume]:
    """The volumes of a virtual machine; ApiError in PVE's words unless the other node reaches them all."""
    used = []
    for drive in drives.of(config.values):
        if drive.file == "none":
            continue
        volume = volumes.parse(machine, drive.file)
        storages.usable(machine, volume.storage.id, target)
        if not storages.is_shared(volume.storage):
            why = "local cdrom image" if drive.is_cdrom else "local disks are not moved in the rack"
            raise ApiError(500, f"can't migrate local disk '{volume.id}': {why}")
        used.append(volume)
    return used


def hand_over(machine: Machine, guest: Guest, peer: Peer, used: list[volumes.Volume], log: Say) -> Guest:
    """Give a stopped guest's configuration to the other node."""
    with locks.held(machine, guest):
        config = files.load(machine, guest)
        locks.check(guest, config)
        if running.is_running(machine, guest.kind, guest.vmid):
            raise ApiError(500, f"can't migrate {guest} - it was started meanwhile")
        log(f"starting migration of {guest} to node '{peer.node}' ({peer.address})")
        for volume in used:
            log(f"volume '{volume.id}' is on shared storage '{volume.storage.id}'")
        with marked(machine, guest, config):
            if guest.kind == "lxc":
                containers.release(machine, guest.vmid, used[0])
            return files.move(machine, guest, peer.node)


@contextmanager
def marked(machine: Machine, guest: Guest, config: Config) -> Iterator[None]:
    """The configuration says that the guest migrates until it has, wherever it then lies."""
    config.values["lock"] = "migrate"
    files.save(machine, guest, config)
    try:
        yield
    finally:
        del config.values["lock"]
        files.save(machine, files.everywhere(machine).get(guest.vmid, guest), config)


def preconditions(machine: Machine, guest: Guest) -> dict[str, Any]:
    """What GET migrate tells: where the guest could go."""
    config = files.load(machine, guest)
    others = [member.name for member in members.cluster(machine).members if member.name != machine.node]
    runs = int(running.is_running(machine, guest.kind, guest.vmid))
    if guest.kind == "lxc":
        return {"running": runs, "allowed-nodes": others}
    local = [
        {"volid": drive.file, "cdrom": int(drive.is_cdrom)}
        for drive in drives.of(config.values)
        if drive.file != "none" and not storages.is_shared(volumes.parse(machine, drive.file).storage)
    ]
    nothing = {
        "local_resources": [],
        "mapped-resources": [],
        "mapped-resource-info": {},
        "has-dbus-vmstate": 0,
    }
    return {"running": runs, "allowed_nodes": others, "local_disks": local, **nothing}
