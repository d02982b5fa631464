"""What is true of high availability: one look at each node, a few calls to one of them, and the guests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import RackproofError, UnreachableError
from provisioners.guests import observation as guests
from provisioners.ha.manager import NOTHING, Manager, look
from provisioners.markers import read_markers
from provisioners.unreachable import Unreachable, answered

if TYPE_CHECKING:
    from cluster.cluster import Cluster

GATHER_S = 60.0
MUX = "watchdog-mux.service"
SERVICES = ("watchdog-mux", "pve-ha-crm", "pve-ha-lrm")
FENCING = "rackproof-fencing"
STARTED = frozenset({"enabled", "alias", "static", "indirect", "generated"})
OLD_STYLE = (
    "ipmi_watchdog",
)  # drivers that make /dev/watchdog themselves, and nothing in /sys/class/watchdog
_SOFTDOG = "Software Watchdog"
_SCRIPT = Path(__file__).with_name("gather.sh").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Service:
    """One service: whether it runs, and whether it starts at boot."""

    active: bool
    enabled: bool


@dataclass(frozen=True)
class Watchdog:
    """One watchdog of the kernel: number, whether it runs, its time in seconds (0: unknown), its module."""

    number: int
    running: bool
    timeout: int
    module: str


@dataclass(frozen=True)
class Holder:
    """A process that has a watchdog open, and the unit it belongs to."""

    pid: int
    device: str
    unit: str
    name: str

    @property
    def number(self) -> int:
        """The watchdog's number: /dev/watchdog is another name of the first."""
        return int(self.device.removeprefix("/dev/watchdog") or 0)


@dataclass(frozen=True)
class NodeHa:
    """One node. `configured`: the module that watchdog-mux is told to load, "" where it is told none.
    `fencing`: configuration of the service that powers lost nodes off and on, {} where there is none;
    `program` and `authorities`: SHA-256 of its program and of the certificate authorities it trusts.
    """

    name: str
    services: Mapping[str, Service]
    configured: str
    modules: frozenset[str]
    watchdogs: tuple[Watchdog, ...]
    holders: tuple[Holder, ...]
    fencing: Mapping[str, Any] = field(default_factory=dict)
    program: str = ""
    authorities: str = ""

    def service(self, name: str) -> Service:
        """A service; one that is not there neither runs nor starts."""
        return self.services.get(name, Service(False, False))

    @property
    def in_force(self) -> str:
        """The module of the watchdog that watchdog-mux holds, "" where it holds none."""
        held = next((holder for holder in self.holders if holder.unit == MUX), None)
        if held is None:
            return ""
        known = {watchdog.number: watchdog.module for watchdog in self.watchdogs}
        if held.number in known:
            return known[held.number]
        return next((name for name in OLD_STYLE if name in self.modules), "unknown")


@dataclass(frozen=True)
class Observation:
    """Nodes by name; the HA manager as one of them tells, None where none does (`silent` says why); the
    golden guests.
    """

    nodes: Mapping[str, NodeHa | Unreachable]
    manager: Manager | None
    guests: guests.Observation
    silent: str = ""

    def node(self, name: str) -> NodeHa:
        """A node that answered. Raises UnreachableError otherwise."""
        return answered(self.nodes, name)

    def told(self) -> Manager:
        """The HA manager. Raises UnreachableError where no node tells of it."""
        if self.manager is None:
            raise UnreachableError(self.silent or "no node tells of the HA manager")
        return self.manager

    @property
    def seen(self) -> tuple[NodeHa, ...]:
        """The nodes that answered."""
        return tuple(node for node in self.nodes.values() if isinstance(node, NodeHa))


def observe(cluster: Cluster) -> Observation:
    """Nothing is asked where neither high availability nor a guest is ordered, or no node is installed."""
    site = cluster.site
    if site.ha is None and not site.guests:
        return Observation({}, None, guests.Observation({}, frozenset()))
    markers = read_markers(cluster)
    installed = [node.name for node in site.nodes if markers[node.name] == "installed"]
    if site.ha is None:
        return Observation({}, None, guests.observe(cluster, installed))
    script = f"RACKPROOF_SERVICES='{' '.join((*SERVICES, FENCING))}'\n{_SCRIPT}"
    answers = cluster.gather(script, installed, GATHER_S) if installed else {}
    found: dict[str, NodeHa | Unreachable] = {}
    for node in site.nodes:
        answer = answers.get(node.name)
        if answer is None:
            found[node.name] = Unreachable(node.name, "it was never installed", False)
        elif isinstance(answer, RackproofError):
            found[node.name] = Unreachable(node.name, str(answer), True)
        else:
            found[node.name] = parse(node.name, answer)
    if not installed:
        return Observation(found, NOTHING, guests.observe(cluster, installed))
    manager, silent = _manager(cluster, [name for name, seen in found.items() if isinstance(seen, NodeHa)])
    return Observation(found, manager, guests.observe(cluster, installed), silent)


def _manager(cluster: Cluster, names: list[str]) -> tuple[Manager | None, str]:
    silent: list[str] = []
    for name in names:
        try:
            return look(cluster, name), ""
        except UnreachableError as error:
            silent.append(str(error))
    return None, "; ".join(silent) or "no node answers"


def parse(name: str, sections: Mapping[str, str]) -> NodeHa:
    """What the sections of gather.sh tell."""
    loaded = frozenset(sections.get("modules", "").split())
    return NodeHa(
        name=name,
        services=_services(sections.get("services", "")),
        configured=_first(sections.get("configured", "")).strip("\"'"),
        modules=loaded,
        watchdogs=tuple(
            Watchdog(int(number), state == "active", int(timeout or 0), _module(module, identity, loaded))
            for number, state, timeout, module, identity in _rows(sections.get("watchdogs", ""), 5)
        ),
        holders=tuple(
            Holder(int(pid), device, unit, comm)
            for pid, device, unit, comm in _rows(sections.get("holders", ""), 4)
        ),
        fencing=_object(sections.get("fencing", "")),
        program=_first(sections.get("program", "")),
        authorities=_first(sections.get("authorities", "")),
    )


def _rows(text: str, width: int) -> list[list[str]]:
    return [row for line in text.splitlines() if len(row := line.split("|", width - 1)) == width]


def _first(text: str) -> str:
    return (text.split() or [""])[0]


def _module(module: str, identity: str, loaded: frozenset[str]) -> str:
    """Some drivers (softdog, i6300esb of Linux 6.12) name no device of theirs in /sys/class/watchdog. Then it
    is the loaded module whose name the watchdog's own begins with ("i6300ESB timer").
    """
    if module:
        return module
    if identity.startswith(_SOFTDOG):
        return "softdog"
    word = _plain(identity)
    return max((name for name in loaded if word.startswith(_plain(name))), key=len, default="unknown")


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def _services(text: str) -> dict[str, Service]:
    """systemctl show: one paragraph for each unit."""
    found = {}
    for part in text.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
        if "Id" not in values:
            continue
        name = values["Id"].removesuffix(".service")
        found[name] = Service(values.get("ActiveState") == "active", values.get("UnitFileState") in STARTED)
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text) if text.strip() else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
