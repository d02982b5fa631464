"""Pools: made, set and destroyed setting by setting, as PVE::Ceph::Tools does it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log
from . import conf, monitors

# `size` first: Ceph sets min_size anew with it.
_ORDER = ("size", "min_size", "crush_rule", "pg_num_min", "target_size_bytes", "target_size_ratio",
          "pg_autoscale_mode", "pg_num")  # fmt: skip
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def settings(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of Ceph among the API's parameters; target_size becomes bytes."""
    found = {key: value for key, value in parameters.items() if key in (*_ORDER, "application")}
    if size := parameters.get("target_size"):
        unit = size[-1] if size[-1].isalpha() else ""
        found["target_size_bytes"] = int(float(size.removesuffix(unit)) * _UNITS[unit])
    return found


def exists(machine: Machine, name: str) -> bool:
    return any(pool["poolname"] == name for pool in monitors.ask(machine, "osd lspools"))


def create(machine: Machine, name: str, wanted: Mapping[str, Any], log: Log) -> None:
    """Make a pool and apply its settings. ApiError when the name is taken."""
    if exists(machine, name):
        raise ApiError(500, f"pool '{name}' already exists")
    arguments: dict[str, Any] = {"pool": name}
    for key in ("pg_num", "size"):
        if key in wanted:
            arguments[key] = wanted[key]
    # The autoscaler must not resize a pool between its making and its mode.
    if "pg_autoscale_mode" in wanted:
        arguments["autoscale_mode"] = wanted["pg_autoscale_mode"]
    monitors.tell(machine, "osd pool create", **arguments)
    apply(machine, name, wanted, log)


def apply(machine: Machine, name: str, wanted: Mapping[str, Any], log: Log) -> None:
    """Set what differs; each setting is tried, and those that failed are named in one ApiError."""
    failed = []
    for key in _ORDER:
        if key not in wanted:
            continue
        try:
            _set(machine, name, key, wanted[key], log)
        except ApiError as error:
            log.warn(f"failed to set {key}: {error}")
            failed.append(key)
    if application := wanted.get("application"):
        _set_application(machine, name, application, log)
    if failed:
        raise ApiError(500, f"Could not set: {', '.join(failed)}")


def _set(machine: Machine, name: str, key: str, value: Any, log: Log) -> None:
    try:
        now = monitors.ask(machine, "osd pool get", pool=name, var=key).get(key)
    except monitors.CommandError:
        now = None  # Ceph refuses to show what was never set
    if now is not None and str(now) == str(value):
        log(f"skipping {key}, did not change")
        return
    log(f"pool {name}: applying {key} = {value}")
    more = {"yes_i_really_mean_it": True} if key == "size" and int(value) == 1 else {}
    monitors.tell(machine, "osd pool set", pool=name, var=key, val=str(value), **more)


def _set_application(machine: Machine, name: str, application: str, log: Log) -> None:
    now = monitors.ask(machine, "osd pool application get", pool=name) or {}
    if set(now) == {application}:
        log("skipping application, did not change")
        return
    log(f"pool {name}: applying application = {application}")
    for old in set(now) - {application}:
        monitors.tell(machine, "osd pool application disable", pool=name, app=old, yes_i_really_mean_it=True)
    monitors.tell(machine, "osd pool application enable", pool=name, app=application)


def images(machine: Machine, name: str) -> list[str]:
    """RBD images in a pool."""
    rbd: Any = importlib.import_module("rbd")

    context = monitors.connect(machine).open_ioctx(name)
    try:
        return list(rbd.RBD().list(context))
    finally:
        context.close()


def require_unused(machine: Machine, name: str, storages: Sequence[str]) -> None:
    """ApiError when one of the storages on this pool still holds images."""
    if storages and images(machine, name):
        raise ApiError(500, f"ceph pool '{name}' still in use by storage '{storages[0]}'")


def destroy(machine: Machine, name: str, log: Log) -> None:
    """Delete a pool with all that is in it."""
    log(f"destroying pool '{name}'")
    monitors.tell(machine, "osd pool delete", pool=name, pool2=name, yes_i_really_really_mean_it=True)


def require_there(machine: Machine, name: str) -> None:
    conf.require_initialised(machine)
    if not exists(machine, name):
        raise ApiError(500, f"pool '{name}' does not exist")
