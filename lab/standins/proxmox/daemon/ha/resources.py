"""/etc/pve/ha/resources.cfg: which guests are kept running, and how hard it is tried (PVE::HA::Resources)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..config import sections
from ..config.sections import Section
from ..http.errors import ApiError
from ..http.machine import Machine

PATH = "/etc/pve/ha/resources.cfg"
KINDS = {"ct": "lxc", "vm": "qemu"}
GUEST_WORDS = {"ct": "a container", "vm": "a VM"}


@dataclass(frozen=True)
class Resource:
    """One guest; `state` is what is asked for: started, stopped, disabled or ignored.

    `max_restart` counts starts on a node after one that failed, `max_relocate` other nodes that are tried.
    """

    kind: str
    vmid: str
    state: str = "started"
    max_restart: int = 1
    max_relocate: int = 1
    failback: bool = True
    comment: str = ""

    @property
    def sid(self) -> str:
        return f"{self.kind}:{self.vmid}"

    @property
    def managed(self) -> bool:
        """An ignored guest is as one that HA does not know."""
        return self.state != "ignored"


Resources = dict[str, Resource]


def parse(text: str) -> Resources:
    """By sid, in the file's order; defaults are filled in and `enabled` is read as `started`."""
    found: Resources = {}
    for section in sections.parse(text):
        if section.kind not in KINDS:
            continue
        values = section.values
        state = values.get("state", "started")
        one = Resource(
            kind=section.kind,
            vmid=section.id,
            state="started" if state == "enabled" else state,
            max_restart=_number(values.get("max_restart")),
            max_relocate=_number(values.get("max_relocate")),
            failback=values.get("failback", "1") != "0",
            comment=values.get("comment", ""),
        )
        found[one.sid] = one
    return found


def _number(text: str | None) -> int:
    """1 where there is none, or none that PVE would read."""
    return int(text) if text and text.isdecimal() else 1


def read(machine: Machine) -> Resources:
    return parse(machine.read(PATH))


def read_sections(machine: Machine) -> dict[str, Section]:
    """The file as it stands, by sid: what is not in it keeps its default when it is written again."""
    return {f"{one.kind}:{one.id}": one for one in sections.parse(machine.read(PATH))}


def write(machine: Machine, known: Iterable[Section]) -> None:
    """ApiError 500 in PVE's words without quorum."""
    machine.write(PATH, sections.render(known))


def guests(machine: Machine) -> dict[str, tuple[str, str]]:
    """VMID -> (node, "lxc" or "qemu") of every guest of the cluster, by the places of their files."""
    listed = machine.read("/etc/pve/.vmlist")
    if listed:
        ids: Mapping[str, Mapping[str, str]] = json.loads(listed).get("ids", {})
        return {vmid: (entry["node"], entry["type"]) for vmid, entry in ids.items()}
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(machine.file("/etc/pve/nodes").glob("*/*/[0-9]*.conf")):
        kind = {"lxc": "lxc", "qemu-server": "qemu"}.get(path.parent.name)
        if kind:
            found[path.stem] = (path.parent.parent.name, kind)
    return found


def parse_sid(machine: Machine, text: str) -> tuple[str, str]:
    """`ct:101`, `vm:100` or a bare VMID as (kind, VMID). ApiError 500 in PVE's words."""
    if text.isdigit():
        entry = guests(machine).get(text)
        if entry is None:
            raise ApiError(500, f"unable do add resource - VM/CT {text} does not exist")
        return next(kind for kind, theirs in KINDS.items() if theirs == entry[1]), text
    kind, _, vmid = text.partition(":")
    if kind not in KINDS:
        raise ApiError(500, f"unknown resource type '{kind}'")
    if not re.fullmatch(r"[1-9][0-9]+", vmid):
        raise ApiError(500, "invalid VMID")
    return kind, vmid


def need_guest(machine: Machine, kind: str, vmid: str) -> None:
    """ApiError 500 in PVE's words unless such a guest is in the cluster."""
    entry = guests(machine).get(vmid)
    if entry is None:
        raise ApiError(500, f"resource '{kind}:{vmid}' does not exist in cluster")
    if entry[1] != KINDS[kind]:
        word = GUEST_WORDS[kind]
        raise ApiError(500, f"resource '{kind}:{vmid}' - guest with ID {vmid} is not {word}")


def need_managed(machine: Machine, sid: str) -> Resource:
    """ApiError 500 in PVE's words where HA does not look after it."""
    one = read(machine).get(sid)
    if one is None or not one.managed:
        raise ApiError(500, f"resource '{sid}' is not HA managed")
    return one


def is_managed(machine: Machine, vmid: int | str) -> bool:
    """Whether HA looks after the guest, so that starting and stopping it is HA's matter."""
    known = read(machine)
    return any((one := known.get(f"{kind}:{vmid}")) and one.managed for kind in KINDS)
