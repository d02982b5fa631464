"""/storage and /nodes/{node}/storage: the entries of storage.cfg, and their state on a node."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ..config import storages as config
from ..config import users
from ..config.locks import cfs_lock
from ..config.sections import Section
from ..config.storages import CONTENT, PATH, REQUIRED, configured, named, space
from ..http.machine import Machine
from ..http.parameters import split_list
from ..http.registry import ApiError, Call, ParameterError, check, endpoint

FIXED = ("path", "server", "datastore", "fs-name", "monhost")  # only at creation
_TEXT = {"type": "string", "optional": 1}
_FLAG = {"type": "boolean", "optional": 1}
ALLOWED: Mapping[str, Mapping[str, Any]] = {
    "content": {**_TEXT, "format": "pve-storage-content-list"},
    "nodes": {**_TEXT, "format": "pve-node-list"},
    "disable": _FLAG,
    "shared": _FLAG,
    "prune-backups": _TEXT,
    "krbd": {**_FLAG, "default": 0},
    "pool": _TEXT,
    "data-pool": _TEXT,
    "namespace": _TEXT,
    "username": _TEXT,
    "options": _TEXT,
    "subdir": _TEXT,
    "fuse": _FLAG,
    "mkdir": _FLAG,
    "is_mountpoint": _TEXT,
    "monhost": _TEXT,
    "fingerprint": {**_TEXT, "pattern": "([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}"},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535, "optional": 1},
    "server": _TEXT,
}
AT_CREATION: Mapping[str, Mapping[str, Any]] = {"path": _TEXT, "datastore": _TEXT}
TYPES = ["btrfs", "cephfs", "cifs", "dir", "esxi", "iscsi", "iscsidirect", "lvm", "lvmthin", "nfs", "pbs",
         "rbd",          "zfs", "zfspool"]  # fmt: skip


def _digest(machine: Machine) -> str:
    return hashlib.sha1(machine.read(PATH).encode(), usedforsecurity=False).hexdigest()


def _shown(machine: Machine, section: Section) -> dict[str, Any]:
    values: dict[str, Any] = {
        key: int(value) if key in ("krbd", "disable", "shared", "fuse", "port") and value.isdigit() else value
        for key, value in section.values.items()
    }
    if section.kind == "cephfs":
        values.setdefault("path", f"/mnt/pve/{section.id}")
    return {"storage": section.id, "type": section.kind, "digest": _digest(machine), **values}


def _visible(call: Call, name: str) -> bool:
    held = users.privileges(users.read(call.machine), call.user, f"/storage/{name}")
    return bool(held & {"Datastore.Audit", "Datastore.AllocateSpace", "Datastore.Allocate"})


@endpoint(
    "GET",
    "/storage",
    permissions="all",
    parameters={"type": {"type": "string", "enum": TYPES, "optional": 1}},
)
def storages(call: Call) -> Any:
    wanted = call.params.get("type")
    return [
        _shown(call.machine, section)
        for section in configured(call.machine)
        if wanted in (None, section.kind) and _visible(call, section.id)
    ]


@endpoint(
    "GET",
    "/storage/{storage}",
    permissions=check("/storage/{storage}", "Datastore.Allocate", "Datastore.Audit"),
)
def storage(call: Call) -> Any:
    return _shown(call.machine, named(call.machine, call.path["storage"]))


def _values(kind: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as the file holds them, checked for this type of storage."""
    values = {
        name: str(int(value)) if isinstance(value, bool) else str(value)
        for name, value in params.items()
        if name in ALLOWED or name in AT_CREATION
    }
    if kind != "rbd":
        if values.get("krbd") == "0":
            values.pop("krbd")  # the default of a parameter nobody gave
        for name in ("krbd", "pool", "data-pool"):
            if name in values:
                raise ParameterError({name: f"unexpected property '{name}' for storage type '{kind}'"})
    if "content" in values:
        allowed = {*split_list(CONTENT[kind][1]), "none"}
        for word in split_list(values["content"]):
            if word not in allowed:
                raise ParameterError(content=f"storage type '{kind}' does not support content type '{word}'")
        values["content"] = ",".join(sorted(set(split_list(values["content"]))))
    if values.get("disable") == "0":
        values.pop("disable")
    return values


@endpoint(
    "POST",
    "/storage",
    permissions=check("/storage", "Datastore.Allocate"),
    parameters={
        **ALLOWED,
        **AT_CREATION,
        "storage": {"type": "string", "format": "pve-storage-id"},
        "type": {"type": "string", "enum": TYPES},
        "keyring": _TEXT,
        "fs-name": _TEXT,
        "password": {**_TEXT, "maxLength": 256},
    },
)
def create(call: Call) -> Any:
    name, kind = call.params["storage"], call.params["type"]
    if kind not in CONTENT:
        raise ParameterError(type=f"storages of type '{kind}' are not in the rack")
    values = _values(kind, call.params)
    if "fs-name" in call.params:
        values["fs-name"] = call.params["fs-name"]
    missing = {
        key: "property is missing and it is not optional" for key in REQUIRED[kind] if key not in values
    }
    if missing:
        raise ParameterError(missing)
    values.setdefault("content", CONTENT[kind][0])
    if kind == "cephfs":
        values.setdefault("path", f"/mnt/pve/{name}")
    with cfs_lock(call.machine, "file-storage_cfg"):
        known = configured(call.machine)
        if any(section.id == name for section in known):
            raise ApiError(500, f"storage ID '{name}' already defined")
        secret = _keep_secret(call.machine, name, kind, call.params)
        known.append(Section(kind, name, values))
        config.write(call.machine, known)
    found: dict[str, Any] = {"storage": name, "type": kind}
    return {**found, "config": {}} if secret else found


