"""Containers made from a template and destroyed: a volume, ext4 on it, the template's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..config.sections import Section
from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log
from . import containers, files, images, krbd, locks, lxc_config, running, volumes
from .conf import Config
from .files import Guest

ROOT_GIB = 4  # what PVE makes where no size is named
MKFS_DEADLINE_S = 300.0
UNPACK_DEADLINE_S = 600.0
_COMPRESSED = {".gz": ("-z",), ".xz": ("-J",), ".zst": ("--zstd",), ".bz2": ("-j",)}


def create(
    machine: Machine,
    guest: Guest,
    values: Mapping[str, str],
    disk: tuple[Section, int],
    template: Path,
    log: Log,
) -> None:
    """Fill a configuration that is reserved. `disk`: storage and bytes. What fails leaves nothing behind."""
    section, size = disk
    with locks.held(machine, guest):
        volume = None
        try:
            volume = images.create(machine, section, guest.vmid, size)
            config = Config(
                {**values, "lock": "create", "rootfs": f"{volume.id},size={volumes.size_text(size)}"}
            )
            files.save(machine, guest, config)
            _fill(machine, guest.vmid, volume, lxc_config.is_unprivileged(values), template, log)
            defaults = {
                "arch": "amd64",
                "hostname": f"CT{guest.vmid}",
                "memory": str(lxc_config.MEMORY_MIB),
                "ostype": "unmanaged",
                "swap": str(lxc_config.SWAP_MIB),
            }
            config.values = {**defaults, **config.values}
            del config.values["lock"]
            files.save(machine, guest, config)
        except BaseException:
            if volume is not None:
                images.remove(machine, volume)
            files.remove(machine, guest)
            raise


def _fill(
    machine: Machine, vmid: int, volume: volumes.Volume, unprivileged: bool, template: Path, log: Log
) -> None:
    """Make the file system and unpack the template into it.

    `mmp` is what PVE gives it: a mount of what was not unmounted waits 42 s to see whether another node has
    it mounted, and refuses then.
    """
    device = krbd.map_image(machine, volume)
    owner = lxc_config.SHIFT if unprivileged else 0
    try:
        log(f"Creating filesystem on {device}")
        make = ["mkfs.ext4", "-q", "-O", "mmp", "-E", f"root_owner={owner}:{owner}", device]
        machine.run(make, timeout_s=MKFS_DEADLINE_S)
        place = containers.mount(machine, vmid, volume)
        log(f"extracting archive '{template}'")
        command = unpack(template, str(machine.file(place)), unprivileged)
        machine.run(command, timeout_s=UNPACK_DEADLINE_S)
        if machine.file(f"{place}/etc/os-release").exists():
            log.warn("distributions are not set up in the rack, falling back to 'unmanaged'")
    finally:
        containers.release(machine, vmid, volume)


def unpack(template: Path, place: str, unprivileged: bool) -> list[str]:
    """The command that unpacks a template; with the ids of an unprivileged container, and no more rights."""
    tar = ["tar", "xpf", "-", *_COMPRESSED.get(template.suffix, ()), "--numeric-owner", "--anchored"]
    tar += ["--exclude", "./dev/*", "-C", place]
    if unprivileged:
        maps = [f"{kind}:0:{lxc_config.SHIFT}:{lxc_config.IDS}" for kind in "ug"]
        tar = ["lxc-usernsexec", "-m", maps[0], "-m", maps[1], "--", *tar]
    return ["sh", "-c", 'exec "$@" < "$0"', str(template), *tar]


def destroy(machine: Machine, guest: Guest) -> None:
    """Remove a container, its volume first. ApiError where it runs or is locked."""
    with locks.held(machine, guest):
        config = files.load(machine, guest)
        locks.check(guest, config)
        if running.is_running(machine, "lxc", guest.vmid):
            raise ApiError(500, f"unable to destroy {guest} - container is running")
        volume = containers.rootfs(machine, config)
        containers.release(machine, guest.vmid, volume)
        images.remove(machine, volume)
        containers.forget(machine, guest.vmid)
        files.remove(machine, guest)
