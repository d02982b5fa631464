"""Against the rack's own BMC on loopback: the service as it runs on a node, but for Corosync's word and the
files of Proxmox VE; with the field's own fence_redfish where it is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from lab import bmc as bmcs
from lab import rack as racks
from lab.paths import State as Rack
from provisioners.roles.fencing.files.rackproof_fencing import decide, shared
from provisioners.roles.fencing.files.rackproof_fencing import service as services
from provisioners.roles.fencing.files.rackproof_fencing.agent import Agent, AgentError
from provisioners.roles.fencing.files.rackproof_fencing.config import Bmc, Config
from provisioners.roles.fencing.files.rackproof_fencing.corosync import Roll
from provisioners.roles.fencing.files.rackproof_fencing.credentials import (
    Credentials,
    CredentialsError,
    Store,
)
from provisioners.roles.fencing.files.rackproof_fencing.journal import Journal
from provisioners.roles.fencing.files.rackproof_fencing.model import Limits, Peer
from provisioners.roles.fencing.files.rackproof_fencing.redfish import RedfishError, RefusedError, identify
from provisioners.roles.fencing.files.rackproof_fencing.work import Work

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120
NODE3 = racks.load().find("node3")
SYSTEM = f"/redfish/v1/Systems/{NODE3.uuid}"
PROGRAM = shutil.which("fence_redfish", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass
class Server:
    """A server of libvirt's test driver with the rack's BMC before it."""

    process: subprocess.Popen[str]
    state: Rack
    bmc: Bmc

    @property
    def credentials(self) -> Credentials:
        return Credentials(racks.load().oob.bmc_user, bmcs.password(self.state, NODE3))

    def power(self) -> str:
        return identify(self.bmc, self.credentials, NODE3.serial).power

    def by_hand(self, word: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = Rack(tmp_path_factory.mktemp("rack"))
    command = [sys.executable, "-m", "tests.provisioners.fencing_bmc", "node3", str(state.root)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline()
        assert port, "the BMC did not start"
        bmc = Bmc("127.0.0.1", int(port), None, "/user", "/password", str(state.tls / "ca.pem"))
        yield Server(process, state, bmc)
        process.kill()


@pytest.fixture
def server(started: Server) -> Iterator[Server]:
    """Switched on, and with its own password, before and after."""
    password = started.credentials.password
    yield started
    bmcs.set_password(racks.load(), started.state, NODE3, password)
    if started.power() == "Off":
        started.by_hand("start")


@pytest.fixture
def agent() -> Agent:
    if PROGRAM is None:
        pytest.skip(
            "fence_redfish is not installed here (Debian: fence-agents-redfish, before trixie fence-agents)"
        )
    return Agent(PROGRAM)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/etc/pve of a quorate side that has lost node3; who failed tries again soon."""
    monkeypatch.setattr(decide, "RETRY_S", 0.2)
    monkeypatch.setattr(shared.Shared, "_mounted", lambda _self: None)
    mount = tmp_path / "pve"
    mount.mkdir()
    nodes = {f"node{n}": {"id": n, "online": int(n < 3)} for n in (1, 2, 3)}
    (mount / ".members").write_text(json.dumps({"nodelist": nodes}))
    return mount


class Membership:
    """Corosync's word, by the test."""

    members = frozenset({1, 2, 3})

    def look(self, _nodes: object) -> Roll:
        return Roll(1, True, self.members)

    def close(self) -> None:
        pass


class Node:
    """The service on node1, which watches node3; the loop is turned by the test."""

    def __init__(self, files: Path, server: Server, agent: Agent, *, serial: str = NODE3.serial) -> None:
        self.known = {"/user": server.credentials.user, "/password": server.credentials.password}
        self.output, self.membership = StringIO(), Membership()
        self.log = files.parent / "fencing.jsonl"
        peer = Peer("node3", 3, serial)
        config = Config(Peer("node1", 1, "RACK-0001"), ((peer, server.bmc),), Limits(1.0, 60.0, 3))
        self.work = Work(peer, server.bmc, Store("/user", "/password", self.known.__getitem__), agent)
        journal = Journal(self.log, self.output)
        self.service = services.Service(
            config,
            self.membership,
            files,
            files.parent,
            {"node3": self.work},
            journal,  # type: ignore[arg-type]
        )

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def words(self) -> list[str]:
        return [line["decision"] for line in self.said()]

    def until(self, what: Callable[[], bool]) -> None:
        """Ticks until it is so."""
        deadline = time.monotonic() + DEADLINE_S
        while not what():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s; it said {self.said()}"
            self.service.tick()
            time.sleep(0.05)


def lose(node: Node) -> None:
    node.until(lambda: "armed" in node.words())
    node.membership.members = frozenset({1, 2})


