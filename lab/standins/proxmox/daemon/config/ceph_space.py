"""The space behind storages on Ceph, and CephFS mounted where PVE mounts it."""

from __future__ import annotations

import threading
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from .sections import Section

CONF = "/etc/pve/ceph.conf"
KEYRING = "/etc/pve/priv/ceph.client.admin.keyring"
_mounting = threading.Lock()


def _df(machine: Machine) -> dict[str, Any] | None:
    """`ceph df` on the connection that the Ceph endpoints keep; None where Ceph does not answer."""
    if not machine.read(CONF) or not machine.read(KEYRING):
        return None
    from ..ceph import monitors  # late: a node without Ceph needs none of it

    try:
        found: dict[str, Any] = monitors.ask(machine, "df")
    except (ApiError, ImportError):
        return None
    return found


def pool(machine: Machine, name: str) -> tuple[int, int, int] | None:
    """Total, used and available bytes of a pool as PVE counts them; None where it is not there."""
    said = _df(machine)
    for entry in said.get("pools", []) if said else []:
        if entry["name"] == name:
            used, avail = int(entry["stats"]["stored"]), int(entry["stats"]["max_avail"])
            return used + avail, used, avail
    return None


def mounted(machine: Machine, section: Section) -> bool:
    """Whether the CephFS is mounted; it is tried where it is not (as pvestatd does every ten seconds)."""
    place = section.values.get("path", f"/mnt/pve/{section.id}")

    def is_mounted() -> bool:
        return any(line.split()[1:2] == [place] for line in machine.read("/proc/mounts").splitlines())

    if is_mounted():
        return True
    secret = f"/etc/pve/priv/ceph/{section.id}.secret"
    if not machine.read(CONF) or not machine.read(secret):
        return False
    with _mounting:
        if is_mounted():
            return True
        options = [f"name={section.values.get('username', 'admin')}", f"secretfile={secret}", f"conf={CONF}"]
        options += [f"fs={section.values['fs-name']}"] if "fs-name" in section.values else []
        machine.file(place).mkdir(parents=True, exist_ok=True)
        source = f":{section.values.get('subdir', '/')}"
        command = ["mount", "-t", "ceph", source, place, "-o", ",".join(options)]
        return machine.run(command, check=False, timeout_s=60).code == 0
