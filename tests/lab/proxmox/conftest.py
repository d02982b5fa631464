"""A node of the stand-in on loopback: a temporary root folder, commands that answer from a table."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from proxmoxer import ProxmoxAPI

from lab.standins.proxmox.daemon import endpoints
from lab.standins.proxmox.daemon.config import certificates, corosync
from lab.standins.proxmox.daemon.http import passwords
from lab.standins.proxmox.daemon.http.errors import ApiError
from lab.standins.proxmox.daemon.http.machine import Machine, Result
from lab.standins.proxmox.daemon.http.server import Server

PASSWORD = "a pass:word/1"
NODE = "pve-a"
QUORUM = """Quorum information
------------------
Nodes:            1
Quorate:          Yes

Membership information
----------------------
    Nodeid      Votes Name
0x00000001          1 10.9.0.11 (local)
"""
ADDRESSES = [{"ifname": "lo", "addr_info": [{"local": a} for a in ("127.0.0.1", "10.9.0.11", "10.8.0.11")]}]
LINKS = [
    {"ifname": "nic0", "flags": ["UP"], "link_type": "ether"},
    {"ifname": "bond0", "flags": ["UP"], "link_type": "ether", "linkinfo": {"info_kind": "bond"}},
    {"ifname": "bond0.20", "flags": [], "link_type": "ether", "linkinfo": {"info_kind": "vlan"}},
    {"ifname": "vmbr0", "flags": ["UP"], "link_type": "ether", "linkinfo": {"info_kind": "bridge"}},
]
DRIVES = {
    "blockdevices": [
        {
            "name": "nvme0n1", "path": "/dev/nvme0n1", "type": "disk", "size": 1000, "model": "BOOT 1",
            "serial": "B1", "rota": False, "pttype": "gpt", "fstype": None, "mountpoints": [None],
            "children": [{"name": "nvme0n1p1", "path": "/dev/nvme0n1p1", "type": "part", "size": 10,
                          "fstype": "vfat", "mountpoints": ["/boot/efi"]}],
        },
        {"name": "nvme1n1", "path": "/dev/nvme1n1", "type": "disk", "size": 2000, "model": "DATA",
         "serial": "D1", "rota": False, "pttype": None, "fstype": "LVM2_member", "mountpoints": [None]},
        {"name": "nvme2n1", "path": "/dev/nvme2n1", "type": "disk", "size": 2000, "model": "DATA",
         "serial": "D2", "rota": False, "pttype": None, "fstype": None, "mountpoints": [None]},
    ]
}  # fmt: skip
INTERFACES = """auto lo
iface lo inet loopback

iface nic0 inet manual

auto bond0
iface bond0 inet manual
\tbond-slaves nic0 nic1
\tbond-mode active-backup

auto bond0.20
iface bond0.20 inet static
\taddress 10.8.0.11/24
\tmtu 9000

