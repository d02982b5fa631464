"""What Pacemaker says of itself, by `crm_mon` in XML, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from ..http.machine import Machine
from .cib import FENCING, Order, identifier, merged, sid_of

ASK_WITHIN_S = 60.0
TELL_WITHIN_S = 120.0
COUNTED_ON = "/run/watchdog-mux.active"  # as PVE's: somebody relies on the watchdog
FOREVER = 1_000_000  # Pacemaker's infinity


@dataclass(frozen=True)
class Node:
    """`online`: a member that takes orders. `unclean`: to be fenced before anything may run elsewhere."""

    online: bool
    unclean: bool


@dataclass(frozen=True)
class Guest:
    """`node` is empty where it does not run; `failures` by node, as far as they are remembered."""

    node: str = ""
    blocked: bool = False
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """Nodes by name, guests by sid."""

    nodes: Mapping[str, Node]
    guests: Mapping[str, Guest]


def parse(text: str) -> Seen:
    """`crm_mon --one-shot --output-as=xml`. Raises ET.ParseError."""
    root = ET.fromstring(text)  # noqa: S314 - it comes from our own pacemaker
    nodes = {
        str(node.get("name")): Node(
            online=node.get("online") == "true" and node.get("pending") != "true",
            unclean=node.get("unclean") == "true",
        )
        for node in root.iterfind("nodes/node")
    }
    failures: dict[str, dict[str, int]] = {}
    for node in root.iterfind("node_history/node"):
        for history in node.iterfind("resource_history"):
            if count := _count(history.get("fail-count", "0")):
                failures.setdefault(str(history.get("id")), {})[str(node.get("name"))] = count
    guests = {}
    for resource in root.iterfind("resources/resource"):
        name = str(resource.get("id"))
        if name == FENCING or resource.get("orphaned") == "true":
            continue
        running = [str(node.get("name")) for node in resource.iterfind("node")]
        active = resource.get("active") == "true" and resource.get("role") in ("Started", "Stopping")
        guests[sid_of(name)] = Guest(
            node=running[0] if active and running else "",
            blocked=resource.get("blocked") == "true",
            failures=failures.get(name, {}),
        )
    return Seen(nodes, guests)


def _count(text: str) -> int:
    return FOREVER if text == "INFINITY" else int(text)


def seen(machine: Machine) -> Seen | None:
    """None where no Pacemaker answers here (yet)."""
    said = machine.run(["crm_mon", "--one-shot", "--output-as=xml"], timeout_s=ASK_WITHIN_S, check=False)
    if said.code:
        return None
    try:
        return parse(said.out)
    except ET.ParseError:
        return None


def tell(machine: Machine, order: Order) -> bool:
    """Make Pacemaker keep the order; True where that was a change. ApiError with Pacemaker's words."""
    scope = ["--scope", "configuration"]
    live = machine.run(["cibadmin", "--query", *scope], timeout_s=ASK_WITHIN_S).out
    wanted = merged(live, order)
    if wanted is None:
        return False
    machine.run(["cibadmin", "--replace", *scope, "--xml-pipe"], input=wanted, timeout_s=TELL_WITHIN_S)
    return True


def forget_failures(machine: Machine, sid: str) -> None:
    """Start counting anew, on all nodes."""
    command = ["crm_resource", "--cleanup", "--resource", identifier(sid)]
    machine.run(command, timeout_s=TELL_WITHIN_S, check=False)


def running(machine: Machine) -> bool:
    """Whether systemd has Pacemaker running, or on its way up or down, on this node."""
    states = ("active", "activating", "deactivating", "reloading")
    return machine.run(["systemctl", "is-active", "pacemaker"], check=False).out.strip() in states


def feed_watchdog(machine: Machine) -> None:
    """The watchdog is held and fed; without Pacemaker it bites a node that hangs, not one without quorum.

    ApiError with systemctl's words.
    """
    machine.run(["systemctl", "start", "watchdog-mux"], timeout_s=TELL_WITHIN_S)


def start(machine: Machine) -> None:
    """Pacemaker learns from the others or from the manager what is to be done, not from its past.

    ApiError with systemctl's words.
    """
    for old in machine.file("/var/lib/pacemaker/cib").glob("*"):
        old.unlink()
    machine.run(["systemctl", "reset-failed", "pacemaker"], check=False)
    machine.run(["systemctl", "start", "pacemaker"], timeout_s=TELL_WITHIN_S)
    machine.file(COUNTED_ON).mkdir(parents=True, exist_ok=True)


def stop(machine: Machine) -> None:
    """ApiError with systemctl's words."""
    machine.run(["systemctl", "stop", "pacemaker"], timeout_s=TELL_WITHIN_S)
    with suppress(FileNotFoundError):
        machine.file(COUNTED_ON).rmdir()
