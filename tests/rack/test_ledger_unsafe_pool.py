"""The ledger can fail: on a pool without replicas whose disk is gone for good, it names what is lost.

Run with the rack up and phase 4 converged:
    ip netns exec rackproof .venv/bin/python -m pytest tests/rack/test_ledger_unsafe_pool.py -s

A test pool of size 1 is made, one OSD that holds a part of it loses its drive, Ceph is told that the OSD is
lost, and the pool's placement groups are made anew, empty: what an operator does after a disk's death. The
harness itself offers nothing of the kind. Afterwards the drive is pushed back and the pool removed.
"""

# ruff: noqa: T201 - what it prints is the evidence
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaos import ceph_state
from chaos.faults.disk import OsdDiskPulled, serial_of
from chaos.ledger import Ledger, LostWriteError, ordered_targets
from cluster.ceph import Ceph
from cluster.cluster import Cluster
from cluster.errors import DeadlineError
from tests.rack.standing import standing

ROOT = Path(__file__).resolve().parents[2]
POOL = "rackproof-unsafe"
PGS = 16
SETTINGS = ("mon_allow_pool_size_one", "mon_allow_pool_delete")
DOWN_S = 120.0
CREATED_S = 240.0
CLEAN_S = 600.0

pytestmark = [pytest.mark.rack, pytest.mark.timeout(1800)]
Must = Callable[[Mapping[str, Any]], Any]
"""One command to Ceph that has to succeed; returns its answer."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with standing(ROOT / "sites" / "lab.toml") as opened:
        yield opened


def must_of(ceph: Ceph) -> Must:
    return lambda command: ceph.must(command, 60)


def awaited(what: str, true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise DeadlineError(f"{what} was not seen within {seconds:g} s")
        time.sleep(2)


def groups(must: Must) -> dict[str, tuple[int, str]]:
    """The pool's placement groups: the OSD that each lies on, and its state."""
    answer = must({"prefix": "pg ls-by-pool", "poolstr": POOL, "target": "mgr"})
    found = answer["pg_stats"] if isinstance(answer, dict) else answer
    return {each["pgid"]: ((each["up"] or [-1])[0], each["state"]) for each in found}


def make_pool(must: Must) -> None:
    """A pool without replicas."""
    for name in SETTINGS:
        must({"prefix": "config set", "who": "global", "name": name, "value": "true"})
    must({"prefix": "osd pool create", "pool": POOL, "pg_num": PGS, "pgp_num": PGS})
    for key, value in (("pg_autoscale_mode", "off"), ("min_size", "1"), ("size", "1")):
        sure = {"yes_i_really_mean_it": True} if key == "size" else {}
        must({"prefix": "osd pool set", "pool": POOL, "var": key, "val": value, **sure})
    must({"prefix": "osd pool application enable", "pool": POOL, "app": "rbd"})
    awaited(
        f"pool {POOL} clean", lambda: all("clean" in state for _, state in groups(must).values()), CLEAN_S
    )


def remove_pool(must: Must) -> None:
    """Nothing of the pool and of what allowed it stays."""
    sure = {"pool2": POOL, "yes_i_really_really_mean_it": True}
    must({"prefix": "osd pool delete", "pool": POOL, **sure})
    for name in SETTINGS:
        must({"prefix": "config rm", "who": "global", "name": name})


def give_up(must: Must, osd: int, lying: list[str]) -> None:
    """Tell Ceph that the OSD's data is lost for ever, and make its placement groups anew."""

    def down() -> bool:
        dump = must({"prefix": "osd dump"})
        return any(each["osd"] == osd and not each["up"] for each in dump["osds"])

    must({"prefix": "osd down", "ids": [str(osd)]})
    awaited(f"osd.{osd} down", down, DOWN_S)
    must({"prefix": "osd out", "ids": [str(osd)]})
    must({"prefix": "osd lost", "id": osd, "yes_i_really_mean_it": True})
    for pgid in lying:
        must({"prefix": "osd force-create-pg", "pgid": pgid, "yes_i_really_mean_it": True})
    awaited(
        f"{len(lying)} placement groups active again",
        lambda: (
            all("active" in groups(must)[pgid][1] for pgid in lying)
            and not any("stale" in state or "creating" in state for _, state in groups(must).values())
        ),
        CREATED_S,
    )


def drawn(must: Must, osd_ids: list[int]) -> tuple[int, list[str]]:
    """The OSD with the most of the pool's placement groups, and those."""
    held = {osd: [pgid for pgid, (at, _) in groups(must).items() if at == osd] for osd in osd_ids}
    victim = max(osd_ids, key=lambda osd: len(held[osd]))
    assert held[victim], f"no placement group of {POOL} lies on any OSD"
    return victim, held[victim]


def test_a_destroyed_disk_under_an_unsafe_pool_is_reported_as_lost_writes(cluster: Cluster) -> None:
    must = must_of(cluster.ceph)
    state = ceph_state.read(cluster)
    assert state.unclean == 0, f"the cluster is not whole to begin with: {state.pgs}"
    safe = ordered_targets(cluster.site)
    disk: OsdDiskPulled | None = None
    osd = -1
    try:
        make_pool(must)
        osd, lying = drawn(must, sorted(state.osds))
        home = state.osds[osd]
        disk = OsdDiskPulled(node=home.host, osd=str(osd), serial=serial_of(cluster, home))
        spared = [name for name in cluster.nodes if name != home.host]
        with Ledger(
            cluster, spared[0], (f"rbd:{POOL}", *safe), readers=spared[:2], read_s=90, say=print
        ) as ledger:
            time.sleep(45)
            ledger.stop()
            print(f"{len(lying)} of {PGS} placement groups lie on osd.{osd}; its drive is pulled")
            disk.inject(cluster, "unsafe-pool")
            unit = f"ceph-osd@{osd}"  # it may linger for a while before it notices
            line = "systemctl kill --signal=KILL %s; systemctl stop %s"
            cluster.nodes[home.host].run(line, unit, unit, check=False, timeout=60)
            give_up(must, osd, lying)
            report = ledger.verify()
        print(report.summary())
        print("\n".join(f"  {loss}" for loss in report.lost[:10]))
        assert report.lost
        assert {loss.target for loss in report.lost} == {f"rbd:{POOL}"}, "safe pools lost nothing"
        assert all(loss.offset >= 0 and loss.sequence >= 0 for loss in report.lost)
        with pytest.raises(LostWriteError, match="acknowledged writes are lost"):
            report.prove()
    finally:
        try:
            remove_pool(must)
        finally:
            if disk is not None:
                disk.heal(cluster, "unsafe-pool")
                must({"prefix": "osd in", "ids": [str(osd)]})
    awaited("all data whole again", lambda: ceph_state.read(cluster).unclean == 0, CLEAN_S)
