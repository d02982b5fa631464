"""The manager's word on each service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.standins.proxmox.daemon.ha import services
from lab.standins.proxmox.daemon.ha.pacemaker import FOREVER, Guest
from lab.standins.proxmox.daemon.ha.resources import Resource

ONLINE = {"node1": "online", "node2": "online", "node3": "online"}
CT = Resource("ct", "101")


@dataclass
class Told:
    """One service, followed from look to look."""

    status: dict[str, Any]
    one: Resource = CT
    lines: list[str] = field(default_factory=list)

    def look(self, node: str = "", /, **more: Any) -> str:
        """Its state after a look at which it ran on `node`; more: states, modes, failures, blocked."""
        nodes = services.Nodes({**ONLINE, **more.pop("states", {})}, more.pop("modes", {}))
        guest = Guest(node, more.pop("blocked", False), more.pop("failures", {}))
        assert not more
        self.status = services.advanced(self.status, self.one, guest, nodes, self.lines.append)
        return str(self.status["state"])


@pytest.fixture
def told() -> Told:
    one = Told(services.added(CT, "node1"))
    assert one.look("node1") == "started"
    return one


def test_a_service_that_runs(told: Told) -> None:
    uid = told.status["uid"]
    assert told.status == {"state": "started", "node": "node1", "running": 1, "uid": uid}
    told.look("node1")
    assert told.status["uid"] == uid
    told.look()
    assert "running" not in told.status


def test_from_a_dead_node_to_a_living_one(told: Told) -> None:
    """The states and the lines that Proxmox VE's manager goes through."""
    assert told.look("node1", states={"node1": "unknown"}) == "started"
    assert told.look("node1", states={"node1": "fence"}) == "fence"
    assert told.look("node1", states={"node1": "fence"}) == "fence"
    assert told.look(states={"node1": "unknown"}) == "recovery"
    assert told.status["node"] == "node1"
    assert told.look("node2", states={"node1": "unknown"}) == "started"
    assert told.status["node"] == "node2"
    assert told.lines == [
        "service 'ct:101': state changed from 'started' to 'fence'",
        "service 'ct:101': state changed from 'fence' to 'recovery'",
        "service 'ct:101': state changed from 'recovery' to 'started'  (node = node2)",
    ]


def test_a_node_that_came_back_alive_keeps_its_service(told: Told) -> None:
    told.look("node1", states={"node1": "fence"})
    assert told.look("node1") == "started"
    assert told.status["node"] == "node1"


@pytest.mark.parametrize("state", ["stopped", "disabled"])
def test_stopping(told: Told, state: str) -> None:
    told.one = Resource("ct", "101", state=state)
    assert told.look("node1") == "request_stop"
    assert told.look() == "stopped"
    assert told.look(states={"node1": "fence"}) == "stopped"


def test_a_move_that_is_asked_for(told: Told) -> None:
    told.status["cmd"] = ["migrate", "node3"]
    assert told.look("node1") == "migrate"
    assert told.status["target"] == "node3"
    assert told.look() == "migrate"
    assert told.look("node3") == "started"
    assert told.status["node"] == "node3" and not {"cmd", "target"} & told.status.keys()
    assert "to 'migrate'  (target = node3)" in told.lines[0]


@pytest.mark.parametrize("why", [{"states": {"node3": "unknown"}}, {"failures": {"node3": 1}}])
def test_a_move_to_where_it_cannot_be_ends(told: Told, why: dict[str, Any]) -> None:
    told.status["cmd"] = ["relocate", "node3"]
    assert told.look("node1") == "relocate"
    assert told.look("node1", **why) == "started"
    assert told.look("node1") == "started"


def test_out_for_maintenance_and_back(told: Told) -> None:
    away = {"node1": "maintenance"}
    assert told.look("node1", states=away) == "migrate"
    assert told.look("node2", states=away) == "started"
    assert told.status["maintenance_node"] == "node1"
    assert told.look("node2", states=away) == "started"
    assert told.look("node2") == "migrate"
    assert told.status["target"] == "node1"
    assert told.look("node1") == "started"
    assert "maintenance_node" not in told.status


def test_relocated_as_often_as_it_may_be(told: Told) -> None:
    """max_restart 1, max_relocate 1: two starts on a node, two nodes."""
    assert told.look(failures={"node1": 1}) == "started"
    assert told.look(failures={"node1": 2}) == "started"
    assert told.look(failures={"node1": 2, "node2": 1}) == "started"
    assert told.look("node2", failures={"node1": 2, "node2": 2}) == "started"
    assert told.look(failures={"node1": 2, "node2": FOREVER}) == "error"
    assert told.look("node1") == "error"


def test_out_of_an_error_by_disabling(told: Told) -> None:
    assert told.look("node1", blocked=True) == "error"
    told.one = Resource("ct", "101", state="stopped")
    assert told.look() == "error"
    told.one = Resource("ct", "101", state="disabled")
    assert told.look() == "stopped"
    told.one = CT
    assert told.look("node1") == "started"


def test_frozen_while_its_node_starts_again(told: Told) -> None:
    restart = {"node1": "restart"}
    assert told.look("node1", modes=restart) == "freeze"
    assert told.look(modes=restart, states={"node1": "unknown"}) == "freeze"
    assert told.look("node1") == "started"


def test_a_node_that_dies_while_frozen_is_fenced_and_its_guest_recovered(told: Told) -> None:
    restart = {"node1": "restart"}
    told.look("node1", modes=restart)
    assert told.look("node1", modes=restart, states={"node1": "fence"}) == "fence"
    assert told.look(modes=restart, states={"node1": "unknown"}) == "recovery"
    assert told.look("node2", modes=restart, states={"node1": "unknown"}) == "started"
