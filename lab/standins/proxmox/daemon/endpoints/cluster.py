"""/cluster: status, resources, next id, options, tasks."""

from __future__ import annotations

import re
from typing import Any

from ..config import members, stats, users
from ..config.locks import cfs_lock
from ..config.storages import configured, space
from ..guests import files, overview
from ..http import tasks
from ..http.machine import Machine
from ..http.parameters import properties, split_list
from ..http.registry import Call, ParameterError, check, endpoint
from .node_tasks import entry

OPTIONS = "/etc/pve/datacenter.cfg"
_TEXT = {"type": "string", "optional": 1}
FORMATS: dict[str, dict[str, dict[str, Any]]] = {
    "migration": {
        "type": {"type": "string", "enum": ["secure", "insecure"], "default_key": 1, "optional": 1},
        "network": {"type": "string", "format": "CIDR", "optional": 1},
    },
    "ha": {
        "shutdown_policy": {
            "type": "string",
            "enum": ["freeze", "failover", "conditional", "migrate"],
            "optional": 1,
        }
    },
}


@endpoint("GET", "/cluster", permissions="all")
def index(_call: Call) -> Any:
    return [{"name": name} for name in ("status", "resources", "nextid", "options", "tasks", "config")]


@endpoint("GET", "/cluster/status", permissions=check("/", "Sys.Audit"))
def status(call: Call) -> Any:
    seen = members.cluster(call.machine)
    head = {"id": "cluster", "type": "cluster", "name": seen.name, "nodes": len(seen.members),
            "quorate": int(seen.quorate), "version": seen.version}  # fmt: skip
    nodes = [
        {"id": f"node/{m.name}", "type": "node", "name": m.name, "nodeid": m.nodeid, "ip": m.address,
         "local": int(m.name == call.node), "online": int(m.online), "level": ""}
        for m in seen.members
    ]  # fmt: skip
    return [head, *nodes] if seen.name else nodes


@endpoint(
    "GET",
    "/cluster/resources",
    permissions="all",
    parameters={"type": {"type": "string", "enum": ["vm", "storage", "node", "sdn"], "optional": 1}},
)
def resources(call: Call) -> Any:
    """Guests, nodes and storages that the caller may see; another node's figures are those it told last."""
    wanted = call.params.get("type")
    found: list[dict[str, Any]] = []
    known = users.read(call.machine)
    seen = members.cluster(call.machine)
    if wanted in (None, "vm"):
        found += [
            line
            for line in overview.resources(call.machine, seen)
            if "VM.Audit" in users.privileges(known, call.user, f"/vms/{line['vmid']}")
        ]
    if wanted in (None, "node"):
        found += [
            {"id": f"node/{line['node']}", "type": "node", "cgroup-mode": 2, **line}
            for line in stats.listed(call.machine, seen)
            if "Sys.Audit" in users.privileges(known, call.user, f"/nodes/{line['node']}")
        ]
    if wanted in (None, "storage"):
        for section in configured(call.machine):
            if "Datastore.Audit" not in users.privileges(known, call.user, f"/storage/{section.id}"):
                continue
            state = space(call.machine, section)
            for member in seen.members:
                here = not section.values.get("nodes") or member.name in split_list(section.values["nodes"])
                if here:
                    found.append(_storage(section.id, member, state))
    return found


def _storage(name: str, member: members.Member, state: dict[str, Any]) -> dict[str, Any]:
    """Space is told for what is shared or the node's own; of another node's folder nothing is known here."""
    shared = {
        "id": f"storage/{member.name}/{name}", "type": "storage", "storage": name, "node": member.name,
        "plugintype": state["type"], "content": state["content"], "shared": state["shared"],
    }  # fmt: skip
    if not member.online:
        return {**shared, "status": "unknown"}
    return {**shared, "status": "available", "disk": state.get("used", 0), "maxdisk": state.get("total", 0)}


@endpoint(
    "GET",
    "/cluster/nextid",
    permissions="all",
    parameters={
        "vmid": {"type": "integer", "format": "pve-vmid", "minimum": 100, "maximum": 999999999, "optional": 1}
    },
)
def nextid(call: Call) -> Any:
    taken = files.everywhere(call.machine).keys()
    if (asked := call.params.get("vmid")) is not None:
        if asked in taken:
            raise ParameterError(vmid=f"VM {asked} already exists")
        return str(asked)
    return str(next(number for number in range(100, 1_000_000) if number not in taken))


def options(machine: Machine) -> dict[str, str]:
    """datacenter.cfg as it stands: `key: value`; comment lines at its head are the description."""
    found: dict[str, str] = {}
    for line in machine.read(OPTIONS).splitlines():
        if match := re.fullmatch(r"([a-z_-]+):\s*(.*)", line):
            found[match[1]] = match[2].strip()
        elif line.startswith("#"):
            found["description"] = found.get("description", "") + line[1:] + "\n"
    return found


@endpoint("GET", "/cluster/options", permissions="all")
def get_options(call: Call) -> Any:
    """Whoever may not audit sees what PVE's interface needs: none of what is served here."""
    if "Sys.Audit" not in users.privileges(users.read(call.machine), call.user, "/"):
        return {}
    found: dict[str, Any] = dict(options(call.machine))
    for name, form in FORMATS.items():
        if name in found:
            found[name] = properties(found[name], form)
    return found


@endpoint(
    "PUT",
    "/cluster/options",
    permissions=check("/", "Sys.Modify"),
    parameters={
        "migration": {**_TEXT, "format": FORMATS["migration"]},
        "ha": {**_TEXT, "format": FORMATS["ha"]},
        "keyboard": {
            **_TEXT,
            "enum": ["de", "en-gb", "en-us", "es", "fi", "fr", "it", "nl", "no", "pl", "sv"],
        },
        "mac_prefix": {**_TEXT, "pattern": r"(?i)[a-f0-9][02468ace](:[a-f0-9]{2}){0,2}:?"},
        "fencing": {**_TEXT, "enum": ["watchdog", "hardware", "both"]},
        "description": {**_TEXT, "maxLength": 65536},
        "delete": {**_TEXT, "format": "pve-configid-list"},
    },
)
def set_options(call: Call) -> Any:
    with cfs_lock(call.machine, "file-datacenter_cfg"):
        known = options(call.machine)
        for name in split_list(call.params.get("delete", "")):
            known.pop(name, None)
        known.update({name: value for name, value in call.params.items() if name != "delete"})
        text = "".join(f"#{line}\n" for line in known.pop("description", "").splitlines())
        text += "".join(f"{name}: {value}\n" for name, value in sorted(known.items()))
        call.machine.write(OPTIONS, text)


@endpoint("GET", "/cluster/tasks", permissions="all")
def cluster_tasks(call: Call) -> Any:
    """The last 25 tasks of this node; PVE knows those of the others from their last broadcast."""
    known = users.read(call.machine)
    if "Sys.Audit" not in users.privileges(known, call.user, f"/nodes/{call.node}"):
        mine = [upid for upid in tasks.known(call.machine) if upid.user == call.user]
    else:
        mine = list(tasks.known(call.machine))
    ends = tasks.ends(call.machine)
    return [entry(call.machine, upid, ends) for upid in mine[:25]]
