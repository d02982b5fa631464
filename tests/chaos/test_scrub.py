"""A deep scrub took place only where the stamps say so, and damage is named."""

from __future__ import annotations

import pytest

from chaos import scrub
from chaos.scrub import DamagedError
from cluster.errors import DeadlineError, UnknownError
from tests.chaos.world import FakeCluster


def test_what_the_osds_hold_is_scrubbed(world: FakeCluster) -> None:
    asked = scrub.begin(world, [0])
    assert world.ceph.scrubbed == {"1.0": 1}
    assert scrub.wait(world, asked, 5, lambda _: None, poll_s=0) == 1
    assert set(scrub.begin(world, [2]).before) == {"1.0", "1.1"}


def test_a_scrub_that_does_not_come_is_no_scrub(world: FakeCluster) -> None:
    asked = scrub.begin(world, [0])
    world.ceph.scrubbed.clear()
    with pytest.raises(DeadlineError, match=r"0 of 1 placement groups within 0\.05 s"):
        scrub.wait(world, asked, 0.05, lambda _: None, poll_s=0)


def test_damage_is_named(world: FakeCluster) -> None:
    asked = scrub.begin(world, [0])
    world.ceph.damaged.add("1.0")
    world.ceph.checks["OSD_SCRUB_ERRORS"] = "1 scrub errors"
    with pytest.raises(DamagedError, match=r"1 scrub errors; 1.0 is active\+clean\+inconsistent"):
        scrub.wait(world, asked, 5, lambda _: None, poll_s=0)


def test_nothing_to_scrub_is_unknown(world: FakeCluster) -> None:
    with pytest.raises(UnknownError, match="no placement group has a copy"):
        scrub.begin(world, [77])


def test_what_osds_still_hold_and_what_is_not_clean(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scrub.held(world, [0]) == ["1.0"]
    assert scrub.held(world, [77]) == []
    monkeypatch.setattr(scrub, "clean", lambda state: False)
    assert scrub.held(world, [77]) == ["1.0", "1.1"]
