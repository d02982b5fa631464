"""The fencing service's small parts: configuration, Corosync, leases, credentials, agent, journal."""

from __future__ import annotations

import ctypes
import io
import json
import os
import select
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from provisioners.packed import FOLDER, archive
from provisioners.roles.fencing.files.rackproof_fencing import agent as agents
from provisioners.roles.fencing.files.rackproof_fencing import credentials, systemd
from provisioners.roles.fencing.files.rackproof_fencing.agent import Agent, AgentError
from provisioners.roles.fencing.files.rackproof_fencing.config import Bmc, ConfigError, load, parse
from provisioners.roles.fencing.files.rackproof_fencing.corosync import CorosyncError, Membership, Roll
from provisioners.roles.fencing.files.rackproof_fencing.journal import Journal
from provisioners.roles.fencing.files.rackproof_fencing.model import Lease, Limits, Peer, Saying, Word
from provisioners.roles.fencing.files.rackproof_fencing.service import Service
from provisioners.roles.fencing.files.rackproof_fencing.shared import Shared, SharedError

PACKAGE = Path(agents.__file__).parent
SECRET = 'pass"word with #, =, \\ and a blank at its end '
BMC = Bmc("10.9.0.13", 8443, None, "/pve1/user", "/pve1/password", "/etc/rackproof/fencing-ca.pem")


def told(**changes: Any) -> dict[str, Any]:
    """A configuration of three nodes."""
    peers = [
        {
            "name": f"node{n}",
            "id": n,
            "serial": f"RACK-000{n}",
            "address": f"10.9.0.1{n}",
            "port": 8443,
            "systems_uri": None,
            "user": f"/pve1/nodes/node{n}/ipmi_user",
            "password": f"/pve1/nodes/node{n}/ipmi_password",
        }
        for n in (1, 2, 3)
    ]
    whole = {"node": "node2", "wait_s": 75, "watch_s": 900, "cycles": 3, "ca_file": None, "peers": peers}
    return {**whole, **changes}


# -- configuration