auto vmbr0
iface vmbr0 inet static
\taddress 10.9.0.11/24
\tgateway 10.9.0.1
\tbridge-ports bond0
"""
Answer = Callable[[Sequence[str]], Result | str]


class FakeMachine(Machine):
    """A node whose commands answer from a table by their first word; openssl is the real one."""

    def __init__(self, node: str, root: Path, port: int = 8006) -> None:
        super().__init__(node, root, port)
        self.ran: list[list[str]] = []
        self.answers: dict[str, Answer] = {
            "corosync-quorumtool": lambda words: (
                QUORUM if "-si" in words else Result(1, "", "cannot connect")
            ),
            "corosync-keygen": self._keygen,
            "ip": lambda words: json.dumps(LINKS if "link" in words else ADDRESSES),
            "lsblk": lambda _: json.dumps(DRIVES),
            "lvs": lambda _: "  ceph.osd_id=0,ceph.type=block,ceph.encrypted=0;/dev/nvme1n1(0)\n",
            "systemctl": self._systemctl,
            "ssh-keygen": self._ssh_keygen,
            "dpkg-query": lambda _: "corosync\tinstalled\t3.1.9-2\tamd64\tadmin\toptional\tcluster engine\n",
        }

    def _keygen(self, words: Sequence[str]) -> str:
        Path(words[-1]).write_bytes(bytes(range(256)))
        return "Corosync Cluster Engine Authentication key generator.\n"

    def _ssh_keygen(self, words: Sequence[str]) -> str:
        Path(words[-1]).write_text("private")
        Path(f"{words[-1]}.pub").write_text(f"ssh-ed25519 AAAA root@{self.node}\n")
        return ""

    @staticmethod
    def _systemctl(words: Sequence[str]) -> str:
        if words[1] != "show":
            return ""
        said = (
            "Id={}",
            "Description=a unit",
            "ActiveState=active",
            "SubState=running",
            "UnitFileState=enabled",
        )
        block = "\n".join((*said, "LoadState=loaded"))
        return "\n\n".join(block.format(unit) for unit in words[3:])

    def run(
        self, command: Sequence[str], *, input: str | None = None, timeout_s: float = 60, check: bool = True
    ) -> Result:
        self.ran.append(list(command))
        if command[0] == "openssl":
            return super().run(command, input=input, timeout_s=timeout_s, check=check)
        answer = self.answers.get(command[0])
        told = answer(command) if answer else ""
        result = told if isinstance(told, Result) else Result(0, told, "")
        if check and result.code:
            raise ApiError(500, f"command '{' '.join(command)}' failed: {result.err}")
        return result


def files(machine: Machine, address: str = "10.9.0.11") -> None:
    """What a fresh node has before its first cluster."""
    shadow = f"root:{passwords.hashed(PASSWORD, '$5$saltsalt')}:20000:0:99999:7:::\n"
    for path, text in {
        "/etc/hosts": f"127.0.0.1 localhost\n{address} {machine.node}.rack.example {machine.node}\n",
        "/etc/shadow": shadow,
        "/etc/resolv.conf": "search rack.example\nnameserver 10.6.0.1\n",
        "/etc/machine-id": "0123\n",
        "/etc/timezone": "Etc/UTC\n",
        "/etc/network/interfaces": INTERFACES,
        "/usr/share/rack/pve-release": 'PVE_MANAGER="9.0.3"\nPVE_REPOID="025864202ebb6109"\n',
        "/proc/meminfo": "MemTotal: 1000 kB\nMemFree: 400 kB\nMemAvailable: 700 kB\n",
        "/proc/stat": "cpu 100 0 100 800 10 0 0 0 0 0\n",
        "/proc/uptime": "123.4 5.6\n",
        "/proc/loadavg": "0.10 0.20 0.30 1/100 99\n",
        "/proc/cpuinfo": "processor : 0\nmodel name : Emulated\nphysical id : 0\ncpu cores : 1\n",
        "/var/lib/vz/dump/none": "",
    }.items():
        machine.write(path, text)
    machine.file(f"/etc/pve/nodes/{machine.node}").mkdir(parents=True)


class Rig:
    """One node, its server and a client that is logged in as root@pam."""

    def __init__(
        self, root: Path, keys: Path, node: str = NODE, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.machine = FakeMachine(node, root)
        self.host = host
        files(self.machine)
        for name in ("authkey.key", "pve-root-ca.key"):
            self.machine.write(f"/etc/pve/priv/{name}", (keys / name).read_text())
        self.machine.write("/etc/pve/pve-root-ca.pem", (keys / "pve-root-ca.pem").read_text())
        self.machine.write(certificates.certificate(node), (keys / "pve-ssl.pem").read_text())
        self.machine.write(certificates.key(node), (keys / "pve-ssl.key").read_text())
        self.server = Server((host, port), self.machine, lambda: certificates.context(self.machine), 0.0)
        self.machine.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self._client: Any = None

    @property
    def ca(self) -> str:
        return str(self.machine.file("/etc/pve/pve-root-ca.pem"))

    def login(self, user: str = "root@pam", password: str = PASSWORD) -> Any:
        return ProxmoxAPI(
            self.host, port=self.machine.port, user=user, password=password, verify_ssl=self.ca, timeout=20
        )

    @property
    def client(self) -> Any:
        self._client = self._client or self.login()
        return self._client

    def call(self, method: str, path: str, /, **params: Any) -> Any:
        """As proxmoxer does it: `get`, `create`, `set`, `delete`."""
        verb = {"GET": "get", "POST": "create", "PUT": "set", "DELETE": "delete"}[method]
        return getattr(self.client(path.strip("/")), verb)(**params)

    def task(self, upid: str) -> tuple[str, list[str]]:
        """Wait for a task (10 s at most): its exit status and its log."""
        deadline = time.monotonic() + 10
        path = f"nodes/{upid.split(':')[1]}/tasks/{upid}"
        while (status := self.call("GET", f"{path}/status"))["status"] != "stopped":
            assert time.monotonic() < deadline, f"{upid} still runs after 10 s"
            time.sleep(0.02)
        return status["exitstatus"], [line["t"] for line in self.call("GET", f"{path}/log", limit=500)]

    def cluster(self, *more: str) -> None:
        """Be the first of a cluster, without anybody's help; `more` are listed nodes."""
        conf = corosync.create("rack", self.machine.node, {0: {"address": "10.9.0.11"}})
        for number, name in enumerate(more, 2):
            entry = {
                "name": name,
                "nodeid": str(number),
                "quorum_votes": "1",
                "ring0_addr": f"10.9.0.{10 + number}",
            }
            conf["nodelist"]["node"][name] = entry
        corosync.write(self.machine, conf, raise_version=False)
        self.machine.write(corosync.AUTHKEY, bytes(range(256)))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA and a certificate, made once."""
    endpoints.load()
    machine = FakeMachine(NODE, tmp_path_factory.mktemp("keys"))
    files(machine)
    certificates.ensure(machine)
    folder = machine.root / "kept"
    folder.mkdir()
    for path in ("/etc/pve/priv/authkey.key", "/etc/pve/priv/pve-root-ca.key", "/etc/pve/pve-root-ca.pem",
                 certificates.certificate(NODE), certificates.key(NODE)):  # fmt: skip
        (folder / Path(path).name).write_text(machine.read(path))
    return folder


@pytest.fixture
def rig(tmp_path: Path, keys: Path) -> Iterator[Rig]:
    one = Rig(tmp_path / "root", keys)
    yield one
    one.close()
