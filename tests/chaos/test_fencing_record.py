"""The fencing service's decisions: read from nodes that answer, placed on one clock, never from before."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos import fencing_record
from chaos.fencing_record import TimeOfDay
from cluster.errors import UnknownError
from tests.chaos.world import FakeCluster

CLOCK = TimeOfDay(offset_s=-1000.0, resolution_s=0.2)


def line(at: float, word: str, peer: str = "node1") -> str:
    told = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"at": told, "peer": peer, "decision": word, "reason": "why"}) + "\n"


def test_decisions_are_placed_and_half_lines_passed_over() -> None:
    text = (
        line(1010, "off-sent") + '{"at": "20' + "\nno json\n" + line(1012.5, "off-confirmed") + '"str"\n[1]\n'
    )
    found = fencing_record.parse("node2", text, CLOCK)
    assert [(each.by, each.word, each.t_s) for each in found] == [
        ("node2", "off-sent", 10.0), ("node2", "off-confirmed", 12.5)
    ]  # fmt: skip
    assert fencing_record.first(found, "node1", ("off-confirmed", "gave-up")) is found[1]
    assert fencing_record.first(found, "node2", ("off-sent",)) is None


@pytest.fixture
def records(world: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setattr(fencing_record, "RECORD", "$WORLD/fencing/said")
    return {name: node.folder / "fencing/said" for name, node in world.nodes.items()}


def test_only_what_was_said_after_the_break_counts(world: FakeCluster, records: dict[str, Path]) -> None:
    clocks = fencing_record.compare(world, world.nodes)
    for clock in clocks.values():
        assert clock.offset_s == pytest.approx(time.monotonic() - time.time(), abs=clock.resolution_s + 0.1)
    since, now = time.monotonic(), time.time()
    records["node2"].write_text(line(now - 60, "refused") + line(now + 60, "off-sent"))
    Path(f"{records['node3']}.1").write_text(line(now + 50, "waits"))
    found = fencing_record.read(world, clocks, since)
    assert [(each.by, each.word) for each in found] == [("node3", "waits"), ("node2", "off-sent")]
    assert found[1].t_s == pytest.approx(since + 60, abs=0.5)


def test_a_dead_node_is_passed_over_and_silence_of_all_is_unknown(
    world: FakeCluster, records: dict[str, Path]
) -> None:
    clocks = fencing_record.compare(world, world.nodes)
    records["node2"].write_text(line(time.time() + 60, "off-sent"))
    world.nodes["node1"].dead = True
    assert [each.by for each in fencing_record.read(world, clocks, time.monotonic())] == ["node2"]
    for node in world.nodes.values():
        node.dead = True
    with pytest.raises(UnknownError, match="no node tells what its fencing service said"):
        fencing_record.read(world, clocks, time.monotonic())


def test_a_node_without_a_clock_is_unknown(world: FakeCluster) -> None:
    program = world.nodes["node1"].folder / "bin/date"
    program.write_text("#!/bin/sh\necho soon\n")
    program.chmod(0o755)
    with pytest.raises(UnknownError, match="node1 does not tell its time of day"):
        fencing_record.compare(world, world.nodes)
