"""Contract cases: Ceph. The monitors' answers are those of a real cluster (18.2.7, 3 monitors, 6 OSDs)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lab.standins.proxmox.daemon.ceph import conf, keys, monitors, units
from lab.standins.proxmox.daemon.http import tasks
from lab.standins.proxmox.daemon.http.machine import Result

from . import pve_schema
from .conftest import NODE, Rig
from .contract import Case, Cases

pve_schema.DEFECTS |= {
    ("GET", "/cluster/ceph/metadata", f".{kind}"): "the name in braces stands for any, and is none itself"
    for kind in ("mds.{id}", "mgr.{id}", "mon.{id}", "node.{node}")
}

ANSWERS: dict[str, Any] = json.loads((Path(__file__).parent / "ceph_answers.json").read_text())
FSID = "8a3354a7-3303-44c5-9bc1-1d3370778545"
KEY = "AQBqDwFrAAAAABAAc29tZSBrZXkgb2YgYSB0ZXN0"
#: what changes something answers, where it answers at all
CHANGES: dict[str, Any] = {
    "osd new": {"osdid": 6},
    "auth get-or-create": [{"entity": "somebody", "key": KEY, "caps": {}}],
}
BASE = "/nodes/{node}/ceph"
VOLUME = {
    "vg_name": "ceph-1", "lv_name": "osd-block-1", "lv_uuid": "Xy", "lv_size": "12884901888",
    "lv_time": "2026-11-21 03:00:00 +0000", "devices": "/dev/nvme1n1(0)",
    "lv_tags": "ceph.osd_id=1,ceph.osd_fsid=u,ceph.type=block,ceph.encrypted=0",
}  # fmt: skip


class FakeRados:
    """librados without a cluster: recorded answers, and a list of what was told."""

    told: list[dict[str, Any]] = []  # noqa: RUF012 - one list for all connections is the point
    refused: dict[str, tuple[int, str]] = {}  # noqa: RUF012

    def __init__(self, **_: Any) -> None:
        pass

    def __enter__(self) -> FakeRados:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self, timeout: int = 0) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def mon_command(self, command: str, inbuf: bytes, timeout: int = 0) -> tuple[int, bytes, str]:
        wanted = json.loads(command)
        FakeRados.told.append({**wanted, "inbuf": inbuf})
        prefix = wanted["prefix"]
        if prefix in FakeRados.refused:
            return (*FakeRados.refused[prefix][:1], b"", FakeRados.refused[prefix][1])
        answer = CHANGES.get(prefix, ANSWERS.get(prefix))
        return 0, b"" if answer is None else json.dumps(answer).encode(), ""


def module() -> ModuleType:
    """A module `rados` of which the daemon takes what it uses."""
    made = ModuleType("rados")
    made.Rados = FakeRados  # type: ignore[attr-defined]
    made.Error = type("Error", (Exception,), {})  # type: ignore[attr-defined]
    return made


def programs(rig: Rig) -> None:
    """The Ceph packages are installed."""
    for path in units.BINARIES.values():
        rig.machine.write(path, "")


def initialised(rig: Rig) -> None:
    """After `pveceph init`, before the first monitor."""
    programs(rig)
    rig.machine.write(conf.PATH, f"[global]\n\tfsid = {FSID}\n\tpublic_network = 10.9.0.0/24\n")


def running(rig: Rig) -> None:
    """A cluster of three nodes serves."""
    sys.modules["rados"] = module()
    monitors.forget()
    FakeRados.told.clear()
    FakeRados.refused.clear()
    programs(rig)
    hosts = "10.9.0.11 10.9.0.12 10.9.0.13"
    text = f"[global]\n\tfsid = {FSID}\n\tpublic_network = 10.9.0.0/24\n\tmon_host = {hosts}\n"
    rig.machine.write(conf.PATH, text)
    rig.machine.write(conf.ADMIN, keys.ring("client.admin", KEY, keys.ADMIN_CAPS))
    rig.machine.file(conf.LINK).parent.mkdir(parents=True)
    rig.machine.file(conf.LINK).symlink_to(conf.PATH)
    rig.machine.write("/etc/ceph/ceph.client.admin.keyring", rig.machine.read(conf.ADMIN))
    rig.machine.write("/var/log/ceph/ceph.log", "first\nsecond\n")
    rig.machine.answers |= {"lvs": volumes, "vgs": lambda _: "  /dev/nvme1n1\n", "crushtool": decompile}


def joining(rig: Rig) -> None:
    """The cluster serves with the other two nodes' monitors; this one has none yet."""
    initialised(rig)
    rig.machine.answers["ceph-mon"] = lambda _: Result(1, "", "stopped by the test")


def volumes(words: Sequence[str]) -> str:
    if "--reportformat" in words:
        return json.dumps({"report": [{"lv": [VOLUME, {**VOLUME, "lv_tags": ""}]}]})
    return "  Xy-identity\n"


