"""Managers, Ceph's own ceph-mgr."""

from __future__ import annotations

from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log
from . import addresses, keys, monitors, units

CAPS = {"mds": "allow *", "mon": "allow profile mgr", "osd": "allow *"}


def create(machine: Machine, name: str, log: Log) -> None:
    """Make a manager and start it."""
    path = units.folder("mgr", name)
    if machine.file(path).is_dir():
        raise ApiError(500, f"ceph manager directory '{path}' already exists")
    log(f"creating manager directory '{path}'")
    units.make_folder(machine, path)
    log(f"creating keys for 'mgr.{name}'")
    keys.place(machine, f"{path}/keyring", f"mgr.{name}", CAPS)
    log("setting owner for directory")
    units.own(machine, path)
    units.launch(machine, f"mgr.{name}", log)


def destroy(machine: Machine, name: str, log: Log) -> None:
    """Stop a manager of this node and delete what belongs to it."""
    path = units.folder("mgr", name)
    if not machine.file(path).is_dir():
        raise ApiError(500, f"ceph manager directory '{path}' not found")
    log(f"stopping service 'ceph-mgr@{name}.service'")
    units.control(machine, "disable", f"mgr.{name}")
    units.control(machine, "stop", f"mgr.{name}")
    log(f"removing manager directory '{path}'")
    units.remove_folder(machine, path)
    monitors.tell(machine, "auth del", entity=f"mgr.{name}")


def listing(machine: Machine) -> list[dict[str, Any]]:
    """The rows of GET .../ceph/mgr."""
    dump = monitors.ask(machine, "mgr dump")
    facts = {fact["name"]: fact for fact in monitors.ask(machine, "mgr metadata")}
    rows: dict[str, dict[str, Any]] = {}
    if dump.get("active_name"):
        rows[dump["active_name"]] = {"state": "active", "addr": addresses.bare(dump.get("active_addr", ""))}
    for standby in dump.get("standbys", []):
        rows[standby["name"]] = {"state": "standby"}
    local = machine.file("/var/lib/ceph/mgr")
    if local.is_dir():
        for entry in sorted(local.glob("ceph-*")):
            rows.setdefault(entry.name.removeprefix("ceph-"), {"state": "stopped", "host": machine.node})
    for name, row in rows.items():
        fact = facts.get(name, {})
        row |= {"name": name, "host": fact.get("hostname", row.get("host", name))}
        if fact.get("addr") and not row.get("addr"):
            row["addr"] = addresses.bare(fact["addr"])
        row |= {key: fact[key] for key in ("ceph_version", "ceph_version_short") if key in fact}
        units.local_state(machine, "mgr", name, row)
    return [rows[name] for name in sorted(rows)]
