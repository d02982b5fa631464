"""RBD images as block devices of this node's kernel, and what is mounted from them."""

from __future__ import annotations

import re

from ..ceph.conf import PATH as CEPH_CONF
from ..http.machine import Machine
from . import images
from .volumes import Volume

DEVICES = "/sys/bus/rbd/devices"
#: A dead node's lock on an image is broken only when its watch has run out and its OSDs are known to be down.
MAP_DEADLINE_S = 120.0
MOUNT_DEADLINE_S = 240.0
UNMAP_DEADLINE_S = 60.0


def device(machine: Machine, volume: Volume) -> str | None:
    """`/dev/rbd0` where the image is mapped on this node."""
    wanted = images.pool(volume.storage), volume.name
    for entry in sorted(machine.file(DEVICES).glob("*")):
        place = f"{DEVICES}/{entry.name}"
        found = machine.read(f"{place}/pool").strip(), machine.read(f"{place}/name").strip()
        if found == wanted:
            return f"/dev/rbd{entry.name}"
    return None


def map_image(machine: Machine, volume: Volume) -> str:
    """The image's device; asked twice it is mapped once."""
    if (known := device(machine, volume)) is not None:
        return known
    section = volume.storage
    command = ["rbd", "-c", CEPH_CONF, "--id", images.user(section), "--keyring"]
    command += [images.keyring(machine, section), "map", f"{images.pool(section)}/{volume.name}"]
    return machine.run(command, timeout_s=MAP_DEADLINE_S).out.strip()


def unmap(machine: Machine, path: str) -> None:
    """Give a device back. ApiError where somebody has it open."""
    machine.run(["rbd", "-c", CEPH_CONF, "unmap", path], timeout_s=UNMAP_DEADLINE_S)


def mount(machine: Machine, path: str, place: str) -> None:
    """Mount a device; one that is mounted there already stays."""
    if path in mounted(machine, place):
        return
    machine.file(place).mkdir(parents=True, exist_ok=True)
    machine.run(["mount", path, place], timeout_s=MOUNT_DEADLINE_S)


def mounted(machine: Machine, place: str) -> list[str]:
    """The devices that are mounted at a place, the topmost last."""
    lines = [line.split() for line in machine.read("/proc/mounts").splitlines()]
    return [words[0] for words in lines if words[1:2] == [place]]


def release(machine: Machine, place: str) -> None:
    """Unmount what is mounted at a place and give back the devices of RBD images among it."""
    for path in reversed(mounted(machine, place)):
        machine.run(["umount", place], timeout_s=MOUNT_DEADLINE_S)
        if re.fullmatch(r"/dev/rbd\d+", path):
            unmap(machine, path)
