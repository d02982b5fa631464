"""Virtual machines made and destroyed: their disks and their configuration."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from ..config import storages
from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log
from . import drives, files, images, locks, running, volumes
from .conf import Config
from .files import Guest


def create(machine: Machine, guest: Guest, values: Mapping[str, str], log: Log) -> None:
    """Fill a reserved configuration, with new disks where they are ordered. What fails leaves nothing."""
    made: list[volumes.Volume] = []
    with locks.held(machine, guest):
        try:
            settled = {**values, **_disks(machine, guest.vmid, values, made, log)}
            settled.setdefault("boot", f"order={';'.join(drives.boot_order(settled))}")
            settled.setdefault("smbios1", f"uuid={uuid.uuid4()}")
            files.save(machine, guest, Config(settled))
        except BaseException:
            for volume in made:
                images.remove(machine, volume)
            files.remove(machine, guest)
            raise


def _disks(
    machine: Machine, vmid: int, values: Mapping[str, str], made: list[volumes.Volume], log: Log
) -> dict[str, str]:
    """The drives with their volumes and sizes; what is made is told at once, so that it can be taken back."""
    found = {}
    for drive in drives.of(values):
        if drive.file == "none":
            continue
        if ordered := volumes.new(drive.file):
            section = storages.usable(machine, ordered[0], machine.node)
            made.append(volume := images.create(machine, section, vmid, ordered[1]))
            size = ordered[1]
            log(f"{drive.key}: successfully created disk '{volume.id},size={volumes.size_text(size)}'")
        else:
            volume = volumes.parse(machine, drive.file)
            size = volumes.file(machine, volume).stat().st_size if volume.content == "iso" else 0
        options = {**drive.options, "file": volume.id}
        if size:
            options["size"] = volumes.size_text(size)
        found[drive.key] = str(drives.Drive(drive.key, options))
    return found


def destroy(machine: Machine, guest: Guest) -> None:
    """Remove a virtual machine, its disks first. ApiError where it runs or is locked."""
    with locks.held(machine, guest):
        config = files.load(machine, guest)
        locks.check(guest, config)
        if running.is_running(machine, "qemu", guest.vmid):
            raise ApiError(500, f"{guest} is running - destroy failed")
        for drive in drives.of(config.values):
            if drive.file == "none":
                continue
            volume = volumes.parse(machine, drive.file)
            if volume.owner == guest.vmid:
                images.remove(machine, volume)
        files.remove(machine, guest)
