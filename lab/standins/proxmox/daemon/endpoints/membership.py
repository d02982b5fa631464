"""/cluster/config: the cluster made, joined, looked at. Membership itself is corosync's."""

from __future__ import annotations

from typing import Any

from ..config import corosync, members, setup
from ..http import tasks
from ..http.parameters import properties
from ..http.registry import ApiError, Call, check, endpoint

LINK = {"type": "string", "format": setup.LINK, "optional": 1, "count": 8}
NODEID = {"type": "integer", "minimum": 1, "optional": 1}
VOTES = {"type": "integer", "minimum": 0, "optional": 1}
FORCE = {"type": "boolean", "optional": 1}
NODE = {"type": "string", "format": "pve-node"}
FINGERPRINT = {"type": "string", "pattern": "([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}"}


def links(call: Call) -> setup.Links:
    return {n: properties(call.params[f"link{n}"], setup.LINK) for n in range(8) if f"link{n}" in call.params}


def _need_cluster(call: Call) -> None:
    if not corosync.exists(call.machine):
        raise ApiError(424, "node is not in a cluster, no join info available!")


@endpoint("GET", "/cluster/config", permissions=check("/", "Sys.Audit"))
def index(_call: Call) -> Any:
    return [{"name": name} for name in ("nodes", "totem", "join", "apiversion")]


@endpoint(
    "POST",
    "/cluster/config",
    parameters={
        "clustername": {"type": "string", "format": "pve-node", "maxLength": 15},
        "nodeid": NODEID,
        "votes": {"type": "integer", "minimum": 1, "optional": 1},
        "token-coefficient": {"type": "integer", "minimum": 0, "optional": 1, "default": 125},
        "link[n]": LINK,
    },
)
def create(call: Call) -> Any:
    if corosync.exists(call.machine):
        raise ApiError(500, f"cluster config '{corosync.CLUSTER}' already exists")
    name, wanted = call.params["clustername"], links(call)
    options = {key: int(call.params[key]) for key in ("nodeid", "votes") if key in call.params}
    options["token_coefficient"] = call.params["token-coefficient"]
    return tasks.start(
        call,
        kind="clustercreate",
        id=name,
        work=lambda log: setup.create(call.machine, name, wanted, options, log),
    )


@endpoint("GET", "/cluster/config/apiversion", permissions=check("/", "Sys.Audit"))
def apiversion(_call: Call) -> Any:
    return setup.JOIN_API_VERSION


@endpoint("GET", "/cluster/config/nodes", permissions=check("/", "Sys.Audit"))
def nodes(call: Call) -> Any:
    return [
        {"node": name, **entry} for name, entry in sorted(corosync.nodes(corosync.read(call.machine)).items())
    ]


@endpoint(
    "POST",
    "/cluster/config/nodes/{node}",
    proxy_to_node=False,
    parameters={
        "apiversion": {"type": "integer", "optional": 1},
        "force": FORCE,
        "link[n]": LINK,
        "new_node_ip": {"type": "string", "format": "ip", "optional": 1},
        "node": NODE,
        "nodeid": NODEID,
        "votes": VOTES,
    },
)
def add(call: Call) -> Any:
    _in_cluster(call)
    if int(call.params.get("apiversion", 0)) < setup.JOIN_API_VERSION:
        raise ApiError(500, "unsupported old API version of the joining node")
    return setup.add_node(call.machine, call.path["node"], call.params, links(call))


@endpoint("DELETE", "/cluster/config/nodes/{node}", proxy_to_node=False, parameters={"node": NODE})
def delete(call: Call) -> Any:
    _in_cluster(call)
    setup.delete_node(call.machine, call.path["node"])


def _in_cluster(call: Call) -> None:
    if not corosync.exists(call.machine):
        raise ApiError(500, "no cluster config - cluster not created yet?")


@endpoint("GET", "/cluster/config/totem", permissions=check("/", "Sys.Audit"))
def totem(call: Call) -> Any:
    return corosync.read(call.machine).get("totem", {}) if corosync.exists(call.machine) else {}


@endpoint(
    "GET",
    "/cluster/config/join",
    permissions=check("/", "Sys.Audit"),
    parameters={"node": {**NODE, "optional": 1, "default": "current connected node"}},
)
def join_info(call: Call) -> Any:
    _need_cluster(call)
    conf = corosync.read(call.machine)
    listed = corosync.nodes(conf)
    preferred = call.params.get("node", call.node)
    if preferred not in listed:
        raise ApiError(500, f"hostname lookup '{preferred}' failed - not a member of this cluster")
    return {
        "config_digest": corosync.digest(call.machine),
        "preferred_node": preferred,
        "nodelist": [_join_entry(call, name, entry) for name, entry in sorted(listed.items())],
        "totem": conf["totem"],
    }


def _join_entry(call: Call, name: str, entry: dict[str, str]) -> dict[str, str]:
    """A node that is listed but never came (half joined) has no certificate yet: PVE fails on it as well."""
    return {
        **entry,
        "pve_addr": members.address(call.machine, name),
        "pve_fp": setup.fingerprint(call.machine, name),
    }


@endpoint(
    "POST",
    "/cluster/config/join",
    parameters={
        "hostname": {"type": "string"},
        "nodeid": NODEID,
        "votes": VOTES,
        "force": FORCE,
        "link[n]": LINK,
        "fingerprint": FINGERPRINT,
        "password": {"type": "string", "maxLength": 128},
    },
)
def join(call: Call) -> Any:
    wanted, params = links(call), call.params
    return tasks.start(
        call, kind="clusterjoin", work=lambda log: setup.join(call.machine, params, wanted, log)
    )
