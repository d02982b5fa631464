"""/nodes/{node}/storage/{storage}: what lies there, files sent to it, and removing both."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

from ..config import storages, users
from ..config.sections import Section
from ..guests import files, images, volumes
from ..guests.volumes import Volume
from ..http import access, peers, tasks, upload
from ..http.errors import ApiError, ParameterError, TaskError
from ..http.machine import Machine
from ..http.registry import Call, check, endpoint

BASE = "/nodes/{node}/storage/{storage}"
SEND_DEADLINE_S = 600.0
ALGORITHMS = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]
VMID = {"type": "integer", "minimum": 100, "maximum": 999999999, "optional": 1}
TEXT = {"type": "string", "optional": 1}


def _seen(call: Call, section: Section) -> bool:
    held = users.privileges(users.read(call.machine), call.user, f"/storage/{section.id}")
    return bool(held & {"Datastore.Audit", "Datastore.AllocateSpace"})


@endpoint(
    "GET",
    f"{BASE}/content",
    permissions=check("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace"),
    parameters={"content": {**TEXT, "format": "pve-storage-content"}, "vmid": VMID},
)
def content(call: Call) -> Any:
    section = storages.usable(call.machine, call.path["storage"], call.node)
    found = _disks(call.machine, section) if section.kind == "rbd" else _files(call.machine, section)
    wanted, vmid = call.params.get("content"), call.params.get("vmid")
    return [
        entry
        for entry in found
        if wanted in (None, entry["content"]) and (vmid is None or entry.get("vmid") == vmid)
    ]


def _files(machine: Machine, section: Section) -> list[dict[str, Any]]:
    return [
        {"volid": volume.id, "content": volume.content, "format": volumes.file_format(volume),
         "size": (seen := path.stat()).st_size, "ctime": int(seen.st_ctime)}
        for volume, path in volumes.files(machine, section)
    ]  # fmt: skip


def _disks(machine: Machine, section: Section) -> list[dict[str, Any]]:
    """Disks; those of containers are `rootdir`."""
    guests = files.everywhere(machine)
    found = []
    for name, size in images.listed(machine, section).items():
        volume = Volume(section, name)
        owner = guests.get(volume.owner or 0)
        kind = "rootdir" if owner and owner.kind == "lxc" else "images"
        found.append({"volid": volume.id, "content": kind, "format": "raw", "size": size,
                      "vmid": volume.owner, "name": name})  # fmt: skip
    return found


def _volume(call: Call) -> Volume:
    """The volume that the path names, with or without its storage; ApiError 403 where the caller may not."""
    text, name = call.path["volume"], call.path["storage"]
    volume = volumes.parse(call.machine, text if ":" in text else f"{name}:{text}")
    if volume.storage.id != name:
        raise ApiError(500, "storage ID does not match")
    return volume


@endpoint("GET", f"{BASE}/content/{{volume}}", permissions="all")
def info(call: Call) -> Any:
    volume = _volume(call)
    wanted = check("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace")
    access.require(call.machine, call.user, wanted, call.path)
    if volume.content == "images":
        size = images.listed(call.machine, volume.storage).get(volume.name)
        if size is None:
            raise ApiError(500, f"volume '{volume.id}' does not exist")
        path = f"{images.pool(volume.storage)}/{volume.name}"
        return {"path": f"rbd:{path}", "size": size, "used": size, "format": "raw"}
    file = volumes.file(call.machine, volume)
    seen = file.stat()
    used = seen.st_blocks * 512
    form = volumes.file_format(volume)
    return {"path": str(file), "size": seen.st_size, "used": used, "format": form}


@endpoint("DELETE", f"{BASE}/content/{{volume}}", permissions="all")
def delete(call: Call) -> Any:
    volume = _volume(call)
    wanted = "Datastore.Allocate" if volume.content == "images" else "Datastore.AllocateTemplate"
    rights = check("/storage/{storage}", "Datastore.Allocate", wanted)
    access.require(call.machine, call.user, rights, call.path)

    def work(log: tasks.Log) -> None:
        if volume.content == "images":
            images.remove(call.machine, volume)
        else:
            volumes.file(call.machine, volume).unlink()
        log(f"Removed volume '{volume.id}'")

    return tasks.start(call, kind="imgdel", id=f"{volume.name}@{volume.storage.id}", work=work)


@endpoint(
    "POST",
    f"{BASE}/upload",
    permissions=check("/storage/{storage}", "Datastore.AllocateTemplate"),
    proxy_to_node=False,
    parameters={
        "content": {"type": "string", "format": "pve-storage-content", "enum": sorted(volumes.FOLDERS)},
        "filename": {"type": "string", "maxLength": 255},
        "checksum": {**TEXT, "requires": "checksum-algorithm"},
        "checksum-algorithm": {**TEXT, "enum": ALGORITHMS, "requires": "checksum"},
        "tmpfilename": {**TEXT, "pattern": f"{upload.FOLDER}/{upload.PREFIX}[0-9a-f]+"},
    },
)
def receive(call: Call) -> Any:
    """The file is on this node; one for another node is sent there as this node got it."""
    machine, params, node = call.machine, call.params, call.path["node"]
    if "tmpfilename" not in params:
        raise ApiError(500, "missing temporary file name")
    section = storages.usable(machine, call.path["storage"], node)
    kind = params["content"]
    if section.kind not in ("dir", "btrfs", "cephfs"):
        raise ApiError(500, f"can't upload to storage type '{section.kind}', not a file based storage!")
    if kind not in storages.content(section):
        raise ApiError(500, f"storage '{section.id}' does not support '{kind}' content")
    name = re.sub(r"[^-a-zA-Z0-9_.]", "_", re.split(r"[/\\]", params["filename"])[-1])
    folder, pattern = volumes.FOLDERS[kind]
    if not pattern.fullmatch(name):
        raise ParameterError(filename="wrong file extension")
    source = machine.file(params["tmpfilename"])
    if node != call.node:
        return _passed_on(call, node, source)
    target = machine.file(f"{storages.folder(machine, section)}/{folder}/{name}")
    algorithm, wanted = params.get("checksum-algorithm"), params.get("checksum", "")

    def work(log: tasks.Log) -> None:
        try:
            log(f"starting file import from: {params['tmpfilename']}")
            if algorithm:
                _compare(source, algorithm, wanted, log)
            log(f"target node: {call.node}\ntarget file: {target}\nfile size is: {source.stat().st_size}")
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{name}.tmp")  # no reader sees half of it
            shutil.copyfile(source, partial)
            partial.replace(target)
            log("finished file import successfully")
        finally:
            source.unlink(missing_ok=True)

    return tasks.start(call, kind="imgcopy", work=work)


def _passed_on(call: Call, node: str, source: Path) -> Any:
    own = ("node", "storage", "tmpfilename")
    fields = {name: str(value) for name, value in call.params.items() if name not in own}
    path = f"/nodes/{node}/storage/{call.path['storage']}/upload"
    try:
        return peers.send_file(call.machine, node, path, fields, source, timeout_s=SEND_DEADLINE_S)
    finally:
        source.unlink(missing_ok=True)


def _compare(source: Path, algorithm: str, wanted: str, log: tasks.Log) -> None:
    """TaskError where the file is not the one that was meant."""
    log(f"calculating checksum...{algorithm}")
    with source.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != wanted.lower():
        raise TaskError(f"checksum mismatch: got '{found}' != expect '{wanted}'")
