"""/nodes/{node}/ceph/osd: drives become OSDs and back."""

from __future__ import annotations

from typing import Any

from ..ceph import conf, drives, monitors, osd, units, views, volumes
from ..ceph.drives import Drive
from ..http.machine import Machine
from ..http.registry import ApiError, Call, check, endpoint, tasks

LOOK = check("/", "Sys.Audit", "Datastore.Audit")
CHANGE = check("/", "Sys.Modify")
BASE = "/nodes/{node}/ceph/osd"
OSDID = {"osdid": {"type": "integer"}}
GIB = 1 << 30
# Share of the drive that block.db and block.wal take where no size is given.
SHARE = {"db": 10, "wal": 100}


@endpoint("GET", BASE, permissions=LOOK)
def tree(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return views.osd_tree(call.machine)


@endpoint(
    "POST",
    BASE,
    parameters={
        "dev": {"type": "string"},
        "crush-device-class": {"type": "string", "optional": 1},
        "encrypted": {"type": "boolean", "default": 0, "optional": 1},
        "osds-per-device": {"type": "integer", "minimum": 1, "optional": 1},
        "db_dev": {"type": "string", "optional": 1},
        "db_dev_size": {"type": "number", "minimum": 1, "requires": "db_dev", "optional": 1},
        "wal_dev": {"type": "string", "optional": 1},
        "wal_dev_size": {"type": "number", "minimum": 0.5, "requires": "wal_dev", "optional": 1},
    },
)
def create(call: Call) -> Any:
    machine, given = call.machine, call.params
    conf.require_initialised(machine)
    units.link_configuration(machine)
    units.require(machine, "ceph_osd", "ceph_volume")
    count = given.get("osds-per-device", 1)
    if count > 1 and ("db_dev" in given or "wal_dev" in given):
        raise ApiError(500, "osds-per-device cannot be combined with a separate DB or WAL device")
    drive = drives.inspect(machine, given["dev"])
    drives.require_free(drive)
    _require_network(call)
    order = osd.Order(
        drive,
        given.get("crush-device-class"),
        given["encrypted"],
        count,
        _beside(machine, given, drive),
    )
    monitors.ask(machine, "mon dump")  # an answer now, rather than a failed task, when there is no cluster
    return tasks.start(
        call, kind="cephcreateosd", id=drive.name, work=lambda log: osd.create(machine, order, log)
    )


def _beside(machine: Machine, given: Any, drive: Drive) -> dict[str, tuple[Drive, int]]:
    result: dict[str, tuple[Drive, int]] = {}
    for kind in ("db", "wal"):
        path = given.get(f"{kind}_dev")
        if not path or path == given["dev"] or (kind == "wal" and path == given.get("db_dev")):
            continue
        size = given.get(f"{kind}_dev_size")
        result[kind] = (drives.inspect(machine, path), int(size * GIB) if size else drive.size // SHARE[kind])
    return result


def _require_network(call: Call) -> None:
    """An OSD without an address in its network would never come up."""
    from ..ceph import addresses

    found = conf.load(call.machine).get("global", {})
    for kind in ("cluster", "public"):
        if networks := addresses.split(found.get(f"{kind}_network", "")):
            if not any(addresses.local(call.machine, network) for network in networks):
                said = ", ".join(networks)
                raise ApiError(
                    500,
                    f"No address from ceph {kind} network ({said}) found on node '{call.node}'. "
                    "Check your network config.",
                )
            return


@endpoint("GET", f"{BASE}/{{osdid}}", permissions=LOOK, parameters=OSDID)
def index(_: Call) -> Any:
    return [{"name": "metadata"}, {"name": "lv-info"}]


@endpoint(
    "DELETE",
    f"{BASE}/{{osdid}}",
    parameters={**OSDID, "cleanup": {"type": "boolean", "default": 0, "optional": 1}},
)
def destroy(call: Call) -> Any:
    conf.require_initialised(call.machine)
    number, cleanup = call.params["osdid"], call.params["cleanup"]
    osd.require_removable(call.machine, number)
    _require_here(call, number)
    return tasks.start(
        call,
        kind="cephdestroyosd",
        id=f"osd.{number}",
        work=lambda log: osd.destroy(call.machine, number, cleanup, log),
    )


def _require_here(call: Call, number: int) -> None:
    """An OSD is taken down where its drive is."""
    facts = monitors.ask(call.machine, "osd metadata")
    hosts = {fact["id"]: fact.get("hostname") for fact in facts}
    if hosts.get(number) not in (None, call.node):
        raise ApiError(500, f"osd.{number} belongs to node '{hosts[number]}', not to '{call.node}'")


@endpoint("POST", f"{BASE}/{{osdid}}/in", permissions=CHANGE, parameters=OSDID)
def set_in(call: Call) -> Any:
    _tell(call, "osd in")


@endpoint("POST", f"{BASE}/{{osdid}}/out", permissions=CHANGE, parameters=OSDID)
def set_out(call: Call) -> Any:
    _tell(call, "osd out")


def _tell(call: Call, prefix: str) -> None:
    conf.require_initialised(call.machine)
    number = call.params["osdid"]
    osd.find(call.machine, number)
    monitors.tell(call.machine, prefix, ids=[f"osd.{number}"])


@endpoint(
    "POST",
    f"{BASE}/{{osdid}}/scrub",
    permissions=CHANGE,
    parameters={**OSDID, "deep": {"type": "boolean", "default": 0, "optional": 1}},
)
def scrub(call: Call) -> Any:
    conf.require_initialised(call.machine)
    osd.find(call.machine, call.params["osdid"])
    prefix = "osd deep-scrub" if call.params["deep"] else "osd scrub"
    monitors.tell(call.machine, prefix, who=str(call.params["osdid"]))


@endpoint("GET", f"{BASE}/{{osdid}}/metadata", permissions=LOOK, parameters=OSDID)
def metadata(call: Call) -> Any:
    conf.require_initialised(call.machine)
    number = call.params["osdid"]
    fact = next((one for one in monitors.ask(call.machine, "osd metadata") if one["id"] == number), None)
    if not fact or "hostname" not in fact:
        raise ApiError(500, f"OSD '{number}' does not exist")
    if fact["hostname"] != call.node:
        raise ApiError(500, f"OSD '{number}' does not exist on node '{call.node}'")
    shown = call.machine.run(
        ["systemctl", "show", "--property=MainPID,MemoryCurrent", f"ceph-osd@{number}.service"]
    )
    state = dict(line.partition("=")[::2] for line in shown.out.splitlines())
    kept = (
        "id", "hostname", "front_addr", "back_addr", "hb_front_addr", "hb_back_addr", "osd_data",
        "osd_objectstore",
    )  # fmt: skip
    memory = state.get("MemoryCurrent", "")
    about = {
        **{key: fact[key] for key in kept if key in fact},
        "version": fact.get("ceph_version", ""),
        "pid": int(state.get("MainPID") or 0),
        "mem_usage": int(memory) if memory.isdigit() else 0,
    }
    return {"osd": about, "devices": _devices(fact)}


def _devices(fact: dict[str, Any]) -> list[dict[str, Any]]:
    names = {"block": "bluestore_bdev", "db": "bluefs_db", "wal": "bluefs_wal"}
    result = []
    for device, prefix in names.items():
        if f"{prefix}_dev_node" in fact and (
            device == "block" or fact.get("bluefs_dedicated_" + device) == "1"
        ):
            result.append(
                {
                    "device": device,
                    "dev_node": fact[f"{prefix}_dev_node"],
                    "devices": fact.get(f"{prefix}_devices", ""),
                    "physical_device": fact.get(f"{prefix}_devices", ""),
                    "size": int(fact.get(f"{prefix}_size", 0)),
                    "support_discard": int(fact.get(f"{prefix}_support_discard", "0") == "1"),
                    "type": fact.get(f"{prefix}_type", ""),
                }
            )
    return result


@endpoint(
    "GET",
    f"{BASE}/{{osdid}}/lv-info",
    permissions=LOOK,
    parameters={**OSDID, "type": {"type": "string", "enum": ("block", "db", "wal"), "optional": 1}},
)
def lv_info(call: Call) -> Any:
    number, kind = call.params["osdid"], call.params.get("type", "block")
    volume = volumes.of_osd(call.machine, number, kind)
    if volume is None:
        raise ApiError(500, f"volume '{kind}' of OSD '{number}' not found on this node")
    return {
        "creation_time": volume.created,
        "lv_name": volume.name,
        "lv_path": volume.path,
        "lv_size": volume.size,
        "lv_uuid": volume.uuid,
        "vg_name": volume.group,
    }