def decompile(words: Sequence[str]) -> str:
    Path(words[-1]).write_text("# begin crush map\n")
    return ""


def having(kind: str, name: str = NODE) -> Callable[[Rig], Mapping[str, str] | None]:
    """A cluster, and a daemon's folder on this node."""

    def prepare(rig: Rig) -> None:
        running(rig)
        rig.machine.file(units.folder(kind, name)).mkdir(parents=True)

    return prepare


def started(kind: str, id: str, status: str = "OK") -> Callable[[Rig, Any], None]:
    """The answer names a task of this kind; wait for its end."""

    def check(rig: Rig, answer: Any) -> None:
        found = tasks.decode(answer)
        assert (found.kind, found.id) == (kind, id)
        ended, log = rig.task(answer)
        assert ended.endswith(status), log

    return check


def told(**wanted: Any) -> Callable[[Rig, Any], None]:
    """The monitors were told exactly this among others."""

    def check(_rig: Rig, _answer: Any) -> None:
        assert any(all(one.get(k) == v for k, v in wanted.items()) for one in FakeRados.told), FakeRados.told

    return check


def names(*wanted: str, key: str = "name") -> Callable[[Rig, Any], None]:
    def check(_rig: Rig, answer: Any) -> None:
        assert [row[key] for row in answer] == list(wanted)

    return check


def tree(_rig: Rig, answer: Any) -> None:
    (root,) = answer["root"]["children"]
    hosts = {host["name"]: sorted(osd["name"] for osd in host["children"]) for host in root["children"]}
    assert hosts == {
        "pve-a": ["osd.1", "osd.4"], "pve-b": ["osd.2", "osd.5"], "pve-c": ["osd.0", "osd.3"],
    }  # fmt: skip
    osd = next(one for host in root["children"] for one in host["children"] if one["id"] == "1")
    assert (osd["status"], osd["in"], osd["osdtype"], osd["leaf"]) == ("up", 1, "bluestore", 1)
    assert (osd["host"], osd["device_class"]) == (NODE, "ssd")


def equals(wanted: Any) -> Callable[[Rig, Any], None]:
    def check(_rig: Rig, answer: Any) -> None:
        assert answer == wanted

    return check


def initial(rig: Rig, _answer: Any) -> None:
    found = conf.load(rig.machine)
    assert found["global"]["public_network"] == found["global"]["cluster_network"] == "10.9.0.0/24"
    assert found["global"]["osd_pool_default_size"] == "3" and len(found["global"]["fsid"]) == 36
    assert found["client"]["keyring"] == "/etc/pve/priv/$cluster.$name.keyring"
    assert str(rig.machine.file(conf.LINK).readlink()) == "/etc/pve/ceph.conf"


