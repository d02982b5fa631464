"""What the HA manager says of itself: quorum, master, local managers, services. Parsing is pure.

Source: GET /cluster/ha/status/current of Proxmox VE 9. A local resource manager's state stands in its text
alone: "node2 (active, watchdog active, Sat Aug 29 10:39:58 2026)"; older releases lack the words on the
watchdog.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError, RackproofError, UnknownError

PATH = "cluster/ha/status/current"
MAINTENANCE = "maintenance mode"
"""A local resource manager's state while its node is kept free of guests."""
_STATE = re.compile(r"\S+ \(([^,)]+)")


class PvePort(Protocol):
    """One node's API, as `cluster.pve.Pve` speaks it."""

    def call(self, method: Literal["get", "post", "put", "delete"], path: str, **params: Any) -> Any: ...


@runtime_checkable
class HasPve(Protocol):
    """A cluster whose nodes have an API."""

    @property
    def pve(self) -> Mapping[str, PvePort]: ...


@dataclass(frozen=True)
class HaService:
    """A service: the node it is on, the state the manager has it in, the state that is asked for."""

    sid: str
    node: str
    state: str
    requested: str


@dataclass(frozen=True)
class HaState:
    """`master`: the node, None without one. `lrms`: node -> its local resource manager's state ("active",
    "idle", "maintenance mode", "old timestamp - dead?", ...). `armed`: the word on fencing, None where the
    release has none.
    """

    quorate: bool
    master: str | None
    master_state: str
    lrms: Mapping[str, str]
    services: Mapping[str, HaService]
    armed: str | None = None


def parse(entries: Iterable[Mapping[str, Any]]) -> HaState:
    """Raises `UnknownError` where the answer is not understood."""
    quorate, master, master_state, armed = False, None, "", None
    lrms: dict[str, str] = {}
    services: dict[str, HaService] = {}
    try:
        for entry in entries:
            match entry["type"]:
                case "quorum":
                    quorate = bool(int(entry.get("quorate", 0)))
                case "master":
                    master, master_state = str(entry["node"]), _state(entry)
                case "fencing":
                    armed = str(entry.get("armed-state", "")) or None
                case "lrm":
                    lrms[str(entry["node"])] = _state(entry)
                case "service":
                    sid, requested = str(entry["sid"]), str(entry.get("request_state", "started"))
                    services[sid] = HaService(sid, str(entry["node"]), str(entry["state"]), requested)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnknownError(f"the HA manager's state is not understood: {error!r}") from None
    return HaState(quorate, master, master_state, lrms, services, armed)


def read(cluster: ClusterPort) -> HaState:
    """The state as the first node tells it that answers with quorum, else as the last one that answers.

    Raises `NotApplicableError` where the site orders no HA, the last node's error where none answers.
    """
    if cluster.site.ha is None or not isinstance(cluster, HasPve):
        raise NotApplicableError("PF-HA-NONE", "the site orders no high availability.", "add [ha].")
    told: HaState | None = None
    failed: RackproofError = UnknownError("no node tells the HA manager's state")
    for name in cluster.nodes:
        try:
            told = parse(cluster.pve[name].call("get", PATH))
        except RackproofError as error:
            failed = error
            continue
        if told.quorate:
            return told
    if told is None:
        raise failed
    return told


def _state(entry: Mapping[str, Any]) -> str:
    found = _STATE.match(str(entry["status"]))
    return found[1] if found else str(entry["status"])
