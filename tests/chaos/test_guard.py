"""The guard: what it refuses, and that redundancy restored means restored and steady."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from chaos.faults.link import LinkDown, SilentLink, SwitchDown, SwitchPortDown
from chaos.guard import STANDARD, FlapError, Guard, NoSwitchLeft, WayBackIn, read_bonds
from chaos.journal import Journal, journal_path
from cluster import deadman
from cluster.errors import DeadlineError, NotApplicableError, RefusedError, UnreachableError
from tests.chaos.world import FakeCluster

FAULT = LinkDown(node="node1", interface="eth0")


def admit(world: FakeCluster, guard: Guard | None = None) -> None:
    (guard or Guard()).admit(world, FAULT, Journal(journal_path(world.site)))


def test_a_whole_cluster_is_admitted(world: FakeCluster) -> None:
    admit(world)


def test_a_leg_that_is_down_anywhere_is_refused(world: FakeCluster) -> None:
    world.nodes["node3"].run("ip link set dev eth1 down")
    with pytest.raises(RefusedError, match="node3: bond0: eth1 is down"):
        admit(world)


def test_a_node_that_does_not_answer_is_refused(world: FakeCluster) -> None:
    world.nodes["node2"].dead = True
    with pytest.raises(RefusedError, match="node2 did not answer"):
        admit(world)


def test_a_switch_that_is_still_armed_is_refused(world: FakeCluster) -> None:
    deadman.arm(world.nodes["node2"], "rackproof-heal-old", 60, "true")
    with pytest.raises(RefusedError, match="node2 still has rackproof-heal-old armed"):
        admit(world)
    assert NoSwitchLeft().before_only


def test_a_bmc_that_is_no_way_back_in_is_refused(world: FakeCluster) -> None:
    world.bmcs["node1"].state = "Off"
    with pytest.raises(RefusedError, match="node1 is Off by its BMC"):
        admit(world)
    world.bmcs["node1"].state = "On"
    world.bmcs["node2"].state = "Off"
    admit(world)
    assert WayBackIn().before_only


def test_further_checks_can_be_added_and_what_they_raise_counts(world: FakeCluster) -> None:
    @dataclass(frozen=True)
    class Quorum:
        name: str = "quorum"
        before_only: bool = False

        def problems(self, cluster: object, fault: object) -> list[str]:
            raise UnreachableError("nobody answers")

    with pytest.raises(RefusedError, match="quorum: nobody answers"):
        admit(world, Guard(extra=(Quorum(),)))
    assert len(Guard(extra=(Quorum(),)).checks) == len(STANDARD) + 1


def test_redundancy_that_does_not_come_back_is_told_with_what_is_lacking(world: FakeCluster) -> None:
    before = read_bonds(world)
    world.nodes["node1"].run("ip link set dev eth0 down")
    guard = Guard(restored_s=0, settle_s=0, sleep=lambda _: None)
    with pytest.raises(DeadlineError, match="within 0 s: node1: bond0: eth0 is down"):
        guard.await_restored(world, FAULT, before, lambda _: None)


def test_a_link_that_failed_more_often_than_the_fault_explains_has_flapped(world: FakeCluster) -> None:
    before = read_bonds(world)
    guard = Guard(settle_s=0, sleep=lambda _: None)
    for _ in range(2):
        world.nodes["node1"].run("ip link set dev eth0 down")
        world.nodes["node1"].run("ip link set dev eth0 up")
    with pytest.raises(FlapError, match="eth0 failed 2 times, 1 explained"):
        guard.await_restored(world, FAULT, before, lambda _: None)


def test_redundancy_must_stay_for_a_while(world: FakeCluster) -> None:
    before = read_bonds(world)
    sleeps: list[float] = []
    Guard(settle_s=0.2, sleep=sleeps.append).await_restored(world, FAULT, before, lambda _: None)
    assert sleeps


def test_only_what_was_lacking_is_asked_again_until_it_is_well_then_all(world: FakeCluster) -> None:
    asked: list[str] = []

    class Says:
        before_only = False

        def __init__(self, name: str, *answers: list[str]) -> None:
            self.name = name
            self.answers = list(answers)

        def problems(self, cluster: Any, fault: Any) -> list[str]:
            asked.append(self.name)
            return self.answers.pop(0) if self.answers else []

    checks = (Says("ceph", ["degraded"], ["degraded"]), Says("links", [], ["a link flaps"]))
    guard = Guard(checks, settle_s=0, sleep=lambda _: None)
    guard.await_restored(world, FAULT, {}, lambda _: None)
    assert asked == ["ceph", "links", "ceph", "ceph", "ceph", "links", "links", "ceph", "links"]


def test_a_kernel_without_netem_is_not_applicable(world: FakeCluster) -> None:
    program = world.nodes["node1"].folder / "bin" / "modprobe"
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(NotApplicableError, match="PF-NETEM"):
        SilentLink(node="node1", interface="eth0").check(world)


def test_a_leg_that_somebody_shapes_is_refused(world: FakeCluster) -> None:
    world.nodes["node1"].run("tc qdisc add dev eth1 clsact")
    with pytest.raises(RefusedError, match="queueing disciplines of its own"):
        SilentLink(node="node1", interface="eth1").check(world)


def test_a_site_without_switches_cannot_have_switch_faults(world: FakeCluster) -> None:
    fault = SwitchPortDown.of(world, "node1")
    world.switches.clear()
    with pytest.raises(NotApplicableError, match="PF-SWITCH"):
        fault.check(world)


def test_the_port_behind_a_leg_is_found_by_its_cable(world: FakeCluster) -> None:
    active, other = SwitchPortDown.of(world, "node2"), SwitchPortDown.of(world, "node2", "other")
    assert active.legs == ("node2 eth0 TwoHundredGigE1/0/2",)
    assert (active.switch, other.switch) == ("sw1", "sw2")
    whole = SwitchDown.of(world, "sw2")
    assert [leg.split()[0] for leg in whole.legs] == ["node1", "node2", "node3"]
    assert {leg.split()[1] for leg in whole.legs} == {"eth1"}
    with pytest.raises(RefusedError, match="no node is cabled"):
        SwitchDown.of(world, "sw9")