def _keep_secret(machine: Machine, name: str, kind: str, params: Mapping[str, Any]) -> bool:
    """The key that the storage logs in with: given, or of a cluster that is our own the admin's."""
    if kind == "pbs":
        if "password" in params:
            machine.write(f"/etc/pve/priv/storage/{name}.pw", f"{params['password']}\n")
        return False
    if kind not in ("rbd", "cephfs"):
        return False
    keyring = params.get("keyring") or ("" if params.get("monhost") else _admin_keyring(machine))
    if not keyring:
        return False
    if kind == "rbd":
        machine.write(f"/etc/pve/priv/ceph/{name}.keyring", keyring.rstrip() + "\n")
        return True
    key = re.search(r"key\s*=\s*(\S+)", keyring)
    machine.write(f"/etc/pve/priv/ceph/{name}.secret", (key[1] if key else keyring.strip()) + "\n")
    return True


def _admin_keyring(machine: Machine) -> str:
    return machine.read("/etc/pve/priv/ceph.client.admin.keyring")


@endpoint(
    "PUT",
    "/storage/{storage}",
    permissions=check("/storage", "Datastore.Allocate"),
    parameters={
        **ALLOWED,
        "delete": {**_TEXT, "format": "pve-configid-list", "maxLength": 4096},
        "digest": {**_TEXT, "maxLength": 64},
    },
)
def update(call: Call) -> Any:
    name = call.path["storage"]
    with cfs_lock(call.machine, "file-storage_cfg"):
        if call.params.get("digest", _digest(call.machine)) != _digest(call.machine):
            raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")
        known = configured(call.machine)
        section = next((one for one in known if one.id == name), None)
        if section is None:
            raise ApiError(500, f"storage '{name}' does not exist")
        given = {
            key: value for key, value in call.params.items() if key not in ("storage", "delete", "digest")
        }
        if given.get("krbd") is False and "krbd" not in section.values:
            given.pop("krbd")
        for key in FIXED:
            if key in given and str(given[key]) != section.values.get(key):
                raise ParameterError({key: f"can't change value of fixed parameter '{key}'"})
        if given.get("disable") is False:
            section.values.pop("disable", None)
        section.values.update(_values(section.kind, given))
        for key in split_list(call.params.get("delete", "")):
            section.values.pop(key, None)
        config.write(call.machine, known)
    return {"storage": name, "type": section.kind}


@endpoint("DELETE", "/storage/{storage}", permissions=check("/storage", "Datastore.Allocate"))
def delete(call: Call) -> Any:
    """The entry and its key; never what is stored."""
    name = call.path["storage"]
    with cfs_lock(call.machine, "file-storage_cfg"):
        section = named(call.machine, name)
        config.write(call.machine, [one for one in configured(call.machine) if one.id != name])
        for file in (f"ceph/{name}.keyring", f"ceph/{name}.secret", f"storage/{name}.pw"):
            call.machine.file(f"/etc/pve/priv/{file}").unlink(missing_ok=True)
    if section.kind == "cephfs":
        place = section.values.get("path", f"/mnt/pve/{name}")
        call.machine.run(["umount", place], check=False)


@endpoint(
    "GET",
    "/nodes/{node}/storage",
    permissions="all",
    parameters={
        "content": {**_TEXT, "format": "pve-storage-content-list"},
        "enabled": {**_FLAG, "default": 0},
        "storage": {**_TEXT, "format": "pve-storage-id"},
    },
)
def node_storages(call: Call) -> Any:
    found = []
    wanted = set(split_list(call.params.get("content", "")))
    for section in configured(call.machine):
        if call.params.get("storage", section.id) != section.id or not config.is_at(section, call.node):
            continue
        if not _visible(call, section.id) or (call.params["enabled"] and section.values.get("disable")):
            continue
        state = space(call.machine, section)
        if wanted and not wanted & set(split_list(state["content"])):
            continue
        if state["total"]:
            state["used_fraction"] = round(state["used"] / state["total"], 6)
        found.append(state)
    return found


SEEN = check("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace")


@endpoint("GET", "/nodes/{node}/storage/{storage}", permissions=SEEN)
def node_storage_index(call: Call) -> Any:
    named(call.machine, call.path["storage"])
    return [{"subdir": name} for name in ("content", "status", "upload")]


@endpoint("GET", "/nodes/{node}/storage/{storage}/status", permissions=SEEN)
def node_storage_status(call: Call) -> Any:
    section = named(call.machine, call.path["storage"])
    if not config.is_at(section, call.node):
        raise ApiError(500, f"storage '{section.id}' is not available on node '{call.node}'")
    state = space(call.machine, section)
    return {key: value for key, value in state.items() if key != "storage"}
