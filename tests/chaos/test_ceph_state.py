"""What Ceph says of itself is read as it is meant, and what is not understood is no answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chaos import ceph_state
from chaos.ceph_state import clean
from chaos.faults.disk import bears, serial_of
from cluster.ceph import CephError
from cluster.errors import NotApplicableError, UnknownError
from tests.chaos.world import FakeCluster


@pytest.mark.parametrize(
    ("state", "whole"),
    [
        ("active+clean", True),
        ("active+clean+scrubbing+deep", True),
        ("active+clean+snaptrim_wait", True),
        ("active+clean+inconsistent", False),
        ("active+remapped+backfilling", False),
        ("active+undersized+degraded", False),
        ("clean", False),
        ("peering", False),
        ("unknown", False),
    ],
)
def test_clean_means_active_and_clean_and_nothing_wrong(state: str, whole: bool) -> None:
    assert clean(state) is whole


def test_a_whole_ceph_is_read_in_one_call(world: FakeCluster) -> None:
    state = ceph_state.read(world)
    assert state.quorum == state.mons == ("node1", "node2", "node3")
    assert state.leader == "node1"
    assert (state.mgr, state.mgr_standbys) == ("node1", ("node2", "node3"))
    assert state.mds == {"node1": "up:active"}
    assert state.mds_wanted == 1
    assert state.unclean == 0
    assert state.flags == ()
    assert {osd.host for osd in state.osds.values()} == set(world.nodes)
    assert world.ceph.asked == [command["prefix"] for command in ceph_state.COMMANDS.values()]


def test_what_is_down_out_unclean_or_muted_is_seen(world: FakeCluster) -> None:
    world.nodes["node2"].run("echo failed > $WORLD/ceph/services/ceph-osd@2.service")
    world.nodes["node1"].run("ceph --connect-timeout 5 osd out 0")
    world.ceph.flags.append("noout")
    world.ceph.mutes.append("OSD_DOWN")
    state = ceph_state.read(world)
    assert [osd.id for osd in state.osds.values() if not osd.up] == [2]
    assert [osd.id for osd in state.osds.values() if not osd.in_] == [0]
    assert state.flags == ("noout",)
    assert state.muted == ("OSD_DOWN",)
    assert state.unclean == 64


def test_an_answer_that_is_not_understood_is_unknown(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.ceph, "_mgr_dump", lambda _: {"epoch": 3})
    with pytest.raises(UnknownError, match="not understood: KeyError 'available'"):
        ceph_state.read(world)


def test_a_command_that_ceph_refuses_is_unknown(world: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.ceph, "_osd_dump", lambda _: CephError(13, "access denied"))
    with pytest.raises(UnknownError, match=r"does not tell its osds: access denied \(error 13\)"):
        ceph_state.read(world)


def test_a_site_without_ceph_cannot_have_it_broken(world: FakeCluster) -> None:
    world.site = world.site.model_copy(update={"ceph": None})
    with pytest.raises(NotApplicableError, match="PF-CEPH-NONE"):
        ceph_state.read(world)


def test_a_host_is_the_site_s_node_with_or_without_its_domain() -> None:
    assert ceph_state._node("node2.rack.example", ("node1", "node2")) == "node2"
    assert ceph_state._node("node2", ("node1", "node2")) == "node2"
    assert ceph_state._node("elsewhere", ("node1",)) == "elsewhere"


@pytest.mark.parametrize(
    ("device", "serial", "same"),
    [
        ("nvme0n1=QEMU_NVMe_Ctrl_DATA101", "DATA101", True),
        ("nvme0n1=QEMU_NVMe_Ctrl_DATA101_1", "DATA101", True),
        ("nvme0n1=QEMU_NVMe_Ctrl_DATA1011", "DATA101", False),
        ("nvme0n1=QEMU_NVMe_Ctrl_XDATA101", "DATA101", False),
        ("nvme0n1", "nvme0n1", False),
    ],
)
def test_a_device_id_bears_a_whole_serial_number(device: str, serial: str, same: bool) -> None:
    assert bears(device, serial) is same


def test_an_osd_on_no_data_drive_of_the_site_is_not_touched(world: FakeCluster) -> None:
    stray = SimpleNamespace(id=9, host="node1", devices=("nvme9n1=M_BOOT11",))
    with pytest.raises(UnknownError, match=r"M_BOOT11 as its devices, of which 0 are data drives"):
        serial_of(world, stray)  # type: ignore[arg-type]
