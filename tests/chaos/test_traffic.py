"""What the faults of traffic send to a node: filters that match exactly, and the controller spared."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.engine import Engine
from chaos.fault import Fault, FaultError, catalogue
from chaos.faults.clock import ClockStep
from chaos.faults.dns import DnsGone
from chaos.faults.latency import Latency
from chaos.faults.loss import Loss
from chaos.faults.mtu import MtuBlackHole
from chaos.faults.partition import KNET, CorosyncPartition, Partition
from chaos.faults.rate import RateLimit
from chaos.faults.reorder import Reorder
from chaos.faults.services import CorosyncKilled, PveproxyKilled
from chaos.faults.traffic import TrafficFault, within
from chaos.guard import Guard
from cluster.errors import NotApplicableError, RefusedError, UnreachableError
from tests.chaos.world import FakeCluster

TRAFFIC = [kind for kind in catalogue().values() if issubclass(kind, TrafficFault)]
fields = st.integers(0, 0xFFFF)


def admits(matches: list[str], value: int) -> int:
    """How many of the u32 matches a 16 bit field satisfies."""
    found = 0
    for match in matches:
        want, mask = re.fullmatch(r"match u16 (0x\w+) (0x\w+) at 2", match).groups()  # type: ignore[union-attr]
        found += value & int(mask, 16) == int(want, 16)
    return found


@settings(max_examples=300)
@given(low=fields, high=fields, value=fields)
def test_a_range_is_matched_exactly_and_each_value_once(low: int, high: int, value: int) -> None:
    matches = list(within(low, high, 2))
    assert len(matches) <= 30
    assert admits(matches, value) == (low <= value <= high)


@pytest.mark.parametrize(("low", "high"), [(0, 0xFFFF), (0, 0), (0xFFFF, 0xFFFF), KNET, (1001, 0xFFFF)])
def test_the_ends_of_a_range_belong_to_it(low: int, high: int) -> None:
    matches = list(within(low, high, 2))
    assert [admits(matches, value) for value in (low, high)] == [1, 1]
    assert not any(admits(matches, value) for value in (low - 1, high + 1) if 0 <= value <= 0xFFFF)


def addresses_of(script: str) -> set[str]:
    return set(re.findall(r"match ip (?:src|dst) ([\d.]+)/32", script))


@pytest.mark.parametrize("kind", TRAFFIC, ids=lambda kind: kind.kind)
def test_only_named_addresses_are_touched_and_never_the_whole_interface(
    kind: type[TrafficFault], world: FakeCluster
) -> None:
    fault = kind.draw(world, Random(3))
    script = fault.break_script()
    known = {str(spec.address) for spec in world.site.nodes}
    known |= {str(spec.ring.address) for spec in world.site.nodes if spec.ring}
    resolvers = {str(each) for each in world.site.dns}
    assert addresses_of(script) and addresses_of(script) <= (
        resolvers if isinstance(fault, DnsGone) else known
    )
    own = world.site.node(fault.node)
    assert str(own.address) not in addresses_of(script)
    filters = [line for line in script.splitlines() if line.startswith("filter add")]
    assert filters and all("/32" in line for line in filters), "a filter without an address takes SSH with it"
    if isinstance(fault, DnsGone):  # the resolver may be the controller: nothing but port 53
        assert all(re.search(r"match ip protocol (6|17) 0xff match u16 0x0035 0xffff", f) for f in filters)
    assert not fault.may_isolate or fault.resets, "the node may reset itself, and is never cut off by this"


def test_a_partition_is_on_all_networks_of_nodes_and_from_named_peers_alone(world: FakeCluster) -> None:
    drawn = [Partition.draw(world, Random(seed)) for seed in range(20)]
    assert {len(fault.peers) for fault in drawn} == {1, 2}
    for fault in drawn:
        assert fault.node not in fault.peers
        assert fault.interfaces == ("bond0.6", "ring0")
        assert len(fault.paths) == 2 * len(fault.peers)
    script = CorosyncPartition.draw(world, Random(1)).break_script()
    assert all("match ip protocol 17" in line for line in script.splitlines() if line.startswith("filter"))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (Latency, {"delay_ms": 0.0}), (Latency, {"delay_ms": 10.0, "jitter_ms": 11.0}),
        (Loss, {"percent": 60.0}),
        (MtuBlackHole, {"largest": 100.0}), (ClockStep, {"step_ms": 5000.0}), (ClockStep, {"step_ms": 0.0}),
        (Reorder, {"percent": 100.0}), (RateLimit, {"mbit": 0.0}),
    ],
)  # fmt: skip
def test_what_would_harm_or_show_nothing_is_refused(kind: Any, more: dict[str, float]) -> None:
    given = {} if kind is ClockStep else {"paths": ("bond0.6 10.6.0.12",)}
    with pytest.raises(FaultError, match="expected"):
        kind(node="node1", **given, **more)


def test_a_node_without_tc_is_not_applicable(world: FakeCluster) -> None:
    fault = Latency.draw(world, Random(1))
    program = world.nodes[fault.node].folder / "bin" / "modprobe"
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(NotApplicableError, match="PF-TC"):
        fault.check(world)


def test_a_queue_of_somebody_else_is_not_removed(world: FakeCluster) -> None:
    fault = Loss.draw(world, Random(1))
    (world.nodes[fault.node].folder / "traffic/bond0.6/netem").write_text("delay 1ms\n")
    with pytest.raises(RefusedError, match="of its own"):
        fault.check(world)
    world.nodes[fault.node].run(fault.heal_script())
    assert (world.nodes[fault.node].folder / "traffic/bond0.6/netem").exists()


def test_a_half_made_break_is_healed(world: FakeCluster) -> None:
    """The second device refuses: what was made on the first goes."""
    fault = Partition(node="node1", peers=("node2",), paths=("bond0.6 10.6.0.12", "ring9 10.7.0.12"))
    node = world.nodes["node1"]
    with pytest.raises(Exception, match="ring9"):
        fault.inject(world, "0a1b2c3d")
    assert (node.folder / "traffic/bond0.6/clsact").exists()
    node.run(fault.heal_script(), check=False)
    assert not (node.folder / "traffic/bond0.6/clsact").exists()


def test_the_clock_is_healed_without_a_time_server(world: FakeCluster) -> None:
    fault = ClockStep(node="node1", step_ms=300.0)
    node = world.nodes["node1"]
    fault.inject(world, "0a1b2c3d")
    assert node.seen()["traffic/clock"] == "300000000\n" and fault.injected(world, "0a1b2c3d")
    assert node.seen()["traffic/chrony"] == "offline\n"
    with pytest.raises(RefusedError, match="stepped already"):
        fault.check(world)
    fault.heal(world, "0a1b2c3d")
    assert node.seen()["traffic/clock"] == "0\n" and node.seen()["traffic/chrony"] == "online\n"
    assert fault.healed(world)


def test_a_clock_that_is_not_synchronised_is_left_alone(world: FakeCluster) -> None:
    (world.nodes["node1"].folder / "bin/chronyc").write_text(
        "#!/bin/sh\necho 00000000,,0,0,0,0,0,0,0,0,0,0,0,x\n"
    )
    with pytest.raises(RefusedError, match="not synchronised"):
        ClockStep(node="node1").check(world)


def test_a_service_that_does_not_run_is_not_applicable_one_that_failed_is_refused(world: FakeCluster) -> None:
    services = world.nodes["node1"].folder / "ceph/services"
    (services / "corosync.service").write_text("inactive\n")
    with pytest.raises(NotApplicableError, match="build phase 3"):
        CorosyncKilled(node="node1").check(world)
    (services / "pveproxy.service").write_text("failed\n")
    with pytest.raises(RefusedError, match="failed free"):
        PveproxyKilled(node="node1").check(world)


@pytest.mark.parametrize("kind", ["latency", "partition", "clock-step", "corosync-killed"])
def test_an_unreachable_node_is_told_as_such(kind: str, world: FakeCluster) -> None:
    fault: Fault = catalogue()[kind].draw(world, Random(1))
    world.nodes[fault.nodes[0]].dead = True
    with pytest.raises(UnreachableError):
        fault.check(world)


def test_the_same_node_in_a_plan_is_the_same_fault(world: FakeCluster) -> None:
    for kind in catalogue().values():
        for name in kind.candidates(world.site)[:1]:
            try:
                first = kind.aimed(world, name, Random(5))
            except NotApplicableError:
                continue
            assert first == kind.aimed(world, name, Random(5))
            struck = (*first.nodes, getattr(first, "switch", ""), getattr(first, "guest", ""))
            assert name.split()[0] in struck


def test_a_drill_of_each_kind_of_traffic_leaves_nothing(world: FakeCluster, tmp_path: Path) -> None:
    before = world.nodes["node2"].seen()
    engine = Engine(world, Guard(settle_s=0, sleep=world.sleep), sleep=world.sleep)
    for kind in (Loss, MtuBlackHole):
        with engine.fault(kind.aimed(world, "node2", Random(1))):
            assert world.nodes["node2"].seen() != before
        assert world.nodes["node2"].seen() == before
