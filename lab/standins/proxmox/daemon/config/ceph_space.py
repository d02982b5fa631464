"""The space behind storages on Ceph, and CephFS mounted where PVE mounts it."""

from __future__ import annotations

import json
import threading
from typing import Any

from ..http.machine import Machine
from .sections import Section

CONF = "/etc/pve/ceph.conf"
KEYRING = "/etc/pve/priv/ceph.client.admin.keyring"
TIMEOUT_S = 10
_mounting = threading.Lock()


def _df(machine: Machine) -> dict[str, Any] | None:
    """`ceph df` by librados in this process: a `ceph` command takes seconds to start on an emulated node."""
    if not machine.read(CONF) or not machine.read(KEYRING):
        return None
    try:
        import rados  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    keyring = str(machine.file(KEYRING))
    try:
        with rados.Rados(
            conffile=str(machine.file(CONF)), conf={"keyring": keyring}, name="client.admin"
        ) as cluster:
            code, out, _ = cluster.mon_command(
                json.dumps({"prefix": "df", "format": "json"}), b"", timeout=TIMEOUT_S
            )
    except rados.Error:
        return None
    found: dict[str, Any] | None = json.loads(out) if code == 0 else None
    return found


def pool(machine: Machine, name: str) -> tuple[int, int, int] | None:
    """Total, used and available bytes of a pool as PVE counts them; None where Ceph or the pool is not there."""
    said = _df(machine)
    for entry in said.get("pools", []) if said else []:
        if entry["name"] == name:
            used, avail = int(entry["stats"]["stored"]), int(entry["stats"]["max_avail"])
            return used + avail, used, avail
    return None


def mounted(machine: Machine, section: Section) -> bool:
    """Whether the CephFS is mounted; it is tried where it is not (PVE's pvestatd does so every ten seconds)."""
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
