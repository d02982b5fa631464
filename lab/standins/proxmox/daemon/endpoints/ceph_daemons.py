"""/nodes/{node}/ceph: init, monitors, managers, metadata servers, file systems, start and stop."""

from __future__ import annotations

from typing import Any

from ..ceph import conf, mds, mgr, mon, monitors, pools, setup, units
from ..config.storages import configured
from ..http.registry import ApiError, Call, check, endpoint, tasks
from . import storage

LOOK = check("/", "Sys.Audit", "Datastore.Audit")
CHANGE = check("/", "Sys.Modify")
BASE = "/nodes/{node}/ceph"
_KNOWN = {"type": "string", "pattern": units.ID}
_NAME = {**_KNOWN, "maxLength": 200, "optional": 1}


@endpoint(
    "POST",
    f"{BASE}/init",
    permissions=CHANGE,
    parameters={
        "network": {"type": "string", "format": "CIDR", "maxLength": 128, "optional": 1},
        "cluster-network": {
            "type": "string",
            "format": "CIDR",
            "maxLength": 128,
            "optional": 1,
            "requires": "network",
        },
        "size": {"type": "integer", "minimum": 1, "maximum": 7, "default": 3, "optional": 1},
        "min_size": {"type": "integer", "minimum": 1, "maximum": 7, "default": 2, "optional": 1},
        "pg_bits": {"type": "integer", "minimum": 6, "maximum": 14, "optional": 1},
        "disable_cephx": {"type": "boolean", "default": 0, "optional": 1},
    },
)
def init(call: Call) -> Any:
    given = call.params
    setup.initialise(
        call.machine,
        setup.Order(
            network=given.get("network"),
            cluster_network=given.get("cluster-network"),
            size=given["size"],
            min_size=given["min_size"],
            pg_bits=given.get("pg_bits"),
            cephx=not given["disable_cephx"],
        ),
    )


