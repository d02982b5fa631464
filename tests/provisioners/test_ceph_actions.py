"""Phase 4's actions against a cluster in memory: what they call, in which order, and when they refuse."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.ceph import CephError
from cluster.errors import RackproofError, RefusedError
from cluster.pve import PveError
from cluster.site import Site
from provisioners.ceph import daemons, settings
from provisioners.ceph.daemons import Daemons, Handover, Init, Packages, Start
from provisioners.ceph.missing import missing
from provisioners.ceph.osds import DeviceClass, Finish, In, Osds, Purge, Wipe
from provisioners.ceph.phase import PHASE
from provisioners.ceph.pools import Filesystem, Parameters, Pools, admin_key
from provisioners.ceph.settings import Settings
from provisioners.change import Change
from provisioners.converge import rollback
from tests.provisioners.storages import FSID, all_stored, nothing_stored

KEY = "AQBkey=="


class Node:
    """Answers commands by the first of `answers` whose key stands in them; keeps what was asked."""

    def __init__(self, name: str) -> None:
        self.name = self.where = name
        self.ran: list[str] = []
        self.answers: dict[str, Any] = {}
        self.drives: dict[str, dict[str, Any]] = {}

    def run(self, command: str, *args: str, timeout: float = 30, check: bool = True, data: Any = None) -> Any:
        line = command % args if args else command
        self.ran.append(line)
        if data and "masked" in data:
            pad = bytes.fromhex(data.split("fromhex('")[1].split("'")[0])
            text = bytes(a ^ b for a, b in zip(KEY.encode(), pad, strict=False)).hex()
            return SimpleNamespace(ok=True, stdout=f"masked {text} {len(KEY)}\n", stderr="")
        found = next((v for k, v in self.answers.items() if k in line), True)
        return SimpleNamespace(ok=bool(found), stdout=found if isinstance(found, str) else "", stderr="")

    def gather(self, script: str, timeout: float = 60) -> Mapping[str, str]:
        rows = [row for serial, row in self.drives.items() if serial in script]
        return {"lvs": "", "pvs": "", "drives": json.dumps({"drives": rows})}

    def put(self, text: str, path: str, mode: int = 0o644) -> None:
        self.ran.append(f"put {path}")


class Api:
    def __init__(self, log: list[tuple[Any, ...]], name: str) -> None:
        self.log, self.name = log, name
        self.fails: list[str] = []
        self.hook: Callable[[str, dict[str, Any]], None] = lambda path, params: None

    def call(self, method: str, path: str, **params: Any) -> Any:
        self.log.append((method, path, params))
        return []

    def task(self, method: str, path: str, deadline_s: float, progress: Any = None, **params: Any) -> None:
        self.log.append((method, path, params))
        self.hook(path, params)
        if path in self.fails:
            self.fails.remove(path)
            raise PveError(f"{path} failed")

    def running(self, kind: str) -> list[str]:
        return []


class CephFake:
    def __init__(self, log: list[tuple[Any, ...]]) -> None:
        self.log = log
        self.answers: dict[str, Any] = {"osd dump": {"fsid": FSID, "osds": []}, "mon dump": {"mons": []}}

    def ask(self, commands: Mapping[str, Mapping[str, Any]], timeout_s: float = 45) -> dict[str, Any]:
        for command in commands.values():
            self.log.append(("ceph", command["prefix"], dict(command)))
        return {name: self.answers.get(c["prefix"], {}) for name, c in commands.items()}

    def must(self, command: Mapping[str, Any], timeout_s: float = 45) -> Any:
        return self.ask({"it": command})["it"]


class Fake:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.log: list[tuple[Any, ...]] = []
        self.nodes = {n.name: Node(n.name) for n in site.nodes}
        self.pve = {n.name: Api(self.log, n.name) for n in site.nodes}
        self.ceph = CephFake(self.log)
        self.parameters: dict[str, tuple[str, bool]] = {}
        self.aws = SimpleNamespace(put_parameter=self._put)
        self.secrets = SimpleNamespace(forget=lambda: None)
        for node in site.nodes:
            for i, serial in enumerate(node.data_drives):
                path = f"/dev/nvme{i + 2}n1"
                self.nodes[node.name].drives[serial] = {
                    "path": path, "serial": serial, "size": 12 << 30, "signatures": [], "bluestore": None,
                    "children": [], "mounted": [], "read": 1 << 20, "data_at": None,
                }  # fmt: skip

    def _put(self, name: str, value: str, *, secret: bool = False) -> None:
        self.parameters[name] = (value, secret)

    def each(self, call: Callable[[str], Any], nodes: Iterable[str] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def one(name: str) -> None:
            try:
                found[name] = call(name)
            except RackproofError as error:
                found[name] = error

        threads = [threading.Thread(target=one, args=(n,)) for n in (nodes or list(self.nodes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def calls(self, word: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self.log if word in str(entry[1])]


@pytest.fixture
def fake(site: Site) -> Any:
    return Fake(site)


def quiet(_: str) -> None: ...


def plan(site: Site, action: str) -> list[Change]:
    return [c for c in missing(site, nothing_stored(site)) if c.action == action]


def status(up: int, quorum: int) -> dict[str, Any]:
    """As much of `ceph status` as is looked at."""
    return {
        "osdmap": {"num_osds": 6, "num_up_osds": up},
        "quorum": [*range(quorum)],
        "monmap": {"num_mons": 3},
    }


def test_what_is_started_is_waited_for_until_it_is_up_and_in_the_quorum(
    site: Site, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [status(5, 2), status(6, 2), status(5, 3), status(6, 3), status(6, 3)]

    def answer(_: object, timeout_s: float = 45) -> Any:
        return states.pop(0)

    monkeypatch.setattr(fake.ceph, "must", answer)
    monkeypatch.setattr(daemons.time, "sleep", lambda _: None)
    fake.nodes["node3"].answers["is-active"] = "mon.node3\n"
    Start().apply(fake, [Change("node3", "start the monitor", "start")], quiet)
    assert fake.log == [("post", "nodes/node3/ceph/start", {"service": "mon.node3"})]
    assert len(states) == 1, "it is looked at until all is well, and no longer"


def test_a_manager_with_a_failed_module_gives_way_and_is_waited_for(
    site: Site, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, well = {"checks": {"MGR_MODULE_ERROR": {}}}, {"checks": {"OSD_DOWN": {}}}
    unheard = CephError(110, "timed out")
    told = [
        {"health": failed, "mgr": {"available": True}},
        {"health": well, "mgr": {"available": False}},
        {"health": unheard, "mgr": {"available": True}},
        {"health": well, "mgr": {"available": True}},
        {"health": well, "mgr": {"available": True}},
    ]
    asked: list[Any] = []
    monkeypatch.setattr(fake.ceph, "must", asked.append)
    monkeypatch.setattr(fake.ceph, "ask", lambda _commands: told.pop(0))
    monkeypatch.setattr(daemons, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None))
    Handover().apply(fake, [Change("node2", "hand over to another manager", "handover")], quiet)
    assert asked == [{"prefix": "mgr fail", "who": "node2"}]
    assert len(told) == 1, "it is looked at until all is well, and no longer"


def test_a_module_that_fails_everywhere_is_left_to_the_next_look(
    site: Site, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))
    stopped = SimpleNamespace(monotonic=lambda: float(next(clock)), sleep=lambda _: None)
    monkeypatch.setattr(daemons, "time", stopped)
    fake.ceph.answers |= {"health": {"checks": {"MGR_MODULE_ERROR": {}}}, "mgr dump": {"available": True}}
    said: list[str] = []
    Handover().apply(fake, [Change("node2", "hand over to another manager", "handover")], said.append)
    assert said[-1] == "no manager without a failed module yet (110 of 120 s)"


def test_a_ratio_that_was_put_right_is_waited_for_until_osds_go_by_it(
    site: Site, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [
        {"checks": {"OSD_NEARFULL": {}}},
        {"checks": {"POOL_NEARFULL": {}}},
        {"checks": {}},
        {"checks": {}},
    ]
    fake.ceph.answers["health"] = states[0]
    monkeypatch.setattr(fake.ceph, "must", lambda _command, timeout_s=45: states.pop(0))
    monkeypatch.setattr(settings.time, "sleep", lambda _: None)
    Settings().apply(fake, [Change("node1", "set the nearfull ratio", "settings")], quiet)
    assert len(states) == 1


def test_who_stays_nearly_full_is_left_to_the_next_look(
    site: Site, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.ceph.answers["health"] = {"checks": {"OSD_NEARFULL": {}}}
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(settings.time, "sleep", lambda _: None)
    monkeypatch.setattr(settings.time, "monotonic", lambda: float(next(clock)))
    told: list[str] = []
    Settings().apply(fake, [Change("node1", "set the nearfull ratio", "settings")], told.append)
    assert told and "nearly full" in told[0]


def test_osds_are_made_by_serial_number_with_progress(site: Site, fake: Any) -> None:
    told: list[str] = []
    Osds().apply(fake, plan(site, "osds"), told.append)
    made = fake.calls("/ceph/osd")
    assert sorted((p.split("/")[1], v["dev"]) for _, p, v in made) == [
        (n.name, f"/dev/nvme{i}n1") for n in site.nodes for i in (2, 3)
    ]
    assert all(v["crush-device-class"] == "ssd" and "encrypted" not in v for _, _, v in made)
    assert {line.split("OSD ")[1].split(" on")[0] for line in told} == {f"{i} of 6" for i in range(1, 7)}


def test_the_path_is_that_of_the_moment(site: Site, fake: Any) -> None:
    fake.nodes["node1"].drives["DATA101"]["path"] = "/dev/nvme9n1"
    Osds().apply(fake, [c for c in plan(site, "osds") if c.serials == ("DATA101",)], quiet)
    assert [v["dev"] for _, _, v in fake.calls("/ceph/osd")] == ["/dev/nvme9n1"]


def test_encryption_is_asked_for_where_it_was_ordered(site: Site, fake: Any) -> None:
    assert site.ceph is not None
    fake.site = site.model_copy(update={"ceph": site.ceph.model_copy(update={"encrypted": True})})
    Osds().apply(fake, plan(site, "osds")[:1], quiet)
    assert fake.calls("/ceph/osd")[0][2]["encrypted"] is True


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data_at": 5}, "without a signature"),
        ({"signatures": [{"type": "xfs"}]}, "xfs"),
        ({"mounted": ["/srv"]}, "/srv"),
        ({"error": "gone"}, "gone"),
    ],
)
def test_a_drive_that_was_written_since_the_first_look_is_left_alone(
    site: Site, fake: Any, change: dict[str, Any], word: str
) -> None:
    fake.nodes["node1"].drives["DATA102"] |= change
    with pytest.raises(RefusedError, match="DATA102") as refusal:
        Osds().apply(fake, plan(site, "osds"), quiet)
    assert word in str(refusal.value)
    assert not [v for _, _, v in fake.calls("nodes/node1/ceph/osd") if v["dev"] == "/dev/nvme3n1"]


def test_a_drive_that_is_gone_or_there_twice_is_left_alone(site: Site, fake: Any) -> None:
    del fake.nodes["node1"].drives["DATA101"]
    with pytest.raises(RefusedError, match="seen 0 times"):
        Osds().apply(fake, plan(site, "osds")[:1], quiet)
    assert fake.calls("/ceph/osd") == []


def test_a_wiped_drive_is_emptied_and_not_yet_made(site: Site, fake: Any) -> None:
    fake.nodes["node1"].drives["DATA101"]["signatures"] = [{"type": "gpt"}]
    change = Change("node1", "make an OSD", "wipe", destroys="x", serials=("DATA101",))
    Wipe().apply(fake, [change], quiet)
    assert [(p, v) for _, p, v in fake.calls("wipedisk")] == [
        ("nodes/node1/disks/wipedisk", {"disk": "/dev/nvme2n1"})
    ]
    assert any("blkdiscard" in line for line in fake.nodes["node1"].ran)
    assert fake.calls("/ceph/osd") == []


def test_a_mounted_drive_is_not_wiped_even_with_consent(fake: Any) -> None:
    fake.nodes["node1"].drives["DATA101"]["mounted"] = ["/srv"]
    with pytest.raises(RefusedError, match="/srv"):
        Wipe().apply(fake, [Change("node1", "", "wipe", serials=("DATA101",))], quiet)
    assert fake.calls("wipedisk") == []


def test_a_drive_that_is_whole_is_not_finished_again(fake: Any) -> None:
    Finish().apply(fake, [Change("node1", "", "finish", serials=("DATA101",))], quiet)
    assert fake.calls("wipedisk") == []


def test_monitors_come_one_after_another_with_their_addresses(site: Site, fake: Any) -> None:
    for node in fake.nodes.values():
        node.answers["test -"] = False
    Daemons("mon").apply(fake, plan(site, "mons"), quiet)
    assert [(p, v) for _, p, v in fake.calls("/ceph/mon/")] == [
        (f"nodes/{n.name}/ceph/mon/{n.name}", {"mon-address": str(n.address)}) for n in site.nodes
    ]


def test_a_manager_that_came_with_the_first_monitor_is_not_made_again(site: Site, fake: Any) -> None:
    for name in ("node2", "node3"):
        fake.nodes[name].answers["test -"] = False
    Daemons("mgr").apply(fake, plan(site, "mgrs"), quiet)
    assert [p for _, p, _ in fake.calls("/ceph/mgr/")] == [
        "nodes/node2/ceph/mgr/node2", "nodes/node3/ceph/mgr/node3",
    ]  # fmt: skip


def test_a_broken_off_daemon_is_put_aside_and_made_anew(site: Site, fake: Any) -> None:
    fake.nodes["node2"].answers["keyring"] = False
    fake.pve["node2"].fails = ["nodes/node2/ceph/mds/node2"]
    Daemons("mds").apply(fake, [c for c in plan(site, "mdss") if c.node == "node2"], quiet)
    assert len(fake.calls("/ceph/mds/")) == 2
    assert any(
        "mv /var/lib/ceph/mds/ceph-node2 /var/lib/rackproof/saved" in r for r in fake.nodes["node2"].ran
    )


def test_a_monitor_in_the_map_is_never_put_aside(site: Site, fake: Any) -> None:
    fake.nodes["node2"].answers["keyring"] = False
    fake.ceph.answers["mon dump"] = {"mons": [{"name": "node2"}]}
    fake.pve["node2"].fails = ["nodes/node2/ceph/mon/node2"]
    with pytest.raises(RefusedError, match="in the map"):
        Daemons("mon").apply(fake, [c for c in plan(site, "mons") if c.node == "node2"], quiet)
    assert not any(" mv " in line for line in fake.nodes["node2"].ran)


def test_init_names_both_networks_only_where_they_differ(site: Site, fake: Any) -> None:
    Init().apply(fake, plan(site, "init"), quiet)
    assert fake.calls("/ceph/init")[0][2] == {"network": "10.6.0.0/24"}
    assert site.ceph is not None
    fake.site = site.model_copy(update={"ceph": site.ceph.model_copy(update={"cluster_network": "mgmt"})})
    Init().apply(fake, plan(site, "init"), quiet)
    assert fake.calls("/ceph/init")[1][2] == {"network": "10.6.0.0/24", "cluster-network": "10.7.0.0/24"}


def test_packages_are_those_of_the_order(site: Site, fake: Any) -> None:
    Packages().apply(fake, plan(site, "packages"), quiet)
    assert all("--version reef --repository manual" in n.ran[0] for n in fake.nodes.values())


def test_pools_are_made_or_set_right(site: Site, fake: Any) -> None:
    rows = {p.name: p for p in all_stored(site).cluster().pools}
    have = rows["rbd-vms"]
    fake.ceph.answers["osd dump"] = {"pools": [
        {"pool": 1, "pool_name": "rbd-vms", "size": 2, "min_size": 1, "pg_num": have.pg_num, "crush_rule": 0,
         "pg_autoscale_mode": "off", "options": {"target_size_ratio": 0.6},
         "application_metadata": {"rbd": {}}}
    ]}  # fmt: skip
    fake.ceph.answers["osd crush rule dump"] = [{"rule_id": 0, "rule_name": "replicated_rule", "steps": []}]
    Pools().apply(fake, plan(site, "pools"), quiet)
    (put,) = [entry for entry in fake.log if entry[0] == "put"]
    assert put[1:] == ("nodes/node1/ceph/pool/rbd-vms", {"size": 3, "min_size": 2})
    made = {v["name"]: v for m, p, v in fake.log if m == "post"}
    assert set(made) == {"rbd-containers", "cephfs-data", "cephfs-metadata"}
    assert made["cephfs-data"] == {
        "name": "cephfs-data", "size": 3, "min_size": 2, "target_size_ratio": 0.08, "application": "cephfs",
        "pg_autoscale_mode": "off", "pg_num": 8, "crush_rule": "replicated_rule",
    }  # fmt: skip


def test_the_file_system_stands_on_the_ordered_pools(site: Site, fake: Any) -> None:
    active = {"mdsmap": {"info": {"gid": {"state": "up:active"}}}}
    fake.ceph.answers["fs dump"] = {"filesystems": [active]}
    Filesystem().apply(fake, plan(site, "filesystem"), quiet)
    assert fake.calls("fs new")[0][2] == {
        "prefix": "fs new", "fs_name": "cephfs", "metadata": "cephfs-metadata", "data": "cephfs-data",
    }  # fmt: skip


def test_settings_flags_and_mutes(site: Site, fake: Any) -> None:
    fake.ceph.answers |= {
        "osd dump": {"flags_set": ["noout", "sortbitwise"]},
        "config dump": [{"section": "global", "name": "auth_client_required", "value": "none"}],
        "health": {"mutes": [{"code": "OSD_DOWN"}]},
    }
    Settings().apply(fake, [], quiet)
    said = {(p, v.get("name", v.get("code", ""))) for m, p, v in fake.log if m == "ceph"}
    assert {("config rm", "auth_client_required"), ("health unmute", "OSD_DOWN")} <= said
    assert ("config set", "osd_memory_target") in said
    assert [(p, v) for m, p, v in fake.log if m == "put"] == [("cluster/ceph/flags/noout", {"value": False})]


def test_osds_named_in_changes(fake: Any) -> None:
    In().apply(fake, [Change("node2", "take osd.3 in again", "in")], quiet)
    assert fake.calls("/in")[0][1] == "nodes/node2/ceph/osd/3/in"
    DeviceClass().apply(
        fake, [Change("node2", "give osd.3 the device class ssd (it has hdd)", "class")], quiet
    )
    assert fake.calls("set-device-class")[0][2]["ids"] == ["3"]
    Purge().apply(
        fake, [Change("node1", "take back the id of osd.9, which never came to be", "purge")], quiet
    )
    assert fake.calls("purge-new")[0][2]["id"] == 9


def test_what_is_needed_is_saved_and_the_key_encrypted(site: Site, fake: Any) -> None:
    fake.ceph.answers["status"] = {"fsid": FSID}
    Parameters().apply(fake, plan(site, "parameters"), quiet)
    assert fake.parameters == {
        "/pve1/ceph/fsid": (FSID, False),
        "/pve1/ceph/mon_ips": ("10.6.0.11,10.6.0.12,10.6.0.13", False),
        "/pve1/ceph/admin_key": (KEY, True),
    }


def test_the_key_is_in_nothing_that_a_transcript_keeps(fake: Any) -> None:
    assert admin_key(fake, "node1") == KEY
    assert KEY not in "".join(fake.nodes["node1"].ran)


def test_storage_is_not_rolled_back(fake: Any) -> None:
    with pytest.raises(RefusedError, match="storage is kept"):
        rollback(PHASE, fake, progress=quiet)
    assert fake.log == []