def test_a_configuration_names_me_and_the_others(tmp_path: Path) -> None:
    path = tmp_path / "fencing.json"
    path.write_text(json.dumps(told()))
    config = load(path)
    assert config.me == Peer("node2", 2, "RACK-0002")
    assert [peer.name for peer, _ in config.peers] == ["node1", "node3"]
    assert config.limits == Limits(75.0, 900.0, 3) and config.peers[1][1].address == "10.9.0.13"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wait_s": 70}, "wait_s = 70: the watchdog of a lost node may need 70 s"),
        ({"wait_s": "75"}, "wait_s = '75' is of the wrong kind"),
        ({"cycles": 0}, "must be greater than 0"),
        ({"node": "node9"}, "node = 'node9' is not among the peers"),
        ({"peers": []}, "node = 'node2' is not among the peers: none"),
        (
            {"peers": [*told()["peers"], {**told()["peers"][0], "name": "node4", "id": 4}]},
            "a serial of its own",
        ),
        ({"peers": [*told()["peers"], {**told()["peers"][0], "name": "node4", "serial": "x"}]}, "an id"),
        ({"peers": [*told()["peers"], told()["peers"][0]]}, "a name"),
        ({"peers": [{**told()["peers"][1], "serial": ""}]}, "a serial"),
        ({"peers": [{"name": "node2"}]}, "id is missing"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse(told(**changes))


def test_the_program_refuses_a_bad_configuration_for_good(tmp_path: Path) -> None:
    """Run as on a node: unpacked, by the interpreter without any package."""
    unit = PACKAGE.parent / "rackproof-fencing.service"
    place = "/etc/systemd/system/rackproof-fencing.service"
    with tarfile.open(fileobj=io.BytesIO(archive(PACKAGE, {place: unit}))) as packed:
        packed.extractall(tmp_path, filter="data")
    path = tmp_path / "fencing.json"
    path.write_text(json.dumps(told(wait_s=10)))
    command = [sys.executable, "-PBS", "-m", "rackproof_fencing", str(path)]
    environment = {"PYTHONPATH": str(tmp_path / FOLDER)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78 and f"{path}: wait_s = 10" in done.stderr
    text = (tmp_path / place.lstrip("/")).read_text()
    assert text == unit.read_text()
    assert "RestartPreventExitStatus=78" in text and "python3 -PB -m rackproof_fencing" in text


def test_the_archive_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    copied = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, copied)
    assert archive(copied, {}) == archive(PACKAGE, {})
    (copied / "model.py").write_text("")
    assert archive(copied, {}) != archive(PACKAGE, {})


def test_of_a_system_s_folders_the_archive_changes_none() -> None:
    place = "/etc/systemd/system/rackproof-fencing.service"
    with tarfile.open(fileobj=io.BytesIO(archive(PACKAGE, {place: PACKAGE / "__init__.py"}))) as packed:
        entries = list(packed)
    folders = {entry.name for entry in entries if entry.isdir()}
    assert all(entry.mtime > 0 for entry in entries), "systemd takes 0 for none"
    assert folders == {FOLDER, f"{FOLDER}/{PACKAGE.name}", "etc/rackproof"}


# -- Corosync


class Library:
    """libvotequorum: states by node id (1 member, 2 dead), of node 1."""

    def __init__(self) -> None:
        self.states, self.flags, self.failing, self.opened = {1: 1, 2: 1, 3: 2}, 2, 0, 0

    def votequorum_initialize(self, _handle: Any, _callbacks: Any) -> int:
        self.opened += 1
        return self.failing or 1

    def votequorum_finalize(self, _handle: Any) -> int:
        return 1

    def votequorum_getinfo(self, _handle: Any, node: int, reference: Any) -> int:
        if self.failing or (node and node not in self.states):
            return self.failing or 12
        info = reference._obj
        info.node_id, info.node_state, info.flags = node or 1, self.states[node or 1], self.flags
        return 1


def test_corosync_s_word() -> None:
    library = Library()
    membership = Membership(library)
    assert membership.look([2, 3]) == Roll(1, True, frozenset({1, 2}))
    library.flags = 0
    assert not membership.look([2, 3, 9]).quorate
    assert library.opened == 1


def test_corosync_that_went_away_is_asked_anew() -> None:
    library = Library()
    membership = Membership(library)
    membership.look([2])
    library.failing = 2
    for _ in range(2):
        with pytest.raises(CorosyncError, match="error 2"):
            membership.look([2])
    library.failing = 0
    assert membership.look([2]).members == {1, 2} and library.opened == 3


def test_the_library_s_structure_has_its_size() -> None:
    """votequorum.h: nine unsigned integers and a name of 255 characters."""
    from provisioners.roles.fencing.files.rackproof_fencing.corosync import Info

    assert ctypes.sizeof(Info) == 292 and Info.flags.offset == 28


# -- the shared folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shared:
    monkeypatch.setattr(Shared, "_mounted", lambda _self: None)
    return Shared(tmp_path)


def test_a_folder_that_is_not_mounted_is_not_written(tmp_path: Path) -> None:
    """Without pmxcfs /etc/pve is an empty folder of this node alone: a lease there would bind nobody."""
    with pytest.raises(SharedError, match="is not mounted"):
        Shared(tmp_path).take("node3", None, Lease(1, "a", 1))
    assert list(tmp_path.iterdir()) == []


def test_one_of_two_takes_a_lease(folder: Shared) -> None:
    mine, other = Lease(1, "a", 1), Lease(1, "b", 2)
    folder.take("node3", None, mine)
    with pytest.raises(SharedError, match="taken by another"):
        folder.take("node3", None, other)
    assert folder.lease("node3") == mine and folder.lease("node30") is None


def test_a_holder_that_lost_its_lease_hears_of_it(folder: Shared, tmp_path: Path) -> None:
    mine = Lease(1, "a", 1)
    folder.take("node3", None, mine)
    folder._place("node3", 2).mkdir()  # the taker has come no further
    with pytest.raises(SharedError, match="taken over"):
        folder.write("node3", replace(mine, beat=1))
    unknown = folder.lease("node3")
    assert unknown is not None and (unknown.generation, unknown.holder, unknown.beat) == (2, "", -1)


def test_a_taker_yields_to_a_holder_that_spoke_meanwhile(folder: Shared) -> None:
    mine = Lease(1, "a", 1, cycles=2)
    folder.take("node3", None, mine)
    folder.write("node3", replace(mine, beat=1))
    with pytest.raises(SharedError, match="lives after all"):
        folder.take("node3", mine, Lease(2, "b", 2, cycles=2))
    now = folder.lease("node3")
    assert now is not None and (now.generation, now.free, now.cycles) == (2, True, 2)


def test_old_generations_go(folder: Shared, tmp_path: Path) -> None:
    lease: Lease | None = None
    for generation in (1, 2, 3):
        following = Lease(generation, "a", 1)
        folder.take("node3", lease, following)
        lease = following
    assert [p.name for p in (tmp_path / "rackproof/fencing").iterdir()] == ["node3.3"]


# -- credentials


def reader(tmp_path: Path, script: str) -> str:
    path = tmp_path / "reader"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 'the parameter store refused' >&2; exit 1", "/p cannot be read: the parameter store refused"),
        ("exit 3", "status 3"),
        ("printf 'a\\nb\\n'", "does not hold one line"),
        ("true", "does not hold one line"),
    ],
)
def test_a_parameter_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    monkeypatch.setattr(credentials, "READER", reader(tmp_path, script))
    with pytest.raises(credentials.CredentialsError, match=sentence):
        credentials.read_parameter("/p")


