"""HA configuration as Pacemaker is told it, and what Pacemaker's scheduler makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from lab.standins.proxmox.daemon.ha import cib
from lab.standins.proxmox.daemon.ha.cib import Order
from lab.standins.proxmox.daemon.ha.resources import Resource
from lab.standins.proxmox.daemon.ha.rules import NODE_AFFINITY, RESOURCE_AFFINITY, Rule

from .simulated import EMPTY, Simulated, needs_tools

NODES = {"node1": 1, "node2": 2, "node3": 3}
CT, VM = "ct:101", "vm:100"
PREFERS = Rule("prefers", NODE_AFFINITY, (CT,), {"node1": 2, "node2": 1})


def order(*resources: Resource, rules: tuple[Rule, ...] = (PREFERS,), **more: Any) -> Order:
    """Three nodes; without a word, one container that prefers node1, then node2."""
    known = {one.sid: one for one in resources or (Resource("ct", "101"),)}
    services = {sid: {"state": "started", "node": "node1"} for sid in known}
    return replace(Order(NODES, known, rules, services), **more)


def told(wanted: Order) -> ET.Element:
    text = cib.merged(EMPTY, wanted)
    assert text is not None
    return ET.fromstring(text)


def attributes(tree: ET.Element, parent: str) -> dict[str, str]:
    """The name-value pairs below an element of this id."""
    (element,) = tree.iterfind(f".//*[@id='{parent}']")
    return {pair.attrib["name"]: pair.attrib["value"] for pair in element.iterfind("nvpair")}


def test_what_pacemaker_holds_already_is_not_told_again() -> None:
    text = cib.merged(EMPTY, order())
    assert text is not None
    assert cib.merged(text, order()) is None
    assert cib.merged(text, order(Resource("ct", "101", max_restart=3))) is not None
    assert cib.merged(text, order(standby=frozenset({"node1"}))) is not None


def test_what_pacemaker_keeps_for_itself_stays() -> None:
    live = (
        '<configuration><crm_config><cluster_property_set id="cib-bootstrap-options">'
        '<nvpair id="v" name="dc-version" value="3.0.0"/></cluster_property_set></crm_config>'
        '<nodes><node id="1" uname="node1"><instance_attributes id="nodes-1">'
        '<nvpair id="nodes-1-x" name="x" value="1"/></instance_attributes></node></nodes>'
        '<resources><primitive id="ct-7" class="ocf" provider="rackproof" type="guest"/></resources>'
        "<constraints/></configuration>"
    )
    text = cib.merged(live, order())
    assert text is not None
    tree = ET.fromstring(text)
    assert attributes(tree, "cib-bootstrap-options") == {"dc-version": "3.0.0"}
    assert attributes(tree, "nodes-1") == {"x": "1", "standby": "off"}
    assert [node.get("uname") for node in tree.iterfind("nodes/node")] == ["node1", "node2", "node3"]
    assert [one.get("id") for one in tree.iterfind("resources/primitive")] == ["fencing", "ct-101"]
    starts = [one.get("timeout") for one in tree.iterfind("resources/primitive/operations/op[@name='start']")]
    assert starts == ["300s", "300s"], "what is started on an emulated node is given minutes"


@pytest.mark.parametrize(
    ("state", "role"), [("started", "Started"), ("stopped", "Stopped"), ("disabled", "Stopped")]
)
def test_the_asked_state_is_the_target_role(state: str, role: str) -> None:
    assert attributes(told(order(Resource("ct", "101", state=state))), "ct-101-meta")["target-role"] == role


def test_an_ignored_guest_is_none_of_pacemakers() -> None:
    ids = [one.get("id") for one in told(order(Resource("ct", "101", state="ignored"))).iter("primitive")]
    assert ids == ["fencing"]


def test_policy_of_a_resource() -> None:
    meta = attributes(told(order(Resource("ct", "101", max_restart=2))), "ct-101-meta")
    assert (meta["migration-threshold"], meta["resource-stickiness"]) == ("3", str(cib.PREFER))
    meta = attributes(told(order(Resource("vm", "100", failback=False))), "vm-100-meta")
    assert (meta["resource-stickiness"], meta["allow-migrate"]) == (str(cib.STAY), "true")
    # The best place that a rule can name does not move what shall stay, and what is asked for does.
    assert cib.PRIORITY * (cib.HIGHEST + 1) < cib.STAY < 1_000_000


def test_a_resource_in_error_is_left_alone() -> None:
    tree = told(order(services={CT: {"state": "error", "node": "node1"}}))
    assert attributes(tree, "ct-101-meta")["is-managed"] == "false"


def test_priorities_beyond_all_measure_stay_below_a_request() -> None:
    rule = replace(PREFERS, nodes={"node1": 99_999})
    (score,) = [
        int(one.attrib["score"]) for one in told(order(rules=(rule,))).iter("rsc_location")
        if one.attrib["id"].endswith("prefers-node1")
    ]  # fmt: skip
    assert score < cib.STAY


@pytest.mark.parametrize(
    ("policy", "powering_off", "lock", "limit"),
    [
        ("conditional", False, "true", "0s"),
        ("conditional", True, "true", "120s"),
        ("freeze", True, "true", "0s"),
        ("failover", False, "true", "120s"),
        ("migrate", False, "false", None),
    ],
)
def test_shutdown_policy(policy: str, powering_off: bool, lock: str, limit: str | None) -> None:
    found = attributes(told(order(shutdown_policy=policy, powering_off=powering_off)), cib.PROPERTIES)
    assert (found["shutdown-lock"], found.get("shutdown-lock-limit")) == (lock, limit)


@pytest.fixture
def cluster(tmp_path: Path) -> Simulated:
    return Simulated(tmp_path, order())


@needs_tools
def test_a_guest_runs_where_it_is_preferred(cluster: Simulated) -> None:
    assert cluster.where() == {CT: "node1"}


@needs_tools
def test_a_lost_node_is_fenced_before_its_guest_starts_elsewhere(cluster: Simulated) -> None:
    cluster.happens("--node-fail=node1")
    assert cluster.where() == {CT: "node2"}
    fenced = cluster.actions.index("Fencing node1 (off)")
    assert fenced < cluster.actions.index("ct-101          start on node2")


@needs_tools
@pytest.mark.parametrize(("failback", "then"), [(True, "node1"), (False, "node2")])
def test_a_node_that_returns_gets_its_guest_back_or_not(tmp_path: Path, failback: bool, then: str) -> None:
    one = Resource("ct", "101", failback=failback)
    cluster = Simulated(tmp_path, order(one))
    cluster.happens("--node-fail=node1")
    cluster.order(order(one, services={CT: {"state": "started", "node": "node2"}}))
    cluster.happens("--node-up=node1")
    assert cluster.where() == {CT: then}


@needs_tools
def test_without_quorum_nothing_starts_and_nothing_stops(tmp_path: Path) -> None:
    cluster = Simulated(tmp_path, order(Resource("ct", "101"), Resource("vm", "100", state="stopped")))
    assert cluster.where() == {CT: "node1", VM: ""}
    wanted = order(Resource("ct", "101"), Resource("vm", "100"))
    cluster.quorum(False)
    cluster.order(wanted)
    assert cluster.where() == {CT: "node1", VM: ""}
    cluster.quorum(True)
    cluster.happens()
    assert all(cluster.where().values())


@needs_tools
def test_without_quorum_nobody_is_fenced(cluster: Simulated) -> None:
    cluster.quorum(False)
    cluster.happens("--node-fail=node1")
    assert "Fencing" not in cluster.actions and "start on" not in cluster.actions
    cluster.quorum(True)
    cluster.happens()
    assert "Fencing node1" in cluster.actions


@needs_tools
def test_a_strict_rule_leaves_a_guest_stopped_rather_than_elsewhere(tmp_path: Path) -> None:
    loose = replace(PREFERS, nodes={"node1": 1})
    cluster = Simulated(tmp_path, order(rules=(replace(loose, strict=True),)))
    cluster.happens("--node-fail=node1")
    assert cluster.where() == {CT: ""}
    cluster.order(order(rules=(loose,)))
    assert cluster.where()[CT] in ("node2", "node3")


@needs_tools
def test_maintenance_empties_a_node_without_fencing(cluster: Simulated) -> None:
    cluster.order(order(standby=frozenset({"node1"})))
    assert cluster.where() == {CT: "node2"}
    assert "Fencing" not in cluster.actions


@needs_tools
def test_a_request_outranks_priority_and_staying(tmp_path: Path) -> None:
    one = Resource("ct", "101", failback=False)
    cluster = Simulated(tmp_path, order(one))
    moving = {CT: {"state": "migrate", "node": "node1", "target": "node3"}}
    cluster.order(order(one, services=moving))
    assert cluster.where() == {CT: "node3"}
    cluster.order(order(one, services={CT: {"state": "started", "node": "node3"}}))
    assert cluster.where() == {CT: "node3"}


@needs_tools
@pytest.mark.parametrize(("state", "action"), [("migrate", "migrate_to"), ("relocate", "stop")])
def test_a_virtual_machine_moves_with_its_memory_unless_it_is_relocated(
    tmp_path: Path, state: str, action: str
) -> None:
    cluster = Simulated(tmp_path, order(Resource("vm", "100"), rules=()))
    assert cluster.where() == {VM: "node1"}
    cluster.order(
        order(
            Resource("vm", "100"),
            rules=(),
            services={VM: {"state": state, "node": "node1", "target": "node2"}},
        )
    )
    assert cluster.where() == {VM: "node2"}
    assert f"vm-100          {action} on node1" in cluster.actions
    assert ("migrate_to" in cluster.actions) is (state == "migrate")


@needs_tools
@pytest.mark.parametrize(
    ("max_restart", "failures", "node"), [(1, 1, "node1"), (1, 2, "node2"), (0, 1, "node2")]
)
def test_failures_beyond_max_restart_drive_a_guest_away(
    tmp_path: Path, max_restart: int, failures: int, node: str
) -> None:
    one = Resource("ct", "101", max_restart=max_restart)
    cluster = Simulated(tmp_path, order(one))
    cluster.failed("ct-101", "node1", failures)
    assert cluster.where() == {CT: node}
    assert cluster.seen().guests[CT].failures == {"node1": failures}


@needs_tools
def test_what_leaves_ha_goes_on_running(cluster: Simulated) -> None:
    cluster.order(order(Resource("ct", "101", state="ignored")))
    assert "stop on" not in cluster.actions
    assert cluster.where() == {}


@needs_tools
def test_a_guest_in_error_is_not_touched(cluster: Simulated) -> None:
    cluster.order(order(services={CT: {"state": "error", "node": "node1"}}, standby=frozenset({"node1"})))
    assert cluster.where() == {CT: "node1"}


@needs_tools
def test_guests_apart_and_guests_together(tmp_path: Path) -> None:
    both = (Resource("ct", "101"), Resource("vm", "100"))
    apart = Rule("apart", RESOURCE_AFFINITY, (CT, VM), affinity="negative")
    (tmp_path / "apart").mkdir()
    where = Simulated(tmp_path / "apart", order(*both, rules=(apart,))).where()
    assert where[CT] and where[VM] and where[CT] != where[VM]
    where = Simulated(tmp_path, order(*both, rules=(PREFERS, replace(apart, affinity="positive")))).where()
    assert where == {CT: "node1", VM: "node1"}


@needs_tools
def test_a_guest_without_a_rule_stays_where_its_file_lies(tmp_path: Path) -> None:
    services = {CT: {"state": "started", "node": "node3"}}
    assert Simulated(tmp_path, order(rules=(), services=services)).where() == {CT: "node3"}


@needs_tools
@pytest.mark.parametrize(("policy", "node"), [("conditional", ""), ("migrate", "node2")])
def test_guests_of_a_node_that_shuts_down_wait_for_it_or_move(tmp_path: Path, policy: str, node: str) -> None:
    cluster = Simulated(tmp_path, order(shutdown_policy=policy))
    cluster.shut_down("node1")
    assert cluster.where() == {CT: node}
    assert "Fencing" not in cluster.actions
