"""The watch: when what was first seen, how far back it may have been true; a dead watch is unknown."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.ceph_watch import CephWatch, Sample, changes, first, steady
from cluster.errors import DeadlineError, UnknownError
from cluster.node import Result

RADOS = """
import json, os, time
DIED = {died!r}
class Rados:
    def __init__(self, **_): self.born, self.asked = time.monotonic(), 0
    def connect(self, timeout):
        if os.path.exists({folder!r} + "/deaf"): raise OSError("no monitor answered")
    def mon_command(self, text, data):
        prefix = json.loads(text)["prefix"]
        self.asked += 1
        if prefix == "status" and os.path.exists({folder!r} + "/silent"):
            return -110, b"", "timed out"
        if prefix == "status" and os.path.exists({folder!r} + "/dies"): os._exit(3)
        broken = os.path.exists({folder!r} + "/broken")
        epoch, quorum = (9, ["node2", "node3"]) if broken else (8, ["node1", "node2", "node3"])
        found = {{
            "status": {{"osdmap": {{"epoch": epoch}}, "election_epoch": epoch, "quorum_names": quorum,
                "fsmap": {{"by_rank": [{{"name": "node1", "status": "up:active"}}]}},
                "pgmap": {{"pgs_by_state": [{{"state_name": "active+clean", "count": 3}}]}},
                "health": {{"checks": {{}}}}}},
            "osd dump": {{"epoch": epoch, "osds": [{{"osd": 0, "up": int(not broken), "in": 1}}]}},
            "quorum_status": {{"quorum_leader_name": quorum[0]}},
            "mgr stat": {{"available": True, "active_name": "node1"}},
        }}[prefix]
        return 0, json.dumps(found).encode(), ""
"""


def look(
    t: float, *, up: set[int] | None = None, pgs: str = "active+clean", silent: str | None = None
) -> Sample:
    return Sample(
        t - 0.1, t, silent, frozenset({0, 1} if up is None else up), pgs={pgs: 4}, leader="a", mgr="a"
    )


def test_the_first_look_that_shows_it_counts_and_the_one_before_bounds_it() -> None:
    samples = [look(1), look(2), look(3, up={1}), look(4, up={1})]
    found = first(samples, lambda s: 0 not in s.up, 1.5)
    assert found is not None
    assert (found.t_s, round(found.resolution_s, 3)) == (3, 1.1)
    assert first(samples, lambda s: 1 not in s.up, 0) is None
    assert first(samples, lambda s: 0 in s.up, 2.5) is None


def test_a_look_at_which_no_monitor_answered_shows_nothing() -> None:
    samples = [look(1), look(2, up=set(), silent="timed out"), look(5, up={1})]
    found = first(samples, lambda s: 0 not in s.up, 1.0)
    assert found is not None
    assert found.t_s == 5


def test_clean_counts_from_when_it_stayed_so() -> None:
    dirty = "active+undersized"
    samples = [look(1), look(2, pgs=dirty), look(3), look(4, pgs=dirty), look(5), look(9)]
    whole = lambda s: s.unclean == 0  # noqa: E731
    found = steady(samples, whole, 0, 3)
    assert found is not None
    assert found.t_s == 5
    assert steady(samples, whole, 0, 10) is None
    assert steady(samples[:4], whole, 0, 0) is None


def test_changes_are_told_once() -> None:
    samples = [look(1), look(2, up={1}, pgs="peering"), look(3, silent="x"), look(4, silent="x"), look(5)]
    told = [(event.t_s, event.label) for event in changes(samples, 1.5)]
    assert told == [
        (2, "osd.0 down"), (2, "placement groups inactive"), (2, "placement groups unclean"),
        (3, "no monitor answers"),
        (5, "osd.0 up"), (5, "all placement groups active"), (5, "all placement groups clean"),
    ]  # fmt: skip


class Here:
    """This machine as a node whose `rados` is the one above."""

    name = "node2"

    def run(self, command: str, *args: str, **_: Any) -> Result:
        return Result(0, Path("/proc/uptime").read_text(), "", 0.0)


@pytest.fixture
def watched(tmp_path: Path) -> tuple[CephWatch, Path]:
    (tmp_path / "rados.py").write_text(RADOS.format(folder=str(tmp_path), died=""))
    cluster: Any = SimpleNamespace(nodes={"node1": None, "node2": Here()})
    line = ["env", f"PYTHONPATH={tmp_path}", sys.executable, "-u", "-"]
    return CephWatch(cluster, avoid=("node1",), interval_s=0.1, command=line), tmp_path


def test_the_agent_streams_what_it_sees_on_our_clock(watched: tuple[CephWatch, Path]) -> None:
    watch, folder = watched
    with watch:
        assert watch.node == "node2"
        broken = time.monotonic()
        (folder / "broken").touch()
        found = watch.until(lambda s: 0 not in s.up and s.leader == "node2", broken, 10, "osd.0 down")
        assert 0 <= found.t_s - broken < 5
        assert found.resolution_s <= found.t_s - broken + 0.001
        assert abs(watch.samples()[-1].told_s - time.monotonic()) < 5
        with pytest.raises(DeadlineError, match=r"osd.7 up: not seen within 0.3 s"):
            watch.until(lambda s: 7 in s.up, broken, 0.3, "osd.7 up")
    assert [e.label for e in changes(watch.samples(), 0)][:1] == ["osd.0 down"]


def test_silent_monitors_are_told(watched: tuple[CephWatch, Path]) -> None:
    watch, folder = watched
    with watch:
        (folder / "silent").touch()
        since = time.monotonic()
        time.sleep(0.5)
        with pytest.raises(DeadlineError, match=r"no monitor answers: .*timed out"):
            watch.until(lambda s: True, since + 0.4, 0.5, "anything")


def test_a_watch_that_dies_is_unknown(watched: tuple[CephWatch, Path]) -> None:
    watch, folder = watched
    with watch:
        (folder / "dies").touch()
        with pytest.raises(UnknownError, match="the watch of Ceph on node2 has ended"):
            watch.until(lambda s: False, time.monotonic(), 10, "anything")


def test_a_watch_that_reaches_no_monitor_does_not_start(watched: tuple[CephWatch, Path]) -> None:
    watch, folder = watched
    (folder / "deaf").touch()
    with pytest.raises(UnknownError, match=r"cannot be watched: .*no monitor answered"):
        watch.start()