def test_a_parameter_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "READER", reader(tmp_path, 'printf "%s:%s \\n" "$1" "$HOME"'))
    assert credentials.read_parameter("/pve1/x") == "/pve1/x:/root "
    assert credentials.READER != "/usr/local/sbin/node-parameter"
    monkeypatch.undo()
    assert credentials.READER == "/usr/local/sbin/node-parameter"
    monkeypatch.setattr(credentials, "READER", "/nowhere/reader")
    with pytest.raises(credentials.CredentialsError, match="FileNotFoundError"):
        credentials.read_parameter("/p")


# -- the agent

RECORDER = f"""#!{sys.executable} -S
import json, os, pathlib, sys
given = sys.stdin.read()
folder = pathlib.Path(__file__).parent
with (folder / "seen").open("a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ), given]) + "\\n")
print("said", given)
status = 'action="status"' in given
sys.exit(int((folder / "status").read_text()) if status else 0)
"""


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    path = tmp_path / "agent"
    path.write_text(RECORDER)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "status").write_text("2")
    return path


def test_a_password_goes_in_by_standard_input_alone(recorder: Path) -> None:
    given = credentials.Credentials("ADMIN", SECRET)
    Agent(str(recorder)).order("off", BMC, given, "/redfish/v1/Systems/1")
    seen = [json.loads(line) for line in (recorder.parent / "seen").read_text().splitlines()]
    assert len(seen) == 2, "the order, then its own status"
    for arguments, environment, options in seen:
        assert arguments == [] and SECRET not in json.dumps(environment)
        assert f'password="{SECRET}"\n' in options and 'systems_uri="/redfish/v1/Systems/1"\n' in options
        assert environment["REQUESTS_CA_BUNDLE"] == BMC.ca_file and "ssl_insecure" not in options
    assert 'action="off"' in seen[0][2] and 'action="status"' in seen[1][2]


@pytest.mark.parametrize(("action", "status"), [("off", "0"), ("on", "2"), ("off", "1"), ("on", "1")])
def test_only_the_status_that_was_ordered_confirms(recorder: Path, action: str, status: str) -> None:
    (recorder.parent / "status").write_text(status)
    with pytest.raises(AgentError, match=f"did {action}, but its status is {status}") as refused:
        Agent(str(recorder)).order(action, BMC, credentials.Credentials("ADMIN", "hunter2"), "/x")
    assert "hunter2" not in str(refused.value) and "***" in str(refused.value)


def test_an_agent_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "ORDER_S", 0.5)
    path = reader(tmp_path, "exec sleep 600")
    with pytest.raises(AgentError, match=r"off ended with (-9|137)"):
        Agent(path).order("off", BMC, credentials.Credentials("a", "b"), "/x")


