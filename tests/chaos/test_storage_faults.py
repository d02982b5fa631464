"""What is particular to faults of Ceph's parts, beyond the contract that every fault keeps."""

from __future__ import annotations

from random import Random

import pytest

from chaos.engine import Engine
from chaos.fault import Fault
from chaos.faults import storage
from chaos.faults.disk import LATER_S, OsdDiskPulled, OsdDiskRemoved, SlowDisk
from chaos.faults.mon import MdsKilled, MonKilled, MonLeaderKilled
from chaos.faults.osd import NodeOsdsDown, OsdKilled, OsdOut
from chaos.faults.services import CorosyncKilled
from chaos.guard import Guard
from chaos.journal import Journal, State, journal_path, recover
from cluster import deadman
from cluster.errors import NotApplicableError, RefusedError
from cluster.node import CommandError
from tests.chaos.world import FakeCluster

DRILL = "0a1b2c3d"
OSD = OsdKilled(node="node1", osd="0")
DISK = {"node": "node1", "osd": "0", "serial": "DATA101"}


def test_a_killed_daemon_stays_down_though_somebody_starts_it(world: FakeCluster) -> None:
    OSD.prepare(world, DRILL)
    OSD.inject(world, DRILL)
    world.nodes["node1"].run("systemctl start ceph-osd@0.service", check=False)
    assert OSD.injected(world, DRILL)
    OSD.heal(world, DRILL)
    assert OSD.healed(world)