def test_a_lost_node_is_power_cycled_for_real(server: Server, agent: Agent, files: Path) -> None:
    node = Node(files, server, agent)
    lose(node)
    node.until(lambda: "off-confirmed" in node.words())
    node.until(lambda: "on-confirmed" in node.words())
    assert server.power() == "On"
    assert node.words() == ["armed", "waits", "off-sent", "off-confirmed", "on-sent", "on-confirmed"]
    node.membership.members = frozenset({1, 2, 3})
    node.until(lambda: node.words()[-1] == "armed")
    assert "back after 1 power cycle" in node.said()[-1]["reason"]
    log = (server.state.bmc / "node3/events.jsonl").read_text()
    assert log.index("System power removed") < log.rindex("System powered on")
    assert all(set(line) == {"at", "peer", "decision", "reason"} for line in node.said())
    assert server.credentials.password not in node.log.read_text() + node.output.getvalue()


def test_a_node_that_is_off_already_is_confirmed_and_switched_on(
    server: Server, agent: Agent, files: Path
) -> None:
    node = Node(files, server, agent)
    lose(node)
    server.by_hand("destroy")
    node.until(lambda: "on-confirmed" in node.words())
    assert "off-confirmed" in node.words() and server.power() == "On"


def test_a_wrong_password_is_told_and_the_changed_parameter_is_taken(
    server: Server, agent: Agent, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(files, server, agent)
    lose(node)
    changed = 'a "new one" #=$\\ '
    bmcs.set_password(racks.load(), server.state, NODE3, changed)
    node.until(lambda: "refused" in node.words())
    assert "refuses user and password of /user and /password" in node.said()[-1]["reason"]
    assert "off-sent" not in node.words() and server.power() == "On"
    node.known["/password"] = changed
    node.until(lambda: "on-confirmed" in node.words())
    assert changed not in node.log.read_text()


def test_a_foreign_bmc_is_not_touched(server: Server, agent: Agent, files: Path) -> None:
    node = Node(files, server, agent, serial="RACK-0002")
    node.until(lambda: "refused" in node.words())
    node.membership.members = frozenset({1, 2})
    before = len(node.words())
    node.until(lambda: node.words()[before:].count("refused") == 2)
    assert "tells serial number RACK-0003, ordered is RACK-0002" in node.said()[-1]["reason"]
    assert "off-sent" not in node.words() and server.power() == "On"


def test_who_a_bmc_is(server: Server) -> None:
    found = identify(server.bmc, server.credentials, NODE3.serial)
    assert (found.uri, found.serial, found.power) == (SYSTEM, "RACK-0003", "On")
    assert identify(replace(server.bmc, systems_uri=SYSTEM), server.credentials, "x") == found
    with pytest.raises(RedfishError, match="HTTP 404"):
        identify(replace(server.bmc, systems_uri="/redfish/v1/Systems/1"), server.credentials, "x")
    with pytest.raises(RefusedError, match="refuses user and password"):
        identify(server.bmc, Credentials("admin", "wrong"), NODE3.serial)
    with pytest.raises(RedfishError, match="does not answer"):
        identify(replace(server.bmc, port=1), server.credentials, NODE3.serial)
    for untrusted in (None, __file__):
        with pytest.raises(RedfishError, match=r"not trusted|cannot be verified"):
            identify(replace(server.bmc, ca_file=untrusted), server.credentials, NODE3.serial)


def test_the_agent_s_own_refusals(server: Server, agent: Agent) -> None:
    wrong = Credentials(server.credentials.user, "wrong-password")
    with pytest.raises(AgentError, match="fence_redfish off ended with") as refused:
        agent.order("off", server.bmc, wrong, SYSTEM)
    assert "wrong-password" not in str(refused.value) and server.power() == "On"
    with pytest.raises(AgentError, match="ended with"):
        agent.order("off", replace(server.bmc, ca_file=None), server.credentials, SYSTEM)
    assert server.power() == "On", "an unverified certificate gets no password"
    agent.stop()
    with pytest.raises(AgentError, match="the service stops"):
        agent.order("off", server.bmc, server.credentials, SYSTEM)


def test_credentials_outlast_aws(server: Server) -> None:
    known = {"/u": "user", "/p": "one"}

    def read(name: str) -> str:
        if name not in known:
            raise CredentialsError(f"the parameter {name} cannot be read: AWS does not answer")
        return known[name]

    store = Store("/u", "/p", read)
    assert store.get().password == "one" and "one" not in repr(store.get())
    known["/p"] = "two"
    assert store.get().password == "one", "asked again only after a doubt"
    store.doubt()
    assert store.get().password == "two"
    known.clear()
    store.doubt()
    assert store.get().password == "two"
    with pytest.raises(CredentialsError, match="AWS does not answer"):
        Store("/u", "/p", read).get()
