"""Entries of /cluster/ha/status/current in Proxmox VE's words."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lab.standins.proxmox.daemon.ha import status
from lab.standins.proxmox.daemon.ha.resources import Resource

NOW = 1_788_000_000
SERVICES = {"ct:101": {"node": "node1", "state": "started", "running": 1, "uid": "x"}}
MANAGER = {
    "master_node": "node1",
    "timestamp": NOW,
    "node_status": {"node1": "online", "node2": "online"},
    "service_status": SERVICES,
}
ACTIVE = {"state": "active", "mode": "active", "joined": 1, "timestamp": NOW - 3}
KNOWN = {"ct:101": Resource("ct", "101")}


def shown(
    manager: dict[str, Any] | None = None, lrm: dict[str, Any] | None = None, **more: Any
) -> dict[str, dict[str, Any]]:
    """Entries by id; `lrm` is what node1's says."""
    told: dict[str, Any] = {"quorate": True, "resources": KNOWN, "places": {"ct:101": "node1"}, "now": NOW}
    told |= {"manager": MANAGER if manager is None else manager, "lrms": {"node1": lrm or ACTIVE}, **more}
    entries = status.entries("node2", **told)
    return {entry["id"]: entry for entry in entries}


def at(seconds: float) -> str:
    return time.ctime(seconds)


def test_all_is_well() -> None:
    found = {name: entry["status"] for name, entry in shown().items()}
    assert found == {
        "quorum": "OK",
        "master": f"node1 (active, {at(NOW)})",
        "fencing": "armed (CRM watchdog active)",
        "lrm:node1": f"node1 (active, watchdog active, {at(NOW - 3)})",
        "lrm:node2": "node2 (unable to read lrm status)",
        "service:ct:101": "ct:101 (node1, started)",
    }


def test_no_quorum() -> None:
    entry = shown(quorate=False)["quorum"]
    assert (entry["status"], entry["quorate"]) == ("No quorum on node 'node2'!", 0)


@pytest.mark.parametrize(
    ("age", "word"), [(30, "active"), (31, "old timestamp - dead?"), (-3, "detected time drift!")]
)
def test_the_age_of_what_is_said(age: int, word: str) -> None:
    found = shown({**MANAGER, "timestamp": NOW - age}, {**ACTIVE, "timestamp": NOW - age})
    assert found["master"]["status"] == f"node1 ({word}, {at(NOW - age)})"
    watchdog = "active" if word == "active" else "standby"
    assert found["lrm:node1"]["status"] == f"node1 ({word}, watchdog {watchdog}, {at(NOW - age)})"
    assert found["fencing"]["armed-state"] == ("armed" if word == "active" else "standby")


@pytest.mark.parametrize(
    ("lrm", "word"),
    [
        ({"state": "wait_for_agent_lock"}, "wait_for_agent_lock, watchdog standby"),
        ({"joined": 0}, "wait_for_agent_lock, watchdog active"),
        ({"state": "lost_agent_lock"}, "lost_agent_lock, watchdog standby"),
        ({"mode": "maintenance"}, "maintenance mode, watchdog active"),
        ({"mode": "restart"}, "restart mode, watchdog active"),
        ({"mode": "maintenance", "timestamp": NOW - 99}, "maintenance mode, watchdog standby"),
    ],
)
def test_words_of_a_local_resource_manager(lrm: dict[str, Any], word: str) -> None:
    assert f"node1 ({word}, " in shown(lrm={**ACTIVE, **lrm})["lrm:node1"]["status"]


def test_nothing_to_look_after() -> None:
    idle = {**MANAGER, "service_status": {}, "timestamp": NOW - 500}
    found = shown(idle, {**ACTIVE, "state": "wait_for_agent_lock"}, resources={})
    assert found["master"]["status"].startswith("node1 (idle, ")
    assert found["fencing"]["status"] == "standby (CRM watchdog standby)"
    assert found["lrm:node1"]["status"].startswith("node1 (idle, watchdog standby, ")
    assert list(shown({}, resources={})) == ["quorum"]


@pytest.mark.parametrize(
    ("service", "asked", "word"),
    [
        ({"state": "started", "running": 1}, "started", "started"),
        ({"state": "started"}, "started", "starting"),
        ({"state": "started", "running": 1}, "stopped", "stopping"),
        ({"state": "stopped"}, "started", "starting"),
        ({"state": "stopped"}, "disabled", "disabled"),
        ({"state": "stopped"}, "stopped", "stopped"),
        ({"state": "error"}, "disabled", "clearing error flag"),
        ({"state": "fence"}, "started", "fence"),
        ({"state": "started", "running": 1}, "ignored", "ignored"),
        (None, "started", "queued"),
    ],
)
def test_words_of_a_service(service: dict[str, Any] | None, asked: str, word: str) -> None:
    known = {"ct:101": Resource("ct", "101", state=asked, failback=False, comment="shop")}
    held = {"ct:101": {"node": "node3", **service}} if service else {}
    entry = shown({**MANAGER, "service_status": held}, resources=known)["service:ct:101"]
    node = "node3" if service else "node1"
    assert entry["status"] == f"ct:101 ({node}, {word})"
    assert (entry["state"], entry["request_state"]) == (word, asked)
    assert (entry["failback"], entry["comment"]) == (0, "shop")
    assert entry.get("crm_state") == (service or {}).get("state")


def test_a_service_that_is_no_resource_any_more() -> None:
    assert shown(resources={})["service:ct:101"]["status"] == "ct:101 (node1, deleting)"