def test_a_daemon_that_systemd_starts_again_is_not_seen_broken(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_DROP_IN", "elsewhere.conf")
    OSD.prepare(world, DRILL)
    OSD.inject(world, DRILL)
    assert not OSD.injected(world, DRILL)


@pytest.mark.parametrize("kind", [OsdKilled, MonLeaderKilled, CorosyncKilled])
def test_the_break_is_the_kill_alone_for_its_time_is_the_drill_s(
    kind: type[Fault], world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = kind.draw(world, Random(1))
    fault.prepare(world, DRILL)
    assert not fault.injected(world, DRILL) and not fault.healed(world)  # it runs on, held
    scripts: list[str] = []
    node = world.nodes[fault.nodes[0]]
    run = node.run
    monkeypatch.setattr(node, "run", lambda script, **more: (scripts.append(script), run(script, **more))[1])
    fault.inject(world, DRILL)
    (killed,) = scripts
    assert "systemctl kill" in killed and "daemon-reload" not in killed
    assert fault.injected(world, DRILL)


@pytest.mark.parametrize("kind", [OsdKilled, NodeOsdsDown, CorosyncKilled])
def test_a_daemon_that_is_held_and_not_killed_is_let_go(kind: type[Fault], world: FakeCluster) -> None:
    fault = kind.draw(world, Random(1))
    journal = Journal(journal_path(world.site))
    drill = journal.begin(fault)
    journal.advance(drill, State.BREAKING, fault.arm(world, drill))
    fault.prepare(world, drill)
    (done,) = recover(world, Journal(journal.path))  # as after a harness that was killed there
    assert done.healed, done.detail
    assert fault.healed(world)


@pytest.mark.parametrize("kind", [OsdKilled, CorosyncKilled])
def test_a_daemon_that_is_not_held_is_not_killed(kind: type[Fault], world: FakeCluster) -> None:
    fault = kind.draw(world, Random(1))
    with pytest.raises(CommandError, match="is not held"):
        fault.inject(world, DRILL)
    assert fault.healed(world)


def test_victims_are_checked_to_be_up_and_where_ceph_says(world: FakeCluster) -> None:
    with pytest.raises(RefusedError, match="OSD 0 lives on node1 and not on node2"):
        OsdKilled(node="node2", osd="0").check(world)
    with pytest.raises(RefusedError, match="Ceph knows no OSD 77"):
        OsdKilled(node="node1", osd="77").check(world)
    world.nodes["node1"].run("echo failed > $WORLD/ceph/services/ceph-osd@0.service")
    with pytest.raises(RefusedError, match="OSD 0 is down already"):
        OSD.check(world)
    world.nodes["node1"].run("mkdir -p $WORLD/ceph/units/ceph-osd@1.service.d")
    world.nodes["node1"].run("touch $WORLD/ceph/units/ceph-osd@1.service.d/rackproof.conf")
    with pytest.raises(RefusedError, match=r"ceph-osd@1\.service is active held by systemd"):
        OsdKilled(node="node1", osd="1").check(world)


def test_victims_rotate_with_the_seed(world: FakeCluster) -> None:
    assert len({OsdKilled.draw(world, Random(seed)).osd for seed in range(20)}) > 3


def test_the_leader_is_the_leader_and_the_other_is_not(world: FakeCluster) -> None:
    assert MonLeaderKilled.draw(world, Random(1)).node == "node1"
    assert {MonKilled.draw(world, Random(seed)).node for seed in range(10)} == {"node2", "node3"}
    with pytest.raises(RefusedError, match=r"mon\.node1 leads"):
        MonKilled(node="node1").check(world)
    with pytest.raises(RefusedError, match=r"mon\.node2 does not lead"):
        MonLeaderKilled(node="node2").check(world)


def test_without_a_quorum_to_spare_or_a_standby_nothing_is_killed(world: FakeCluster) -> None:
    world.nodes["node3"].run("echo failed > $WORLD/ceph/services/ceph-mon@node3.service")
    with pytest.raises(RefusedError, match="1 of 3 monitors are no quorum"):
        MonKilled(node="node2").check(world)
    for name in ("node2", "node3"):
        world.nodes[name].run(f"echo failed > $WORLD/ceph/services/ceph-mds@{name}.service")
    with pytest.raises(RefusedError, match="no metadata server stands by"):
        MdsKilled(node="node1").check(world)


def test_an_osd_that_is_out_already_is_not_taken_out(world: FakeCluster) -> None:
    fault = OsdOut(node="node1", osd="0")
    fault.inject(world, DRILL)
    assert fault.injected(world, DRILL)
    with pytest.raises(RefusedError, match="OSD 0 is out already"):
        fault.check(world)


def test_a_drive_that_has_gone_takes_its_osd_along_and_comes_back_mapped(world: FakeCluster) -> None:
    fault = OsdDiskRemoved(**DISK)
    fault.inject(world, DRILL)
    assert fault._look(world) == ("gone", "stale", "failed")
    assert OsdDiskRemoved(node="node1", osd="1", serial="DATA102").healed(world)
    fault.heal(world, DRILL)
    assert fault._look(world) == ("present", "mapped", "active")


def test_a_drive_that_does_not_come_back_is_an_error(world: FakeCluster) -> None:
    fault = OsdDiskRemoved(**DISK)
    world.hands.pull_drive("node1", "DATA101")
    with pytest.raises(CommandError, match="drive DATA101 did not come back"):
        fault.heal(world, DRILL)


def test_only_the_drive_that_ceph_and_the_site_name_is_removed(world: FakeCluster) -> None:
    with pytest.raises(RefusedError, match=r"osd\.0 lives on another drive"):
        OsdDiskRemoved(node="node1", osd="0", serial="DATA102").check(world)
    with pytest.raises(CommandError, match="no NVMe drive has serial number DATA999"):
        OsdDiskRemoved(node="node1", osd="0", serial="DATA999").inject(world, DRILL)


def test_the_node_s_own_switch_waits_until_hands_have_pushed_the_drive_back(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(deadman, "arm", lambda node, unit, seconds, script: asked.append(seconds))
    fault = OsdDiskPulled(**DISK, deadman_s=100.0)
    fault.arm(world, DRILL)
    assert asked == [100.0 + LATER_S]
    assert world.hands.armed_pushes() == [DRILL]


def test_without_hands_no_drive_is_pulled(world: FakeCluster) -> None:
    world.site = world.site.model_copy(update={"hands": None})
    with pytest.raises(NotApplicableError, match="PF-HANDS"):
        OsdDiskPulled(**DISK).check(world)


def test_a_slow_disk_has_the_limit_asked_for_and_is_not_dead(world: FakeCluster) -> None:
    fault = SlowDisk(**DISK, iops=7.0)
    fault.inject(world, DRILL)
    assert (
        world.nodes["node1"]
        .run("cat $WORLD/ceph/sys/fs/cgroup/*/io.max")
        .stdout.endswith("riops=7 wiops=7\n")
    )
    assert fault._look(world) == ("present", "mapped", "active")
    with pytest.raises(RefusedError, match="has a limit already"):
        fault.check(world)
    with pytest.raises(RefusedError, match="expected 1 or more"):
        SlowDisk(**DISK, iops=0.5).check(world)


def test_a_kernel_without_limits_cannot_have_a_slow_disk(world: FakeCluster) -> None:
    world.nodes["node1"].run("echo cpu memory > $WORLD/ceph/sys/fs/cgroup/cgroup.controllers")
    with pytest.raises(NotApplicableError, match="PF-IO-MAX"):
        SlowDisk(**DISK).check(world)


def test_a_storage_fault_has_longer_to_be_seen_than_a_link(world: FakeCluster) -> None:
    assert OSD.inject_s > 20
    assert OSD.heal_s > 30
    engine = Engine(world, Guard(settle_s=0, sleep=world.sleep), sleep=world.sleep)
    with engine.fault(OSD) as window:
        assert window.predicted is None
    assert window.restored_s is not None
