"""Metadata servers and file systems."""

from __future__ import annotations

import time
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log
from . import conf, keys, monitors, units

CAPS = {"mds": "allow *", "mon": "allow profile mds", "osd": "allow rwx"}
ACTIVE_DEADLINE_S = 60.0


def states(machine: Machine) -> dict[str, dict[str, Any]]:
    """Metadata servers that the cluster knows, by name."""
    dump = monitors.ask(machine, "fs dump")
    found: dict[str, dict[str, Any]] = {}
    for standby in dump["standbys"]:
        found[standby["name"]] = _row(standby)
    for filesystem in dump["filesystems"]:
        for daemon in filesystem["mdsmap"]["info"].values():
            found[daemon["name"]] = _row(daemon) | {"fs_name": filesystem["mdsmap"]["fs_name"]}
    return found


def _row(daemon: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": daemon["name"],
        "addr": daemon["addr"],
        "rank": daemon["rank"],
        "state": daemon["state"],
        "standby_replay": daemon["state"] == "up:standby-replay",
    }


def listing(machine: Machine) -> list[dict[str, Any]]:
    """The rows of GET .../ceph/mds."""
    rows = states(machine)
    for section, values in conf.load(machine).items():
        if section.startswith("mds."):
            row = rows.setdefault(section[4:], {"name": section[4:], "state": "unknown"})
            row["host"] = values.get("host", section[4:])
    for name, row in rows.items():
        row.setdefault("host", name)
        units.local_state(machine, "mds", name, row)
    return [rows[name] for name in sorted(rows)]


def assert_new(machine: Machine, name: str) -> None:
    """ApiError in PVE's words for a name that cannot be, or is there."""
    if name.isdigit():
        raise ApiError(500, "name cannot only consist of digits")
    if f"mds.{name}" in conf.load(machine):
        raise ApiError(500, f"ceph MDS '{name}' already exists")
    if machine.file(units.folder("mds", name)).is_dir():
        raise ApiError(500, f"ceph MDS directory '{units.folder('mds', name)}' already exists")


def create(machine: Machine, name: str, hotstandby: bool, log: Log) -> None:
    """Make a metadata server and start it."""
    with conf.locked(machine):
        assert_new(machine, name)
        found = conf.load(machine)
        found.setdefault("mds", {}).setdefault("keyring", "/var/lib/ceph/mds/ceph-$id/keyring")
        found[f"mds.{name}"] = {"host": machine.node}
        if hotstandby:
            found[f"mds.{name}"] |= {"mds_standby_for_name": "pve", "mds_standby_replay": "true"}
        conf.save(machine, found)
    path = units.folder("mds", name)
    try:
        log(f"creating MDS directory '{path}'")
        units.make_folder(machine, path)
        log(f"creating keys for 'mds.{name}'")
        keys.place(machine, f"{path}/keyring", f"mds.{name}", CAPS)
        log("setting ceph as owner for service directory")
        units.own(machine, path)
        units.launch(machine, f"mds.{name}", log)
    except ApiError:
        units.remove_folder(machine, path)
        _forget(machine, name)
        raise


def _forget(machine: Machine, name: str) -> None:
    with conf.locked(machine):
        found = conf.load(machine)
        if found.pop(f"mds.{name}", None) is not None:
            conf.save(machine, found)


def destroy(machine: Machine, name: str, log: Log) -> None:
    """Stop a metadata server of this node and delete what belongs to it."""
    path = units.folder("mds", name)
    if not machine.file(path).is_dir():
        raise ApiError(500, f"ceph MDS directory '{path}' not found")
    log(f"disabling service 'ceph-mds@{name}.service'")
    for action in ("disable", "stop"):
        units.control(machine, action, f"mds.{name}")
    log(f"removing MDS directory '{path}'")
    units.remove_folder(machine, path)
    _forget(machine, name)
    log(f"removing ceph auth for 'mds.{name}'")
    monitors.tell(machine, "auth del", entity=f"mds.{name}")


def filesystems(machine: Machine) -> list[dict[str, Any]]:
    """The rows of GET .../ceph/fs."""
    wanted = ("name", "metadata_pool", "metadata_pool_id", "data_pools", "data_pool_ids")
    result = []
    for found in monitors.ask(machine, "fs ls"):
        row = {key: found[key] for key in wanted if key in found}
        row["data_pool"] = found["data_pools"][0] if found.get("data_pools") else ""
        result.append(row)
    return result


def wait_active(machine: Machine, filesystem: str) -> bool:
    """Wait until a metadata server serves the file system; False when none does in time."""
    deadline = time.monotonic() + ACTIVE_DEADLINE_S
    while time.monotonic() < deadline:
        if any(
            row.get("fs_name") == filesystem and row["state"] == "up:active"
            for row in states(machine).values()
        ):
            return True
        time.sleep(1)
    return False
