"""pve-ha-crm, round by round."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from lab.standins.proxmox.daemon.ha import files, locks, resources
from lab.standins.proxmox.daemon.ha.crm import Crm
from lab.standins.proxmox.daemon.ha.lrm import Lrm
from lab.standins.proxmox.daemon.http.errors import ApiError

from .conftest import CONFIG, Node


def targets(node: Node, kind: str) -> dict[str, str]:
    """Scores of a kind of place by node, as Pacemaker was told."""
    found = ET.fromstring(node.configuration).iter("rsc_location")
    return {one.attrib["node"]: one.attrib["score"] for one in found if f"-{kind}-" in one.attrib["id"]}


def test_nobody_is_master_where_nothing_is_to_be_looked_after(node: Node) -> None:
    one = Crm(node, node.said.append, node.clock)
    one.round()
    assert one.state == "wait_for_quorum" and not node.status()


def test_who_takes_no_part_is_not_master(node: Node) -> None:
    node.write(resources.PATH, CONFIG)
    one = Crm(node, node.said.append, node.clock)
    one.round()
    assert one.state == "wait_for_quorum"


def test_one_is_master(node: Node, lrm: Lrm) -> None:
    node.lock_folder(locks.MANAGER).mkdir(parents=True)
    one = Crm(node, node.said.append, node.clock)
    one.round()
    assert one.state == "slave" and not node.status()
    node.lock_folder(locks.MANAGER).rmdir()
    one.round()
    assert one.state == "master"
    one.leave()
    assert not node.lock_folder(locks.MANAGER).exists()


def test_a_look_that_waits_while_the_membership_changes_counts_the_node_as_online(
    node: Node, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PVE's: members are read, then the lock is refreshed, which waits until Corosync has settled."""
    keep = locks.HaLock.keep

    def waits(lock: locks.HaLock) -> bool:
        node.members(node2=False)
        node.now += 20
        return keep(lock)

    node.now += 10
    monkeypatch.setattr(locks.HaLock, "keep", waits)
    crm.round()
    monkeypatch.undo()
    assert node.status()["node_status"]["node2"] == "online"
    for seconds, state in ((10, "unknown"), (49, "unknown"), (1, "fence")):
        node.sees(ct="node1", online=False, unclean=True)
        node.now += seconds
        crm.round()
        assert node.status()["node_status"]["node2"] == state


def test_what_it_writes_down(node: Node, crm: Crm) -> None:
    status = node.status()
    assert (status["master_node"], status["node_status"]) == (
        "node1",
        {"node1": "online", "node2": "online"},
    )
    service = status["service_status"]["ct:101"]
    assert (service["state"], service["node"], service["running"]) == ("started", "node1", 1)
    assert "adding new service 'ct:101' on node 'node1'" in node.said
    assert targets(node, "home") == {"node1": "1"}


def test_it_tells_pacemaker_once(node: Node, crm: Crm) -> None:
    told = [words for words in node.ran if "--replace" in words]
    crm.round()
    assert [words for words in node.ran if "--replace" in words] == told


def test_a_dead_node_from_loss_to_recovery(node: Node, crm: Crm) -> None:
    node.sees(ct="node2")
    crm.round()
    node.members(node2=False)
    node.sees(ct="node2", online=False, unclean=True)
    node.now += 10
    crm.round()
    assert node.status()["node_status"]["node2"] == "unknown"
    assert node.status()["service_status"]["ct:101"]["state"] == "started"
    node.now += 60
    crm.round()
    assert node.status()["node_status"]["node2"] == "fence"
    assert node.status()["service_status"]["ct:101"]["state"] == "fence"
    node.lock_folder(locks.agent("node2")).mkdir()  # the fencing agent took it
    node.sees(online=False)
    crm.round()
    assert node.status()["service_status"]["ct:101"]["state"] == "recovery"
    assert not node.lock_folder(locks.agent("node2")).exists(), "node2 may come back"
    node.sees(ct="node1", online=False)
    crm.round()
    service = node.status()["service_status"]["ct:101"]
    assert (service["state"], service["node"]) == ("started", "node1")


def test_a_move(node: Node, crm: Crm) -> None:
    files.queue(node, "migrate ct:101 node2")
    crm.round()
    assert targets(node, "moves") == {"node2": "INFINITY"}
    assert node.status()["service_status"]["ct:101"]["state"] == "migrate"
    node.sees(ct="node2")
    crm.round()
    assert targets(node, "moves") == {} and targets(node, "home") == {"node2": "1"}
    assert not node.read(files.COMMANDS)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("migrate ct:999 node2", "crm command error - no such service: migrate ct:999 node2"),
        ("migrate ct:101 node9", "crm command error - node not online: migrate ct:101 node9"),
        (
            "migrate ct:101 node1",
            "ignore crm command - service already on target node: migrate ct:101 node1",
        ),
        ("frobnicate", "unable to parse crm command: frobnicate"),
    ],
)
def test_commands_that_it_refuses(node: Node, crm: Crm, command: str, said: str) -> None:
    files.queue(node, command)
    crm.round()
    assert said in node.said and targets(node, "moves") == {}


def test_maintenance(node: Node, crm: Crm, lrm: Lrm) -> None:
    def standby() -> list[str]:
        tree = ET.fromstring(node.configuration)
        return [one.attrib["value"] for one in tree.iterfind("nodes//nvpair[@name='standby']")]

    assert standby() == ["off", "off"]
    files.queue(node, "enable-node-maintenance node1")
    crm.round()
    assert standby() == ["on", "off"]
    lrm.round()
    crm.round()
    assert node.status()["node_status"]["node1"] == "maintenance"
    assert node.status()["service_status"]["ct:101"]["state"] == "migrate"
    files.queue(node, "disable-node-maintenance node1")
    crm.round()
    assert standby() == ["off", "off"]


def test_a_guest_that_leaves_ha_is_taken_from_pacemaker_before_nodes_may_end_it(node: Node, crm: Crm) -> None:
    node.write(resources.PATH, "")
    node.refuses = "the CIB is busy"
    with pytest.raises(ApiError):
        crm.round()
    assert "ct:101" in node.status()["service_status"], "who reads this must not stop Pacemaker yet"
    node.refuses = ""
    crm.round()
    assert "ct-101" not in node.configuration
    assert node.status()["service_status"] == {}
    assert crm.state == "wait_for_quorum" and not node.lock_folder(locks.MANAGER).exists()


def test_out_of_an_error_failures_are_forgotten(node: Node, crm: Crm) -> None:
    status = node.status()
    status["service_status"]["ct:101"]["state"] = "error"
    node.write(files.MANAGER_STATUS, json.dumps(status))
    node.write(resources.PATH, "ct: 101\n\tstate disabled\n\n")
    crm.leave()
    again = Crm(node, node.said.append, node.clock)
    again.round()
    assert ["crm_resource", "--cleanup", "--resource", "ct-101"] in node.ran
    assert node.status()["service_status"]["ct:101"]["state"] == "stopped"


def test_a_master_that_lost_its_lock_stands_back(node: Node, crm: Crm) -> None:
    node.now += 130  # it hung, and another one took over
    crm.round()
    assert crm.state == "slave"
    assert "status change master => lost_manager_lock" in node.said
