"""What nodes and API tell of high availability, in the words in which they tell it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.aws import Parameter
from cluster.errors import UnreachableError
from cluster.pve import PveError
from cluster.site import ROOT, Site, load
from provisioners.guests import observation as guests
from provisioners.ha import manager, observation
from provisioners.ha.manager import Rule, State
from provisioners.ha.missing import missing
from provisioners.ha.observation import Holder, NodeHa, Service, Watchdog, parse
from provisioners.unreachable import Unreachable

RESOURCES = [
    {"sid": "ct:101", "type": "ct", "state": "started", "max_restart": 1, "failback": 1, "digest": "9b"},
    {"sid": "ct:102", "type": "ct", "state": "enabled", "max_restart": "2", "max_relocate": 3, "failback": 0},
    {"sid": "vm:103", "type": "vm"},
]
RULES = [
    {"rule": "one", "type": "node-affinity", "resources": "ct:101", "nodes": "a:2,b:1,c", "strict": 0},
    {"rule": "two", "type": "node-affinity", "resources": "ct:102", "nodes": "a", "strict": "1",
     "disable": 1},
    {
        "rule": "three", "type": "resource-affinity", "resources": "ct:101,ct:102", "affinity": "negative",
        "errors": {"resources": "too many"},
    },
]  # fmt: skip
CURRENT = [
    {"id": "quorum", "type": "quorum", "node": "a", "status": "OK", "quorate": "1"},
    {"id": "master", "type": "master", "node": "a", "status": "a (active, Sat Aug 29 10:40:00 2026)"},
    {"type": "fencing", "node": "a", "status": "armed (CRM watchdog active)", "armed-state": "armed"},
    {"type": "lrm", "node": "a", "status": "a (active, watchdog active, Sat Aug 29 10:39:57 2026)"},
    {
        "type": "lrm",
        "node": "b",
        "status": "b (old timestamp - dead?, watchdog standby, Sat Aug 29 10:38:45)",
    },
    {"type": "lrm", "node": "c", "status": "c (idle, Sat Aug 29 10:39:59 2026)"},
    {"type": "lrm", "node": "d", "status": "d (unable to read lrm status)"},
    {"type": "lrm", "node": "e", "status": "e (maintenance mode, watchdog active, Sat Aug 29 10:39:59 2026)"},
    {"type": "service", "sid": "ct:101", "node": "a", "state": "started", "crm_state": "started"},
    {"type": "service", "sid": "ct:102", "node": "b", "state": "fence", "crm_state": "fence"},
]
STATUS = {"manager_status": {"master_node": "a", "node_status": {"a": "online", "e": "maintenance"}}}


def read(**changes: Any) -> manager.Manager:
    told: dict[str, Any] = {
        "resources": RESOURCES, "rules": RULES, "current": CURRENT, "status": STATUS,
        "options": {"ha": {"shutdown_policy": "migrate"}},
    }  # fmt: skip
    return manager.read(**{**told, **changes})


def test_resources_have_proxmoxs_defaults() -> None:
    assert read().resources == {
        "ct:101": {"state": "started", "max_restart": "1", "max_relocate": "1", "failback": "1"},
        "ct:102": {"state": "started", "max_restart": "2", "max_relocate": "3", "failback": "0"},
        "vm:103": {"state": "started", "max_restart": "1", "max_relocate": "1", "failback": "1"},
    }


def test_rules() -> None:
    assert read().rules == {
        "one": Rule("node-affinity", frozenset({"ct:101"}), {"a": 2, "b": 1, "c": 0}, False),
        "two": Rule("node-affinity", frozenset({"ct:102"}), {"a": 0}, True, disabled=True),
        "three": Rule(
            "resource-affinity", frozenset({"ct:101", "ct:102"}), {}, False, problem="too many"
        ),
    }  # fmt: skip


def test_who_leads_and_what_each_node_is_doing() -> None:
    told = read()
    assert (told.master, told.leading, told.quorate, told.armed) == ("a", "active", True, "armed")
    assert told.lrms == {
        "a": "active", "b": "old timestamp - dead?", "c": "idle", "d": "unable to read lrm status",
        "e": "maintenance mode",
    }  # fmt: skip
    assert told.services == {"ct:101": State("a", "started"), "ct:102": State("b", "fence")}
    assert told.nodes == {"a": "online", "e": "maintenance"}
    assert told.policy == "migrate"


def test_a_manager_that_never_had_anything_to_do() -> None:
    told = read(resources=[], rules=[], current=CURRENT[:1], status={"manager_status": {}}, options={})
    assert (told.resources, told.rules, told.services, told.nodes) == ({}, {}, {}, {})
    assert (told.master, told.leading, told.armed, told.policy) == ("", "", "", "conditional")


SAID = {
    "services": "Id=watchdog-mux.service\nActiveState=active\nUnitFileState=static\n\n"
    "Id=pve-ha-crm.service\nActiveState=failed\nUnitFileState=enabled\n\n"
    "Id=rackproof-fencing.service\nActiveState=inactive\nUnitFileState=\n",
    "configured": '"i6300esb"\n',
    "modules": "virtio_net\ni6300esb\n",
    "watchdogs": "0|active|10|i6300esb|i6300ESB timer\n1|inactive|30|iTCO_wdt|iTCO_wdt\n2|inactive||"
    "|Software Watchdog\n",
    "holders": "700|/dev/watchdog|watchdog-mux.service|watchdog-mux\n",
    "fencing": '{"node": "node1", "peers": []}',
    "program": "0123  -\n",
    "authorities": "4567  -\n",
}


def test_a_node_tells_of_its_watchdogs_and_services() -> None:
    seen = parse("node1", SAID)
    assert seen.services["watchdog-mux"] == Service(True, True)
    assert seen.services["pve-ha-crm"] == Service(False, True)
    assert seen.service("rackproof-fencing") == seen.service("never-heard-of") == Service(False, False)
    assert seen.configured == "i6300esb"
    assert seen.watchdogs == (
        Watchdog(0, True, 10, "i6300esb"),
        Watchdog(1, False, 30, "iTCO_wdt"),
        Watchdog(2, False, 0, "softdog"),
    )
    assert seen.holders == (Holder(700, "/dev/watchdog", "watchdog-mux.service", "watchdog-mux"),)
    assert seen.in_force == "i6300esb"
    assert (seen.fencing["node"], seen.program, seen.authorities) == ("node1", "0123", "4567")


@pytest.mark.parametrize(
    ("holders", "watchdogs", "modules", "in_force"),
    [
        ("", SAID["watchdogs"], "", ""),
        ("1|/dev/watchdog0|init.scope|systemd\n", SAID["watchdogs"], "", ""),
        ("7|/dev/watchdog1|watchdog-mux.service|sbd\n", SAID["watchdogs"], "", "iTCO_wdt"),
        (
            "7|/dev/watchdog|watchdog-mux.service|sbd\n",
            "0|active|10||i6300ESB timer\n",
            "i2c\ni6\ni6300esb\nwatchdog\n",
            "i6300esb",
        ),
        (
            "7|/dev/watchdog|watchdog-mux.service|sbd\n",
            "0|active|10||i6300ESB timer\n",
            "wdt\n",
            "unknown",
        ),
        ("7|/dev/watchdog|watchdog-mux.service|x\n", "", "ipmi_si\nipmi_watchdog\n", "ipmi_watchdog"),
        ("7|/dev/watchdog|watchdog-mux.service|x\n", "", "", "unknown"),
    ],
)
def test_which_watchdog_is_in_force(holders: str, watchdogs: str, modules: str, in_force: str) -> None:
    seen = parse("node1", {**SAID, "holders": holders, "watchdogs": watchdogs, "modules": modules})
    assert seen.in_force == in_force


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense"])
def test_a_configuration_that_cannot_be_read_is_none(text: str) -> None:
    assert parse("node1", {**SAID, "fencing": text}).fencing == {}


def test_a_node_on_which_nothing_of_it_is() -> None:
    assert parse("node1", {}) == NodeHa("node1", {}, "", frozenset(), (), ())


def test_the_script_finds_who_holds_a_watchdog(tmp_path: Path) -> None:
    """For real on this machine, with files of the test in the place of /dev and /sys."""
    dog = tmp_path / "sys/watchdog0"
    driver = tmp_path / "modules/i6300esb"
    driver.mkdir(parents=True)
    (dog / "device/driver").mkdir(parents=True)
    (dog / "device/driver/module").symlink_to(driver)
    for name, text in {"identity": "i6300ESB timer", "state": "active", "timeout": "10"}.items():
        (dog / name).write_text(f"{text}\n")
    defaults = tmp_path / "defaults"
    defaults.write_text("# select watchdog module\n#WATCHDOG_MODULE=softdog\nWATCHDOG_MODULE=i6300esb\n")
    script = (
        observation._SCRIPT.replace("/sys/class/watchdog", str(tmp_path / "sys"))
        .replace("/dev/watchdog", str(tmp_path / "watchdog"))
        .replace("/etc/default/pve-ha-manager", str(defaults))
        .replace("systemctl", "false")
    )
    (tmp_path / "watchdog0").touch()
    with (tmp_path / "watchdog0").open():
        done = subprocess.run(
            ["sh", "-c", f'section() {{ echo "== $1"; }}\n{script}'],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    sections = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
    assert sections["watchdogs"] == "0|active|10|i6300esb|i6300ESB timer\n"
    assert sections["configured"] == "i6300esb\n"
    ((pid, device, _, name),) = [line.split("|") for line in sections["holders"].splitlines()]
    assert (int(pid), device) == (os.getpid(), f"{tmp_path}/watchdog0")
    assert name == Path("/proc/self/comm").read_text().strip()
    assert set(SAID) <= set(sections)


@pytest.fixture(scope="module")
def site() -> Site:
    return load(ROOT / "sites/pve1.toml")


class Api:
    """One node's API by path; what is not there is refused, what is an error is raised."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def call(self, method: str, path: str, **params: Any) -> Any:
        self.asked.append(path)
        found = self.answers[f"{path} {params['content']}" if "content" in params else path]
        if isinstance(found, Exception):
            raise found
        return found

    def running(self, kind: str) -> list[str]:
        return ["UPID"] if kind == "vzcreate" else []


