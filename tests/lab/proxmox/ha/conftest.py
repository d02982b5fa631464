"""A node on which pve-ha-crm and pve-ha-lrm are tried: commands are acted, /etc/pve is a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.standins.proxmox.daemon.ha import files, resources
from lab.standins.proxmox.daemon.ha.crm import Crm
from lab.standins.proxmox.daemon.ha.lrm import Lrm
from lab.standins.proxmox.daemon.http.errors import ApiError
from lab.standins.proxmox.daemon.http.machine import Result

from ..conftest import FakeMachine
from .simulated import EMPTY

SEEN = """<pacemaker-result><nodes>
<node name="node1" online="true" pending="false" unclean="false"/>
<node name="node2" online="{online}" pending="false" unclean="{unclean}"/></nodes>
<resources>{guests}</resources><node_history/></pacemaker-result>"""
GUEST = '<resource id="ct-101" role="Started" active="true" blocked="false"><node name="{node}"/></resource>'
CONFIG = "ct: 101\n\tstate started\n\n"


class Node(FakeMachine):
    """node1 of two, quorate, with a container 101; Pacemaker and systemd as the test has them."""

    def __init__(self, root: Path) -> None:
        super().__init__("node1", root)
        self.units: set[str] = set()
        self.jobs = ""
        self.configuration = EMPTY
        self.refuses = ""
        self.now = 0.0
        self.said: list[str] = []
        self.answers |= {
            "systemctl": self._systemd,
            "crm_mon": lambda _: (
                self._seen if "pacemaker" in self.units else Result(102, "", "not connected")
            ),
            "cibadmin": lambda words: self._cib() if "--query" in words else "",
            "crm_resource": lambda _: "",
        }
        self.write(
            "/etc/pve/corosync.conf",
            "nodelist {\n"
            + "".join(f"node {{\nname: node{n}\nnodeid: {n}\nring0_addr: 10.0.0.{n}\n}}\n" for n in (1, 2))
            + "}\ntotem {\ncluster_name: rack\n}\n",
        )
        self.write("/etc/pve/nodes/node1/lxc/101.conf", "hostname: beat\n")
        self.file("/var/lib/pacemaker/cib").mkdir(parents=True)
        self.members()
        self.sees()

    def members(self, quorate: bool = True, node2: bool = True) -> None:
        online = {"node1": 1, "node2": int(node2)}
        nodes = {
            name: {"id": n, "online": up, "ip": f"10.0.0.{n}"}
            for n, (name, up) in enumerate(online.items(), 1)
        }
        said = {"nodename": "node1", "cluster": {"quorate": int(quorate)}, "nodelist": nodes}
        self.write("/etc/pve/.members", json.dumps(said))

    def sees(self, ct: str = "", online: bool = True, unclean: bool = False) -> None:
        """What crm_mon tells: where the container runs, how node2 is."""
        guests = GUEST.format(node=ct) if ct else ""
        self._seen = SEEN.format(guests=guests, online=str(online).lower(), unclean=str(unclean).lower())

    def run(
        self, command: Sequence[str], *, input: str | None = None, timeout_s: float = 60, check: bool = True
    ) -> Result:
        if command[0] == "cibadmin" and "--replace" in command:
            if self.refuses:
                raise ApiError(500, self.refuses)
            self.configuration = str(input)
        return super().run(command, input=input, timeout_s=timeout_s, check=check)

    def _cib(self) -> str:
        return self.configuration

    def _systemd(self, words: Sequence[str]) -> Result | str:
        unit = words[-1]
        if words[1] == "is-active":
            return "active\n" if unit in self.units else Result(3, "inactive\n", "")
        if words[1] == "list-jobs":
            return self.jobs
        if words[1] == "start":
            if unit == self.refuses:
                return Result(1, "", f"{unit} failed")
            self.units.add(unit)
        if words[1] == "stop":
            self.units.discard(unit)
        return ""

    @property
    def clock(self) -> Any:
        return lambda: self.now

    def lock_folder(self, name: str) -> Path:
        return self.file(f"/etc/pve/priv/lock/{name}")

    def status(self) -> dict[str, Any]:
        return files.manager_status(self)

    def lrm_status(self) -> dict[str, Any]:
        return files.lrm_status(self, "node1")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def lrm_of(node: Node) -> Lrm:
    return Lrm(node, node.said.append, node.clock)


@pytest.fixture
def lrm(node: Node) -> Lrm:
    """A node that takes part: Pacemaker runs, its lock is held."""
    node.write(resources.PATH, CONFIG)
    one = lrm_of(node)
    one.round()
    assert one.state == "active"
    return one


@pytest.fixture
def crm(node: Node, lrm: Lrm) -> Crm:
    """The manager of a cluster in which the container runs on node1."""
    node.sees(ct="node1")
    one = Crm(node, node.said.append, node.clock)
    one.round()
    assert one.state == "master"
    return one