@endpoint("GET", f"{BASE}/mon", permissions=LOOK)
def list_mons(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return mon.listing(call.machine)


@endpoint(
    "POST",
    f"{BASE}/mon/{{monid}}",
    permissions=CHANGE,
    parameters={"monid": _NAME, "mon-address": {"type": "string", "format": "ip-list", "optional": 1}},
)
def create_mon(call: Call) -> Any:
    machine = call.machine
    units.require(machine, "ceph_mon")
    conf.require_initialised(machine)
    name = call.params.get("monid", machine.node)
    found = conf.load(machine)
    ips = mon.choose_addresses(machine, found, call.params.get("mon-address"))
    mon.assert_free(found, mon.known(machine, found), name, ips)
    return tasks.start(
        call, kind="cephcreatemon", id=f"mon.{name}", work=lambda log: mon.create(machine, name, ips, log)
    )


@endpoint("DELETE", f"{BASE}/mon/{{monid}}", permissions=CHANGE, parameters={"monid": _KNOWN})
def destroy_mon(call: Call) -> Any:
    conf.require_initialised(call.machine)
    name = call.params["monid"]
    mon.assert_removable(call.machine, name)
    return tasks.start(
        call,
        kind="cephdestroymon",
        id=f"mon.{name}",
        work=lambda log: mon.destroy(call.machine, name, log),
    )


@endpoint("GET", f"{BASE}/mgr", permissions=LOOK)
def list_mgrs(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return mgr.listing(call.machine)


@endpoint("POST", f"{BASE}/mgr/{{id}}", permissions=CHANGE, parameters={"id": _NAME})
def create_mgr(call: Call) -> Any:
    units.require(call.machine, "ceph_mgr")
    conf.require_initialised(call.machine)
    units.link_configuration(call.machine)
    name = call.params.get("id", call.node)
    return tasks.start(
        call, kind="cephcreatemgr", id=f"mgr.{name}", work=lambda log: mgr.create(call.machine, name, log)
    )


@endpoint("DELETE", f"{BASE}/mgr/{{id}}", permissions=CHANGE, parameters={"id": _KNOWN})
def destroy_mgr(call: Call) -> Any:
    conf.require_initialised(call.machine)
    name = call.params["id"]
    return tasks.start(
        call, kind="cephdestroymgr", id=f"mgr.{name}", work=lambda log: mgr.destroy(call.machine, name, log)
    )


@endpoint("GET", f"{BASE}/mds", permissions=LOOK)
def list_mds(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return mds.listing(call.machine)


@endpoint(
    "POST",
    f"{BASE}/mds/{{name}}",
    permissions=CHANGE,
    parameters={"name": _NAME, "hotstandby": {"type": "boolean", "default": 0, "optional": 1}},
)
def create_mds(call: Call) -> Any:
    units.require(call.machine, "ceph_mds")
    conf.require_initialised(call.machine)
    units.link_configuration(call.machine)
    name, hot = call.params.get("name", call.node), call.params["hotstandby"]
    mds.assert_new(call.machine, name)
    return tasks.start(
        call,
        kind="cephcreatemds",
        id=f"mds.{name}",
        work=lambda log: mds.create(call.machine, name, hot, log),
    )


@endpoint("DELETE", f"{BASE}/mds/{{name}}", permissions=CHANGE, parameters={"name": _KNOWN})
def destroy_mds(call: Call) -> Any:
    conf.require_initialised(call.machine)
    name = call.params["name"]
    return tasks.start(
        call, kind="cephdestroymds", id=f"mds.{name}", work=lambda log: mds.destroy(call.machine, name, log)
    )


@endpoint("GET", f"{BASE}/fs", permissions=LOOK)
def list_fs(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return mds.filesystems(call.machine)


@endpoint(
    "POST",
    f"{BASE}/fs/{{name}}",
    permissions=CHANGE,
    parameters={
        "name": {"type": "string", "pattern": r"[^:/\s]+", "default": "cephfs", "optional": 1},
        "pg_num": {"type": "integer", "minimum": 8, "maximum": 32768, "default": 128, "optional": 1},
        "add-storage": {"type": "boolean", "default": 0, "optional": 1},
    },
)
def create_fs(call: Call) -> Any:
    machine, name = call.machine, call.params.get("name", "cephfs")
    conf.require_configured(machine)
    if any(found["name"] == name for found in mds.filesystems(machine)):
        raise ApiError(500, f"ceph fs '{name}' already exists")
    if not any(row["state"] == "up:standby" for row in mds.states(machine).values()):
        raise ApiError(500, "no running Metadata Server (MDS) found!")
    for pool in (f"{name}_data", f"{name}_metadata"):
        if pools.exists(machine, pool):
            raise ApiError(500, f"ceph pools '{name}_data' and/or '{name}_metadata' already exist")
    if call.params["add-storage"] and any(one.id == name for one in configured(machine)):
        raise ApiError(500, f"storage ID '{name}' already defined")
    return tasks.start(call, kind="cephfscreate", id=name, work=lambda log: _make_fs(call, name, log))


def _make_fs(call: Call, name: str, log: tasks.Log) -> None:
    machine, pg_num = call.machine, call.params["pg_num"]
    for kind, count in (("data", pg_num), ("metadata", max(pg_num // 4, 8))):
        log(f"creating {kind} pool '{name}_{kind}'...")
        settings = {"pg_num": count, "application": "cephfs"}
        pools.create(machine, f"{name}_{kind}", settings, log)
    log(f"configuring new CephFS '{name}'")
    monitors.tell(machine, "fs new", fs_name=name, metadata=f"{name}_metadata", data=f"{name}_data")
    if call.params["add-storage"]:
        if not mds.wait_active(machine, name):
            log.warn("no active MDS found; the storage is added all the same")
        log(f"Adding '{name}' to storage configuration...")
        wanted = {"storage": name, "type": "cephfs", "content": "backup,iso,vztmpl", "fs-name": name}
        storage.create(Call(machine, call.user, params=wanted))


def _service(pattern: str) -> dict[str, dict[str, Any]]:
    return {"service": {"type": "string", "pattern": pattern, "default": "ceph.target", "optional": 1}}


def _control(call: Call, action: str) -> Any:
    conf.require_configured(call.machine)
    service = call.params.get("service", "ceph")
    task = {"start": "srvstart", "stop": "srvstop", "restart": "srvrestart"}[action]

    def work(log: tasks.Log) -> None:
        log(f"{action} {units.unit(service)}")
        units.control(call.machine, action, service)

    return tasks.start(call, kind=task, id=service.removesuffix(".target"), work=work)


@endpoint("POST", f"{BASE}/start", permissions=CHANGE, parameters=_service(units.SERVICE))
def start(call: Call) -> Any:
    return _control(call, "start")


@endpoint("POST", f"{BASE}/stop", permissions=CHANGE, parameters=_service(units.SERVICE))
def stop(call: Call) -> Any:
    return _control(call, "stop")


@endpoint(
    "POST", f"{BASE}/restart", permissions=CHANGE, parameters=_service(rf"(mon|mds|osd|mgr)(\.{units.ID})?")
)
def restart(call: Call) -> Any:
    return _control(call, "restart")
