"""/etc/pve/ceph.conf in the form of PVE::CephConfig, and the cluster-wide lock that guards its changes."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ..config.locks import cfs_lock
from ..http.errors import ApiError
from ..http.machine import Machine

Conf = dict[str, dict[str, str]]

PATH = "/etc/pve/ceph.conf"
LINK = "/etc/ceph/ceph.conf"
#: the ring of client.admin, which every node shares
ADMIN = "/etc/pve/priv/ceph.client.admin.keyring"
# PVE waits 10 s for a lock; an emulated node needs that long for one `ceph-mon --mkfs` alone.
LOCK_DEADLINE_S = 180.0
ORDER = ("global", "client", "mds", "mon", "osd", "mgr")


def parse(text: str) -> Conf:
    """Sections and their keys; blanks and dashes in keys count as underscores, as Ceph reads them."""
    result: Conf = {}
    section: dict[str, str] | None = None
    for raw in text.splitlines():
        line = raw.split(";")[0].split("#")[0].strip()
        if line.startswith("[") and line.endswith("]"):
            section = result.setdefault(line[1:-1].strip(), {})
        elif "=" in line and section is not None:
            key, _, value = line.partition("=")
            section[key.strip().replace(" ", "_").replace("-", "_")] = value.strip()
    return result


def render(conf: Conf) -> str:
    """Tab-indented, keys sorted, sections in the order global, client, client.*, mds, mds.*, mon, ..."""

    def place(name: str) -> tuple[int, int, str]:
        kind = name.split(".")[0]
        return (ORDER.index(kind) if kind in ORDER else len(ORDER), int("." in name), name)

    blocks = []
    for name in sorted(conf, key=place):
        lines = [f"[{name}]", *(f"\t{key} = {conf[name][key]}" for key in sorted(conf[name]))]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def load(machine: Machine) -> Conf:
    """What stands in /etc/pve/ceph.conf; empty where there is none."""
    return parse(machine.read(PATH))


def save(machine: Machine, conf: Conf) -> None:
    """Raises ApiError without quorum."""
    machine.write(PATH, render(conf))


def require_initialised(machine: Machine) -> None:
    """Raises ApiError in PVE's words before `pveceph init`."""
    if not machine.file(PATH).is_file():
        raise ApiError(500, "pveceph configuration not initialized")


def require_configured(machine: Machine) -> None:
    """Raises ApiError in PVE's words where this node does not read the cluster's ceph.conf yet."""
    require_initialised(machine)
    link = machine.file(LINK)
    if not link.is_symlink() and not link.exists():
        raise ApiError(500, "pveceph configuration not enabled")


def locked(machine: Machine) -> AbstractContextManager[None]:
    """Hold the cluster's lock of ceph.conf. ApiError without quorum or when others hold it too long."""
    return cfs_lock(machine, "file-ceph_conf", LOCK_DEADLINE_S)