VOLUMES = {
    "nodes/pve1-node1/storage/cephfs/content vztmpl": [{"volid": "cephfs:vztmpl/x.tar.gz"}],
    "nodes/pve1-node1/storage/cephfs/content iso": [{"volid": "cephfs:iso/x.iso"}],
}


def of(site: Site, *apis: Api) -> Any:
    names = [node.name for node in site.nodes]
    return SimpleNamespace(site=site, pve=dict(zip(names, apis, strict=False)))


def test_guests_of_ordered_numbers_are_seen_with_their_configuration(site: Site) -> None:
    rows = [
        {"vmid": 9001, "type": "lxc", "node": "pve1-node2", "name": "beat-ct", "status": "running"},
        {"vmid": "9002", "type": "qemu", "node": "pve1-node3", "status": "unknown"},
        {"vmid": 100, "type": "qemu", "node": "pve1-node3", "status": "running"},
    ]
    config = {"memory": 64, "tags": "rackproof;web", "description": "rackproof golden guest, recipe 1\n"}
    lost = UnreachableError("pve1-node3 does not answer")
    api = Api(
        {
            "cluster/resources": rows, "nodes/pve1-node2/lxc/9001/config": config,
            "nodes/pve1-node3/qemu/9002/config": lost, **VOLUMES,
        }
    )  # fmt: skip
    seen = guests.observe(of(site, api))
    one, other = seen.guests[9001], seen.guests[9002]
    assert set(seen.guests) == {9001, 9002}
    assert (one.kind, one.node, one.running, one.ours, one.sid, one.path) == (
        "container", "pve1-node2", True, True, "ct:9001", "lxc/9001",
    )  # fmt: skip
    assert one.config["memory"] == "64" and one.description == "rackproof golden guest, recipe 1"
    assert (other.kind, other.running, other.ours, other.silent) == ("vm", False, False, str(lost))
    assert seen.images == {"cephfs:vztmpl/x.tar.gz", "cephfs:iso/x.iso"}


