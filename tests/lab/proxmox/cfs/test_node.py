"""One member as the kernel sees it (without FUSE), the made files, and corosync.conf."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lab.standins.proxmox.daemon.cfs.clusterconf import LocalConf, parse
from lab.standins.proxmox.daemon.cfs.database import Database
from lab.standins.proxmox.daemon.cfs.filesystem import FileSystem
from lab.standins.proxmox.daemon.cfs.replica import Mode
from lab.standins.proxmox.daemon.cfs.service import Service
from lab.standins.proxmox.daemon.cfs.store import Store
from lab.standins.proxmox.daemon.cfs.views import Views

CONF = """logging {{
  debug: off
}}

nodelist {{
  node {{
    name: node1
    nodeid: 1
    quorum_votes: 1
    ring0_addr: 10.1.1.11
  }}
  node {{
    name: node2
    nodeid: 2
    quorum_votes: 1
    ring0_addr: 10.1.1.12
  }}
}}

totem {{
  cluster_name: pve1
  config_version: {version}
  interface {{
    linknumber: 0
  }}
}}
"""


class Node:
    def __init__(self, folder: Path, *, standalone: bool = True) -> None:
        self.store = Store(Database(folder / "config.db"))
        self.local = LocalConf(folder / "corosync" / "corosync.conf")
        self.service = Service(self.store, self.local, "node1", "10.0.0.11", standalone=standalone)
        self.views = Views(self.store, self.service.replica, "node1")
        self.files = FileSystem(self.service, self.views, lambda: None)

    def put(self, path: str, data: bytes) -> None:
        handle = self.files.create(path, 0o644)
        assert self.files.write(None, data, 0, handle) == len(data)
        self.files.release(None, handle)

    def get(self, path: str, size: int = 1 << 20, offset: int = 0) -> bytes:
        return self.files.read(None, size, offset, self.files.open(path, 0))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path)
    for path in ("/nodes", "/nodes/node1", "/nodes/node1/lxc", "/priv", "/priv/lock"):
        node.files.mkdir(path, 0o755)
    return node


def fails(number: int, action: Any, *arguments: Any) -> None:
    with pytest.raises(OSError) as caught:
        action(*arguments)
    assert caught.value.errno == number


def test_a_node_of_its_own_writes_without_corosync(node: Node) -> None:
    node.put("/storage.cfg", b"dir: local\n")
    assert node.get("/storage.cfg") == b"dir: local\n"
    assert node.get("/storage.cfg", 3, 5) == b"loc"
    assert node.files.getattr("/storage.cfg")["st_mode"] == stat.S_IFREG | 0o640
    assert node.files.getattr("/priv")["st_mode"] == stat.S_IFDIR | 0o700
    fails(errno.ENOENT, node.files.getattr, "/missing")


def test_a_member_without_corosync_shows_itself_read_only(tmp_path: Path) -> None:
    Node(tmp_path).put("/storage.cfg", b"x")
    node = Node(tmp_path, standalone=False)
    assert node.service.replica.mode is Mode.OFFLINE
    assert node.get("/storage.cfg") == b"x"
    assert node.files.getattr("/storage.cfg")["st_mode"] == stat.S_IFREG | 0o440
    assert node.files.getattr("/")["st_mode"] == stat.S_IFDIR | 0o555
    fails(errno.EACCES, node.files.mkdir, "/d", 0o755)
    fails(errno.EACCES, node.files.write, None, b"y", 0, node.files.open("/storage.cfg", 0))
    fails(errno.EACCES, node.files.open, "/storage.cfg", 1)
    fails(errno.EACCES, node.files.truncate, "/storage.cfg", 0)


def test_links_lead_to_this_node(node: Node) -> None:
    assert node.files.readlink("/local") == "nodes/node1"
    assert node.files.readlink("/lxc") == "nodes/node1/lxc"
    assert node.files.readlink("/qemu-server") == "nodes/node1/qemu-server"
    fails(errno.EINVAL, node.files.readlink, "/nodes")
    fails(errno.EACCES, node.files.unlink, "/local")
    fails(errno.EACCES, node.files.create, "/.members", 0o644)
    assert {"local", "lxc", ".members", ".version", ".vmlist"} <= set(
        node.files.readdir(None, node.files.opendir("/"))
    )


def test_an_open_file_outlives_its_name(node: Node) -> None:
    node.put("/f", b"old")
    node.put("/g", b"new")
    reader, writer = node.files.open("/f", 0), node.files.open("/g", 1)
    node.files.rename("/g", "/f")
    assert node.files.read(None, 10, 0, reader) == b"old"
    assert node.files.getattr(None, reader)["st_size"] == 3
    assert node.files.write(None, b"er", 3, writer) == 2
    assert node.get("/f") == b"newer"
    fails(errno.ENOENT, node.files.write, None, b"x", 0, reader)
    node.files.release(None, reader)
    fails(errno.EBADF, node.files.read, None, 10, 0, reader)


def test_a_made_file_is_read_as_of_one_moment(node: Node) -> None:
    handle = node.files.open("/.vmlist", 0)
    first = node.files.read(None, 10, 0, handle)
    node.put("/nodes/node1/lxc/100.conf", b"")
    rest = node.files.read(None, 1 << 16, 10, handle)
    assert json.loads(first + rest)["ids"] == {}
    assert node.files.getattr(None, handle)["st_size"] == len(first + rest)


def test_only_the_modes_and_owners_that_are(node: Node) -> None:
    node.put("/f", b"")
    node.files.chmod("/f", 0o640)
    node.files.chmod("/priv", 0o40700)
    fails(errno.EPERM, node.files.chmod, "/f", 0o777)
    node.files.chown("/f", 0, 0xFFFFFFFF)
    fails(errno.EPERM, node.files.chown, "/f", 1000, 0xFFFFFFFF)
    fails(errno.EPERM, node.files.mknod, "/device", stat.S_IFBLK, 0)


def test_too_large_is_said_before_it_is_sent(node: Node) -> None:
    node.put("/f", b"x")
    fails(errno.EFBIG, node.files.write, None, b"x", 1 << 20, node.files.open("/f", 1))
    fails(errno.EFBIG, node.files.truncate, "/f", (1 << 20) + 1)


def test_who_wants_an_old_lock_gets_it(node: Node) -> None:
    now = [0.0]
    node.store._clock = lambda: now[0]
    node.files.mkdir("/priv/lock/x", 0o700)
    now[0] = 119.0
    node.files.utimens("/priv/lock/x", (0, 0))
    node.files.utimens("/priv/lock/x", (10**18, 10**18))
    now[0] = 230.0
    node.files.utimens("/priv/lock/x", (0, 0))
    fails(errno.EEXIST, node.files.mkdir, "/priv/lock/x", 0o700)
    now[0] = 240.0
    node.files.utimens("/priv/lock/x", (0, 0))
    node.files.mkdir("/priv/lock/x", 0o700)


def test_made_files_are_json_that_counts_changes(node: Node) -> None:
    before = json.loads(node.views.version())
    node.put("/storage.cfg", b"x")
    node.put("/nodes/node1/lxc/100.conf", b"hostname: a\n")
    after = json.loads(node.get("/.version"))
    assert after["storage.cfg"] == before["storage.cfg"] + 2
    assert after["vmlist"] > before["vmlist"]
    assert json.loads(node.views.guests())["ids"] == {"100": {"node": "node1", "type": "lxc", "version": 1}}
    assert json.loads(node.views.members()) == {"nodename": "node1", "version": 1}


def test_members_of_a_cluster(tmp_path: Path) -> None:
    Node(tmp_path).put("/corosync.conf", CONF.format(version=4).encode())
    node = Node(tmp_path, standalone=False)
    replica = node.service.replica
    replica.joined((1, 7))
    replica.ring_changed(1)
    replica.members_changed([(1, 7)])
    replica.quorum_changed(True, 1)
    said = json.loads(node.views.members())
    assert said["cluster"] == {"name": "pve1", "version": 4, "nodes": 2, "quorate": 1}
    assert said["nodelist"]["node1"] == {"id": 1, "online": 1, "ip": "10.1.1.11"}
    assert said["nodelist"]["node2"]["online"] == 0


def test_only_a_newer_corosync_conf_is_taken(tmp_path: Path) -> None:
    local = LocalConf(tmp_path / "etc" / "corosync.conf")
    assert local.take(CONF.format(version=2).encode())
    assert not local.take(CONF.format(version=2).encode())
    assert not local.take(b"")
    assert local.take(CONF.format(version=3).encode())
    assert parse(local.path.read_text(encoding="utf-8")).version == 3
    assert [path.name for path in local.path.parent.iterdir()] == ["corosync.conf"]


def test_a_conf_cut_short_is_read_as_far_as_it_goes() -> None:
    conf = parse(CONF.format(version=3)[:130])
    assert (conf.version, [node[0] for node in conf.nodes]) == (0, ["node1"])
