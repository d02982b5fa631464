"""/access: login, realms, permissions."""

from __future__ import annotations

from typing import Any

from ..config import corosync, sections, users
from ..config.roles import ALL, ROLES
from ..http import access, tickets
from ..http.registry import ApiError, Call, check, endpoint

_CAP = {
    "nodes": ("Sys.", "/nodes"), "vms": ("VM.", "/vms"), "storage": ("Datastore.", "/storage"),
    "access": ("User.", "/access"), "dc": ("Sys.", "/"), "mapping": ("Mapping.", "/mapping"),
    "sdn": ("SDN.", "/sdn"),
}  # fmt: skip
USER = {"type": "string", "maxLength": 64}


@endpoint(
    "POST",
    "/access/ticket",
    permissions="world",
    tokens=False,
    parameters={
        "username": USER,
        "password": {"type": "string"},
        "realm": {"type": "string", "maxLength": 32, "optional": 1},
        "otp": {"type": "string", "optional": 1},
        "new-format": {"type": "boolean", "optional": 1, "default": 1},
    },
)
def login(call: Call) -> Any:
    """A second factor is not served: `otp` is refused as a wrong password would be."""
    name = call.params["username"]
    user = name if "@" in name else f"{name}@{call.params.get('realm', 'pam')}"
    if call.params.get("otp") or not access.login(call.machine, user, call.params["password"]):
        raise ApiError(401, "authentication failure")
    found = users.read(call.machine)
    answer = {
        "username": user,
        "ticket": tickets.issue(call.machine, user),
        "CSRFPreventionToken": tickets.csrf(call.machine, user),
        "cap": {
            name: {p: 1 for p in sorted(users.privileges(found, user, path)) if p.startswith(start)}
            for name, (start, path) in _CAP.items()
        },
    }
    cluster = corosync.read(call.machine).get("totem", {}).get("cluster_name")
    return {**answer, "clustername": cluster} if cluster else answer


@endpoint("GET", "/access/ticket", permissions="world")
def login_page(_call: Call) -> Any:
    """PVE has it for login forms; it answers nothing."""
    return None


@endpoint("GET", "/access/domains", permissions="world")
def domains(call: Call) -> Any:
    known: dict[str, dict[str, str]] = {
        "pam": {"type": "pam", "comment": "Linux PAM standard authentication"},
        "pve": {"type": "pve", "comment": "Proxmox VE authentication server"},
    }
    for section in sections.parse(call.machine.read("/etc/pve/domains.cfg")):
        shown = {key: value for key, value in section.values.items() if key in ("comment", "tfa", "default")}
        known[section.id] = {**known.get(section.id, {}), "type": section.kind, **shown}
    return [{"realm": realm, **entry} for realm, entry in known.items()]


@endpoint("GET", "/access/roles", permissions="all")
def roles(call: Call) -> Any:
    own = users.read(call.machine).roles
    return [
        *({"roleid": name, "privs": ",".join(privs), "special": 1} for name, privs in sorted(ROLES.items())),
        *({"roleid": name, "privs": ",".join(privs), "special": 0} for name, privs in sorted(own.items())),
    ]


@endpoint(
    "GET",
    "/access/permissions",
    permissions="all",
    parameters={
        "path": {"type": "string", "optional": 1},
        "userid": {
            "type": "string",
            "optional": 1,
            "pattern": r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+(?:![A-Za-z0-9.\-_]+)?",
        },
    },
)
def permissions(call: Call) -> Any:
    """path -> {privilege: propagates}."""
    user = call.params.get("userid", call.user)
    if user != call.user and user.partition("!")[0] != call.user:
        access.require(call.machine, call.user, check("/access", "Sys.Audit"), {})
    found = users.read(call.machine)
    wanted = call.params.get("path")
    usual = ("/", "/access", "/mapping", "/nodes", "/pool", "/sdn", "/storage", "/vms")
    paths = [wanted] if wanted else sorted({*usual, *(acl.path for acl in found.acls)})
    held = {path: users.privileges(found, user, path) for path in paths}
    return {path: {p: 1 for p in ALL if p in mine} for path, mine in held.items() if mine}
