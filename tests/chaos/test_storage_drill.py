"""A storage drill from drawing to closing; ledger and watch are faked, the engine is not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from chaos import storage_drill
from chaos.ceph_watch import CephWatch, Moment, Sample
from chaos.engine import Engine
from chaos.faults.mon import MdsKilled, MgrKilled, MonLeaderKilled
from chaos.faults.osd import NodeOsdsDown, OsdKilled, OsdOut
from chaos.guard import Guard
from chaos.guard_ceph import checks
from chaos.storage_drill import StorageDrill, latencies
from cluster.errors import DeadlineError, RefusedError, UnknownError
from tests.chaos.world import FakeCluster


class FakeWatch(CephWatch):
    """Looks at the fake Ceph when it is asked."""

    def start(self) -> None:
        self.node = self._nodes[0].name
        self._cluster: Any = FakeWatch.cluster
        self.samples()

    def samples(self) -> list[Sample]:
        now = time.monotonic()
        state = storage_drill.guard_ceph.ceph_state.read(self._cluster)
        up = frozenset(osd.id for osd in state.osds.values() if osd.up)
        in_ = frozenset(osd.id for osd in state.osds.values() if osd.in_)
        self._samples.append(
            Sample(now, time.monotonic(), None, up, in_, frozenset(state.quorum), state.leader, state.mgr,
                   state.mds, state.pgs)
        )  # fmt: skip
        return list(self._samples)


class FakeLedger:
    """Keeps which node wrote; its report is set by a test."""

    made: ClassVar[list[FakeLedger]] = []
    stall_s = 1.0

    def __init__(self, cluster: Any, node: str, targets: tuple[str, ...], say: Any) -> None:
        self.node, self.targets, self.events = node, targets, ["made"]
        self.now = SimpleNamespace(
            longest_gap=(), acknowledged=dict.fromkeys(targets, 5), certain=lambda: (), outages=()
        )
        FakeLedger.made.append(self)

    def start(self) -> None:
        self.events.append("started")

    def report(self) -> Any:
        return self.now

    def stop(self) -> Any:
        self.events.append("stopped")
        return self.now

    def verify(self) -> Any:
        self.events.append("verified")
        return self.now

    def close(self) -> tuple[str, ...]:
        self.events.append("closed")
        return ()


@pytest.fixture
def drill(world: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> StorageDrill:
    FakeLedger.made.clear()
    FakeWatch.cluster = world  # type: ignore[attr-defined]
    monkeypatch.setattr(storage_drill, "Ledger", FakeLedger)
    monkeypatch.setattr(storage_drill, "CephWatch", FakeWatch)
    monkeypatch.setattr(storage_drill, "CALM_S", 0.0)
    monkeypatch.setattr(storage_drill, "PATIENCE_S", 0.0)
    guard = Guard(settle_s=0, sleep=world.sleep, extra=checks())
    return StorageDrill(world, Engine(world, guard, sleep=world.sleep), Random(3), lambda _: None)


def test_from_the_draw_to_the_end(drill: StorageDrill, world: FakeCluster) -> None:
    drill.strike(OsdKilled)
    (ledger,) = FakeLedger.made
    assert ledger.node not in drill.fault.nodes
    assert ledger.targets == ("rbd:rbd-vms", "cephfs:cephfs")
    assert drill.looked.node not in drill.fault.nodes
    down = drill.await_down(5)
    assert down.t_s >= drill.broken_s
    assert drill.blur_s(down) <= down.t_s - drill.broken_s
    assert drill.restore().t_s >= (drill.opened.healed_s or 0)
    drill.verify()
    assert drill.finish_scrub() >= 1
    drill.close()
    drill.close()
    assert ledger.events == ["made", "started", "verified", "closed"]
    assert drill.struck == set(drill.fault.osd_ids)
    assert world.switches_left() == []
    course = drill.drawing()
    assert course is not None
    labels = [label for _, label in course.events]
    assert any(label.startswith("osd.") and label.endswith(" down") for label in labels)
    assert labels == [label for _, label in sorted(course.events, key=lambda event: event[0])]


def test_osds_that_fell_before_are_spared_while_others_are_left(
    drill: StorageDrill, world: FakeCluster
) -> None:
    everyone = set(world.ceph.osds())
    drill.struck |= everyone - {4}
    drill.strike(OsdKilled)
    assert drill.fault.osd_ids == (4,)
    drill.close()


def test_when_all_fell_one_falls_again(drill: StorageDrill, world: FakeCluster) -> None:
    drill.struck |= set(world.ceph.osds())
    drill.strike(NodeOsdsDown)
    assert len(drill.fault.osd_ids) == 2
    drill.close()


def test_what_the_guard_refuses_leaves_no_ledger_behind(drill: StorageDrill, world: FakeCluster) -> None:
    world.ceph.flags.append("noout")
    with pytest.raises(RefusedError, match="noout set"):
        drill.strike(OsdOut)
    drill.close()
    assert FakeLedger.made[0].events[-1] == "closed"
    assert drill.drawing() is None
    with pytest.raises(UnknownError, match="nothing was seen broken"):
        drill.restore()


@pytest.mark.parametrize(
    ("kind", "least", "pause"), [(MonLeaderKilled, 7, 0), (MgrKilled, 28, 0), (MdsKilled, 11, 11)]
)
def test_predictions_fit_the_fault(drill: StorageDrill, kind: Any, least: float, pause: float) -> None:
    drill.strike(kind)
    assert drill.expected().least_s == least
    assert drill.expected_pause().least_s == pause
    assert (drill.expected_pause().most_s == 0) is (pause == 0)
    assert drill.expected_out().least_s == 600
    drill.close()


def test_a_disk_is_slow_only_by_comparison(drill: StorageDrill, world: FakeCluster, monkeypatch: Any) -> None:
    monkeypatch.setattr(storage_drill, "SLOW_S", 0.0)
    drill.strike(OsdKilled)
    victim = drill.fault.osd_ids[0]
    drill.commit_ms = drill.commits()
    world.ceph.commit_ms = dict.fromkeys(world.ceph.osds(), 40.0)
    with pytest.raises(DeadlineError, match="its commits take 40 ms, 40 ms are usual"):
        drill.await_slow()
    world.ceph.commit_ms[victim] = 400.0
    assert drill.await_slow() == (400.0, 40.0)
    drill.close()


def test_writes_that_hang_are_waited_for_until_the_deadline(drill: StorageDrill) -> None:
    drill.strike(OsdKilled)
    hanging = SimpleNamespace(ended=False, least_s=3.0)
    FakeLedger.made[0].now.longest_gap = (hanging,)
    assert drill.await_writes(0.0).longest_gap == (hanging,)
    drill.close()


def test_time_out_cannot_be_told_before_down(drill: StorageDrill) -> None:
    drill.strike(OsdKilled)
    with pytest.raises(UnknownError, match="not seen down"):
        drill.await_out(1)
    drill.down = Moment(drill.broken_s, 0.0)
    with pytest.raises(DeadlineError, match="out by Ceph's map: not seen within 0 s"):
        drill.await_out(0)
    drill.close()


def test_data_is_elsewhere_once_nobody_lists_it_there(
    drill: StorageDrill, world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill.strike(OsdOut)
    answers = iter([["1.0"], ["1.1"], []])
    monkeypatch.setattr(storage_drill.scrub, "held", lambda cluster, osds: next(answers))
    monkeypatch.setattr(storage_drill.time, "sleep", lambda seconds: None)
    began = time.monotonic()
    found = drill.await_elsewhere(began, 60)
    assert found.t_s >= began and found.resolution_s >= storage_drill.STATS_S / 2
    monkeypatch.setattr(storage_drill.scrub, "held", lambda cluster, osds: ["1.0"])
    with pytest.raises(DeadlineError, match="1 placement groups are not placed elsewhere within 0 s"):
        drill.await_elsewhere(time.monotonic() - 1, 0)
    drill.close()


def test_latencies_are_those_of_the_stretch() -> None:
    def second(t: float, p95: float, most: float) -> Mapping[str, float] | Any:
        return SimpleNamespace(t_s=t, p95=p95, max=most)

    report: Any = SimpleNamespace(latency_per_second=(second(1, 1, 2), second(2, 5, 9), second(3, 7, 8)))
    assert latencies(report, 2, 4) == (7, 9)
    assert latencies(report, 4, 9) is None
