"""The record: what is joined to one stretch, what is on the disk when, and that it is read as written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos import heartbeats, heartbeats_record
from chaos.heartbeats_nodes import LONGEST_NS, SPLIT_NS, Stretch, ha_state
from chaos.heartbeats_record import Beat, Event, HaState, Holders, Keeper, Owner, Power, Sight, Trouble, read

GUESTS = {"beat-ct": "ct:9001"}
NODES = ("node1", "node2")
texts, moments = st.text(max_size=12), st.integers(0, 2**62)
maps = st.dictionaries(texts, texts, max_size=3)
owners = st.lists(st.builds(Owner, texts, texts, texts), max_size=2).map(tuple)
pairs = st.tuples(texts, texts)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Beat, texts, texts, moments, moments, texts, moments, texts, texts),
    st.builds(Sight, texts, texts, *[moments] * 8, running=maps),
    st.builds(Holders, texts, moments, moments, owners, st.lists(texts, max_size=2).map(tuple), texts),
    st.builds(Power, texts, moments, moments, texts, texts),
    st.builds(HaState, texts, moments, moments, texts, maps, st.dictionaries(texts, pairs)),
    st.builds(Trouble, texts, moments, texts),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(kept=st.lists(events, max_size=8))
def test_a_record_is_read_as_it_was_written(
    kept: list[Event], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "heartbeats.jsonl"
    keeper = Keeper(path, GUESTS, NODES, 250)
    for event in kept:
        keeper.add(event)
    keeper.begin(7)
    keeper.end(9)
    record = read(path)
    assert (record.guests, record.nodes, record.interval_ns) == (GUESTS, NODES, 250)
    assert (record.since_ns, record.until_ns) == (7, 9)
    again = heartbeats_record.assemble(GUESTS, NODES, 250, 7, 9, kept)
    assert record == again


def test_all_is_synced_when_the_end_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "heartbeats.jsonl", []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        sync(descriptor)
        synced.append(path.read_text().count("\n"))

    monkeypatch.setattr(os, "fsync", noted)
    keeper = Keeper(path, GUESTS, NODES, 250)
    keeper.begin(1)
    keeper.add(Trouble("node1", 2, "why"))
    keeper.end(3)
    assert synced[-1] == 3


def test_without_a_file_all_is_kept_too() -> None:
    keeper = Keeper(None, GUESTS, NODES, 250)
    keeper.begin(1)
    keeper.add(Trouble("node1", 2, "why"))
    keeper.end(3)
    assert keeper.taken() == [Trouble("node1", 2, "why")]


def sample(at: int, **more: Any) -> Sight:
    running = {"beat-ct": "5.5"}
    return replace(Sight("node1", "k", 0, 1, at, at + 10, at, at + 10, 1, 0, running), **more)


def joined(*samples: Sight) -> list[Sight]:
    found: list[Event] = []
    stretch = Stretch(found.append)
    for each in samples:
        stretch.add(each)
        assert stretch.shown() is not None
    stretch.close()
    assert stretch.shown() is None
    return [each for each in found if isinstance(each, Sight)]


def test_samples_that_show_the_same_are_one_stretch() -> None:
    (one,) = joined(sample(0), sample(100), sample(500), sample(520))
    assert (one.first_lo_ns, one.first_hi_ns, one.last_lo_ns, one.last_hi_ns) == (0, 10, 520, 530)
    assert (one.samples, one.widest_ns) == (4, 410)


@pytest.mark.parametrize(
    "other",
    [
        sample(100, running={}),
        sample(100, running={"beat-ct": "6.6"}),
        sample(100, kernel="next"),
        sample(SPLIT_NS),
    ],
    ids=["gone", "another instance", "another kernel", "too long after"],
)
def test_others_begin_a_stretch_of_their_own(other: Sight) -> None:
    assert joined(sample(0), other) == [sample(0), other]


def test_a_stretch_is_handed_on_before_it_is_too_long() -> None:
    step = SPLIT_NS // 2
    found = joined(*(sample(number * step) for number in range(3 * LONGEST_NS // step)))
    assert all(each.last_hi_ns - each.first_lo_ns <= LONGEST_NS for each in found)
    assert sum(each.samples for each in found) == 3 * LONGEST_NS // step


def test_what_the_manager_wrote() -> None:
    """Source: /etc/pve/ha/manager_status of Proxmox VE 9, which the API shows below `manager_status`."""
    status = {
        "master_node": "pve-a", "timestamp": 1788000000, "node_status": {"pve-a": "online", "pve-b": "fence"},
        "service_status": {"ct:101": {"node": "pve-b", "state": "fence", "running": 1, "uid": "qJd0Z2m8"}},
    }  # fmt: skip
    assert ha_state("pve-a", 1, 2, status) == HaState(
        "pve-a", 1, 2, "pve-a", {"pve-a": "online", "pve-b": "fence"}, {"ct:101": ("pve-b", "fence")}
    )
    assert ha_state("pve-a", 1, 2, {}) == HaState("pve-a", 1, 2, "", {}, {})


def test_a_beat_is_what_was_asked_and_told() -> None:
    told = heartbeats.beat("node3", {"g": "a", "b": "x", "n": 5, "h": "k"}, 1, 2)
    assert told == Beat("node3", "a", 1, 2, "x", 5, "k")
    assert heartbeats.beat("node3", {"g": "a", "m": "late"}, 1, 2) == replace(
        Beat("node3", "a", 1, 2), missing="late"
    )
