"""/nodes/{node}/tasks: what has been started and how it went."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ..config import users
from ..http import tasks
from ..http.machine import Machine
from ..http.parameters import split_list
from ..http.registry import ApiError, Call, ParameterError, Reply, endpoint

UPID = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0, "optional": 1}
_SORTS = ("ok", "warning", "error", "unknown")


def entry(machine: Machine, upid: tasks.Upid, ends: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
    """One line of a list of tasks; `endtime` and `status` only when it has ended."""
    line = _parts(upid)
    if upid.text in ends:
        line["endtime"], line["status"] = ends[upid.text]
    elif (status := tasks.exit_status(machine, upid)) is not None:
        line |= {"endtime": upid.starttime, "status": status}
    return line


def _parts(upid: tasks.Upid) -> dict[str, Any]:
    """A token's UPID names user!token; the parts tell them apart (PVE::API2::Tasks convert_token_task)."""
    user, _, token = upid.user.partition("!")
    line: dict[str, Any] = {
        "upid": upid.text, "node": upid.node, "pid": upid.pid, "pstart": upid.pstart,
        "starttime": upid.starttime, "type": upid.kind, "id": upid.id, "user": user,
    }  # fmt: skip
    return {**line, "tokenid": token} if token else line


def _may_audit(call: Call) -> bool:
    return "Sys.Audit" in users.privileges(users.read(call.machine), call.user, f"/nodes/{call.path['node']}")


def _mine(call: Call, upid: tasks.Upid) -> bool:
    return upid.user == call.user or upid.user.partition("!")[0] == call.user


@endpoint(
    "GET",
    "/nodes/{node}/tasks",
    permissions="all",
    parameters={
        "errors": {"type": "boolean", "optional": 1, "default": 0},
        "limit": {**COUNT, "default": 50},
        "start": {**COUNT, "default": 0},
        "since": {"type": "integer", "optional": 1},
        "until": {"type": "integer", "optional": 1},
        "source": {
            "type": "string",
            "enum": ["archive", "active", "all"],
            "optional": 1,
            "default": "archive",
        },
        "statusfilter": {"type": "string", "format": "pve-task-status-type-list", "optional": 1},
        "typefilter": {"type": "string", "optional": 1},
        "userfilter": {"type": "string", "optional": 1},
        "vmid": {
            "type": "integer",
            "format": "pve-vmid",
            "minimum": 100,
            "maximum": 999999999,
            "optional": 1,
        },
    },
)
def node_tasks(call: Call) -> Any:
    """Running ones first, then the latest to end; who may not audit the node sees their own."""
    everything = _may_audit(call)
    ends = tasks.ends(call.machine)
    known = [upid for upid in tasks.known(call.machine) if everything or _mine(call, upid)]
    lines = [entry(call.machine, upid, ends) for upid in known]
    found = [line for line in lines if _wanted(call.params, line)]
    found.sort(key=lambda line: -line.get("endtime", math.inf))
    for line in found:
        line.setdefault("status", "RUNNING")
    start = call.params["start"]
    return Reply(found[start : start + call.params["limit"]], {"total": len(found)})


def _wanted(params: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    """PVE::API2::Tasks' filters: the kind is compared whole, the user by a part, the guest with the id."""
    source = params.get("source", "archive")
    if source != "all" and (source == "active") == ("status" in line):
        return False
    if not params.get("since", 0) <= line["starttime"] <= params.get("until", line["starttime"]):
        return False
    kind, user = params.get("typefilter") or line["type"], params.get("userfilter", "")
    if kind != line["type"] or user.lower() not in line["user"].lower():
        return False
    if "vmid" in params and str(params["vmid"]) != line["id"]:
        return False
    return _sort(line.get("status")) in _sorts(params)


def _sorts(params: Mapping[str, Any]) -> set[str]:
    """The sorts of end that are asked for; `errors` outranks `statusfilter`."""
    if params["errors"]:
        return {*_SORTS} - {"ok"}
    if "statusfilter" in params:
        return {part.lower() for part in split_list(params["statusfilter"])}
    return {*_SORTS}


def _sort(status: str | None) -> str:
    """What kind of end a status is; one that has not ended is `unknown`."""
    if status is None or status == "unexpected status":
        return "unknown"
    if status == "OK":
        return "ok"
    return "warning" if re.fullmatch(r"WARNINGS: \d+", status) else "error"


def _visible(call: Call) -> tasks.Upid:
    upid = tasks.decode(call.path["upid"])
    if upid.node != call.path["node"]:
        raise ParameterError(upid="no such task")
    if not (_may_audit(call) or _mine(call, upid)):
        raise ApiError(403, f"Permission check failed (/nodes/{call.path['node']}, Sys.Audit)")
    return upid


@endpoint("GET", "/nodes/{node}/tasks/{upid}", permissions="all")
def index(call: Call) -> Any:
    _visible(call)
    return [{"name": "log"}, {"name": "status"}]


@endpoint("GET", "/nodes/{node}/tasks/{upid}/status", permissions="all")
def status(call: Call) -> Any:
    upid = _visible(call)
    exit_status = tasks.exit_status(call.machine, upid)
    if exit_status is None:
        return {**_parts(upid), "status": "running"}
    return {**_parts(upid), "status": "stopped", "exitstatus": exit_status}


@endpoint(
    "GET",
    "/nodes/{node}/tasks/{upid}/log",
    permissions="all",
    parameters={"limit": {**COUNT, "default": 50}, "start": {**COUNT, "default": 0}},
)
def log(call: Call) -> Any:
    """`limit` 0 = all lines."""
    lines = tasks.lines_of(call.machine, _visible(call))
    start, limit = call.params["start"], call.params["limit"]
    shown = lines[start : start + limit] if limit else lines[start:]
    numbered = [{"n": start + n + 1, "t": text} for n, text in enumerate(shown)]
    return Reply(numbered or [{"n": 1, "t": "no content"}], {"total": len(lines)})
