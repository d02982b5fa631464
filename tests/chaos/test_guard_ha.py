"""The guard's part for HA: what the manager's answer means, and that nothing of it may be lacking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos import guard_ha, ha_state
from chaos.faults.link import LinkDown
from chaos.guard import Guard
from chaos.guard_ha import HaWhole, lacking
from chaos.ha_state import HaService, HaState
from chaos.journal import Journal, journal_path
from cluster.errors import NotApplicableError, RefusedError, UnknownError, UnreachableError
from tests.chaos.world import FakeCluster, FakePve

FAULT = LinkDown(node="node1", interface="eth0")
NODES = ["node1", "node2", "node3"]
ENTRIES: list[dict[str, Any]] = [
    {"id": "quorum", "type": "quorum", "node": "node1", "status": "OK", "quorate": 1},
    {"id": "master", "type": "master", "node": "node1", "status": "node1 (active, Sat Aug 29 10:40:00 2026)"},
    {"id": "fencing", "type": "fencing", "status": "armed (CRM watchdog active)", "armed-state": "armed"},
    {"id": "lrm:node1", "type": "lrm", "node": "node1",
     "status": "node1 (active, watchdog active, Sat Aug 29 10:39:57 2026)"},
    {"id": "lrm:node2", "type": "lrm", "node": "node2",
     "status": "node2 (old timestamp - dead?, watchdog standby, Sat Aug 29 10:38:45 2026)"},
    {"id": "lrm:node3", "type": "lrm", "node": "node3", "status": "node3 (idle, Sat Aug 29 08:00:00 2026)"},
    {"id": "service:ct:101", "type": "service", "sid": "ct:101", "node": "node1", "state": "started",
     "crm_state": "started", "request_state": "started", "status": "ct:101 (node1, started)"},
    {"id": "service:ct:102", "type": "service", "sid": "ct:102", "node": "node2", "state": "fence",
     "crm_state": "fence", "request_state": "started", "status": "ct:102 (node2, fence)"},
]  # fmt: skip
WELL = HaState(
    quorate=True,
    master="node1",
    master_state="active",
    lrms={"node1": "active", "node2": "active", "node3": "idle"},
    services={
        "ct:101": HaService("ct:101", "node1", "started", "started"),
        "vm:102": HaService("vm:102", "node2", "stopped", "stopped"),
    },
    armed="armed",
)


def test_an_answer_is_read_with_and_without_the_words_on_the_watchdog() -> None:
    state = ha_state.parse(ENTRIES)
    assert (state.quorate, state.master, state.master_state, state.armed) == (
        True,
        "node1",
        "active",
        "armed",
    )
    assert state.lrms == {"node1": "active", "node2": "old timestamp - dead?", "node3": "idle"}
    assert state.services["ct:102"] == HaService("ct:102", "node2", "fence", "started")


def test_an_answer_that_is_none_is_unknown() -> None:
    with pytest.raises(UnknownError, match="not understood"):
        ha_state.parse([{"type": "lrm"}])


def test_what_is_well_lacks_nothing() -> None:
    assert lacking(WELL, NODES) == []
    assert lacking(replace(WELL, services={}, master=None, master_state=""), NODES) == []


def service(sid: str, state: str, requested: str = "started") -> dict[str, HaService]:
    return {**WELL.services, sid: HaService(sid, "node1", state, requested)}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"quorate": False}, "the HA manager has no quorum"),
        ({"master_state": "old timestamp - dead?"},
         "no node is master of the HA manager (old timestamp - dead?)"),
        ({"armed": "disarmed"}, "HA is disarmed"),
        ({"lrms": {**WELL.lrms, "node2": "maintenance mode"}},
         "the local resource manager of node2 is maintenance mode"),
        ({"lrms": {**WELL.lrms, "node1": "idle"}}, "the local resource manager of node1 is idle"),
        ({"lrms": {"node1": "active", "node2": "active"}}, "the local resource manager of node3 is unknown"),
        ({"services": service("ct:101", "fence")}, "ct:101 is fence on node1, started is asked for"),
        ({"services": service("ct:103", "migrate")}, "ct:103 is migrate on node1, started is asked for"),
        ({"services": service("ct:103", "error")}, "ct:103 is error on node1, started is asked for"),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_is_told_alone(wrong: dict[str, Any], told: str) -> None:
    assert lacking(replace(WELL, **wrong), NODES) == [told]


def test_a_service_that_nobody_wants_started_is_no_matter() -> None:
    assert lacking(replace(WELL, services=service("ct:103", "ignored", "ignored")), NODES) == []


def broken(world: FakeCluster, *entries: dict[str, Any]) -> None:
    world.pve = dict.fromkeys(world.pve, FakePve(lambda: list(entries)))


def test_a_fault_is_refused_while_ha_lacks_anything(world: FakeCluster) -> None:
    guard = Guard(extra=guard_ha.checks())
    guard.admit(world, FAULT, Journal(journal_path(world.site)))
    broken(world, *ENTRIES)
    with pytest.raises(RefusedError, match="ct:102 is fence on node2"):
        guard.admit(world, FAULT, Journal(journal_path(world.site)))


def test_a_service_that_is_no_longer_known_is_missed(world: FakeCluster) -> None:
    check = HaWhole()
    assert check.problems(world, FAULT) == []
    before = world.pve["node1"].call("get", ha_state.PATH)
    broken(world, *before[:-1])
    assert check.problems(world, FAULT) == ["the HA manager no longer knows vm:9002"]
    assert check.problems(world, replace(FAULT, interface="eth1")) == [], "another fault begins anew"


def test_a_site_without_ha_is_passed_over(world: FakeCluster) -> None:
    world.site = world.site.model_copy(update={"ha": None})
    broken(world, *ENTRIES)
    assert HaWhole().problems(world, FAULT) == []
    with pytest.raises(NotApplicableError, match="PF-HA-NONE"):
        ha_state.read(world)


class Dead:
    def call(self, method: str, path: str, **params: Any) -> Any:
        raise UnreachableError("no answer")


def test_the_first_node_that_answers_with_quorum_is_believed(world: FakeCluster) -> None:
    api = world.pve["node1"]
    cut = FakePve(lambda: [{**ENTRIES[0], "quorate": 0}])
    world.pve = {"node1": Dead(), "node2": cut, "node3": api}  # type: ignore[dict-item]
    assert ha_state.read(world).quorate
    world.pve = {"node1": Dead(), "node2": cut, "node3": Dead()}  # type: ignore[dict-item]
    assert not ha_state.read(world).quorate
    world.pve = dict.fromkeys(world.pve, Dead())  # type: ignore[arg-type]
    with pytest.raises(UnreachableError, match="no answer"):
        ha_state.read(world)
