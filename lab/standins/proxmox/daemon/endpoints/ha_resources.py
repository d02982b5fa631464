"""/cluster/ha/resources: which guests are kept running, and moving them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..config.locks import cfs_lock
from ..config.members import need_quorum
from ..config.sections import Section
from ..ha import files, resources, rules
from ..ha.resources import Resource
from ..http.errors import ApiError, ParameterError
from ..http.machine import Machine
from ..http.parameters import split_list
from ..http.registry import Call, check, endpoint

AUDIT = check("/", "Sys.Audit")
CONSOLE = check("/", "Sys.Console")
GROUPS = "ha groups have been migrated to rules"
MODIFIED = "detected modified configuration - file changed by other user? Try again."
_TEXT = {"type": "string", "optional": 1}
_NUMBER = {"type": "integer", "optional": 1, "minimum": 0}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "state": {**_TEXT, "enum": ["started", "stopped", "enabled", "disabled", "ignored"]},
    "max_restart": _NUMBER,
    "max_relocate": _NUMBER,
    "failback": {"type": "boolean", "optional": 1},
    "comment": {**_TEXT, "maxLength": 4096},
    "group": {**_TEXT, "format": "pve-configid"},
}
KIND = {**_TEXT, "enum": list(resources.KINDS)}


def digest(machine: Machine, path: str) -> str:
    return hashlib.sha1(machine.read(path).encode(), usedforsecurity=False).hexdigest()


@contextmanager
def domain(machine: Machine, failure: str) -> Iterator[None]:
    """Alone in changing HA's configuration; what goes wrong is told as PVE does: `failure: reason`."""
    need_quorum(machine)
    with cfs_lock(machine, files.DOMAIN):
        try:
            yield
        except ApiError as error:
            raise ApiError(500, f"{failure}: {error.message}") from error


@endpoint("GET", "/cluster/ha", permissions=AUDIT)
def index(_call: Call) -> Any:
    return [{"id": name} for name in ("status", "resources", "groups", "rules")]


@endpoint("GET", "/cluster/ha/groups", permissions=AUDIT)
def groups(_call: Call) -> Any:
    raise ApiError(500, f"cannot index groups: {GROUPS}")


def _shown(one: Resource, version: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "sid": one.sid, "type": one.kind, "state": one.state, "max_restart": one.max_restart,
        "max_relocate": one.max_relocate, "failback": int(one.failback), "digest": version,
    }  # fmt: skip
    return {**found, "comment": one.comment} if one.comment else found


@endpoint("GET", "/cluster/ha/resources", permissions=AUDIT, parameters={"type": KIND})
def listed(call: Call) -> Any:
    version = digest(call.machine, resources.PATH)
    wanted = call.params.get("type")
    known = resources.read(call.machine).values()
    return [_shown(one, version) for one in known if wanted in (None, one.kind)]


@endpoint(
    "POST",
    "/cluster/ha/resources",
    permissions=CONSOLE,
    parameters={**SETTINGS, "sid": {"type": "string"}, "type": KIND},
)
def create(call: Call) -> Any:
    kind, vmid = resources.parse_sid(call.machine, call.params["sid"])
    if call.params.get("type", kind) != kind:
        raise ApiError(500, "types does not match")
    resources.need_guest(call.machine, kind, vmid)
    values = _values(call.params)
    with domain(call.machine, "create resource failed"):
        known = resources.read_sections(call.machine)
        sid = f"{kind}:{vmid}"
        if sid in known:
            raise ApiError(500, f"resource ID '{sid}' already defined")
        known[sid] = Section(kind, vmid, values)
        resources.write(call.machine, known.values())


def _values(params: Mapping[str, Any]) -> dict[str, str]:
    """What is given, as the file holds it. ParameterError for a group, which no resource has any more."""
    if "group" in params:
        raise ParameterError(group=f"invalid parameter 'group': {GROUPS}")
    values = {name: params[name] for name in SETTINGS if name in params}
    return {name: str(int(one)) if isinstance(one, bool) else str(one) for name, one in values.items()}


