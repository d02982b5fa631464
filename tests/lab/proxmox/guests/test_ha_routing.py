"""A guest that the stack of high availability manages is not touched: the stack is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.guests import files, ha_routing
from lab.standins.proxmox.daemon.guests.files import Guest
from lab.standins.proxmox.daemon.http import tasks

from ..conftest import NODE, Rig
from ..contract_guests import both_nodes
from ..hypervisor import CT, QEMU, VM, with_container, with_machine

LXC, MACHINE = f"/nodes/{NODE}/lxc/{CT}", f"/nodes/{NODE}/qemu/{VM}"


def managed(rig: Rig, sid: str, state: str = "started") -> None:
    kind, _, name = sid.partition(":")
    rig.machine.write(ha_routing.RESOURCES, f"{kind}: {name}\n\tstate {state}\n\tmax_restart 1\n")


def asked(rig: Rig) -> list[list[str]]:
    return [words for words in rig.machine.ran if words[0] == "ha-manager"]


def touched(rig: Rig) -> list[list[str]]:
    programs = ("lxc-stop", "systemd-run", "rbd", "mount")
    starts = [words for words in rig.machine.ran if words[:2] == ["systemctl", "start"]]
    return starts + [words for words in rig.machine.ran if words[0] in programs]


@pytest.mark.parametrize(
    ("action", "runs", "kind", "state", "said"),
    [
        ("start", False, "hastart", "started", "Requesting HA start for CT 101"),
        ("stop", True, "hastop", "stopped", "Requesting HA stop for CT 101"),
        ("shutdown", True, "hastop", "stopped", "Requesting HA stop for CT 101"),
    ],
)
def test_a_managed_container(rig: Rig, action: str, runs: bool, kind: str, state: str, said: str) -> None:
    node = with_container(rig)
    managed(rig, "ct:101")
    if runs:
        node.run_container(CT)
    upid = rig.call("POST", f"{LXC}/status/{action}")
    assert tasks.decode(upid).kind == kind
    status, log = rig.task(upid)
    assert (status, log[0]) == ("OK", said)
    assert asked(rig) == [["ha-manager", "set", "ct:101", "--state", state]] and touched(rig) == []


def test_a_managed_machine(rig: Rig) -> None:
    node = with_machine(rig)
    managed(rig, "vm:102")
    upid = rig.call("POST", f"{MACHINE}/status/start")
    assert (tasks.decode(upid).kind, rig.task(upid)[0]) == ("hastart", "OK")
    node.run_machine(VM, QEMU)
    upid = rig.call("POST", f"{MACHINE}/status/stop")
    assert (tasks.decode(upid).kind, rig.task(upid)[0]) == ("hastop", "OK")
    assert [words[2:] for words in asked(rig)] == [
        ["vm:102", "--state", "started"],
        ["vm:102", "--state", "stopped"],
    ]
    assert touched(rig) == [] and "quit" not in node.qmp


def test_a_move_is_the_stacks_too(rig: Rig) -> None:
    with_container(rig)
    both_nodes(rig)
    managed(rig, "ct:101")
    upid = rig.call("POST", f"{LXC}/migrate", target="pve-b")
    assert (tasks.decode(upid).kind, rig.task(upid)[0]) == ("hamigrate", "OK")
    assert asked(rig) == [["ha-manager", "migrate", "ct:101", "pve-b"]]
    assert files.everywhere(rig.machine)[CT].node == NODE


@pytest.mark.parametrize("resource", ["vm:101", "ct:1010", "ct:102"])
def test_who_is_not_managed_is_touched(rig: Rig, resource: str) -> None:
    node = with_container(rig)
    managed(rig, resource)
    assert rig.task(rig.call("POST", f"{LXC}/status/start"))[0] == "OK"
    assert node.containers == {CT} and asked(rig) == []


def test_an_ignored_resource_counts_as_none(rig: Rig) -> None:
    node = with_container(rig)
    managed(rig, "ct:101", "ignored")
    assert rig.task(rig.call("POST", f"{LXC}/status/start"))[0] == "OK"
    assert node.containers == {CT}


def test_a_refusal_of_the_stack_is_the_tasks(rig: Rig) -> None:
    node = with_container(rig)
    managed(rig, "ct:101")
    node.refuses["ha-manager"] = "no such resource"
    status, _ = rig.task(rig.call("POST", f"{LXC}/status/start"))
    assert status.endswith("no such resource")


def test_a_managed_guest_is_destroyed_only_with_its_resource(rig: Rig) -> None:
    with_container(rig)
    managed(rig, "ct:101", "ignored")
    with pytest.raises(ResourceException) as error:
        rig.call("DELETE", LXC)
    assert (
        error.value.content == "unable to remove CT 101 - used in HA resources and purge parameter not set."
    )
    assert rig.task(rig.call("DELETE", LXC, purge=1))[0] == "OK"
    assert asked(rig) == [["ha-manager", "remove", "ct:101"]] and files.everywhere(rig.machine) == {}


@pytest.mark.parametrize(
    ("state", "shown"),
    [("started", {"managed": 1, "state": "started"}), ("enabled", {"managed": 1, "state": "started"}),
     (None, {"managed": 0})],
)  # fmt: skip
def test_what_a_guest_shows_of_it(rig: Rig, state: str | None, shown: dict[str, Any]) -> None:
    with_container(rig)
    if state:
        managed(rig, "ct:101", state)
    assert rig.call("GET", f"{LXC}/status/current")["ha"] == shown


@pytest.mark.parametrize("text", ["", "{", '{"service_status": {"ct:101": {"node": "pve-a"}}}'])
def test_a_manager_that_says_nothing(rig: Rig, text: str) -> None:
    with_container(rig)
    rig.machine.write(ha_routing.STATUS, text)
    (entry,) = rig.call("GET", "/cluster/resources", type="vm")
    assert "hastate" not in entry


def test_the_managers_word_stands_among_the_resources(rig: Rig) -> None:
    with_container(rig)
    status = {"service_status": {"ct:101": {"state": "fence", "node": NODE}}}
    rig.machine.write(ha_routing.STATUS, json.dumps(status))
    (entry,) = rig.call("GET", "/cluster/resources", type="vm")
    assert (entry["hastate"], entry["id"]) == ("fence", "lxc/101")
    assert ha_routing.managed(rig.machine, Guest(CT, "lxc", NODE)) is False
