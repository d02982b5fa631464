"""Disks of guests as RBD images: made, listed and removed by librbd on the connection that is kept."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..config import ceph_space
from ..config.sections import Section
from ..http.errors import ApiError
from ..http.machine import Machine
from .volumes import Volume


def pool(section: Section) -> str:
    """The pool of an RBD storage; ApiError for what the rack does not have."""
    if section.kind != "rbd":
        raise ApiError(500, f"storage '{section.id}': disks of guests are RBD images in the rack")
    if "namespace" in section.values or "monhost" in section.values:
        raise ApiError(500, f"storage '{section.id}': only pools of the node's own cluster are in the rack")
    return section.values.get("pool", "rbd")


def user(section: Section) -> str:
    return section.values.get("username", "admin")


def keyring(machine: Machine, section: Section) -> str:
    """The file with the key that the storage logs in with."""
    own = f"/etc/pve/priv/ceph/{section.id}.keyring"
    return own if machine.file(own).exists() else ceph_space.KEYRING


@contextmanager
def _context(machine: Machine, section: Section) -> Iterator[tuple[Any, Any]]:
    """(module rbd, open pool). ApiError with Ceph's words for what fails inside."""
    from ..ceph import monitors  # late: starting a guest needs no connection of this process

    rados: Any = importlib.import_module("rados")
    rbd: Any = importlib.import_module("rbd")
    try:
        opened = monitors.connect(machine).open_ioctx(pool(section))
        try:
            yield rbd, opened
        finally:
            opened.close()
    except (rados.Error, rbd.Error) as error:
        raise ApiError(500, f"rbd error: {error}") from error


def listed(machine: Machine, section: Section) -> dict[str, int]:
    """Guests' disks of a storage: name -> bytes."""
    found = {}
    with _context(machine, section) as (rbd, context):
        for name in sorted(rbd.RBD().list(context)):
            if Volume(section, name).owner is not None:
                with rbd.Image(context, name, read_only=True) as image:
                    found[name] = int(image.size())
    return found


def create(machine: Machine, section: Section, vmid: int, size: int) -> Volume:
    """A new disk `vm-<vmid>-disk-<n>` of so many bytes, with the cluster's default features."""
    more = {"data_pool": section.values["data-pool"]} if "data-pool" in section.values else {}
    with _context(machine, section) as (rbd, context):
        taken = set(rbd.RBD().list(context))
        name = next(n for i in range(len(taken) + 1) if (n := f"vm-{vmid}-disk-{i}") not in taken)
        rbd.RBD().create(context, name, size, old_format=False, **more)
    return Volume(section, name)


def remove(machine: Machine, volume: Volume) -> None:
    """Remove a disk; one that is gone is well. ApiError where somebody has it open."""
    with _context(machine, volume.storage) as (rbd, context):
        try:
            rbd.RBD().remove(context, volume.name)
        except rbd.ImageNotFound:
            return
