"""/etc/pve/ceph.conf in the form of PVE::CephConfig, and the cluster-wide lock that guards its changes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ..http.errors import ApiError
from ..http.machine import Machine

Conf = dict[str, dict[str, str]]

PATH = "/etc/pve/ceph.conf"
LINK = "/etc/ceph/ceph.conf"
#: the ring of client.admin, which every node shares
ADMIN = "/etc/pve/priv/ceph.client.admin.keyring"
LOCKS = "/etc/pve/priv/lock"
# PVE waits 10 s for a lock; an emulated node needs that long for one `ceph-mon --mkfs` alone.
LOCK_DEADLINE_S = 180.0
LOCK_LIFETIME_S = 120.0
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
    if not machine.file(LINK).exists():
        raise ApiError(500, "pveceph configuration not enabled")


@contextlib.contextmanager
def locked(machine: Machine, name: str = "file-ceph_conf") -> Iterator[None]:
    """Hold the cluster's lock of that name. ApiError without quorum or when others hold it too long."""
    folder = machine.file(f"{LOCKS}/{name}")
    deadline = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            break
        except FileExistsError:
            _expire(machine, name)
        except OSError as error:
            raise ApiError(500, f"cfs-lock '{name}' error: no quorum!") from error
        if time.monotonic() > deadline:
            raise ApiError(500, f"cfs-lock '{name}' error: got lock request timeout ({LOCK_DEADLINE_S:g} s)")
        time.sleep(0.5)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _expire(machine: Machine, name: str) -> None:
    """Remove a lock whose holder died: nobody has renewed it for two minutes."""
    folder = machine.file(f"{LOCKS}/{name}")
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > LOCK_LIFETIME_S + LOCK_DEADLINE_S:
            folder.rmdir()
