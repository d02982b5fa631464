"""cephx keys and key rings, made here instead of by ceph-authtool (a second each on an emulated node)."""

from __future__ import annotations

import base64
import os
import re
import struct
import time
from collections.abc import Mapping

from ..http.machine import Machine
from . import monitors
from .conf import ADMIN

MON = "/etc/pve/priv/ceph.mon.keyring"
CRASH = "/etc/pve/ceph/ceph.client.crash.keyring"
LOCAL_ADMIN = "/etc/ceph/ceph.client.admin.keyring"
BOOTSTRAP_OSD = "/var/lib/ceph/bootstrap-osd/ceph.keyring"
ADMIN_CAPS = {"mds": "allow *", "mgr": "allow *", "mon": "allow *", "osd": "allow *"}
_KEY_BYTES = 16
_AES = 1


def fresh() -> str:
    """A new cephx secret: type, creation time, length, 16 random bytes (struct CryptoKey), in base64."""
    header = struct.pack("<hiih", _AES, int(time.time()), 0, _KEY_BYTES)
    return base64.b64encode(header + os.urandom(_KEY_BYTES)).decode("ascii")


def ring(entity: str, key: str, caps: Mapping[str, str] | None = None) -> str:
    """The text of a key ring with one entity."""
    lines = [f"[{entity}]", f"\tkey = {key}"]
    lines += [f'\tcaps {kind} = "{cap}"' for kind, cap in sorted((caps or {}).items())]
    return "\n".join(lines) + "\n"


def key_in(text: str) -> str:
    """The first key of a key ring. ValueError where there is none."""
    match = re.search(r"^\s*key\s*=\s*(\S+)", text, re.MULTILINE)
    if not match:
        raise ValueError("the key ring holds no key")
    return match.group(1)


def admin(machine: Machine) -> str:
    """The cluster's ring of client.admin, made when it is missing."""
    if not machine.file(ADMIN).is_file():
        machine.write(ADMIN, ring("client.admin", fresh(), ADMIN_CAPS))
    return machine.read(ADMIN)


def monitor(machine: Machine) -> bool:
    """Make the monitors' ring when it is missing; True when it was made."""
    if machine.file(MON).is_file():
        return False
    machine.write(MON, ring("mon.", fresh(), {"mon": "allow *"}) + admin(machine))
    return True


def place(machine: Machine, path: str, entity: str, caps: Mapping[str, str]) -> str:
    """Have the cluster make (or keep) an entity and write its ring for the user ceph; returns the key."""
    listed = [word for kind, cap in caps.items() for word in (kind, cap)]
    key = monitors.ask(machine, "auth get-or-create", entity=entity, caps=listed)[0]["key"]
    machine.write(path, ring(entity, key, caps if path == CRASH else None), mode=0o600)
    return str(key)


def place_bootstrap_osd(machine: Machine) -> None:
    """The ring that ceph-volume uses, where it is missing."""
    if not machine.file(BOOTSTRAP_OSD).is_file():
        text = monitors.raw(machine, "auth get", entity="client.bootstrap-osd", format="plain")
        machine.write(BOOTSTRAP_OSD, text, mode=0o600)
