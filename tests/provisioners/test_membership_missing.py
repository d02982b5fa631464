"""Phase 3's pure part, both ways: nothing missing, and each property missing alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.site import Site
from provisioners.change import Change
from provisioners.membership.missing import PEOPLE, missing, standing
from provisioners.membership.observation import Clock, Observation, Service, Stored
from provisioners.membership.phase import PHASE
from provisioners.unreachable import Unreachable
from tests.provisioners import memberships
from tests.provisioners.memberships import (
    all_joined,
    changed,
    conf_text,
    good_member,
    lonely,
    with_all,
    with_conf,
    with_node,
)


@pytest.fixture
def joined(site: Site) -> Observation:
    return all_joined(site)


def only(site: Site, seen: Observation) -> Change:
    (change,) = missing(site, seen)
    assert (change.destroys, change.blocks) == ("", False)
    assert change.action in {*PHASE.actions, PEOPLE}
    return change


def said(site: Site, seen: Observation) -> list[tuple[str, str, str]]:
    return [(change.node, change.action, change.summary) for change in missing(site, seen)]


def test_nothing_is_missing_as_ordered(site: Site, joined: Observation) -> None:
    assert missing(site, joined) == []


def test_a_site_without_a_cluster_lacks_none(site: Site) -> None:
    bare = site.model_copy(update={"corosync": None})
    assert missing(bare, Observation({n.name: lonely(site, n.name) for n in site.nodes}, {})) == []


def test_what_bare_nodes_lack(site: Site) -> None:
    seen = Observation({n.name: lonely(site, n.name) for n in site.nodes}, {})
    assert said(site, seen) == [
        ("node1", "create", "create the cluster pve1"),
        ("node2", "join", "join the cluster pve1"),
        ("node3", "join", "join the cluster pve1"),
        ("node1", "configuration", "set the token to 10 s"),
        ("node1", "migration", "move guests over 10.6.0.0/24"),
        ("node1", "save", "save the cluster's key and configuration in the parameter store"),
    ]
    assert all(change.blocks for change in missing(site, seen)[:3])


def test_the_plan_of_servers_that_were_never_installed(site: Site) -> None:
    seen = Observation({n.name: Unreachable(n.name, "never installed", False) for n in site.nodes}, {})
    assert [c.action for c in missing(site, seen)][:3] == ["create", "join", "join"]


def test_a_run_killed_after_the_creation_lets_the_others_join(site: Site, joined: Observation) -> None:
    text = conf_text(site)
    alone = changed(
        text[: text.index("  node {\n    name: node2")] + "}\n" + text[text.index("\nquorum {") :]
    )
    first = replace(
        good_member(site, "node1"), conf=alone, local=alone, votes={1: 1}, expected_votes=1, token=10.0
    )
    seen = replace(joined, nodes={"node1": first} | {n: lonely(site, n) for n in ("node2", "node3")})
    found = said(site, seen)
    assert [(node, action) for node, action, _ in found][:2] == [("node2", "join"), ("node3", "join")]
    assert not any(change.blocks for change in missing(site, seen))


def test_a_node_that_does_not_answer_is_left_to_people(site: Site, joined: Observation) -> None:
    nodes = {**joined.nodes, "node2": Unreachable("node2", "no route", True)}
    (change,) = missing(site, replace(joined, nodes=nodes))
    assert (change.node, change.action, change.blocks) == ("node2", PEOPLE, True)
    assert change.summary == "see its view of the cluster, which does not answer (no route)"


def test_no_cluster_is_created_beside_a_node_that_does_not_answer(site: Site) -> None:
    nodes: dict[str, Any] = {n.name: lonely(site, n.name) for n in site.nodes}
    nodes["node3"] = Unreachable("node3", "no route", True)
    assert [c.action for c in missing(site, Observation(nodes, {}))] == [PEOPLE]


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (
            [("nodeid: 2\n    quorum_votes: 1", "nodeid: 2\n    quorum_votes: 0")],
            "give node2 one vote (it has 0)",
        ),
        (
            [("ring1_addr: 10.7.0.12", "ring1_addr: 10.7.0.99")],
            "set the address of node2 on link 1 to 10.7.0.12 (it is 10.7.0.99)",
        ),
        (
            [("    ring1_addr: 10.7.0.12\n", "")],
            "set the address of node2 on link 1 to 10.7.0.12 (it is none)",
        ),
        ([("knet_link_priority: 20", "knet_link_priority: 5")], "set the priority of link 0 to 20 (it is 5)"),
        ([("token: 10000", "token: 3000")], "set the token to 10 s (it is 3 s)"),
        ([("  token: 10000\n", "")], "set the token to 10 s (it is 3 s)"),
        (
            [("corosync_votequorum", "corosync_votequorum\n  two_node: 1")],
            "take two_node = 1 out of the configuration: the list of nodes decides",
        ),
        (
            [("corosync_votequorum", "corosync_votequorum\n  expected_votes: 1")],
            "take expected_votes = 1 out of the configuration: the list of nodes decides",
        ),
        (
            [("ring1_addr: 10.7.0.12", "ring1_addr: 10.7.0.12\n    ring2_addr: 10.5.0.12")],
            "take link 2 out of the configuration: it is not ordered",
        ),
    ],
)
def test_each_property_of_the_configuration(
    site: Site, joined: Observation, pairs: list[tuple[str, str]], sentence: str
) -> None:
    change = only(site, with_conf(joined, changed(conf_text(site), *pairs)))
    assert (change.node, change.action, change.summary) == ("node1", "configuration", sentence)


def test_transport_and_encryption_are_for_people(site: Site, joined: Observation) -> None:
    text = conf_text(site)
    other = with_conf(joined, changed(text, ("version: 2", "transport: udpu\n  version: 2")))
    assert only(site, other).action == PEOPLE
    assert "speak over knet (it is udpu)" in only(site, other).summary
    plain = with_conf(joined, changed(text, ("secauth: on", "secauth: off")))
    assert (only(site, plain).action, only(site, plain).summary.split(":")[0]) == (
        PEOPLE,
        "encrypt what the nodes say to each other",
    )


@pytest.mark.parametrize(
    ("change", "action", "sentence"),
    [
        (
            {"version": 3},
            "configuration",
            "put the configuration into force: it runs with version 3, on file is",
        ),
        (
            {"token": 3.125},
            "configuration",
            "put the token into force: it runs with 3.125 s, expected 10.125 s",
        ),
        ({"name_in_force": "other"}, "configuration", "put the configuration into force"),
        (
            {"key_mode": "644"},
            "services",
            "let nobody else read the cluster's key (its mode is 644, expected 400)",
        ),
        ({"quorate": False}, PEOPLE, "come back to the quorum: it runs, and sees too few votes"),
        (
            {"files": {"storage.cfg": "3" * 64}},
            "services",
            "take over the cluster's files anew: datacenter.cfg,",
        ),
        ({"clock": Clock(True, 0.2)}, "clock", "set its clock right: it is +200 ms off"),
        (
            {"clock": Clock(False, 0.0)},
            "clock",
            "follow the time servers again: its clock is not synchronised",
        ),
    ],
)
def test_each_property_of_a_node(
    site: Site, joined: Observation, change: dict[str, Any], action: str, sentence: str
) -> None:
    found = only(site, with_node(joined, "node2", **change))
    assert (found.node, found.action) == ("node2", action)
    assert found.summary.startswith(sentence)


def test_a_copy_of_before_is_named(site: Site, joined: Observation) -> None:
    old = memberships.conf(conf_text(site, 3))
    change = only(site, with_node(joined, "node2", local=old))
    assert change.summary == (
        "take over the cluster's configuration: its own is of version 3, the cluster's of version 4"
    )
    assert change.action == "configuration"


@pytest.mark.parametrize("name", ["corosync", "pve-cluster", "pvedaemon", "pveproxy"])
def test_each_service(site: Site, joined: Observation, name: str) -> None:
    services = joined.node("node2").services
    stopped = with_node(joined, "node2", services={**services, name: Service(name, False, True)})
    change = only(site, stopped)
    assert (change.node, change.action, change.summary) == ("node2", "services", f"start {name}")
    asleep = with_node(joined, "node2", services={**services, name: Service(name, True, False)})
    assert only(site, asleep).summary == f"let {name} start at boot"


def test_without_a_quorum_anywhere_people_are_told(site: Site, joined: Observation) -> None:
    found = said(site, with_all(joined, quorate=False))
    assert {(action, text) for _, action, text in found} == {
        (PEOPLE, "regain a quorum: it runs, and too few nodes see each other")
    }


def test_guests_are_to_be_moved_over_the_ordered_network(site: Site, joined: Observation) -> None:
    change = only(site, with_all(joined, migration=("secure", "10.7.0.0/24")))
    assert (change.action, change.summary) == (
        "migration",
        "move guests over 10.6.0.0/24 (it is 10.7.0.0/24)",
    )
    assert "not set" in only(site, with_all(joined, migration=("secure", ""))).summary


@pytest.mark.parametrize("leaf", ["corosync_conf", "corosync_key", "cluster_id", "nodes"])
def test_each_saved_parameter(site: Site, joined: Observation, leaf: str) -> None:
    rest = {name: entry for name, entry in joined.stored.items() if name != leaf}
    assert only(site, replace(joined, stored=rest)).summary == (
        f"save in the parameter store: {leaf} (it is not there)"
    )
    other = replace(joined.stored[leaf], digest="0" * 64, value="another")
    change = only(site, replace(joined, stored={**rest, leaf: other}))
    assert (change.action, change.summary) == (
        "save",
        f"save in the parameter store: {leaf} (it is not what is in force)",
    )


@pytest.mark.parametrize("leaf", ["corosync_conf", "corosync_key"])
def test_a_secret_in_the_open_is_saved_anew(site: Site, joined: Observation, leaf: str) -> None:
    stored = {**joined.stored, leaf: replace(joined.stored[leaf], encrypted=False)}
    assert "(it is not encrypted)" in only(site, replace(joined, stored=stored)).summary


# -- who belongs


def with_stray(site: Site, joined: Observation, **changes: object) -> Observation:
    text = conf_text(site)
    entry = "node {\n    name: node9\n    nodeid: 9\n    quorum_votes: 1\n    ring0_addr: 10.6.0.19\n"
    entry += "    ring1_addr: 10.7.0.19\n  }\n"
    have = changed(text, ("nodelist {\n  ", f"nodelist {{\n  {entry}  "))
    seen = with_all(with_conf(joined, have), token=10.25)
    return with_all(seen, **changes)


def test_a_former_node_that_is_still_listed_is_forgotten(site: Site, joined: Observation) -> None:
    change = only(site, with_stray(site, joined))
    assert (change.node, change.action) == ("node9", "expel")
    assert change.summary == "be forgotten: its entry in the list of nodes is left, and it was not ordered"


def test_a_listed_stranger_that_lives_is_for_people(site: Site, joined: Observation) -> None:
    online = {**joined.node("node1").online, "node9": True}
    assert only(site, with_stray(site, joined, online=online)).action == PEOPLE


def test_a_former_node_with_guests_is_for_people(site: Site, joined: Observation) -> None:
    folders = {**joined.node("node1").folders, "node9": ("101", "102")}
    change = only(site, with_stray(site, joined, folders=folders))
    assert change.action == PEOPLE
    assert "guests 101, 102 are still its own" in change.summary


def test_the_folder_of_a_former_node_is_named(site: Site, joined: Observation) -> None:
    folders: dict[str, tuple[str, ...]] = {**joined.node("node1").folders, "node9": ()}
    change = only(site, with_all(joined, folders=folders))
    assert (change.node, change.action) == ("node9", "expel")
    assert change.summary == "be forgotten: its folder is left, and it was not ordered"


def test_a_listed_node_that_holds_nothing_is_taken_off_and_joins_again(
    site: Site, joined: Observation
) -> None:
    nodes = {**joined.nodes, "node2": lonely(site, "node2")}
    assert said(site, replace(joined, nodes=nodes)) == [
        ("node2", "expel", "take the half-joined node off the list: it holds nothing of the cluster"),
        ("node2", "join", "join the cluster pve1"),
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"conf": None}, "it has no copy of the cluster's configuration"),
        ({"local": None}, "it has no configuration"),
        ({"key": ""}, "it has no key"),
        (
            {"problem": "/etc/corosync/corosync.conf: line 3: what"},
            "/etc/corosync/corosync.conf: line 3: what",
        ),
        ({"key": "f" * 64, "online": {}}, "its key is not the cluster's"),
    ],
)
def test_a_half_joined_node_is_freed_and_joins_again(
    site: Site, joined: Observation, change: dict[str, Any], why: str
) -> None:
    found = said(site, with_node(joined, "node2", **change))
    assert [(node, action) for node, action, _ in found] == [
        ("node2", "expel"),
        ("node2", "reset"),
        ("node2", "join"),
    ]
    assert found[1][2] == f"take off what a half-made membership left: {why}"


def test_a_half_joined_node_with_guests_is_for_people(site: Site, joined: Observation) -> None:
    folders = {**joined.node("node2").folders, "node2": ("100",)}
    change = only(site, with_node(joined, "node2", conf=None, folders=folders))
    assert (change.node, change.action) == ("node2", PEOPLE)
    assert "it has guests 100, so people decide" in change.summary


def test_a_node_of_another_cluster_of_the_same_name_is_for_people(site: Site, joined: Observation) -> None:
    change = only(site, with_node(joined, "node2", key="f" * 64, online={"node2": True, "node7": True}))
    assert (change.action, "node7 beside it" in change.summary) == (PEOPLE, True)


def test_a_node_of_another_cluster_is_named(site: Site, joined: Observation) -> None:
    other = changed(conf_text(site), ("cluster_name: pve1", "cluster_name: lab7"))
    seen = with_node(joined, "node2", conf=other, local=other, name_in_force="lab7")
    change = only(site, seen)
    assert (change.node, change.action) == ("node2", PEOPLE)
    assert "it is a member of the cluster 'lab7'" in change.summary
    assert standing(site, seen.node("node1"), seen.node("node2")).kind == "foreign"


def test_a_lone_node_with_guests_does_not_join(site: Site, joined: Observation) -> None:
    text = conf_text(site)
    start, end = text.index("  node {\n    name: node3"), text.index("\nquorum {")
    two = changed(text[:start] + "}\n" + text[end:])
    guest = replace(lonely(site, "node3"), folders={"node3": ("100",)})
    seen = with_all(with_conf(joined, two), token=10.0, votes={1: 1, 2: 1})
    seen = replace(seen, nodes={**seen.nodes, "node3": guest})
    change = only(site, seen)
    assert (change.node, change.action) == ("node3", PEOPLE)
    assert "it has guests 100 already, and a node that joins must have none" in change.summary


def test_every_action_that_is_named_exists_in_the_order_of_its_use() -> None:
    from provisioners.membership.missing import ACTIONS

    assert tuple(PHASE.actions) == ACTIONS
    assert PEOPLE not in PHASE.actions


def test_what_is_stored_in_the_open_never_holds_a_secret(joined: Observation) -> None:
    assert all(not entry.value for entry in joined.stored.values() if entry.encrypted)
    assert isinstance(joined.stored["nodes"], Stored)
