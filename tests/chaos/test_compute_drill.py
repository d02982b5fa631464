"""A compute drill from drawing to closing; what hears the guests is faked, faults and engine are not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from chaos import compute_drill, compute_judge, fencing_record, predict_ha
from chaos.ceph_watch import Moment
from chaos.compute_drill import ComputeDrill, kept
from chaos.compute_judge import Anew
from chaos.engine import Engine
from chaos.faults.bmc_route import NodeLostBmcUnreachable
from chaos.faults.guest import GuestCrash, GuestServiceDead
from chaos.faults.kernel import KernelCrash, KernelHang
from chaos.faults.maintenance import NodeMaintenance
from chaos.faults.power import NodePowerLost, TwoNodesLost
from chaos.faults.rings import AllRingsDown, CorosyncCut
from chaos.guard import Guard
from chaos.heartbeats_record import Beat, Event, Record, Sight, assemble
from cluster.errors import DeadlineError, NotApplicableError, RefusedError, UnknownError
from tests.chaos.world import FakeCluster

TIMES = predict_ha.HaTimes(3.65, 4.38, 10.0, "node1")
SECOND = 1_000_000_000


class FakeBeats:
    """Hears both guests on node1 since long ago; a test adds what comes later."""

    made: ClassVar[list[FakeBeats]] = []

    def __init__(self, cluster: Any, guests: Any, *, avoid: Any, path: Any, say: Any) -> None:
        self.guests = {guest.name: guest.sid for guest in guests}
        self.nodes, self.avoid, self.stopped = tuple(cluster.nodes), tuple(avoid), 0
        self.since_ns = time.monotonic_ns()
        self.events: list[Event] = []
        FakeBeats.made.append(self)

    def start(self) -> None:
        for node in self.nodes:
            self.see(node, "kernel 0", self.guests if node == "node1" else {})
        for guest in self.guests:
            self.beat(guest, "boot 0", 1)

    def see(self, node: str, kernel: str, running: Any) -> None:
        now = time.monotonic_ns()
        instances = dict.fromkeys(running, f"1 of {node}")
        self.events.append(Sight(node, kernel, now - 10, now, now, now, now, now, 1, 0, instances))

    def beat(self, guest: str, boot: str, counter: int) -> None:
        now = time.monotonic_ns()
        self.events.append(Beat("controller", guest, now, now + 1000, boot, counter))

    @property
    def record(self) -> Record:
        now = time.monotonic_ns() + 1000
        return assemble(self.guests, self.nodes, SECOND, self.since_ns, now, self.events)

    def until(self, is_so: Callable[[Record], bool], deadline_s: float, what: str) -> Record:
        assert deadline_s >= 0
        if not is_so(self.record):
            raise DeadlineError(f"{what}: not seen within {deadline_s:g} s")
        return self.record

    def stop(self) -> Record:
        self.stopped += 1
        return self.record


@pytest.fixture
def drill(world: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> ComputeDrill:
    FakeBeats.made.clear()
    monkeypatch.setattr(compute_drill, "Heartbeats", FakeBeats)
    monkeypatch.setattr(compute_drill, "CALM_S", 0.0)
    monkeypatch.setattr(compute_drill, "PATIENCE_S", 0.0)
    monkeypatch.setattr(compute_drill, "_POLL_S", 0.01)
    monkeypatch.setattr(compute_drill, "read_times", lambda cluster, node: TIMES)
    monkeypatch.setattr(fencing_record, "RECORD", "$WORLD/fencing/said")
    engine = Engine(world, Guard(settle_s=0, sleep=world.sleep), sleep=lambda _: None)
    return ComputeDrill(world, engine, Random(3), lambda _: None)


def heard() -> FakeBeats:
    (beats,) = FakeBeats.made
    return beats


def test_from_the_draw_to_the_end(drill: ComputeDrill, world: FakeCluster) -> None:
    drill.strike(NodePowerLost)
    assert drill.struck == ("node1",), "no other node runs guests"
    assert heard().avoid == ("node1",)
    assert drill.was_master and drill.expected().least_s == 165
    assert drill.victims() == ("beat-ct", "beat-vm")
    assert drill.expected().most_s == 185 + predict_ha.START_S + predict_ha.MOUNT_S, (
        "a container is among them"
    )
    with pytest.raises(DeadlineError, match="beat-ct, beat-vm answering again after node-power-lost"):
        drill.await_new_boots(0.0)
    heard().see("node2", "kernel 0", drill.victims())
    for guest in drill.victims():
        heard().beat(guest, "boot 1", 2)
    courses = drill.await_new_boots(0.0)
    assert {(course.origin, course.target) for course in courses.values()} == {("node1", "node2")}
    assert world.bmcs["node1"].sent == ["ForceOff"]
    assert drill.restore() >= drill.broken_s
    assert world.bmcs["node1"].sent == ["ForceOff", "On"]
    heard().see("node1", "kernel 1", {})
    assert drill.await_anew(["node1"], 60)["node1"].kernel == "kernel 1"
    drill.close()
    drill.close()
    assert heard().stopped == 1
    assert world.switches_left() == []


@pytest.mark.parametrize(
    ("kind", "more", "struck", "avoid", "least", "most"),
    [
        (NodePowerLost, {}, 1, 1, 165, 257),
        (KernelCrash, {}, 1, 1, 0, 387),
        (KernelHang, {}, 1, 1, 0, 387),
        (CorosyncCut, {}, 1, 1, 50, 377 + (predict_ha.self_reset(TIMES).most_s or 0)),
        (NodeLostBmcUnreachable, {}, 1, 1, 165, 257),
        (TwoNodesLost, {"consent": True}, 2, 2, 165, 257),
        (AllRingsDown, {"consent": True}, 3, 0, 165, 257),
        (GuestCrash, {}, 0, 0, 0, 50),
        (NodeMaintenance, {}, 1, 0, 165, 257),
    ],
)
def test_what_is_lost_spared_and_predicted_fits_the_fault(
    drill: ComputeDrill, world: FakeCluster, kind: Any, more: Any, struck: int, avoid: int, least: float,
    most: float,
) -> None:  # fmt: skip
    drill.strike(kind, **more)
    assert len(drill.struck) == struck and len(heard().avoid) == avoid
    assert drill.struck[:1] == ("node1",)[:struck]
    expected = drill.expected()
    assert (expected.least_s, expected.most_s) == (least, most)
    if kind in (KernelCrash, KernelHang):
        world.nodes["node1"].start()
    drill.close()
    assert world.switches_left() == []


@pytest.mark.parametrize(
    ("away_s", "back_s", "most"), [(5, None, 387), (121, None, 267), (300, 119, 387), (300, 121, 267)]
)
def test_only_a_node_that_is_back_in_time_counts_its_lock_anew(
    drill: ComputeDrill, world: FakeCluster, monkeypatch: pytest.MonkeyPatch, away_s: float,
    back_s: float | None, most: float,
) -> None:  # fmt: skip
    drill.strike(KernelCrash)
    began = drill.broken_s
    back = Anew("node1", "kernel 1", Moment(began + back_s, 0.0)) if back_s is not None else None
    with monkeypatch.context() as patch:
        patch.setattr(compute_judge, "anew", lambda *_: back)
        patch.setattr(compute_drill, "time", SimpleNamespace(monotonic=lambda: began + away_s))
        assert drill.expected().most_s == most
    world.nodes["node1"].start()
    drill.close()


def test_a_guest_is_the_victim_of_its_own_fault(drill: ComputeDrill) -> None:
    drill.strike(GuestServiceDead)
    assert drill.victims() == ("beat-ct",), "a virtual machine cannot be reached into"
    drill.close()


def test_a_death_that_is_seen_only_later_is_awaited(
    drill: ComputeDrill, world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill.strike(KernelCrash)
    heard().see("node2", "kernel 0", drill.victims())
    for guest in drill.victims():
        heard().beat(guest, "boot 1", 2)
    assert len(compute_judge.not_seen_dead(drill.await_deaths(0.0))) == 2, "it is for the judge to say"
    asked: list[float] = []

    def until(is_so: Callable[[Record], bool], deadline_s: float, what: str) -> Record:
        assert not is_so(heard().record)
        heard().see("node1", "kernel 1", {})
        assert is_so(heard().record)
        asked.append(deadline_s)
        return heard().record

    monkeypatch.setattr(heard(), "until", until)
    courses = drill.await_deaths(60.0)
    assert {course.guest for course in courses} == set(drill.victims())
    assert compute_judge.not_seen_dead(courses) == [] and all(course.dead for course in courses)
    (deadline_s,) = asked
    assert 0 < deadline_s < 60, "from the break on"
    world.nodes["node1"].start()
    drill.close()


def test_it_moved_once_it_is_seen_to_have_left_and_counts_on(drill: ComputeDrill) -> None:
    drill.strike(NodeMaintenance)
    for guest in drill.victims():
        heard().beat(guest, "boot 0", 2)
    with pytest.raises(DeadlineError, match="answering from a node"):
        drill.await_elsewhere(0.0)
    heard().see("node2", "kernel 0", drill.victims())
    heard().see("node1", "kernel 0", {})
    with pytest.raises(DeadlineError):
        drill.await_elsewhere(0.0)
    for guest in drill.victims():
        heard().beat(guest, "boot 0", 3)
    assert {course.target for course in drill.await_elsewhere(0.0).values()} == {"node2"}
    drill.close()


def test_one_node_of_two_is_given_its_power_back(drill: ComputeDrill, world: FakeCluster) -> None:
    drill.strike(TwoNodesLost, consent=True)
    first, second = drill.struck
    drill.bring_back(first)
    assert world.nodes[first].answers() and not world.nodes[second].answers()
    drill.close()
    assert world.nodes[second].answers()


def test_what_fencing_said_is_read_from_those_that_are_left(drill: ComputeDrill, world: FakeCluster) -> None:
    drill.strike(NodePowerLost)
    line = '{"at": "2999-01-01T00:00:00Z", "peer": "node1", "decision": "on-confirmed", "reason": "-"}\n'
    (world.nodes["node2"].folder / "fencing/said").write_text(line)
    (said,) = drill.await_power_cycle(0.0)
    assert (said.by, said.peer, said.word) == ("node2", "node1", "on-confirmed")
    drill.close()


def test_what_is_refused_leaves_nothing_behind(drill: ComputeDrill, world: FakeCluster) -> None:
    world.bmcs["node1"].state = "Off"
    with pytest.raises(RefusedError, match="node1 is Off by its BMC"):
        drill.strike(NodePowerLost)
    with pytest.raises(UnknownError, match="nothing was seen broken"):
        drill.victims()
    drill.close()
    assert heard().stopped == 1


def test_a_site_whose_guests_nobody_keeps_has_no_victim(drill: ComputeDrill, world: FakeCluster) -> None:
    guests = tuple(guest.model_copy(update={"ha": None}) for guest in world.site.guests)
    world.site = world.site.model_copy(update={"guests": guests})
    assert kept(world.site) == ()
    with pytest.raises(NotApplicableError, match="PF-GUEST-NONE"):
        drill.strike(NodePowerLost)


def test_times_are_read_from_a_node(world: FakeCluster, tmp_path: Path) -> None:
    program = world.nodes["node2"].folder / "bin/corosync-cmapctl"
    program.write_text(
        "#!/bin/sh\necho 'runtime.config.totem.token (u32) = 3650'\n"
        "echo 'runtime.config.totem.consensus (u32) = 4380'\necho 'watchdog = 10'\n"
        "echo 'nodelist.node.0.nodeid (u32) = 1'\necho 'nodelist.node.0.name (str) = node1'\n"
    )
    program.chmod(0o755)
    assert compute_drill.read_times(world, "node2") == TIMES
