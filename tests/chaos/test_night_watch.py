"""The watch of a night: heartbeats from the node that is spared, a file a watch, judged in the end."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from chaos import night_watch
from chaos.heartbeats_record import Record
from chaos.night_watch import NightWatch
from cluster.errors import UnknownError
from tests.chaos.guest_world import GUEST, Run, World
from tests.chaos.world import GUESTS, FakeCluster

SAID: list[str] = []


class Beats:
    """Heartbeats of a world that is known: the guest is silent from 20 to 31."""

    made: ClassVar[list[Beats]] = []

    def __init__(self, cluster: Any, guests: Any, **more: Any) -> None:
        self.guests, self.more, self.course = guests, more, ["made"]
        more["path"].parent.mkdir(exist_ok=True)
        more["path"].touch()
        Beats.made.append(self)

    def start(self) -> None:
        self.course.append("started")

    def stop(self) -> Record:
        self.course.append("stopped")
        return self.record

    @property
    def record(self) -> Record:
        runs = [Run("node1", 0, 20, "a"), Run("node2", 31, 60, "b", 90)]
        return World(Random(1), 60, runs).record()


@pytest.fixture
def watch(world: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NightWatch:
    Beats.made.clear()
    monkeypatch.setattr(night_watch, "Heartbeats", Beats)
    monkeypatch.setattr(night_watch, "ordered_targets", lambda site: ())
    monkeypatch.setattr(night_watch, "paths_among", lambda names: ())
    world.site = world.site.model_copy(update={"guests": GUESTS})
    return NightWatch(world, "node3", SAID.append, tmp_path / "heartbeats")


def test_guests_are_watched_from_the_node_that_is_spared(watch: NightWatch, tmp_path: Path) -> None:
    watch.start()
    (beats,) = Beats.made
    assert (beats.guests, beats.more["avoid"]) == (GUESTS, ["node1", "node2"])
    assert beats.more["path"] == tmp_path / "heartbeats" / "heartbeats-1.jsonl"
    watch.close()
    assert beats.course == ["made", "started", "stopped"]


def test_each_watch_has_a_file_of_its_own(watch: NightWatch) -> None:
    watch.start()
    watch.start()
    assert [beats.more["path"].name for beats in Beats.made] == ["heartbeats-1.jsonl", "heartbeats-2.jsonl"]


def test_a_silence_counts_where_the_fault_was(watch: NightWatch) -> None:
    watch.start()
    seen = watch.seen(19.0, 40.0)
    assert seen.guests[GUEST].least_s > 8 and seen.unknown == ""
    assert watch.seen(40.0, 50.0).guests == {}


def test_what_nobody_asked_is_unknown(watch: NightWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.start()
    monkeypatch.setattr(night_watch, "deaf", lambda record, guest: [(25.0, 35.0)])
    assert watch.seen(19.0, 26.0).unknown == "beat-ct: nobody asked whether it lives"
    assert watch.seen(36.0, 40.0).unknown == ""


def test_at_its_end_it_is_judged(watch: NightWatch) -> None:
    watch.start()
    report = watch.guests()
    assert report is not None and report.beats[GUEST] > 100
    assert "0 seen twice" in SAID[-1]
    assert Beats.made[0].course[-1] == "stopped"


def test_without_guests_nobody_is_asked(watch: NightWatch, world: FakeCluster) -> None:
    world.site = world.site.model_copy(update={"guests": ()})
    watch.start()
    assert (Beats.made, watch.guests(), watch.seen(0, 1).guests) == ([], None, {})


def test_a_guest_that_shall_be_stopped_is_not_awaited(watch: NightWatch, world: FakeCluster) -> None:
    assert GUESTS[0].ha is not None
    stopped = GUESTS[0].model_copy(update={"ha": GUESTS[0].ha.model_copy(update={"state": "stopped"})})
    world.site = world.site.model_copy(update={"guests": (stopped, GUESTS[1])})
    watch.start()
    assert Beats.made[0].guests == (GUESTS[1],)


def test_heartbeats_that_cannot_begin_end_the_watch(
    watch: NightWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise UnknownError("beat-ct was not heard")

    monkeypatch.setattr(Beats, "start", fail)
    with pytest.raises(UnknownError, match="beat-ct was not heard"):
        watch.start()
    watch.close()
    assert isinstance(Beats.made[0], Beats) and Beats.made[0].course[-1] == "stopped"


def test_every_part_is_ended_though_one_fails(watch: NightWatch) -> None:
    def fail() -> None:
        raise UnknownError("the probes are gone")

    watch.start()
    watch._probes = SimpleNamespace(stop=fail)  # type: ignore[assignment]
    with pytest.raises(UnknownError, match="the probes are gone"):
        watch.close()
    assert Beats.made[0].course[-1] == "stopped"
