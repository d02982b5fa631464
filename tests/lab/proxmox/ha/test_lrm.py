"""pve-ha-lrm, round by round."""

from __future__ import annotations

import json

import pytest

from lab.standins.proxmox.daemon.ha import files, locks, pacemaker, resources
from lab.standins.proxmox.daemon.ha.lrm import Lrm
from lab.standins.proxmox.daemon.http.errors import ApiError

from .conftest import CONFIG, Node, lrm_of

AGENT = locks.agent("node1")


def test_without_resources_it_starts_nothing(node: Node) -> None:
    one = lrm_of(node)
    for _ in range(3):
        one.round()
    assert one.state == "wait_for_agent_lock"
    assert not node.units and not node.lock_folder(AGENT).exists()


def test_the_lock_comes_before_pacemaker(node: Node) -> None:
    node.write(resources.PATH, CONFIG)
    node.lock_folder(AGENT).mkdir(parents=True)
    node.write("/var/lib/pacemaker/cib/cib.xml", "<old/>")
    one = lrm_of(node)
    one.round()
    assert (one.state, node.units) == ("wait_for_agent_lock", {"watchdog-mux"})
    assert not node.file(pacemaker.COUNTED_ON).exists()
    node.lock_folder(AGENT).rmdir()
    one.round()
    assert (one.state, node.units) == ("active", {"watchdog-mux", "pacemaker"})
    assert node.lock_folder(AGENT).is_dir() and node.file(pacemaker.COUNTED_ON).is_dir()
    assert not list(node.file("/var/lib/pacemaker/cib").iterdir()), "it shall not act on its past"
    assert node.lrm_status()["joined"] == 0
    one.round()
    assert node.lrm_status() | {"timestamp": 0} == {
        "state": "active", "mode": "active", "joined": 1, "results": {}, "timestamp": 0,
    }  # fmt: skip


def test_a_pacemaker_that_does_not_start_leaves_the_lock(node: Node) -> None:
    node.write(resources.PATH, CONFIG)
    node.refuses = "pacemaker"
    one = lrm_of(node)
    with pytest.raises(ApiError, match="pacemaker failed"):
        one.round()
    assert one.state == "wait_for_agent_lock" and not node.lock_folder(AGENT).exists()


def test_without_quorum_it_neither_acts_nor_writes(node: Node, lrm: Lrm) -> None:
    node.members(quorate=False)
    before = node.lrm_status()
    lrm.round()
    assert (lrm.state, node.lrm_status()) == ("lost_agent_lock", before)
    assert node.units == {"watchdog-mux", "pacemaker"}, "the watchdog decides"
    node.members()
    lrm.round()
    assert lrm.state == "active"


def test_a_node_that_is_held_for_dead_starves_its_watchdog(node: Node, lrm: Lrm) -> None:
    node.write(files.MANAGER_STATUS, json.dumps({"node_status": {"node1": "fence"}}))
    lrm.round()
    assert lrm.state == "lost_agent_lock"
    assert ["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "watchdog-mux"] in node.ran


def test_a_node_started_anew_waits_until_it_is_no_longer_to_be_fenced(node: Node) -> None:
    node.write(resources.PATH, CONFIG)
    node.write(files.MANAGER_STATUS, json.dumps({"node_status": {"node1": "fence"}}))
    one = lrm_of(node)
    one.round()
    assert "pacemaker" not in node.units
    assert node.lrm_status()["state"] == "wait_for_agent_lock", "so the fencing agent knows"
    node.write(files.MANAGER_STATUS, json.dumps({"node_status": {"node1": "online"}}))
    one.round()
    assert "pacemaker" in node.units


def test_pacemaker_gone_without_a_word_keeps_the_lock(node: Node, lrm: Lrm) -> None:
    node.units.discard("pacemaker")
    lrm.round()
    assert lrm.state == "wait_for_agent_lock"
    lrm.round()
    assert node.lock_folder(AGENT).is_dir() and "pacemaker" not in node.units
    node.lock_folder(AGENT).rmdir()
    lrm.round()
    assert "pacemaker" in node.units


def test_a_daemon_started_anew_goes_on(node: Node, lrm: Lrm) -> None:
    again = lrm_of(node)
    again.round()
    assert again.state == "active" and "pacemaker" in node.units


def test_it_ends_pacemaker_when_the_manager_has_let_go_of_every_guest(node: Node, lrm: Lrm) -> None:
    node.write(resources.PATH, "")
    node.write(files.MANAGER_STATUS, json.dumps({"service_status": {"ct:101": {"state": "started"}}}))
    lrm.round()
    assert "pacemaker" in node.units
    node.write(files.MANAGER_STATUS, json.dumps({"service_status": {}}))
    lrm.round()
    assert node.units == {"watchdog-mux"}
    assert not node.lock_folder(AGENT).exists() and not node.file(pacemaker.COUNTED_ON).exists()


def test_maintenance_is_a_mode(node: Node, lrm: Lrm) -> None:
    node.write(files.MANAGER_STATUS, json.dumps({"node_request": {"node1": {"maintenance": 1}}}))
    lrm.round()
    assert node.lrm_status()["mode"] == "maintenance"


@pytest.mark.parametrize(
    ("policy", "jobs", "mode"),
    [
        ("", "", "restart"),
        ("", "shutdown.target start\nreboot.target start\n", "restart"),
        ("", "shutdown.target start\npoweroff.target start\n", "shutdown"),
        ("ha: shutdown_policy=freeze\n", "shutdown.target start\npoweroff.target start\n", "restart"),
        ("ha: shutdown_policy=failover\n", "shutdown.target start\nreboot.target start\n", "shutdown"),
        ("ha: shutdown_policy=migrate\n", "shutdown.target start\nreboot.target start\n", "maintenance"),
    ],
)
def test_leaving(node: Node, lrm: Lrm, policy: str, jobs: str, mode: str) -> None:
    node.write("/etc/pve/datacenter.cfg", policy)
    node.jobs = jobs
    lrm.leave()
    assert node.lrm_status()["mode"] == mode
    assert "pacemaker" in node.units and node.lock_folder(AGENT).is_dir(), "systemd ends it after us"