DAEMONS: Cases = {
    ("POST", f"{BASE}/init"): Case({"network": "10.9.0.0/24"}, prepare=programs, check=initial),
    ("GET", f"{BASE}/mon"): Case(prepare=running, check=names("pve-a", "pve-b", "pve-c")),
    ("POST", f"{BASE}/mon/{{monid}}"): Case(
        {},
        {"monid": NODE},
        joining,
        started("cephcreatemon", "mon.pve-a", "failed: stopped by the test"),
    ),
    ("DELETE", f"{BASE}/mon/{{monid}}"): Case(
        {}, {"monid": NODE}, having("mon"), started("cephdestroymon", "mon.pve-a")
    ),
    ("GET", f"{BASE}/mgr"): Case(prepare=running, check=names("pve-a", "pve-b", "pve-c")),
    ("POST", f"{BASE}/mgr/{{id}}"): Case({}, {"id": NODE}, running, started("cephcreatemgr", "mgr.pve-a")),
    ("DELETE", f"{BASE}/mgr/{{id}}"): Case(
        {}, {"id": NODE}, having("mgr"), started("cephdestroymgr", "mgr.pve-a")
    ),
    ("GET", f"{BASE}/mds"): Case(prepare=running, check=names("pve-a", "pve-b")),
    ("POST", f"{BASE}/mds/{{name}}"): Case(
        {}, {"name": NODE}, running, started("cephcreatemds", "mds.pve-a")
    ),
    ("DELETE", f"{BASE}/mds/{{name}}"): Case(
        {}, {"name": NODE}, having("mds"), started("cephdestroymds", "mds.pve-a")
    ),
    ("GET", f"{BASE}/fs"): Case(prepare=running, check=names("cephfs")),
    ("POST", f"{BASE}/fs/{{name}}"): Case(
        {"pg_num": 8}, {"name": "second"}, running, started("cephfscreate", "second")
    ),
    ("POST", f"{BASE}/start"): Case({"service": "osd.1"}, {}, running, started("srvstart", "osd.1")),
    ("POST", f"{BASE}/stop"): Case({"service": "mon"}, {}, running, started("srvstop", "mon")),
    ("POST", f"{BASE}/restart"): Case({}, {}, running, started("srvrestart", "ceph")),
}
OSDS: Cases = {
    ("GET", f"{BASE}/osd"): Case(prepare=running, check=tree),
    ("POST", f"{BASE}/osd"): Case(
        {"dev": "/dev/nvme2n1", "crush-device-class": "ssd"}, {}, running, started("cephcreateosd", "nvme2n1")
    ),
    ("GET", f"{BASE}/osd/{{osdid}}"): Case({}, {"osdid": "1"}, running),
    ("DELETE", f"{BASE}/osd/{{osdid}}"): Case(
        {"cleanup": 1}, {"osdid": "4"}, prepare=running, check=started("cephdestroyosd", "osd.4")
    ),
    ("POST", f"{BASE}/osd/{{osdid}}/in"): Case(
        {}, {"osdid": "1"}, running, told(prefix="osd in", ids=["osd.1"])
    ),
    ("POST", f"{BASE}/osd/{{osdid}}/out"): Case(
        {}, {"osdid": "1"}, running, told(prefix="osd out", ids=["osd.1"])
    ),
    ("POST", f"{BASE}/osd/{{osdid}}/scrub"): Case(
        {"deep": 1}, {"osdid": "1"}, running, told(prefix="osd deep-scrub", who="1")
    ),
    ("GET", f"{BASE}/osd/{{osdid}}/metadata"): Case({}, {"osdid": "1"}, running),
    ("GET", f"{BASE}/osd/{{osdid}}/lv-info"): Case({}, {"osdid": "1"}, running),
}
POOLS: Cases = {
    ("GET", f"{BASE}/pool"): Case(
        prepare=running,
        check=names(".mgr", "rbd-vms", "rbd-containers", "cephfs_data", "cephfs_metadata", key="pool_name"),
    ),
    ("POST", f"{BASE}/pool"): Case(
        {
            "name": "fast",
            "pg_num": 32,
            "pg_autoscale_mode": "off",
            "target_size_ratio": 0.6,
            "add_storages": 1,
        },
        {},
        running,
        started("cephcreatepool", "fast"),
    ),
    ("GET", f"{BASE}/pool/{{name}}"): Case({}, {"name": "rbd-vms"}, running),
    ("PUT", f"{BASE}/pool/{{name}}"): Case(
        {"size": 2}, {"name": "rbd-vms"}, running, started("cephsetpool", "rbd-vms")
    ),
    ("DELETE", f"{BASE}/pool/{{name}}"): Case(
        {}, {"name": "rbd-vms"}, running, started("cephdestroypool", "rbd-vms")
    ),
    ("GET", f"{BASE}/pool/{{name}}/status"): Case({"verbose": 1}, {"name": "rbd-vms"}, running),
}
FLAGS = "/cluster/ceph/flags"
STATE: Cases = {
    ("GET", "/cluster/ceph"): Case(prepare=running),
    ("GET", "/cluster/ceph/status"): Case(prepare=running),
    ("GET", "/cluster/ceph/metadata"): Case(prepare=running),
    ("GET", FLAGS): Case(prepare=running),
    ("PUT", FLAGS): Case({"noout": 1}, {}, running, started("cephsetflags", "")),
    ("GET", f"{FLAGS}/{{flag}}"): Case({}, {"flag": "noout"}, running, equals(0)),
    ("PUT", f"{FLAGS}/{{flag}}"): Case(
        {"value": 1}, {"flag": "noout"}, running, told(prefix="osd set", key="noout")
    ),
    ("GET", BASE): Case(prepare=running),
    ("GET", f"{BASE}/status"): Case(prepare=running),
    ("GET", f"{BASE}/rules"): Case(prepare=running, check=names("replicated_rule")),
    ("GET", f"{BASE}/crush"): Case(prepare=running, check=equals("# begin crush map\n")),
    ("GET", f"{BASE}/cfg"): Case(prepare=running),
    ("GET", f"{BASE}/cfg/raw"): Case(prepare=running),
    ("GET", f"{BASE}/cfg/db"): Case(prepare=running, check=names("auth_allow_insecure_global_id_reclaim")),
    ("GET", f"{BASE}/cfg/value"): Case(
        {"config-keys": "global:fsid;mon:auth_allow_insecure_global_id_reclaim"},
        {},
        running,
        equals({"global": {"fsid": FSID}, "mon": {"auth_allow_insecure_global_id_reclaim": "false"}}),
    ),
    ("GET", f"{BASE}/log"): Case({"limit": 1}, {}, running, equals([{"n": 1, "t": "first"}])),
    ("GET", f"{BASE}/cmd-safety"): Case(
        {"service": "osd", "id": "1", "action": "stop"}, {}, running, equals({"safe": 1, "status": ""})
    ),
}
CASES: Cases = {**DAEMONS, **OSDS, **POOLS, **STATE}
