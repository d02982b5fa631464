"""What Ceph says of itself: status, metadata, flags, rules, configuration, log, what may safely stop."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..ceph import addresses, conf, monitors
from ..http.machine import Machine
from ..http.registry import ApiError, Call, Reply, check, endpoint, tasks

LOOK = check("/", "Sys.Audit", "Datastore.Audit")
CHANGE = check("/", "Sys.Modify")
NODE = "/nodes/{node}/ceph"
CLUSTER = "/cluster/ceph"
LOG = "/var/log/ceph/ceph.log"
FLAGS = {
    "nobackfill": "Backfilling of PGs is suspended.",
    "nodeep-scrub": "Deep Scrubbing is disabled.",
    "nodown": "OSD failure reports are being ignored, such that the monitors will not mark OSDs down.",
    "noin": "OSDs that were previously marked out will not be marked back in when they start.",
    "noout": "OSDs will not automatically be marked out after the configured interval.",
    "norebalance": "Rebalancing of PGs is suspended.",
    "norecover": "Recovery of PGs is suspended.",
    "noscrub": "Scrubbing is disabled.",
    "notieragent": "Cache tiering activity is suspended.",
    "noup": "OSDs are not allowed to start.",
    "pause": "Pauses read and writes.",
}
_KEY = r"[0-9a-zA-Z\-_.]+:[0-9a-zA-Z\-_]+"
_SAFETY = {
    ("osd", "stop"): ("osd ok-to-stop", "ids"),
    ("osd", "destroy"): ("osd safe-to-destroy", "ids"),
    ("mon", "stop"): ("mon ok-to-stop", "ids"),
    ("mon", "destroy"): ("mon ok-to-rm", "id"),
    ("mds", "stop"): ("mds ok-to-stop", "ids"),
}


def _status(machine: Machine) -> dict[str, Any]:
    """`ceph status` with `health detail`, and the monitors' and managers' maps that it leaves out."""
    conf.require_initialised(machine)
    status: dict[str, Any] = monitors.ask(machine, "status")
    status["health"] = monitors.ask(machine, "health", detail="detail")
    if "mons" not in status.get("monmap", {}):
        status["monmap"] = monitors.ask(machine, "mon dump")
    if "active_name" not in status.get("mgrmap", {}):
        status["mgrmap"] = monitors.ask(machine, "mgr dump")
    return status


@endpoint("GET", CLUSTER, permissions=LOOK)
def cluster_index(_: Call) -> Any:
    return [{"name": name} for name in ("flags", "metadata", "status")]


@endpoint("GET", f"{CLUSTER}/status", permissions=LOOK)
def cluster_status(call: Call) -> Any:
    return _status(call.machine)


@endpoint("GET", NODE, permissions=LOOK)
def node_index(_: Call) -> Any:
    names = ("cfg", "cmd-safety", "crush", "fs", "init", "log", "mds", "mgr", "mon", "osd", "pool", "restart",
             "rules", "start", "status", "stop")  # fmt: skip
    return [{"name": name} for name in names]


@endpoint("GET", f"{NODE}/status", permissions=LOOK)
def node_status(call: Call) -> Any:
    return _status(call.machine)


@endpoint(
    "GET",
    f"{CLUSTER}/metadata",
    permissions=LOOK,
    parameters={"scope": {"type": "string", "enum": ("all", "versions"), "optional": 1}},
)
def metadata(call: Call) -> Any:
    machine = call.machine
    conf.require_initialised(machine)
    result: dict[str, Any] = {"node": {}, "version": {}}
    found = {kind: monitors.ask(machine, f"{kind} metadata") for kind in ("mon", "mgr", "mds", "osd")}
    for fact in (one for facts in found.values() for one in facts if one.get("hostname")):
        short = fact.get("ceph_version_short", "")
        parts = [int(part) for part in short.split("+")[0].split("-")[0].split(".") if part.isdigit()]
        commit = fact.get("ceph_version", "").partition("(")[2].partition(")")[0]
        host = fact["hostname"]
        result["version"][host] = short
        result["node"][host] = {"version": {"str": short, "parts": parts}, "buildcommit": commit}
    if call.params.get("scope", "all") == "versions":
        return result
    for kind in ("mon", "mgr", "mds"):
        result[kind] = {
            f"{fact['name']}@{fact.get('hostname', fact['name'])}": {**fact, "direxists": 1, "service": 1}
            for fact in found[kind]
        }
    result["osd"] = [fact | {"device_id": fact.get("device_ids", "")} for fact in found["osd"]]
    return result


def _flags(machine: Machine) -> set[str]:
    conf.require_initialised(machine)
    return set(monitors.ask(machine, "osd dump")["flags_set"])


def _is_set(flag: str, found: set[str]) -> int:
    return int({"pauserd", "pausewr"} <= found) if flag == "pause" else int(flag in found)


@endpoint("GET", f"{CLUSTER}/flags", permissions=LOOK)
def flags(call: Call) -> Any:
    found = _flags(call.machine)
    return [
        {"name": name, "value": _is_set(name, found), "description": text} for name, text in FLAGS.items()
    ]


@endpoint(
    "PUT",
    f"{CLUSTER}/flags",
    permissions=CHANGE,
    parameters={name: {"type": "boolean", "optional": 1} for name in FLAGS},
)
def set_flags(call: Call) -> Any:
    machine = call.machine
    found = _flags(machine)
    wanted = {name: value for name, value in call.params.items() if name in FLAGS}

    def work(log: tasks.Log) -> None:
        for name, value in wanted.items():
            if bool(_is_set(name, found)) != value:
                log(f"{'setting' if value else 'unsetting'} {name}")
                monitors.tell(machine, "osd set" if value else "osd unset", key=name)

    return tasks.start(call, kind="cephsetflags", work=work)


_FLAG = {"flag": {"type": "string", "enum": tuple(FLAGS)}}


@endpoint("GET", f"{CLUSTER}/flags/{{flag}}", permissions=LOOK, parameters=_FLAG)
def flag(call: Call) -> Any:
    return _is_set(call.params["flag"], _flags(call.machine))


@endpoint(
    "PUT", f"{CLUSTER}/flags/{{flag}}", permissions=CHANGE, parameters={**_FLAG, "value": {"type": "boolean"}}
)
def set_flag(call: Call) -> Any:
    conf.require_initialised(call.machine)
    monitors.tell(call.machine, "osd set" if call.params["value"] else "osd unset", key=call.params["flag"])


@endpoint("GET", f"{NODE}/rules", permissions=LOOK)
def rules(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return [{"name": name} for name in monitors.ask(call.machine, "osd crush rule ls")]


@endpoint("GET", f"{NODE}/crush", permissions=LOOK)
def crush(call: Call) -> Any:
    conf.require_initialised(call.machine)
    with tempfile.TemporaryDirectory(prefix="crush-") as folder:
        binary, text = Path(folder) / "map", Path(folder) / "map.txt"
        binary.write_bytes(monitors.raw(call.machine, "osd getcrushmap"))
        call.machine.run(["crushtool", "-d", str(binary), "-o", str(text)])
        return text.read_text(encoding="utf-8")


@endpoint("GET", f"{NODE}/cfg", permissions=LOOK)
def cfg_index(_: Call) -> Any:
    return [{"name": name} for name in ("raw", "db", "value")]


@endpoint("GET", f"{NODE}/cfg/raw", permissions=LOOK)
def cfg_raw(call: Call) -> Any:
    conf.require_initialised(call.machine)
    return call.machine.read(conf.PATH)


@endpoint("GET", f"{NODE}/cfg/db", permissions=LOOK)
def cfg_db(call: Call) -> Any:
    conf.require_initialised(call.machine)
    kept = ("section", "name", "value", "level", "mask")
    return [
        {**{key: row[key] for key in kept}, "can_update_at_runtime": int(row["can_update_at_runtime"])}
        for row in monitors.ask(call.machine, "config dump")
    ]


@endpoint(
    "GET",
    f"{NODE}/cfg/value",
    permissions=LOOK,
    parameters={"config-keys": {"type": "string", "pattern": rf"{_KEY}([;, ]{_KEY})*"}},
)
def cfg_value(call: Call) -> Any:
    """The database's value, else the file's, of each `section:key`."""
    conf.require_initialised(call.machine)
    file = conf.load(call.machine)
    database = {
        (row["section"], row["name"]): row["value"] for row in monitors.ask(call.machine, "config dump")
    }
    result: dict[str, dict[str, str]] = {}
    for word in addresses.split(call.params["config-keys"]):
        section, _, key = word.partition(":")
        value = database.get((section, key), file.get(section, {}).get(key.replace("-", "_")))
        if value is not None:
            result.setdefault(section, {})[key] = value
    return result


@endpoint(
    "GET",
    f"{NODE}/log",
    permissions=check("/nodes/{node}", "Sys.Syslog"),
    parameters={
        "start": {"type": "integer", "minimum": 0, "optional": 1},
        "limit": {"type": "integer", "minimum": 0, "optional": 1},
    },
)
def log_lines(call: Call) -> Any:
    lines = call.machine.read(LOG).splitlines()
    begin, limit = call.params.get("start", 0), call.params.get("limit", 50)
    chosen = lines[begin : begin + limit] if limit else lines[begin:]
    return Reply([{"n": begin + 1 + at, "t": text} for at, text in enumerate(chosen)], {"total": len(lines)})


@endpoint(
    "GET",
    f"{NODE}/cmd-safety",
    permissions=LOOK,
    parameters={
        "service": {"type": "string", "enum": ("osd", "mon", "mds")},
        "id": {"type": "string"},
        "action": {"type": "string", "enum": ("stop", "destroy")},
    },
)
def cmd_safety(call: Call) -> Any:
    conf.require_initialised(call.machine)
    service, action, name = (call.params[key] for key in ("service", "action", "id"))
    if (service, action) not in _SAFETY:
        raise ApiError(500, f"Service does not support this action: {service}: {action}")
    prefix, argument = _SAFETY[service, action]
    try:
        monitors.tell(call.machine, prefix, **{argument: [name] if argument == "ids" else name})
    except monitors.CommandError as error:
        return {"safe": 0, "status": error.text}
    return {"safe": 1, "status": ""}
