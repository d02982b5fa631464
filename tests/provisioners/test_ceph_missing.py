"""Phase 4's pure part, both ways: nothing missing, and each property missing alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import RefusedError
from cluster.site import ROOT, Site, load
from provisioners.ceph import guard
from provisioners.ceph.disks import Drive, Volume, judge
from provisioners.ceph.missing import missing
from provisioners.ceph.observation import Observation, Saved, StorageEntry, digest
from provisioners.ceph.order import (
    after_node_loss,
    drives,
    plannable,
    raw_capacity,
    usable_capacity,
)
from provisioners.ceph.phase import PHASE
from provisioners.change import Action, Change
from provisioners.converge import refuse_loss
from provisioners.unreachable import Unreachable
from tests.provisioners.storages import (
    BLOCK,
    FSID,
    GROUP,
    all_stored,
    blank,
    nothing_stored,
    served,
    whole_state,
    with_drive,
    with_osd,
    with_pool,
    with_state,
    with_storage,
)


@pytest.fixture(scope="module")
def pve1() -> Site:
    return load(Path(ROOT / "sites/pve1.toml"))


@pytest.fixture
def stored(site: Site) -> Observation:
    return all_stored(site)


def only(site: Site, seen: Observation) -> Change:
    (change,) = missing(site, seen)
    return change


def test_nothing_is_missing_as_ordered(site: Site, pve1: Site) -> None:
    assert missing(site, all_stored(site)) == []
    assert missing(pve1, all_stored(pve1)) == []


def test_a_site_without_storage_orders_none(site: Site) -> None:
    assert missing(site.model_copy(update={"ceph": None}), nothing_stored(site)) == []


def test_every_change_has_its_action_or_is_for_people(site: Site) -> None:
    for action in PHASE.actions.values():
        assert isinstance(action, Action)
    names = {change.action for change in missing(site, nothing_stored(site))}
    assert names <= set(PHASE.actions)


def test_from_bare_nodes_everything_is_planned_in_the_order_it_needs(site: Site) -> None:
    found = missing(site, nothing_stored(site))
    order = list(dict.fromkeys(change.action for change in found))
    assert order == [
        "packages", "init", "mons", "mgrs", "settings", "osds", "pools", "mdss", "filesystem", "storages",
        "parameters",
    ]  # fmt: skip
    assert [c.serials for c in found if c.action == "osds"] == [(serial,) for _, serial in drives(site)]
    assert not any(c.destroys for c in found)


def test_thirty_six_drives_are_planned_each_on_its_own_node(pve1: Site) -> None:
    plan = [c for c in missing(pve1, nothing_stored(pve1)) if c.action == "osds"]
    assert len(plan) == 36
    assert [(c.node, *c.serials) for c in plan] == drives(pve1)
    by_node = {node.name: sum(c.node == node.name for c in plan) for node in pve1.nodes}
    assert set(by_node.values()) == {12}
    assert len({c.serials for c in plan}) == 36
    assert not any(set(c.serials) & set(n.boot_drives) for c in plan for n in pve1.nodes)


def test_what_is_left_of_thirty_six_is_planned_after_a_kill(pve1: Site) -> None:
    seen = all_stored(pve1)
    state = seen.cluster()
    seen = with_state(seen, osds=state.osds[:20])
    for number in range(20, 36):
        node, _ = drives(pve1)[number]
        seen = with_drive(seen, node, blank(pve1, number))
    plan = missing(pve1, seen)
    assert len(plan) == 16
    assert {c.action for c in plan} == {"osds"}


def test_the_capacity_of_thirty_six(pve1: Site) -> None:
    assert raw_capacity(pve1) == 36 * 7_680_000_000_000
    assert usable_capacity(pve1) / 1e12 == pytest.approx(92.16)
    # systems.md C10: room for one lost drive in its own host, below nearfull
    assert plannable(pve1) / 1e12 == pytest.approx(71.8, abs=0.05)


def test_a_lost_node_of_three_has_nowhere_to_go(pve1: Site) -> None:
    elsewhere, fill = after_node_loss(pve1, 60e12)
    assert not elsewhere
    assert fill == pytest.approx(60e12 * 3 / 276.48e12)
    four = pve1.model_copy(update={"nodes": (*pve1.nodes, pve1.nodes[0].model_copy(update={"name": "n4"}))})
    elsewhere, fill = after_node_loss(four, 60e12)
    assert elsewhere
    assert fill == pytest.approx(60e12 * 3 / 276.48e12)  # four nodes less one hold what three do
    assert plannable(four) / 1e12 == pytest.approx(4 * 12 * 7.68 / 3 * 0.85 * 47 / 48)


@pytest.mark.parametrize(
    ("change", "action", "part"),
    [
        ({"up": False}, "start", "start osd.3 on drive DATA202"),
        ({"inside": False}, "in", "take osd.3 in again"),
        ({"device_class": "hdd"}, "class", "give osd.3 the device class ssd (it has hdd)"),
    ],
)
def test_each_property_of_an_osd(
    site: Site, stored: Observation, change: dict[str, Any], action: str, part: str
) -> None:
    found = only(site, with_osd(stored, 3, **change))
    assert (found.action, found.node) == (action, "node2")
    assert part in found.summary


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"size": 2}, "size 2, expected 3"),
        ({"min_size": 1}, "min_size 1, expected 2"),
        ({"ratio": 0.5}, "share 0.5, expected 0.6"),
        ({"applications": ()}, "application none, expected rbd"),
        ({"pg_num": 8}, "pg_num 8, expected 32"),
        ({"autoscale": "warn"}, "autoscaler warn, expected off"),
        ({"rule": 7}, "rule unknown, expected replicated_rule"),
    ],
)
def test_each_property_of_a_pool(site: Site, stored: Observation, change: dict[str, Any], part: str) -> None:
    found = only(site, with_pool(stored, "rbd-vms", **change))
    assert found.action == "pools"
    assert part in found.summary


def test_the_autoscaler_decides_where_the_order_says_nothing(pve1: Site) -> None:
    assert missing(pve1, with_pool(all_stored(pve1), "rbd-vms", pg_num=512)) == []


@pytest.mark.parametrize(
    ("change", "action", "part"),
    [
        ({"flags": ("noout",)}, "settings", "unset the flag noout"),
        ({"muted": ("OSD_DOWN",)}, "settings", "unmute OSD_DOWN"),
        ({"checks": {"MGR_MODULE_ERROR": "Module 'm' has failed"}}, "handover", "(Module 'm' has failed)"),
        ({"checks": {"MGR_MODULE_ERROR": "Module 'm' has failed"}, "mgr": ""}, "", ""),
        ({"nearfull": 0.5}, "settings", "nearfull ratio to 0.85 (it is 0.5)"),
        (
            {"configured": {"global/auth_client_required": "none"}},
            "settings",
            "take back auth_client_required",
        ),
        ({"filesystems": ()}, "filesystem", "make the file system cephfs on cephfs-data and cephfs-metadata"),
        ({"pgs": {"active+clean": 60, "active+undersized+degraded": 4}}, "settle", "active and clean"),
        ({"pgs": {"active+clean+inconsistent": 1}}, "people", "rados list-inconsistent-obj"),
        ({"rules": ()}, "", ""),
    ],
)
def test_each_word_of_the_monitors(
    site: Site, stored: Observation, change: dict[str, Any], action: str, part: str
) -> None:
    found = missing(site, with_state(stored, **change))
    if not action:
        assert found == []
        return
    assert [c.action for c in found] == [action]
    assert part in found[0].summary


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("auth_allow_insecure_global_id_reclaim", "true"),
        ("osd_memory_target", "4294967296"),
        ("mon_osd_down_out_interval", "60"),
    ],
)
def test_each_option(site: Site, stored: Observation, option: str, value: str) -> None:
    options = {**stored.cluster().options, option: value}
    found = only(site, with_state(stored, options=options))
    assert found.action == "settings"
    assert f"{option} to" in found.summary and value in found.summary


def test_a_site_may_order_further_options(site: Site, stored: Observation) -> None:
    assert site.ceph is not None
    ceph = site.ceph.model_copy(update={"settings": {"osd/osd_max_backfills": "2"}})
    order = site.model_copy(update={"ceph": ceph})
    assert "set osd_max_backfills to 2" in only(order, stored).summary
    options = {**stored.cluster().options, "osd/osd_max_backfills": "2"}
    assert missing(order, with_state(stored, options=options)) == []


@pytest.mark.parametrize(
    ("change", "action", "part"),
    [
        ({"packages": {}}, "packages", "install Ceph reef"),
        ({"repository": "enterprise"}, "", ""),
        ({"busy": True}, "wait", "being made"),
        ({"daemons": frozenset({"mon/ceph-node2", "mgr/ceph-node2"})}, "mdss", "make a metadata server"),
        ({"daemons": frozenset({"mon/ceph-node2", "mds/ceph-node2"})}, "mgrs", "make a manager"),
        ({"daemons": frozenset({"mgr/ceph-node2", "mds/ceph-node2"})}, "mons", "make a monitor"),
    ],
)
def test_each_property_of_a_node(
    site: Site, stored: Observation, change: dict[str, Any], action: str, part: str
) -> None:
    found = missing(site, with_storage(stored, "node2", **change))
    if not action:
        assert found == []
        return
    assert [(c.node, c.action) for c in found] == [("node2", action)]
    assert part in found[0].summary


@pytest.mark.parametrize("kind", ["mon", "mgr", "mds"])
def test_a_daemon_that_does_not_run_is_started(site: Site, stored: Observation, kind: str) -> None:
    units = {**stored.node("node2").units, f"ceph-{kind}@node2": "failed"}
    found = only(site, with_storage(stored, "node2", units=units))
    assert (found.node, found.action) == ("node2", "start")
    assert "it is failed" in found.summary


def test_a_monitor_that_runs_outside_the_quorum_is_waited_for(site: Site, stored: Observation) -> None:
    assert stored.state is not None
    found = only(site, replace(stored, state=replace(stored.state, quorum=("node1", "node2"))))
    assert (found.node, found.action) == ("node3", "start")
    assert found.summary == "wait until its monitor is in the quorum"


def test_another_release_is_no_matter_for_a_program(site: Site, stored: Observation) -> None:
    packages = dict.fromkeys(stored.node("node1").packages, "17.2.9-1")
    found = only(site, with_storage(stored, "node1", packages=packages))
    assert (found.action, "upgrade is for people" in found.summary) == ("people", True)


def test_keys_switched_off_on_file(site: Site, stored: Observation) -> None:
    conf = {"global": {**stored.node("node1").conf["global"], "auth_client_required": "none"}}
    conf = {**stored.node("node1").conf, **conf}
    found = only(site, with_storage(stored, "node1", conf=conf))
    assert found.action == "people"
    assert "auth_client_required = none" in found.summary


def test_monitors_elsewhere_are_not_moved(site: Site, stored: Observation) -> None:
    conf = {**stored.node("node1").conf, "global": {"fsid": FSID, "public_network": "10.1.0.0/24"}}
    found = [c for c in missing(site, with_storage(stored, "node1", conf=conf)) if c.action == "people"]
    assert len(found) == 1
    assert "public_network is 10.1.0.0/24, expected 10.6.0.0/24" in found[0].summary


def test_storage_entries(site: Site, stored: Observation) -> None:
    kept = stored.node("node1").storages
    gone = only(site, with_storage(stored, "node1", storages=kept[1:]))
    assert (gone.action, gone.summary) == ("storages", "tell Proxmox VE of storage rbd-vms (rbd)")
    wrong = (replace(kept[0], values={**kept[0].values, "krbd": "1"}), *kept[1:])
    assert "krbd 1, expected 0" in only(site, with_storage(stored, "node1", storages=wrong)).summary
    stale = (*kept, StorageEntry("old", "rbd", {"pool": "gone", "content": "images"}))
    found = only(site, with_storage(stored, "node1", storages=stale))
    assert (found.action, "take storage old" in found.summary) == ("storages", True)
    foreign = (*kept, StorageEntry("elsewhere", "rbd", {"pool": "gone", "monhost": "10.0.0.1"}))
    assert missing(site, with_storage(stored, "node1", storages=foreign)) == []


def test_the_order_of_contents_does_not_matter(site: Site, stored: Observation) -> None:
    kept = stored.node("node1").storages
    same = (replace(kept[0], values={**kept[0].values, "content": "rootdir,images"}), *kept[1:])
    assert missing(site, with_storage(stored, "node1", storages=same)) == []


@pytest.mark.parametrize("name", ["fsid", "mon_ips", "admin_key"])
def test_parameters(site: Site, stored: Observation, name: str) -> None:
    without = replace(stored, saved={k: v for k, v in stored.saved.items() if k != name})
    assert only(site, without).summary == f"save /pve1/ceph/{name}"
    other = replace(stored, saved={**stored.saved, name: Saved(digest("other"), True)})
    assert only(site, other).action == "parameters"


def test_a_key_in_clear_text_is_saved_anew(site: Site, stored: Observation) -> None:
    clear = replace(stored, saved={**stored.saved, "admin_key": Saved(digest("the key"), False)})
    assert only(site, clear).action == "parameters"


def test_a_node_that_does_not_answer_blocks(site: Site, stored: Observation) -> None:
    lost = replace(stored, nodes={**stored.nodes, "node3": Unreachable("node3", "no route", True)})
    found = missing(site, lost)
    assert [(c.node, c.action, c.blocks) for c in found] == [("node3", "people", True)]


def test_silent_monitors_are_waited_for_and_no_drive_is_taken(site: Site, stored: Observation) -> None:
    found = missing(site, replace(stored, state=None, silent="timed out"))
    assert ("answer", True) in {(c.action, c.blocks) for c in found}
    assert not [c for c in found if c.action in {"osds", "finish", "wipe"}]


def test_of_silent_monitors_nothing_is_planned_but_that_they_answer(site: Site, stored: Observation) -> None:
    """Nobody knows then which pools and settings are there: a plan that makes them anew would be a guess."""
    found = missing(site, replace(stored, state=None, silent="timed out"))
    assert [change.action for change in found] == ["answer"]
    assert found[0].blocks


def test_drives_wait_for_the_one_that_is_being_made(site: Site) -> None:
    seen = with_storage(nothing_stored(site), "node1", busy=True)
    assert not [c for c in missing(site, seen) if c.action == "osds"]


def test_an_id_without_a_drive_is_taken_back_only_if_it_never_served(site: Site, stored: Observation) -> None:
    osds = stored.cluster().osds
    ghost = replace(osds[0], id=9, new=True, up=False, inside=False, host="")
    found = only(site, with_state(stored, osds=(*osds, ghost)))
    assert (found.action, "osd.9" in found.summary) == ("purge", True)
    once = replace(ghost, new=False)
    assert only(site, with_state(stored, osds=(*osds, once))).action == "people"


def unfinished(site: Site, osd: int) -> Drive:
    return served(site, osd)


def test_a_broken_off_osd_is_finished(site: Site, stored: Observation) -> None:
    seen = with_osd(stored, 2, new=True, up=False)
    found = only(site, seen)
    assert (found.action, found.serials, found.destroys) == ("finish", ("DATA201",), "")


def test_an_empty_group_of_ceph_volume_is_begun_anew(site: Site, stored: Observation) -> None:
    drive = Drive("/dev/nvme2n1", "DATA201", 12 << 30, ("LVM2_member",), group=GROUP % 77)
    osds = tuple(o for o in stored.cluster().osds if o.id != 2)
    found = only(site, with_state(with_drive(stored, "node2", drive), osds=osds))
    assert (found.action, found.serials) == ("finish", ("DATA201",))


def test_a_blank_untagged_volume_counts_as_broken_off_and_a_filled_one_does_not() -> None:
    volume = Volume(GROUP % 1, BLOCK % 1, "/dev/x", {})
    drive = Drive(
        "/dev/x", "S", 1 << 30, ("LVM2_member",), None, ("lv",), True, group=GROUP % 1, volumes=(volume,)
    )
    assert judge(drive, FSID).kind == "unfinished"
    assert judge(replace(drive, hollow=False), FSID).kind == "occupied"


@pytest.mark.parametrize(("what", "values", "word"), guard.OCCUPIED, ids=[o[0] for o in guard.OCCUPIED])
def test_each_kind_of_occupied_drive_is_refused(
    site: Site, what: str, values: dict[str, Any], word: str
) -> None:
    drive = Drive("/dev/nvme3n1", "DATA102", 12 << 30, **values)
    seen = with_drive(nothing_stored(site), "node1", drive)
    plan = missing(site, seen)
    (change,) = [c for c in plan if "DATA102" in c.serials]
    assert word in change.destroys, what
    with pytest.raises(RefusedError, match="DATA102") as refusal:
        refuse_loss(plan, frozenset())
    assert "--wipe DATA102" in str(refusal.value)
    refuse_loss(plan, frozenset({"DATA102"}))  # the operator's consent, for this drive alone
    with pytest.raises(RefusedError):
        refuse_loss(plan, frozenset({"DATA101"}))
    assert change.when_wiped == "wipe"


def test_a_drive_in_use_is_refused(site: Site) -> None:
    drive = Drive("/dev/nvme3n1", "DATA102", 12 << 30, ("gpt",), None, ("p1",), mounted=("/srv",))
    (change,) = [c for c in missing(site, with_drive(nothing_stored(site), "node1", drive)) if c.destroys]
    assert "/srv" in change.destroys


def test_a_drive_that_cannot_be_read_is_refused() -> None:
    assert judge(Drive("/dev/x", "S", 0, error="Input/output error"), FSID).kind == "occupied"


def test_while_nobody_knows_which_osds_served_none_counts_as_unfinished(
    site: Site, stored: Observation
) -> None:
    silent = replace(stored, state=None, silent="timed out")
    kinds = {v.kind for node in site.nodes for v in silent.verdicts(site, node.name).values()}
    assert kinds == {"ours"}


def test_an_absent_drive_is_for_people(site: Site, stored: Observation) -> None:
    left = tuple(d for d in stored.node("node1").drives if d.serial != "DATA101")
    found = missing(site, with_storage(stored, "node1", drives=left))
    assert ("people", "put in data drive DATA101: the node does not see it") in {
        (c.action, c.summary) for c in found
    }


def test_the_guard_shows_itself_on_a_site(site: Site, stored: Observation) -> None:
    assert list(guard.accepted(site, stored)) == []


def test_whole_state_is_whole(site: Site) -> None:
    assert whole_state(site).unclean == {}