def test_a_stopped_service_kills_its_agent(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    path = reader(tmp_path, f"echo $$ > {ready}; exec sleep 600")
    agent, ended = Agent(path), []

    def order() -> None:
        try:
            agent.order("off", BMC, credentials.Credentials("a", "b"), "/x")
        except AgentError as error:
            ended.append(str(error))

    thread = threading.Thread(target=order)
    thread.start()
    running = os.pidfd_open(int(ready.read_text()))
    agent.stop()
    assert select.select([running], [], [], 30)[0], "the agent has not ended"
    os.close(running)
    thread.join(30)
    assert ended and "ended with" in ended[0]


def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="ended with 127"):
        Agent(str(tmp_path / "nothing")).order("off", BMC, credentials.Credentials("a", "b"), "/x")


# -- journal


def test_a_decision_is_one_line_in_journal_and_file(tmp_path: Path) -> None:
    output = StringIO()
    journal = Journal(tmp_path / "fencing.jsonl", output)
    journal.say("node3", Saying(Word.OFF_SENT, "gone\nfor long"))
    journal.say("node3", Saying(Word.GAVE_UP, "look"))
    first, second = (tmp_path / "fencing.jsonl").read_text().splitlines()
    entry = json.loads(first)
    assert {**entry, "at": ""} == {
        "at": "",
        "peer": "node3",
        "decision": "off-sent",
        "reason": "gone\nfor long",
    }
    assert output.getvalue().splitlines() == [f"<4>{first}", f"<2>{second}"]


def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    output = StringIO()
    Journal(tmp_path, output).say("node3", Saying(Word.REFUSED, "x"))
    assert '"decision": "refused"' in output.getvalue() and "cannot be written" in output.getvalue()


# -- systemd


@pytest.mark.parametrize(
    ("listing", "leaves"),
    [
        ("", False),
        ("No jobs running.\n", False),
        ("  71 corosync.service stop waiting\n  72 pve-cluster.service stop waiting\n", True),
        ("71 corosync.service restart waiting\n", True),
        ("71 corosync.service start running\n", False),
        ("71 pve-cluster.service stop running\n", False),
    ],
)
def test_who_leaves_in_good_order(listing: str, leaves: bool) -> None:
    assert systemd.stops_corosync(listing) is leaves


class Listener:
    """systemd's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)

    def next(self) -> str:
        return self.socket.recv(100).decode()


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    path = tmp_path / "notify"
    found = Listener(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    yield found
    found.socket.close()


@pytest.mark.parametrize("leaves", [True, False])
def test_the_loop_tells_systemd_and_says_goodbye_when_corosync_stops(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    from provisioners.roles.fencing.files.rackproof_fencing import service as services

    monkeypatch.setattr(Shared, "_mounted", lambda _self: None)
    monkeypatch.setattr(services, "TICK_S", 0.01)
    monkeypatch.setattr(systemd, "leaves_in_good_order", lambda: leaves)
    (tmp_path / "pve").mkdir()
    config = replace(parse(told(node="node1")), peers=())
    journal = Journal(tmp_path / "log", StringIO())
    loop = Service(config, Membership(Library()), tmp_path / "pve", tmp_path, {}, journal)
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    assert listener.next() == "READY=1" and listener.next() == "WATCHDOG=1"
    stop.set()
    while (message := listener.next()) != "STOPPING=1":
        assert message == "WATCHDOG=1"
    thread.join(30)
    assert (tmp_path / "pve/rackproof/fencing/node1.left").exists() is leaves


def test_a_node_id_that_is_not_mine_orders_nothing(tmp_path: Path) -> None:
    """Configuration and Corosync must mean the same node by an id."""
    config = parse(told(node="node2"))
    journal = Journal(tmp_path / "log", StringIO())
    loop = Service(replace(config, peers=()), Membership(Library()), tmp_path, tmp_path, {}, journal)
    loop.tick()
    loop.tick()
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "node id is 1, the configuration says 2" in line
