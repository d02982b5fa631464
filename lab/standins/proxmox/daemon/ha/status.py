"""Entries of `/cluster/ha/status/current`, in PVE's words (PVE::API2::HA::Status). Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .resources import Resource

OLD_S, DRIFT_S = 30, -2
Entry = dict[str, Any]


def entries(
    node: str,
    quorate: bool,
    manager: Mapping[str, Any],
    lrms: Mapping[str, Mapping[str, Any]],
    resources: Mapping[str, Resource],
    places: Mapping[str, str],
    now: float,
) -> list[Entry]:
    """`node` answers; `lrms` by node, `places`: the node of each resource's file by sid; `now` since 1970."""
    said = "OK" if quorate else f"No quorum on node '{node}'!"
    found: list[Entry] = [
        {"id": "quorum", "type": "quorum", "node": node, "status": said, "quorate": int(quorate)}
    ]
    services = manager.get("service_status", {})
    if "master_node" in manager and "timestamp" in manager:
        found += _master(manager, lrms, quorate and not resources, now)
    for name in sorted(manager.get("node_status", {})):
        found.append(_lrm(name, lrms.get(name, {}), bool(services), now))
    found += [_service(sid, services[sid], resources.get(sid), places) for sid in sorted(services)]
    waiting = sorted(sid for sid in resources if sid not in services)
    return found + [_service(sid, None, resources[sid], places) for sid in waiting]


def _age(timestamp: float, now: float) -> str:
    age = now - timestamp
    if age > OLD_S:
        return "old timestamp - dead?"
    return "detected time drift!" if age < DRIFT_S else "active"


def _master(
    manager: Mapping[str, Any], lrms: Mapping[str, Mapping[str, Any]], nothing_to_do: bool, now: float
) -> list[Entry]:
    master, timestamp = manager["master_node"], manager["timestamp"]
    state = _age(timestamp, now)
    works = state == "active"
    if nothing_to_do:
        state, works = "idle", False
    armed = works or any(_holds_watchdog(lrm, now) for lrm in lrms.values())
    watchdog = "active" if works else "standby"
    word = "armed" if armed else "standby"
    return [
        {
            "id": "master",
            "type": "master",
            "node": master,
            "status": f"{master} ({state}, {time.ctime(timestamp)})",
            "timestamp": timestamp,
        },
        {
            "id": "fencing",
            "type": "fencing",
            "node": master,
            "status": f"{word} (CRM watchdog {watchdog})",
            "armed-state": word,
        },
    ]


def _holds_watchdog(lrm: Mapping[str, Any], now: float) -> bool:
    return lrm.get("state") == "active" and _age(lrm.get("timestamp", 0), now) == "active"


def _lrm(node: str, lrm: Mapping[str, Any], needed: bool, now: float) -> Entry:
    entry: Entry = {"id": f"lrm:{node}", "type": "lrm", "node": node}
    if not lrm.get("timestamp"):
        return {**entry, "status": f"{node} (unable to read lrm status)"}
    state, mode = _age(lrm["timestamp"], now), lrm.get("mode", "active")
    if state == "active":
        if mode != "active":
            state = f"{mode} mode"
        else:
            # What waits for Pacemaker cannot take a guest yet.
            waits = lrm.get("state") == "active" and not lrm.get("joined")
            state = "wait_for_agent_lock" if waits else lrm.get("state", "unknown")
            if state == "wait_for_agent_lock" and not needed:
                state = "idle"
    elif mode == "maintenance":
        state = f"{mode} mode"
    watchdog = "active" if _holds_watchdog(lrm, now) else "standby"
    text = f"{node} ({state}, watchdog {watchdog}, {time.ctime(lrm['timestamp'])})"
    return {**entry, "status": text, "timestamp": lrm["timestamp"]}


def _service(
    sid: str, status: Mapping[str, Any] | None, one: Resource | None, places: Mapping[str, str]
) -> Entry:
    entry: Entry = {"id": f"service:{sid}", "type": "service", "sid": sid}
    entry["node"] = status["node"] if status else places.get(sid, "---")
    if status:
        entry["crm_state"] = status["state"]
    entry["state"] = shown_state(status, one)
    entry["status"] = f"{sid} ({entry['node']}, {entry['state']})"
    if one:
        entry |= {"request_state": one.state, "max_restart": one.max_restart}
        entry |= {"max_relocate": one.max_relocate, "failback": int(one.failback)}
        if one.comment:
            entry["comment"] = one.comment
    return entry


def shown_state(status: Mapping[str, Any] | None, one: Resource | None) -> str:
    """The state for people: the manager's, and what is about to come of it."""
    if one is None:
        return "deleting"
    if not one.managed:
        return "ignored"
    if status is None:
        return "queued"
    state = str(status["state"])
    if state == "stopped":
        return {"started": "starting", "disabled": "disabled"}.get(one.state, state)
    if state == "started":
        if not status.get("running"):
            return "starting"
        return "stopping" if one.state in ("stopped", "disabled") else state
    if state == "error" and one.state == "disabled":
        return "clearing error flag"
    return state
