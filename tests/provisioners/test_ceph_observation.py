"""What the nodes and the monitors print becomes an observation: real answers of Ceph 18.2.7, and text as the
tools of a node write it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.ceph import CephError
from provisioners.ceph.disks import judge
from provisioners.ceph.observation import digest, parse, read_conf, read_storages
from provisioners.ceph.state import CORE, State, clean, questions, read

SAMPLES = Path(__file__).with_name("samples") / "ceph-18.2.7"
FSID = "061a0543-dae8-4919-9da2-fcd85449b4e5"
GROUP = "ceph-0a1b2c3d-0a1b-4a1b-8a1b-0a1b2c3d4e5f"
BLOCK = "osd-block-0a1b2c3d-0a1b-4a1b-8a1b-0a1b2c3d4e5f"


@pytest.fixture
def answers() -> dict[str, Any]:
    return dict(json.loads((SAMPLES / "answers.json").read_text()))


@pytest.fixture
def faults() -> dict[str, Any]:
    return dict(json.loads((SAMPLES / "faults.json").read_text()))


@pytest.fixture
def state(answers: dict[str, Any]) -> State:
    return read(answers)


def test_the_cluster_as_a_whole(state: State) -> None:
    assert (state.fsid, state.mgr, state.mgr_standbys) == (FSID, "pve1-node1", ())
    assert state.quorum == ("pve1-node1", "pve1-node2", "pve1-node3") == tuple(sorted(state.mons))
    assert state.pgs == {"active+clean": 50} and state.unclean == {}
    assert state.raw == 38654705664
    assert state.nearfull == pytest.approx(0.85)
    assert set(state.skews) == set(state.mons)
    assert state.flags == ()  # those that every map bears are none
    assert [f.name for f in state.filesystems] == ["cephfs"]
    assert state.filesystems[0].metadata_pool == "cephfs_metadata"
    assert state.filesystems[0].active == ("pve1-node1",)
    assert state.options["auth_allow_insecure_global_id_reclaim"] == "false"
    assert state.configured == {"mon/auth_allow_insecure_global_id_reclaim": "false"}
    assert state.auth == {"pve1-node1": {"auth_client_required": "cephx"}}


def test_health_with_what_is_wrong(state: State) -> None:
    assert state.health != "HEALTH_OK"
    assert "POOL_APP_NOT_ENABLED" in state.checks and state.muted == ()


def test_a_muted_check_leaves_health_ok_and_is_seen(answers: dict[str, Any], faults: dict[str, Any]) -> None:
    muted = read({**answers, "health": faults["health_muted"]})
    assert muted.muted != ()


def test_osds(state: State) -> None:
    assert [osd.id for osd in state.osds] == [0, 1, 2, 3, 4, 5]
    first = state.osds[0]
    assert (first.up, first.inside, first.new, first.host) == (True, True, False, "pve1-node1")
    assert (first.device_class, first.public, first.cluster) == ("nvme", "127.0.0.1", "127.0.0.1")
    assert first.size == 6291456 * 1024


def test_an_osd_that_never_served_is_new(answers: dict[str, Any]) -> None:
    row = {
        **answers["osd dump"]["osds"][0],
        "osd": 6,
        "up": 0,
        "in": 0,
        "up_from": 0,
        "state": ["exists", "new"],
    }
    osds = read({**answers, "osd dump": {**answers["osd dump"], "osds": [row]}}).osds
    assert [(o.id, o.new) for o in osds] == [(6, True)]


def test_pools(state: State) -> None:
    pool = state.pool("rbd-vms")
    assert pool is not None
    assert (pool.size, pool.min_size, pool.ratio, pool.pg_num, pool.autoscale) == (3, 2, 0.6, 16, "on")
    rule = state.rule(pool.rule)
    assert rule is not None and (rule.name, rule.domain) == ("replicated_rule", "host")
    assert state.pool("nothing") is None and state.rule(99) is None


def test_a_lost_host(answers: dict[str, Any], faults: dict[str, Any]) -> None:
    lost = read({**answers, "status": faults["status_host_down"]})
    assert lost.unclean and all("undersized" in name for name in lost.unclean)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("active+clean", True),
        ("active+clean+scrubbing+deep", True),
        ("active+clean+snaptrim_wait", True),
        ("active+clean+inconsistent", False),
        ("active+clean+remapped", False),
        ("active+undersized+degraded", False),
        ("clean", False),
        ("unknown", False),
    ],
)
def test_what_counts_as_clean(name: str, whole: bool) -> None:
    assert clean(name) is whole


def test_a_refused_question_leaves_its_part_empty_and_is_told(answers: dict[str, Any]) -> None:
    seen = read({**answers, "osd df": CephError(110, "mgr did not answer")})
    assert seen.unanswered == {"osd df": "mgr did not answer (error 110)"}
    assert [o.size for o in seen.osds] == [0] * 6


def test_every_core_question_is_asked() -> None:
    asked = questions(("a", "b"), {"osd/osd_max_backfills": "1"})
    assert set(CORE) <= set(asked)
    assert asked["option osd/osd_max_backfills"]["who"] == "osd"
    assert {name for name in asked if name.startswith("auth b")} == {
        f"auth b auth_{kind}_required" for kind in ("cluster", "service", "client")
    }


def sections(**more: str) -> dict[str, str]:
    tags = f"ceph.cluster_fsid={FSID},ceph.osd_id=3,ceph.osd_fsid=u-3,ceph.type=block"
    lvs = {"report": [{"lv": [
        {"vg_name": GROUP, "lv_name": BLOCK, "lv_path": f"/dev/{GROUP}/{BLOCK}", "lv_tags": tags,
         "devices": "/dev/nvme2n1(0)"}]}]}  # fmt: skip
    pvs = {
        "report": [
            {
                "pv": [
                    {"pv_name": "/dev/nvme2n1", "vg_name": GROUP},
                    {"pv_name": "/dev/nvme3n1", "vg_name": ""},
                ]
            }
        ]
    }
    drives = {"drives": [
        {"path": "/dev/nvme2n1", "serial": "DATA201", "size": 5, "signatures": [{"type": "LVM2_member"}],
         "bluestore": None, "children": [{"name": "x", "type": "lvm", "fstype": "ceph_bluestore"}],
         "mounted": []},
        {"path": "/dev/nvme3n1", "serial": "DATA202", "size": 5, "signatures": [{"type": "LVM2_member"}],
         "bluestore": None, "children": [], "mounted": [], "read": 9, "data_at": 512},
    ]}  # fmt: skip
    return {
        "packages": "ii  ceph-osd 18.2.7+ds-1\nrc  ceph-mon 18.2.7+ds-1\nii  ceph-common 18.2.7+ds-1\n",
        "repository": "Types: deb\nURIs: http://x\nSuites: trixie\nComponents: no-subscription\n",
        "conf": f"[global]\n\tfsid = {FSID}\n\tauth client required = cephx\n"
        "\tpublic_network = 10.6.0.0/24\n\n[mon.node2]\n\tpublic_addr = 10.6.0.12\n",
        "link": "/etc/pve/ceph.conf\n",
        "daemons": "mon/ceph-node2\nmgr/ceph-node2\n",
        "units": "ceph-mon@node2.service loaded active running Ceph cluster monitor daemon\n"
        "\u25cf ceph-osd@3.service loaded failed failed Ceph object storage daemon osd.3\n",
        "lvs": json.dumps(lvs),
        "pvs": json.dumps(pvs),
        "busy": "0\n",
        "key": f"{digest('k')}  -\n",
        "storage": "dir: local\n\tpath /var/lib/vz\n\nrbd: rbd-vms\n\tpool rbd-vms\n\tkrbd 0\n",
        "drives": json.dumps(drives),
        **more,
    }


def test_a_node(tmp_path: Path) -> None:
    node = parse("node2", sections())
    assert node.packages == {"ceph-osd": "18.2.7+ds-1", "ceph-common": "18.2.7+ds-1"}
    assert (node.repository, node.fsid, node.linked, node.busy) == ("no-subscription", FSID, True, False)
    assert node.conf["global"]["auth_client_required"] == "cephx"
    assert "mon.node2" in node.conf
    assert node.units == {"ceph-mon@node2": "active", "ceph-osd@3": "failed"}
    assert node.key == digest("k")
    ours, stray = node.drives
    assert (judge(ours, FSID, [3]).kind, judge(ours, FSID, []).kind) == ("ours", "unfinished")
    assert judge(ours, "another").kind == "occupied"
    assert judge(stray, FSID).what == "an LVM physical volume"


def test_a_node_without_anything() -> None:
    node = parse("node2", {"key": f"{digest('')}  -", "drives": "", "lvs": "nonsense", "busy": ""})
    assert (node.key, node.fsid, node.drives, node.packages, node.storages) == ("", "", (), {}, ())


def test_a_file_that_is_no_configuration_is_none() -> None:
    assert read_conf("no section here") == {}


def test_storage_entries() -> None:
    text = "cephfs: cephfs\n\tpath /mnt/pve/cephfs\n\tfs-name cephfs\n\n"
    text += "rbd: far\n\tmonhost 10.0.0.1\n\tdisable\n"
    near, far = read_storages(text)
    assert (near.name, near.kind, near.ours, near.values["fs-name"]) == ("cephfs", "cephfs", True, "cephfs")
    assert (far.ours, far.values["disable"]) == (False, "")
