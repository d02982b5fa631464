"""Phase 7 lacks nothing, or exactly the one thing that was taken away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.errors import NotApplicableError
from cluster.site import ROOT, Site, load
from provisioners.change import Change
from provisioners.guests import order as guest_order
from provisioners.guests.observation import GuestSeen
from provisioners.ha import fencing, order
from provisioners.ha.manager import Rule, State
from provisioners.ha.missing import missing
from provisioners.ha.observation import MUX, Holder, Observation, Service, Watchdog
from provisioners.ha.phase import PHASE
from provisioners.unreachable import Unreachable
from tests.provisioners.high_availability import (
    all_kept,
    good_guest,
    nothing_kept,
    with_config,
    with_guest,
    with_manager,
    with_node,
    without_guest,
)

NODE = "pve1-node2"
FIRST = "pve1-node1"
CT, VM = 9001, 9002


@pytest.fixture(scope="module")
def site() -> Site:
    return load(ROOT / "sites/pve1.toml")


@pytest.fixture
def good(site: Site) -> Observation:
    return all_kept(site)


def summaries(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.node, change.action) for change in changes]


def the_one(site: Site, seen: Observation) -> Change:
    (change,) = missing(site, seen)
    return change


def test_nothing_is_missing(site: Site, good: Observation) -> None:
    assert missing(site, good) == []


def test_every_action_that_is_named_exists_and_in_that_order() -> None:
    from provisioners.ha.missing import ACTIONS

    assert list(PHASE.actions) == list(ACTIONS)


def test_a_fresh_cluster_lacks_everything_in_the_order_in_which_it_is_made(site: Site) -> None:
    names = [node.name for node in site.nodes]
    assert summaries(missing(site, nothing_kept(site))) == [
        *((name, "watchdog") for name in names),
        (FIRST, "policy"),
        *((name, "fencing") for name in names),
        (FIRST, "images"),
        (NODE, "images"),  # the virtual machine prefers the second node
        (FIRST, "guests"),
        (NODE, "guests"),
        (FIRST, "resources"),
        (FIRST, "resources"),
        (FIRST, "rules"),
        (FIRST, "rules"),
    ]


def test_a_site_without_high_availability_lacks_nothing_and_says_why() -> None:
    lab = load(ROOT / "sites/pve1.toml")
    data = {"ha": None, "guests": ()}
    bare = lab.model_copy(update=data)
    assert missing(bare, Observation({}, None, nothing_kept(lab).guests)) == []
    with pytest.raises(NotApplicableError, match="PF-NO-HA"):
        order.ordered(bare)
    with pytest.raises(NotApplicableError, match="PF-NO-GUESTS"):
        guest_order.guests(bare)


class TestWatchdog:
    def test_another_is_configured(self, site: Site, good: Observation) -> None:
        change = the_one(site, with_node(good, NODE, configured="softdog"))
        assert (change.node, change.action) == (NODE, "watchdog")
        assert change.summary == "choose the watchdog ipmi_watchdog (it is softdog)"

    def test_none_is_configured_means_softdog(self, site: Site, good: Observation) -> None:
        assert "it is softdog" in the_one(site, with_node(good, NODE, configured="")).summary

    def test_another_is_in_force(self, site: Site, good: Observation) -> None:
        seen = with_node(good, NODE, watchdogs=(Watchdog(0, True, 10, "softdog"),))
        change = the_one(site, seen)
        assert change.action == "watchdog" and "watchdog-mux holds softdog" in change.summary

    def test_watchdog_mux_holds_none(self, site: Site, good: Observation) -> None:
        assert "watchdog-mux holds none" in the_one(site, with_node(good, NODE, holders=())).summary

    def test_it_holds_another_than_the_first(self, site: Site, good: Observation) -> None:
        dogs = (Watchdog(0, False, 30, "ipmi_watchdog"), Watchdog(1, True, 10, "iTCO_wdt"))
        held = (Holder(700, "/dev/watchdog1", MUX, "watchdog-mux"),)
        change = the_one(site, with_node(good, NODE, watchdogs=dogs, holders=held))
        assert "watchdog-mux holds iTCO_wdt" in change.summary

    def test_debians_daemon_holds_it_too(self, site: Site, good: Observation) -> None:
        held = (*good.node(NODE).holders, Holder(9, "/dev/watchdog0", "watchdog.service", "watchdog"))
        change = the_one(site, with_node(good, NODE, holders=held))
        assert (change.action, change.summary) == (
            "watchdog",
            "stop watchdog.service, which holds /dev/watchdog0",
        )

    @pytest.mark.parametrize("unit", ["init.scope", "wekanode.service"])
    def test_somebody_else_holds_it(self, unit: str, site: Site, good: Observation) -> None:
        held = (*good.node(NODE).holders, Holder(9, "/dev/watchdog0", unit, "other"))
        change = the_one(site, with_node(good, NODE, holders=held))
        assert change.action == "people" and unit in change.summary and "process 9" in change.summary


@pytest.mark.parametrize("name", ["watchdog-mux", "pve-ha-crm", "pve-ha-lrm"])
@pytest.mark.parametrize(
    ("service", "said"), [(Service(False, True), "start "), (Service(True, False), "start at boot")]
)
def test_a_service(name: str, service: Service, said: str, site: Site, good: Observation) -> None:
    services = {**good.node(NODE).services, name: service}
    changes = missing(site, with_node(good, NODE, services=services))
    assert summaries(changes) == [(NODE, "services")]
    assert said in changes[0].summary and name in changes[0].summary


def test_nobody_counts_on_a_watchdog_while_nothing_is_kept(site: Site, good: Observation) -> None:
    services = {**good.node(NODE).services, "watchdog-mux": Service(False, True)}
    seen = with_manager(with_node(good, NODE, services=services, holders=()), resources={})
    assert {change.action for change in missing(site, seen)} == {"resources"}


class TestFencing:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"fencing": {}}, "it is not there"),
            ({"program": "0" * 64}, "of another release"),
            ({"authorities": "0" * 64}, "trusts other issuers"),
        ],
    )
    def test_a_part_of_it(self, changes: dict[str, Any], said: str, site: Site, good: Observation) -> None:
        change = the_one(site, with_node(good, NODE, **changes))
        assert (change.node, change.action) == (NODE, "fencing") and said in change.summary

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("node", FIRST, f"takes itself for {FIRST}"),
            ("wait_s", 60, "it waits 60 s, expected 75 s"),
        ],
    )
    def test_what_it_is_told(self, key: str, value: object, said: str, site: Site, good: Observation) -> None:
        told = {**good.node(NODE).fencing, key: value}
        assert said in the_one(site, with_node(good, NODE, fencing=told)).summary

    @pytest.mark.parametrize("key", ["serial", "address", "id", "port", "user", "password"])
    def test_what_it_knows_of_a_peer(self, key: str, site: Site, good: Observation) -> None:
        peers = [dict(peer) for peer in good.node(NODE).fencing["peers"]]
        peers[2][key] = "another"
        change = the_one(site, with_node(good, NODE, fencing={**good.node(NODE).fencing, "peers": peers}))
        assert f"of pve1-node3 it knows another {key}" in change.summary

    def test_whom_it_knows(self, site: Site, good: Observation) -> None:
        told = good.node(NODE).fencing
        fewer = {**told, "peers": told["peers"][:2]}
        assert "does not know pve1-node3" in the_one(site, with_node(good, NODE, fencing=fewer)).summary
        more = {**told, "peers": [*told["peers"], {**told["peers"][0], "name": "stray"}]}
        assert (
            "knows stray, which was not ordered" in the_one(site, with_node(good, NODE, fencing=more)).summary
        )

    @pytest.mark.parametrize(
        ("service", "said"), [(Service(False, True), "does not run"), (Service(True, False), "at boot")]
    )
    def test_its_service(self, service: Service, said: str, site: Site, good: Observation) -> None:
        services = {**good.node(NODE).services, "rackproof-fencing": service}
        change = the_one(site, with_node(good, NODE, services=services))
        assert change.action == "fencing" and said in change.summary

    def test_where_none_is_ordered_it_is_taken_away(self, site: Site, good: Observation) -> None:
        assert site.ha is not None
        bare = site.model_copy(update={"ha": site.ha.model_copy(update={"power_cycle": False})})
        assert {change.action for change in missing(bare, good)} == {"fencing"}
        none = good
        for node in site.nodes:
            services = {n: s for n, s in good.node(node.name).services.items() if n != "rackproof-fencing"}
            none = with_node(none, node.name, fencing={}, services=services)
        assert missing(bare, none) == []

    def test_secrets_are_named_and_not_told(self, site: Site) -> None:
        peer = fencing.peers(site)[0]
        assert peer["password"] == "/pve1/nodes/node1/ipmi_password"
        assert [each["id"] for each in fencing.peers(site)] == [1, 2, 3]


class TestManager:
    def test_the_policy(self, site: Site, good: Observation) -> None:
        change = the_one(site, with_manager(good, policy="freeze"))
        assert change.action == "policy" and "it is freeze" in change.summary

    @pytest.mark.parametrize("armed", ["disarming", "disarmed"])
    def test_disarmed_is_for_people(self, armed: str, site: Site, good: Observation) -> None:
        change = the_one(site, with_manager(good, armed=armed))
        assert change.action == "people" and "arm-ha" in change.summary

    @pytest.mark.parametrize("armed", ["", "armed", "standby"])
    def test_armed_or_ready(self, armed: str, site: Site, good: Observation) -> None:
        assert missing(site, with_manager(good, armed=armed)) == []

    def test_maintenance_is_for_people(self, site: Site, good: Observation) -> None:
        nodes = {**good.told().nodes, NODE: "maintenance"}
        change = the_one(site, with_manager(good, nodes=nodes))
        assert (change.node, change.action) == (NODE, "people")
        assert f"node-maintenance disable {NODE}" in change.summary

    @pytest.mark.parametrize(
        ("key", "value"),
        [("state", "stopped"), ("max_restart", "0"), ("max_relocate", "9"), ("failback", "0")],
    )
    def test_a_resource(self, key: str, value: str, site: Site, good: Observation) -> None:
        resources = {**good.told().resources, "ct:9001": {**good.told().resources["ct:9001"], key: value}}
        change = the_one(site, with_manager(good, resources=resources))
        assert change.action == "resources"
        assert f"{key} {value}, expected" in change.summary and "ct:9001" in change.summary

    def test_a_resource_that_is_not_kept(self, site: Site, good: Observation) -> None:
        resources = {sid: each for sid, each in good.told().resources.items() if sid != "vm:9002"}
        assert the_one(site, with_manager(good, resources=resources)).action == "resources"

    def test_resources_of_others_are_left_alone(self, site: Site, good: Observation) -> None:
        resources = {**good.told().resources, "vm:100": {"state": "started"}}
        assert missing(site, with_manager(good, resources=resources)) == []

    def test_a_guest_that_was_not_to_be_kept(self, site: Site, good: Observation) -> None:
        guests = tuple(guest.model_copy(update={"ha": None}) for guest in site.guests)
        bare = site.model_copy(update={"guests": guests})
        changes = missing(bare, good)
        assert {change.action for change in changes} == {"resources", "rules"}
        assert any("take ct:9001 from the HA manager" in change.summary for change in changes)

    @pytest.mark.parametrize(
        "rule",
        [
            Rule("node-affinity", frozenset({"ct:9001"}), {FIRST: 2}, False),
            Rule("node-affinity", frozenset({"ct:9001", "vm:9002"}), {}, False),
            Rule("resource-affinity", frozenset({"ct:9001"}), {}, False),
        ],
    )
    def test_a_rule_that_says_otherwise(self, rule: Rule, site: Site, good: Observation) -> None:
        seen = with_manager(good, rules={**good.told().rules, "rackproof-beat-ct": rule})
        assert the_one(site, seen).action == "rules"

    @pytest.mark.parametrize("changes", [{"strict": True}, {"disabled": True}])
    def test_a_rule_that_is_strict_or_off(
        self, changes: dict[str, bool], site: Site, good: Observation
    ) -> None:
        rule = replace(good.told().rules["rackproof-beat-ct"], **changes)
        seen = with_manager(good, rules={**good.told().rules, "rackproof-beat-ct": rule})
        assert the_one(site, seen).action == "rules"

    def test_a_rule_of_ours_that_is_not_ordered(self, site: Site, good: Observation) -> None:
        rule = Rule("node-affinity", frozenset({"ct:1"}), {FIRST: 1}, False)
        change = the_one(site, with_manager(good, rules={**good.told().rules, "rackproof-old": rule}))
        assert change.action == "rules" and "rackproof-old" in change.summary

    def test_a_rule_of_others(self, site: Site, good: Observation) -> None:
        free = Rule("node-affinity", frozenset({"vm:100"}), {FIRST: 1}, True)
        bound = Rule("resource-affinity", frozenset({"vm:100", "vm:9002"}), {}, False)
        assert missing(site, with_manager(good, rules={**good.told().rules, "web": free})) == []
        change = the_one(site, with_manager(good, rules={**good.told().rules, "web": bound}))
        assert change.action == "people" and "free vm:9002 of the rule web" in change.summary
        off = replace(bound, disabled=True)
        assert missing(site, with_manager(good, rules={**good.told().rules, "web": off})) == []

    @pytest.mark.parametrize(
        ("state", "action"),
        [("error", "revive"), ("starting", "settle"), ("fence", "settle"), ("", "settle")],
    )
    def test_a_state(self, state: str, action: str, site: Site, good: Observation) -> None:
        services = {**good.told().services, "ct:9001": State(NODE, state)}
        change = the_one(site, with_manager(good, services=services))
        assert (change.node, change.action) == (NODE, action)

    def test_a_resource_of_which_the_manager_does_not_tell_yet(self, site: Site, good: Observation) -> None:
        services = {"vm:9002": good.told().services["vm:9002"]}
        assert the_one(site, with_manager(good, services=services)).action == "settle"

    def test_where_a_guest_runs_is_the_managers_part(self, site: Site, good: Observation) -> None:
        services = {**good.told().services, "ct:9001": State("pve1-node3", "started")}
        seen = with_guest(with_manager(good, services=services), CT, node="pve1-node3")
        assert missing(site, seen) == []


class TestGuests:
    @pytest.mark.parametrize("vmid", [CT, VM])
    def test_one_that_is_not_there(self, vmid: int, site: Site, good: Observation) -> None:
        changes = missing(site, without_guest(good, vmid))
        assert [change.action for change in changes] == ["guests"]
        assert str(vmid) in changes[0].summary

    @pytest.mark.parametrize(("vmid", "actions"), [(CT, []), (VM, ["images"])])
    def test_one_whose_image_is_gone(
        self, vmid: int, actions: list[str], site: Site, good: Observation
    ) -> None:
        kept = frozenset(image for image in good.guests.images if ("iso" in image) == (vmid == CT))
        seen = replace(good, guests=replace(good.guests, images=kept))
        assert [change.action for change in missing(site, seen)] == actions

    @pytest.mark.parametrize(
        ("vmid", "changes", "said"),
        [
            (CT, {"memory": "128"}, "memory 128, expected 64"),
            (CT, {"cores": ""}, "cores unset, expected 1"),
            (CT, {"rootfs": "local-zfs:subvol-9001-disk-0"}, "disk in local-zfs, expected rbd-containers"),
            (VM, {"virtio0": ""}, "disk in no storage, expected rbd-vms"),
            (CT, {"net0": "name=eth0,bridge=vmbr0,tag=6,type=veth"}, "tag 6, expected 1"),
            (VM, {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr9,tag=1"}, "bridge vmbr9, expected vmbr0"),
            (VM, {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0"}, "tag none, expected 1"),
            (VM, {"description": "rackproof golden guest, recipe 000000000000"}, "by another recipe"),
        ],
    )
    def test_one_that_differs_is_made_anew(
        self, vmid: int, changes: dict[str, str], said: str, site: Site, good: Observation
    ) -> None:
        found = missing(site, with_config(good, vmid, **changes))
        assert [change.action for change in found] == ["retire", "guests"]
        assert said in found[0].summary

    def test_one_of_another_kind_is_made_anew(self, site: Site, good: Observation) -> None:
        found = missing(site, with_guest(good, CT, kind="vm"))
        assert [change.action for change in found] == ["retire", "guests"]

    def test_anothers_guest_of_that_number_is_never_touched(self, site: Site, good: Observation) -> None:
        seen = with_config(with_guest(good, VM, name="accounting"), VM, tags="web;rackproofs", memory="1")
        change = the_one(site, seen)
        assert change.action == "people" and "'accounting' has it, which is not ours" in change.summary

    def test_one_that_is_being_made(self, site: Site, good: Observation) -> None:
        stub = GuestSeen(CT, "container", "", FIRST, False, {"lock": "create"}, making=True)
        seen = replace(good, guests=replace(good.guests, guests={**good.guests.guests, CT: stub}))
        assert the_one(site, seen).action == "wait"
        broken = with_guest(seen, CT, making=False)
        assert the_one(site, broken).action == "people" and "pct unlock" in the_one(site, broken).summary

    def test_one_whose_node_is_silent(self, site: Site, good: Observation) -> None:
        change = the_one(site, with_guest(good, CT, config={}, silent="no answer"))
        assert change.action == "people" and change.blocks

    def test_one_that_nobody_keeps_is_started(self, site: Site, good: Observation) -> None:
        alone = site.guests[0].model_copy(update={"ha": None, "name": "alone", "vmid": 9003})
        more = site.model_copy(update={"guests": (*site.guests, alone)})
        seen = {**good.guests.guests, 9003: replace(good_guest(more, alone), running=False)}
        stopped = replace(good, guests=replace(good.guests, guests=seen))
        assert [change.action for change in missing(more, stopped)] == ["start"]
        assert missing(more, with_guest(stopped, 9003, running=True)) == []

    def test_nobody_tells_of_them(self, site: Site, good: Observation) -> None:
        seen = replace(good, guests=replace(good.guests, silent="no answer", guests={}, images=frozenset()))
        change = the_one(site, seen)
        assert change.action == "people" and change.blocks


def test_a_node_that_is_silent_blocks(site: Site, good: Observation) -> None:
    silent = Unreachable(NODE, "no answer", True)
    change = the_one(site, replace(good, nodes={**good.nodes, NODE: silent}))
    assert (change.node, change.action, change.blocks) == (NODE, "people", True)


def test_a_manager_of_which_nobody_tells_blocks(site: Site, good: Observation) -> None:
    change = the_one(site, replace(good, manager=None, silent="no answer"))
    assert change.action == "people" and change.blocks


def test_a_recipe_is_of_what_the_guest_is_and_has(site: Site) -> None:
    guest = site.guests[0]
    first = guest_order.recipe(site, guest)
    assert guest_order.recipe(site, guest) == first and len(first) == 12
    for change in (
        {"name": "other"},
        {"memory": 2**27},
        {"cores": 2},
        {"storage": "rbd-vms"},
        {"network": "vlan2"},
    ):
        assert guest_order.recipe(site, guest.model_copy(update=change)) != first, change
    assert guest_order.recipe(site, guest.model_copy(update={"ha": None})) == first


def test_parameters_are_those_of_the_api(site: Site) -> None:
    container, machine = (guest_order.parameters(site, guest) for guest in site.guests)
    assert container["rootfs"] == "rbd-containers:1"
    assert container["net0"] == "name=eth0,bridge=vmbr0,tag=1,type=veth"
    assert container["ostemplate"].startswith("cephfs:vztmpl/beat-ct-")
    assert container["ostemplate"].endswith(".tar.gz")
    assert machine["virtio0"] == "rbd-vms:1"
    assert machine["ide2"].startswith("cephfs:iso/beat-vm-") and machine["ide2"].endswith(".iso,media=cdrom")
    assert (container["vmid"], machine["memory"]) == (9001, "512")
    assert container["unprivileged"] is True and "unprivileged" not in machine
