"""Contract cases: version, access, cluster, nodes, storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab.standins.proxmox.daemon.http import tasks
from lab.standins.proxmox.daemon.http.registry import Call

from .conftest import NODE, PASSWORD, Rig
from .contract import Case, Cases

FINGERPRINT = ":".join(["AB"] * 32)
Prepare = Callable[[Rig], Mapping[str, str] | None]


def clustered(rig: Rig) -> None:
    rig.cluster()


def with_task(rig: Rig) -> Mapping[str, str]:
    call = Call(rig.machine, "root@pam")
    upid = tasks.start(call, kind="srvreload", id="networking", work=lambda log: log("done"))
    rig.task(upid)
    return {"upid": upid}


def with_user(rig: Rig) -> None:
    rig.call("POST", "/access/users", userid="harness@pve", comment="harness")
    rig.call("POST", "/access/users/harness@pve/token/ci", privsep=1, comment="CI")


def with_pool(rig: Rig) -> None:
    rig.call(
        "POST", "/storage", storage="rbd-vms", type="rbd", pool="rbd-vms", content="images,rootdir", krbd=0
    )


def has(**wanted: Any) -> Callable[[Rig, Any], None]:
    """The answer (or one entry of a list) has these values."""

    def check(_rig: Rig, answer: Any) -> None:
        entries = answer if isinstance(answer, list) else [answer]
        assert any(all(entry.get(k) == v for k, v in wanted.items()) for entry in entries), (wanted, answer)

    return check


def task(kind: str, id: str) -> Callable[[Rig, Any], None]:
    def check(_rig: Rig, answer: Any) -> None:
        found = tasks.decode(answer)
        assert (found.kind, found.id, found.user) == (kind, id, "root@pam")

    return check


ACCESS: Cases = {
    ("GET", "/version"): Case(check=has(version="9.0.3", release="9.0", repoid="025864202ebb6109")),
    ("POST", "/access/ticket"): Case(
        {"username": "root@pam", "password": PASSWORD}, prepare=clustered, check=has(clustername="rack")
    ),
    ("GET", "/access/ticket"): Case(),
    ("GET", "/access/domains"): Case(check=has(realm="pam", type="pam")),
    ("GET", "/access/roles"): Case(check=has(roleid="PVEPoolUser", privs="Pool.Audit", special=1)),
    ("GET", "/access/permissions"): Case(
        {"path": "/"}, check=lambda _, a: has(**{"Sys.Modify": 1})(_, a["/"])
    ),
    ("GET", "/access/users"): Case({"full": 1}, prepare=with_user, check=has(userid="harness@pve", enable=1)),
    ("POST", "/access/users"): Case({"userid": "x@pve", "password": "longenough", "email": "x@rack.example"}),
    ("GET", "/access/users/{userid}"): Case({}, {"userid": "harness@pve"}, with_user, has(comment="harness")),
    ("PUT", "/access/users/{userid}"): Case({"enable": 0}, {"userid": "harness@pve"}, with_user),
    ("DELETE", "/access/users/{userid}"): Case({}, {"userid": "harness@pve"}, with_user),
    ("GET", "/access/users/{userid}/token"): Case(
        {}, {"userid": "harness@pve"}, with_user, has(tokenid="ci", privsep=1)
    ),
    ("GET", "/access/users/{userid}/token/{tokenid}"): Case(
        {}, {"userid": "harness@pve", "tokenid": "ci"}, with_user, has(privsep=1, comment="CI")
    ),
    ("POST", "/access/users/{userid}/token/{tokenid}"): Case(
        {"privsep": 0}, {"userid": "root@pam", "tokenid": "ci"}, check=has(**{"full-tokenid": "root@pam!ci"})
    ),
    ("DELETE", "/access/users/{userid}/token/{tokenid}"): Case(
        {}, {"userid": "harness@pve", "tokenid": "ci"}, with_user
    ),
    ("GET", "/access/acl"): Case(),
    ("PUT", "/access/acl"): Case({"path": "/", "users": "harness@pve", "roles": "PVEAuditor"}, {}, with_user),
}

CLUSTER: Cases = {
    ("GET", "/cluster"): Case(),
    ("GET", "/cluster/status"): Case(
        prepare=clustered, check=has(type="cluster", name="rack", quorate=1, nodes=1)
    ),
    ("GET", "/cluster/resources"): Case(check=has(id=f"node/{NODE}", status="online", maxcpu=1)),
    ("GET", "/cluster/nextid"): Case(check=lambda _, answer: _same(answer, "100")),
    ("GET", "/cluster/options"): Case(),
    ("PUT", "/cluster/options"): Case({"migration": "network=10.9.0.0/24,type=secure"}),
    ("GET", "/cluster/tasks"): Case(prepare=with_task, check=has(type="srvreload", status="OK")),
    ("GET", "/cluster/config"): Case(),
    ("POST", "/cluster/config"): Case(
        {"clustername": "rack", "link0": "10.9.0.11,priority=20", "link1": "address=10.8.0.11,priority=10"},
        check=task("clustercreate", "rack"),
    ),
    ("GET", "/cluster/config/apiversion"): Case(),
    ("GET", "/cluster/config/nodes"): Case(prepare=clustered, check=has(node=NODE, nodeid="1")),
    ("POST", "/cluster/config/nodes/{node}"): Case(
        {"link0": "10.9.0.12", "apiversion": 1}, {"node": "pve-b"}, clustered
    ),
    ("DELETE", "/cluster/config/nodes/{node}"): Case({}, {"node": "pve-b"}, lambda rig: rig.cluster("pve-b")),
    ("GET", "/cluster/config/totem"): Case(
        prepare=clustered, check=has(cluster_name="rack", config_version="1")
    ),
    ("GET", "/cluster/config/join"): Case(prepare=clustered, check=has(preferred_node=NODE)),
    ("POST", "/cluster/config/join"): Case(
        {"hostname": "127.0.0.1", "fingerprint": FINGERPRINT, "password": "wrong"},
        check=task("clusterjoin", ""),
    ),
}

SERVICE = {"service": "corosync"}
NODES: Cases = {
    ("GET", "/nodes"): Case(check=has(node=NODE, status="online", maxmem=1024000)),
    ("GET", "/nodes/{node}"): Case(),
    ("GET", "/nodes/{node}/status"): Case(check=has(pveversion="pve-manager/9.0.3/025864202ebb6109")),
    ("GET", "/nodes/{node}/version"): Case(check=has(version="9.0.3")),
    ("GET", "/nodes/{node}/time"): Case(check=has(timezone="Etc/UTC")),
    ("GET", "/nodes/{node}/dns"): Case(check=has(search="rack.example", dns1="10.6.0.1")),
    ("GET", "/nodes/{node}/hosts"): Case(),
    ("GET", "/nodes/{node}/subscription"): Case(check=has(status="notfound")),
    ("GET", "/nodes/{node}/certificates/info"): Case(
        check=has(filename="pve-ssl.pem", **{"public-key-type": "id-ecPublicKey", "public-key-bits": 256})
    ),
    ("GET", "/nodes/{node}/apt/versions"): Case(check=has(Package="corosync", Version="3.1.9-2")),
    ("GET", "/nodes/{node}/network"): Case(
        check=has(iface="bond0.20", type="vlan", cidr="10.8.0.11/24", mtu="9000", **{"vlan-id": "20"})
    ),
    ("GET", "/nodes/{node}/disks/list"): Case(
        {"include-partitions": 1}, check=has(devpath="/dev/nvme1n1", used="LVM", osdid=0)
    ),
    ("PUT", "/nodes/{node}/disks/wipedisk"): Case(
        {"disk": "/dev/nvme2n1"}, check=task("wipedisk", "nvme2n1")
    ),
    ("POST", "/nodes/{node}/disks/initgpt"): Case(
        {"disk": "/dev/nvme2n1"}, check=task("diskinit", "nvme2n1")
    ),
    ("GET", "/nodes/{node}/tasks"): Case(
        {
            "source": "all",
            "statusfilter": "ok,unknown",
            "typefilter": "srvreload",
            "userfilter": "root",
            "since": 0,
            "until": 1 << 33,
            "errors": 0,
            "start": 0,
            "limit": 10,
        },
        prepare=with_task,
        check=has(type="srvreload", status="OK"),
    ),
    ("GET", "/nodes/{node}/tasks/{upid}"): Case(prepare=with_task),
    ("GET", "/nodes/{node}/tasks/{upid}/status"): Case(
        prepare=with_task, check=has(status="stopped", exitstatus="OK")
    ),
    ("GET", "/nodes/{node}/tasks/{upid}/log"): Case(
        prepare=with_task, check=lambda _, a: _same([line["t"] for line in a], ["done", "TASK OK"])
    ),
    ("GET", "/nodes/{node}/services"): Case(check=has(service="sshd", name="ssh", state="running")),
    ("GET", "/nodes/{node}/services/{service}"): Case({}, SERVICE),
    ("GET", "/nodes/{node}/services/{service}/state"): Case(
        {}, SERVICE, check=has(**{"active-state": "active"})
    ),
    ("POST", "/nodes/{node}/services/{service}/start"): Case({}, SERVICE, check=task("srvstart", "corosync")),
    ("POST", "/nodes/{node}/services/{service}/stop"): Case({}, SERVICE, check=task("srvstop", "corosync")),
    ("POST", "/nodes/{node}/services/{service}/restart"): Case(
        {}, SERVICE, check=task("srvrestart", "corosync")
    ),
    ("POST", "/nodes/{node}/services/{service}/reload"): Case(
        {}, SERVICE, check=task("srvreload", "corosync")
    ),
}


def _same(found: object, wanted: object) -> None:
    assert found == wanted


POOL = {"storage": "rbd-vms"}
STORAGE: Cases = {
    ("GET", "/storage"): Case(prepare=with_pool, check=has(storage="rbd-vms", type="rbd", krbd=0)),
    ("POST", "/storage"): Case(
        {"storage": "rbd-vms", "type": "rbd", "pool": "rbd-vms", "content": "images,rootdir", "krbd": 0},
        check=has(storage="rbd-vms", type="rbd"),
    ),
    ("GET", "/storage/{storage}"): Case({}, POOL, with_pool, has(content="images,rootdir")),
    ("PUT", "/storage/{storage}"): Case({"content": "images"}, POOL, with_pool, has(storage="rbd-vms")),
    ("DELETE", "/storage/{storage}"): Case({}, POOL, with_pool),
    ("GET", "/nodes/{node}/storage"): Case({"enabled": 1}, check=has(storage="local", type="dir", active=1)),
    ("GET", "/nodes/{node}/storage/{storage}"): Case({}, {"storage": "local"}),
    ("GET", "/nodes/{node}/storage/{storage}/status"): Case(
        {}, {"storage": "local"}, check=has(active=1, type="dir")
    ),
}

CASES: Cases = {**ACCESS, **CLUSTER, **NODES, **STORAGE}
