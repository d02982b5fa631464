"""/nodes/{node}/ceph/pool: pools and the storages on them."""

from __future__ import annotations

from typing import Any

from ..ceph import conf, pools, views
from ..config.storages import configured
from ..http.machine import Machine
from ..http.registry import ApiError, Call, check, endpoint, tasks
from . import storage

LOOK = check("/", "Sys.Audit", "Datastore.Audit")
CHANGE = check("/", "Sys.Modify")
BASE = "/nodes/{node}/ceph/pool"
DEFAULTS = {"size": 3, "min_size": 2, "pg_num": 128, "pg_autoscale_mode": "warn", "application": "rbd"}
SETTINGS: dict[str, dict[str, Any]] = {
    "size": {"type": "integer", "minimum": 1, "maximum": 7, "optional": 1},
    "min_size": {"type": "integer", "minimum": 1, "maximum": 7, "optional": 1},
    "pg_num": {"type": "integer", "minimum": 1, "maximum": 32768, "optional": 1},
    "pg_num_min": {"type": "integer", "maximum": 32768, "optional": 1},
    "crush_rule": {"type": "string", "optional": 1},
    "application": {"type": "string", "enum": ("rbd", "cephfs", "rgw"), "optional": 1},
    "pg_autoscale_mode": {"type": "string", "enum": ("on", "off", "warn"), "optional": 1},
    "target_size": {"type": "string", "pattern": r"(\d+(\.\d+)?)([KMGT])?", "optional": 1},
    "target_size_ratio": {"type": "number", "optional": 1},
}
NAME = {"name": {"type": "string", "pattern": r"[^:/\s]+"}}


@endpoint("GET", BASE, permissions=LOOK)
def listing(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return views.pool_list(call.machine)


@endpoint(
    "POST",
    BASE,
    permissions=CHANGE,
    parameters={
        **NAME,
        **SETTINGS,
        "add_storages": {"type": "boolean", "optional": 1},
        "erasure-coding": {"type": "string", "optional": 1},
    },
)
def create(call: Call) -> Any:
    machine, name = call.machine, call.params["name"]
    conf.require_configured(machine)
    if "erasure-coding" in call.params:
        raise ApiError(501, "erasure coded pools are not in the rack")
    if call.params.get("add_storages"):
        if call.params.get("application", "rbd") != "rbd":
            raise ApiError(500, "cannot add storages for application other than rbd")
        if any(one.id == name for one in configured(machine)):
            raise ApiError(500, f"storage ID '{name}' already defined")
    wanted = pools.settings({**DEFAULTS, **call.params})

    def work(log: tasks.Log) -> None:
        pools.create(machine, name, wanted, log)
        if call.params.get("add_storages"):
            log(f"adding storage '{name}'")
            wanted_storage = {"type": "rbd", "content": "rootdir,images", "krbd": False, "pool": name}
            storage.create(Call(machine, call.user, params={"storage": name, **wanted_storage}))

    return tasks.start(call, kind="cephcreatepool", id=name, work=work)


@endpoint("GET", f"{BASE}/{{name}}", permissions=LOOK, parameters=NAME)
def index(_: Call) -> Any:
    return [{"name": "status"}]


@endpoint(
    "GET",
    f"{BASE}/{{name}}/status",
    permissions=LOOK,
    parameters={**NAME, "verbose": {"type": "boolean", "default": 0, "optional": 1}},
)
def status(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return views.pool_status(call.machine, call.params["name"], call.params["verbose"])


@endpoint("PUT", f"{BASE}/{{name}}", permissions=CHANGE, parameters={**NAME, **SETTINGS})
def change(call: Call) -> Any:
    machine, name = call.machine, call.params["name"]
    conf.require_configured(machine)
    wanted = pools.settings(call.params)
    return tasks.start(
        call, kind="cephsetpool", id=name, work=lambda log: pools.apply(machine, name, wanted, log)
    )


@endpoint(
    "DELETE",
    f"{BASE}/{{name}}",
    permissions=CHANGE,
    parameters={
        **NAME,
        "force": {"type": "boolean", "default": 0, "optional": 1},
        "remove_storages": {"type": "boolean", "default": 0, "optional": 1},
        "remove_ecprofile": {"type": "boolean", "default": 1, "optional": 1},
    },
)
def destroy(call: Call) -> Any:
    machine, name = call.machine, call.params["name"]
    pools.require_there(machine, name)
    if not call.params["force"]:
        pools.require_unused(machine, name, _storages(machine, name))

    def work(log: tasks.Log) -> None:
        pools.destroy(machine, name, log)
        if call.params["remove_storages"]:
            for found in _storages(machine, name):
                log(f"removing storage '{found}'")
                storage.delete(Call(machine, call.user, path={"storage": found}))

    return tasks.start(call, kind="cephdestroypool", id=name, work=work)


def _storages(machine: Machine, pool: str) -> list[str]:
    """RBD storages that use a pool."""
    return [
        one.id
        for one in configured(machine)
        if one.kind == "rbd" and pool in (one.values.get("pool", "rbd"), one.values.get("data-pool"))
    ]