@endpoint("GET", "/cluster/ha/resources/{sid}", permissions=AUDIT)
def one_resource(call: Call) -> Any:
    sid = ":".join(resources.parse_sid(call.machine, call.path["sid"]))
    one = resources.read(call.machine).get(sid)
    if one is None:
        raise ApiError(500, f"no such resource '{sid}'")
    return _shown(one, digest(call.machine, resources.PATH))


@endpoint(
    "PUT",
    "/cluster/ha/resources/{sid}",
    permissions=CONSOLE,
    parameters={
        **SETTINGS,
        "delete": {**_TEXT, "format": "pve-configid-list", "maxLength": 4096},
        "digest": {**_TEXT, "maxLength": 64},
    },
)
def update(call: Call) -> Any:
    machine = call.machine
    sid = ":".join(resources.parse_sid(machine, call.path["sid"]))
    _refuse_in_error(machine, sid, call.params.get("state"))
    values = _values(call.params)
    with domain(machine, "update resource failed"):
        if call.params.get("digest", digest(machine, resources.PATH)) != digest(machine, resources.PATH):
            raise ApiError(500, MODIFIED)
        known = resources.read_sections(machine)
        if sid not in known:
            raise ApiError(500, f"no such resource '{sid}'")
        known[sid].values.update(values)
        for name in split_list(call.params.get("delete", "")):
            if name not in SETTINGS:
                raise ApiError(500, f"no such option '{name}'")
            known[sid].values.pop(name, None)
        resources.write(machine, known.values())


def _refuse_in_error(machine: Machine, sid: str, wanted: str | None) -> None:
    """What failed for good must be disabled, mended and started again."""
    service = files.manager_status(machine).get("service_status", {}).get(sid, {})
    if service.get("state") == "error" and wanted != "disabled":
        raise ApiError(500, f"service '{sid}' in error state, must be disabled and fixed first")


@endpoint(
    "DELETE",
    "/cluster/ha/resources/{sid}",
    permissions=CONSOLE,
    parameters={"purge": {"type": "boolean", "optional": 1, "default": 1}},
)
def delete(call: Call) -> Any:
    """The guest itself goes on as it is."""
    machine = call.machine
    sid = ":".join(resources.parse_sid(machine, call.path["sid"]))
    with domain(machine, "delete resource failed"):
        known = resources.read_sections(machine)
        if known.pop(sid, None) is None:
            raise ApiError(500, f"cannot delete service '{sid}', not HA managed!")
        if call.params["purge"]:
            _purge(machine, sid)
        resources.write(machine, known.values())


def _purge(machine: Machine, sid: str) -> None:
    """No rule names it any more; a rule for nothing else goes."""
    known = rules.read_sections(machine)
    kept = []
    for section in known.values():
        left = [other for other in split_list(section.values.get("resources", "")) if other != sid]
        section.values["resources"] = ",".join(left)
        kept += [section] if left else []
    if known:
        rules.write(machine, kept)


def _queue(call: Call, task: str) -> Any:
    sid = ":".join(resources.parse_sid(call.machine, call.path["sid"]))
    resources.need_managed(call.machine, sid)
    _refuse_in_error(call.machine, sid, None)
    need_quorum(call.machine)
    files.queue(call.machine, f"{task} {sid} {call.params['node']}")
    return {"sid": sid, "requested-node": call.params["node"]}


NODE = {"node": {"type": "string", "format": "pve-node"}}


@endpoint("POST", "/cluster/ha/resources/{sid}/migrate", permissions=CONSOLE, parameters=NODE)
def migrate(call: Call) -> Any:
    return _queue(call, "migrate")


@endpoint("POST", "/cluster/ha/resources/{sid}/relocate", permissions=CONSOLE, parameters=NODE)
def relocate(call: Call) -> Any:
    return _queue(call, "relocate")
