"""The guard's part for Ceph: what it refuses, awaits and clears, and when it keeps out of it."""

from __future__ import annotations

import pytest

from chaos import guard_ceph
from chaos.engine import Engine
from chaos.faults.link import LinkDown
from chaos.faults.mon import MgrKilled, MonKilled
from chaos.faults.osd import NodeOsdsDown, OsdKilled, PoolAtMinSize
from chaos.guard import Guard
from chaos.guard_ceph import CephWhole, indispensable
from chaos.journal import Journal, journal_path
from cluster.errors import DeadlineError, NotApplicableError, RefusedError
from tests.chaos.world import FakeCluster

OSD = OsdKilled(node="node1", osd="0")
LINK = LinkDown(node="node1", interface="eth0")


def admit(world: FakeCluster, fault: OsdKilled | LinkDown | MonKilled = OSD) -> None:
    Guard(extra=guard_ceph.checks()).admit(world, fault, Journal(journal_path(world.site)))


def stop(world: FakeCluster, unit: str) -> None:
    for node in world.nodes.values():
        node.run(f"[ ! -e $WORLD/ceph/services/{unit} ] || echo failed > $WORLD/ceph/services/{unit}")


def test_a_whole_ceph_is_admitted(world: FakeCluster) -> None:
    admit(world)
    assert "osd ok-to-stop" in world.ceph.asked


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("ceph-osd@3.service", r"OSDs 3 \(down\) are not up and in; 64 of 64 placement groups are not clean"),
        ("ceph-mon@node2.service", "monitors node2 are not in the quorum"),
    ],
)
def test_what_is_down_is_refused(world: FakeCluster, unit: str, said: str) -> None:
    stop(world, unit)
    with pytest.raises(RefusedError, match=said):
        admit(world)


def test_warnings_flags_and_mutes_are_refused(world: FakeCluster) -> None:
    world.ceph.checks["OSD_NEARFULL"] = "1 nearfull osd(s)"
    world.ceph.flags.append("norebalance")
    world.ceph.mutes.append("PG_DEGRADED")
    with pytest.raises(RefusedError) as refused:
        admit(world)
    for text in ("OSD_NEARFULL: 1 nearfull", "PG_DEGRADED is muted", "Ceph has norebalance set"):
        assert text in str(refused.value)


def test_warnings_that_cost_no_redundancy_are_let_pass(world: FakeCluster) -> None:
    world.ceph.checks |= {
        "POOL_TOO_FEW_PGS": "few",
        "RECENT_CRASH": "1 daemon",
        "BLUESTORE_SLOW_OP_ALERT": "one",
    }
    admit(world)


def test_what_ceph_cannot_do_without_is_refused(world: FakeCluster) -> None:
    world.ceph.min_size = 3
    with pytest.raises(RefusedError, match=r"cannot do without OSDs 0: unsafe to stop osd\(s\)"):
        admit(world)
    assert indispensable(world, (), "node1") == []
    assert indispensable(world, ()) == []


def test_a_second_node_s_osd_is_refused_by_ceph_itself_while_one_node_s_are_down(world: FakeCluster) -> None:
    engine = Engine(world, Guard(settle_s=0, sleep=world.sleep, extra=guard_ceph.checks()), sleep=world.sleep)
    with engine.fault(PoolAtMinSize(node="node1", osds=("0", "1"))):
        assert "2 PGs are or would become offline" in indispensable(world, (2,))[0]
        with pytest.raises(RefusedError, match="a fault is in already"):
            engine.begin(OsdKilled(node="node2", osd="2"))


def test_pools_that_would_stop_are_refused_and_those_with_more_copies_are_no_case(world: FakeCluster) -> None:
    fault = PoolAtMinSize(node="node1", osds=("0", "1"))
    fault.check(world)
    world.ceph.min_size = 3
    with pytest.raises(RefusedError, match="rbd-vms would stop"):
        fault.check(world)
    world.ceph.min_size = 1
    with pytest.raises(NotApplicableError, match="PF-MIN-SIZE"):
        fault.check(world)


def test_some_osds_of_a_node_are_not_all(world: FakeCluster) -> None:
    with pytest.raises(RefusedError, match="OSD 1 of node1 would live on"):
        NodeOsdsDown(node="node1", osds=("0",)).check(world)


def test_it_waits_until_the_standby_is_back(world: FakeCluster) -> None:
    guard = Guard(settle_s=0, restored_s=0, sleep=lambda _: None, extra=guard_ceph.checks())
    fault = MgrKilled(node="node1")
    guard.admit(world, fault, Journal(journal_path(world.site)))
    stop(world, "ceph-mgr@node1.service")
    with pytest.raises(DeadlineError, match="1 managers stand by, 2 did before"):
        guard.await_restored(world, fault, {}, lambda _: None)


def test_what_only_time_would_clear_is_cleared(world: FakeCluster) -> None:
    check = CephWhole()
    assert check.problems(world, OSD) == []
    world.ceph.checks |= {"RECENT_CRASH": "1 daemons have crashed", "BLUESTORE_SLOW_OP_ALERT": "1 OSD(s)"}
    world.ceph.details["BLUESTORE_SLOW_OP_ALERT"] = ["osd.4 observed slow operation indications in BlueStore"]
    assert len(check.problems(world, OSD)) == 2
    assert check.problems(world, OSD) == []
    told = [each for each in world.ceph.told if each["prefix"].startswith(("config", "crash"))]
    assert [(each["prefix"], each["target"]) for each in told][:2] == [
        ("crash archive-all", "mgr"), ("config set", "osd.4"),
    ]  # fmt: skip
    assert ("config unset", "osd.4") in [(each["prefix"], each["target"]) for each in told]


def test_crashes_are_not_archived_while_something_else_is_wrong(world: FakeCluster) -> None:
    check = CephWhole()
    assert check.problems(world, OSD) == []
    world.ceph.checks |= {"RECENT_CRASH": "1 daemons have crashed", "OSD_NEARFULL": "1 nearfull"}
    check.problems(world, OSD)
    assert "crash archive-all" not in world.ceph.asked


def test_a_fault_of_the_network_asks_for_ceph_only_where_it_runs(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_ceph, "_configured", lambda _: False)
    stop(world, "ceph-osd@3.service")
    admit(world, LINK)
    assert world.ceph.asked == []
    monkeypatch.setattr(guard_ceph, "_configured", lambda _: True)
    with pytest.raises(RefusedError, match=r"OSDs 3 \(down\)"):
        admit(world, LINK)
    world.site = world.site.model_copy(update={"ceph": None})
    admit(world, LINK)


def test_after_a_fault_of_the_network_ceph_must_be_whole_if_it_was(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_ceph, "_configured", lambda _: True)
    check = CephWhole()
    assert check.problems(world, LINK) == []
    stop(world, "ceph-osd@3.service")
    assert check.problems(world, LINK)
