"""A second copy of a guest, started by hand on another node: the check says so, and is silent before.

Run with the rack up and phase 7 of sites/lab-ha.toml converged:
    ip netns exec rackproof .venv/bin/python -m pytest tests/rack/test_twice.py -s

The HA manager is told to leave a golden container alone. Its disk is mapped and mounted on a second node
while the first one writes to it, and LXC starts the copy from the configuration that the first node uses: no
lock of Proxmox VE is asked at all. The mount is for reading only, as ext4's multi-mount protection refuses
any other; so the copy lives and cannot count, and the disk stays whole. Then the guest is given back to the
HA manager.

A test that was killed leaves the copy for two minutes, and the guest ignored:
    ha-manager set ct:VMID --state started
"""

# ruff: noqa: T201 - what it prints is the evidence
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.heartbeats import Heartbeats, expected
from chaos.heartbeats_lives import placements
from chaos.heartbeats_locks import image
from chaos.heartbeats_record import Record
from chaos.heartbeats_report import judge
from chaos.heartbeats_twice import RunningTwiceError, seen_twice
from cluster.cluster import Cluster
from cluster.site_services import Guest
from tests.rack.standing import standing

ROOT = Path(__file__).resolve().parents[2]
UNIT = "rackproof-twice"
CALM_S, HOLD_S = 20.0, 15.0
STARTED_S, BACK_S = 120.0, 300.0
COPY = """\
set -e
folder=/var/lib/lxc/%s
mkdir -p "$folder/rootfs"
base64 -d | tar -x -C "$folder"
device=$(rbd device map %s)
mount -o ro,noload "$device" "$folder/rootfs"
systemd-run --quiet --collect --unit=%s --property=RuntimeMaxSec=120 --property=Delegate=yes \\
  lxc-start -F -n %s
"""
END = """\
id=%s folder=/var/lib/lxc/%s
lxc-stop -n "$id" --kill; systemctl stop %s
umount "$folder/rootfs"
rbd device unmap %s && rm -rf "$folder"
true
"""

pytestmark = [pytest.mark.rack, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with standing(ROOT / "sites" / "lab-ha.toml") as opened:
        yield opened


def ha(cluster: Cluster, node: str, guest: Guest, state: str) -> None:
    cluster.pve[node].call("put", f"cluster/ha/resources/{guest.sid}", state=state)


@contextmanager
def left_alone(cluster: Cluster, home: str, guest: Guest) -> Iterator[None]:
    """The guest runs on, and the HA manager does nothing about it."""
    ha(cluster, home, guest, "ignored")
    try:
        yield
    finally:
        ha(cluster, home, guest, "started")


@contextmanager
def copied(cluster: Cluster, home: str, other: str, guest: Guest) -> Iterator[None]:
    """A second copy on another node."""
    vmid = str(guest.vmid)
    own = cluster.nodes[home].run("tar -c -C /var/lib/lxc/%s --exclude=rootfs . | base64", vmid).stdout
    disk = f"{guest.storage}/{image(guest)}"
    try:
        cluster.nodes[other].run(COPY, vmid, disk, UNIT, vmid, data=own, timeout=STARTED_S)
        yield
    finally:
        cluster.nodes[other].run(END, vmid, vmid, UNIT, disk, timeout=STARTED_S, check=False)


def home_of(record: Record, guest: Guest) -> str:
    return placements(record, guest.name)[-1].place


def test_a_copy_that_was_started_by_hand_is_reported(cluster: Cluster, tmp_path: Path) -> None:
    guest = next(each for each in expected(cluster.site) if each.kind == "container")
    with Heartbeats(cluster, [guest], path=tmp_path / "calm.jsonl", say=print) as beats:
        time.sleep(CALM_S)
    before = judge(beats.record)
    print(f"one copy: {before.summary()}; resolution {before.twice.resolution_s:.2f} s")
    before.prove()

    home = home_of(beats.record, guest)
    other = next(name for name in cluster.nodes if name != home)
    with left_alone(cluster, home, guest):
        with Heartbeats(cluster, [guest], path=tmp_path / "twice.jsonl", say=print) as beats:
            begun = time.monotonic()
            with copied(cluster, home, other, guest):
                beats.until(lambda record: bool(seen_twice(record).findings), STARTED_S, "the second copy")
                print(f"seen {time.monotonic() - begun:.2f} s after its start was asked for")
                time.sleep(HOLD_S)
        report = judge(beats.record)
        print(f"two copies: {report.summary()}")
        for finding in report.twice.findings:
            print(f"  {finding}")
    with pytest.raises(RunningTwiceError, match=f"{guest.name} was alive twice"):
        report.prove()
    places = [f for f in report.twice.findings if f.how == "node"]
    assert {home, other} == {name.split()[0] for f in places for name in (f.one, f.other)}
    assert max(f.seconds for f in places) >= HOLD_S / 2, "it was seen for as long as it was held"

    with Heartbeats(cluster, [guest], path=tmp_path / "after.jsonl", say=print) as beats:
        beats.until(lambda record: record.of(guest.name)[-1].heard, BACK_S, f"{guest.name} again")
    judge(beats.record).prove()