def test_a_guest_that_is_being_made_is_seen_as_that(site: Site) -> None:
    rows = [{"vmid": 9001, "type": "lxc", "node": "pve1-node1", "status": "stopped"}]
    config = {"lock": "create"}
    api = Api({"cluster/resources": rows, "nodes/pve1-node1/lxc/9001/config": config, **VOLUMES})
    seen = guests.observe(of(site, api)).guests[9001]
    assert (seen.unfinished, seen.making) == (True, True)


@pytest.mark.parametrize("tags", ["rackproof", "web;rackproof", "web,rackproof", "web rackproof"])
def test_tags_may_be_parted_in_several_ways(tags: str) -> None:
    assert guests.GuestSeen(9001, "container", "x", "n", True, {"tags": tags}).ours


@pytest.mark.parametrize("tags", ["", "rackproofs", "my-rackproof"])
def test_another_tag_is_not_ours(tags: str) -> None:
    assert not guests.GuestSeen(9001, "container", "x", "n", True, {"tags": tags}).ours


def test_the_next_node_is_asked_where_the_first_is_silent(site: Site) -> None:
    silent = Api({"cluster/resources": UnreachableError("no answer")})
    second = {key.replace("node1", "node2"): value for key, value in VOLUMES.items()}
    good = Api({"cluster/resources": [], **second})
    assert guests.observe(of(site, silent, good)).silent == ""
    assert guests.observe(of(site, silent, silent, silent)).silent == "no answer; no answer; no answer"


