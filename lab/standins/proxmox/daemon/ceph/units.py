"""The systemd units of Ceph's daemons, and the folders that belong to the user ceph."""

from __future__ import annotations

import re
import shutil
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log

ID = r"[a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?"
SERVICE = rf"(ceph|mon|mds|osd|mgr)(\.{ID})?"
BINARIES = {
    "ceph_bin": "/usr/bin/ceph",
    "ceph_mon": "/usr/bin/ceph-mon",
    "ceph_mgr": "/usr/bin/ceph-mgr",
    "ceph_osd": "/usr/bin/ceph-osd",
    "ceph_mds": "/usr/bin/ceph-mds",
    "ceph_volume": "/usr/sbin/ceph-volume",
}
START_DEADLINE_S = 180.0
# Reading all units anew takes an emulated node seconds; systemd reads what is new to it when that is started.
QUICK = ("--no-reload",)
_ACTIONS = ("start", "stop", "restart", "enable", "disable")


def require(machine: Machine, *names: str) -> None:
    """Raises ApiError in PVE's words where a program is missing."""
    for name in names:
        if not machine.file(BINARIES[name]).exists():
            raise ApiError(500, f"binary not installed: {BINARIES[name]}")


def unit(service: str) -> str:
    """`osd.3` -> `ceph-osd@3.service`, `mon` -> `ceph-mon.target`, `ceph` or nothing -> `ceph.target`."""
    if service in ("", "ceph", "ceph.target"):
        return "ceph.target"
    if not re.fullmatch(SERVICE, service):
        raise ApiError(500, f"invalid service name '{service}'")
    kind, _, name = service.partition(".")
    return f"ceph-{kind}@{name}.service" if name else f"ceph-{kind}.target"


def control(machine: Machine, action: str, service: str) -> None:
    """systemctl start, stop, restart, enable or disable; ApiError with systemctl's words."""
    if action not in _ACTIONS:
        raise ValueError(f"action is {action!r}, expected one of {', '.join(_ACTIONS)}")
    name = unit(service)
    if action in ("start", "restart"):
        if name.endswith(".target"):  # OSDs that were enabled while the node started are not known yet
            machine.run(["systemctl", "daemon-reload"])
        # What failed before refuses five starts in half an hour.
        machine.run(["systemctl", "reset-failed", name], check=False)
    quick = QUICK if action in ("enable", "disable") else ()
    machine.run(["systemctl", *quick, action, name], timeout_s=START_DEADLINE_S)


def launch(machine: Machine, service: str, log: Log) -> None:
    """Enable and start a daemon, in PVE's words."""
    for action, doing in (("enable", "enabling"), ("start", "starting")):
        log(f"{doing} service '{unit(service)}'")
        control(machine, action, service)


def is_enabled(machine: Machine, service: str) -> bool:
    """Whether the unit starts at boot."""
    return machine.file(
        f"/etc/systemd/system/ceph-{service.split('.')[0]}.target.wants/{unit(service)}"
    ).exists()


def folder(kind: str, name: str) -> str:
    return f"/var/lib/ceph/{kind}/ceph-{name}"


def own(machine: Machine, path: str) -> None:
    """Give a folder and all in it to the user ceph, symbolic links themselves included."""
    machine.run(["chown", "-hR", "ceph:ceph", str(machine.file(path))])


def make_folder(machine: Machine, path: str) -> None:
    """A daemon's folder; ApiError where it is there already."""
    target = machine.file(path)
    try:
        target.mkdir(parents=True)
    except FileExistsError as error:
        raise ApiError(500, f"'{path}' already exists") from error
    own(machine, path)


def remove_folder(machine: Machine, path: str) -> None:
    shutil.rmtree(machine.file(path), ignore_errors=True)


def link_configuration(machine: Machine) -> None:
    """/etc/ceph/ceph.conf points at the cluster's; the administrator's key is copied beside it."""
    link = machine.file("/etc/ceph/ceph.conf")
    if link.is_symlink() or not link.exists():
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("/etc/pve/ceph.conf")
    else:
        raise ApiError(
            500, "file '/etc/ceph/ceph.conf' already exists and is not a symlink to /etc/pve/ceph.conf"
        )
    shared = machine.read("/etc/pve/priv/ceph.client.admin.keyring")
    local = "/etc/ceph/ceph.client.admin.keyring"
    if shared and machine.read(local) != shared:
        machine.write(local, shared, mode=0o600)
        machine.run(["chown", "ceph:ceph", str(machine.file(local))], check=False)


def local_state(machine: Machine, kind: str, name: str, row: dict[str, Any]) -> None:
    """direxists and service. Of other nodes PVE knows them from what these broadcast; here a daemon that
    the cluster knows counts as having both."""
    if row["host"] == machine.node:
        if machine.file(folder(kind, name)).is_dir():
            row["direxists"] = 1
        if is_enabled(machine, f"{kind}.{name}"):
            row["service"] = 1
    elif "addr" in row:
        row |= {"direxists": 1, "service": 1}