def test_a_refusal_is_no_silence(site: Site) -> None:
    refusing = Api({"cluster/resources": PveError("no", 403)})
    with pytest.raises(PveError):
        guests.observe(of(site, refusing))


def test_where_nothing_is_ordered_nothing_is_asked(site: Site) -> None:
    bare = site.model_copy(update={"ha": None, "guests": ()})
    seen = observation.observe(of(bare))
    assert (seen.nodes, seen.manager, dict(seen.guests.guests)) == ({}, None, {})


def test_a_site_of_bare_servers_lacks_its_guests_and_nobody_is_asked(site: Site) -> None:
    cluster: Any = SimpleNamespace(site=site, pve={}, secrets=SimpleNamespace(tree=dict))
    seen = observation.observe(cluster)
    assert {change.action for change in missing(site, seen)} == {"images", "guests", "resources", "rules"}
    alone = site.model_copy(update={"ha": None})
    seen = observation.observe(SimpleNamespace(site=alone, pve={}, secrets=cluster.secrets))  # type: ignore[arg-type]
    assert {change.action for change in missing(alone, seen)} == {"images", "guests"}


def test_each_node_is_looked_at_once_and_one_is_asked_for_the_rest(site: Site) -> None:
    answers = {
        "cluster/ha/resources": RESOURCES, "cluster/ha/rules": RULES, "cluster/ha/status/current": CURRENT,
        "cluster/ha/status/manager_status": STATUS, "cluster/options": {}, "cluster/resources": [], **VOLUMES,
    }  # fmt: skip
    names = [node.name for node in site.nodes]
    markers = {f"/pve1/nodes/{name}/install_state": "installed" for name in names[:2]}
    tree = {name: Parameter(name, "String", value, 1) for name, value in markers.items()}
    gathered: list[list[str]] = []

    def gather(script: str, nodes: list[str], timeout: float) -> dict[str, Any]:
        gathered.append(nodes)
        return {names[0]: SAID, names[1]: UnreachableError("no answer")}

    api = Api(answers)
    cluster = SimpleNamespace(
        site=site, pve={names[0]: api}, gather=gather, secrets=SimpleNamespace(tree=lambda: tree)
    )
    seen = observation.observe(cluster)  # type: ignore[arg-type]
    assert gathered == [names[:2]]
    assert [node.name for node in seen.seen] == names[:1]
    assert seen.nodes[names[1]] == Unreachable(names[1], "no answer", True)
    assert seen.nodes[names[2]] == Unreachable(names[2], "it was never installed", False)
    assert seen.told().master == "a" and len(api.asked) == len(set(api.asked)) + 1  # content: twice


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/watchdog-mux.service\n", "watchdog-mux.service"),
        ("9:name=systemd:/\n0::/system.slice/watchdog-mux.service\n", "watchdog-mux.service"),
        ("0::/\n", ""),
    ],
)
def test_who_holds_the_watchdog_is_told_with_its_unit(tmp_path: Path, cgroup: str, unit: str) -> None:
    process = tmp_path / "proc" / "77"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to("/dev/watchdog0")
    (process / "comm").write_text("sbd\n")
    (process / "cgroup").write_text(cgroup)
    script = (Path(observation.__file__).parent / "gather.sh").read_text()
    part = script[script.index("find /proc/") : script.index("section fencing")]
    part = part.replace("/proc/", f"{tmp_path}/proc/")
    done = subprocess.run(["/bin/sh", "-c", part], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip().removeprefix(f"{tmp_path}/proc/") == f"77|/dev/watchdog0|{unit}|sbd"
