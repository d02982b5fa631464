"""The fencing agent: when a lost node is dead for certain."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from lab.image import recipe
from lab.standins.proxmox.daemon.ha import fence, locks
from lab.standins.proxmox.daemon.ha.fence import FRESH_S, NOT_BEFORE_S, Look
from lab.standins.proxmox.daemon.ha.locks import HaLock

from ..conftest import FakeMachine

LONG = NOT_BEFORE_S + 60
DEAD = Look(
    quorate=True, member=False, node_state="fence", lrm_state="active", lrm_age_s=LONG + 20, waited_s=LONG
)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "take"),
        ({"quorate": False}, "wait"),
        ({"waited_s": NOT_BEFORE_S - 1}, "wait"),
        ({"node_state": "unknown"}, "wait"),
        ({"node_state": "online"}, "wait"),
        # a member of which nothing is known may run guests
        ({"member": True}, "wait"),
        ({"member": True, "lrm_state": "lost_agent_lock", "lrm_age_s": 3}, "wait"),
        # started anew: it says that nothing runs on it
        ({"member": True, "lrm_state": "wait_for_agent_lock", "lrm_age_s": 3}, "take"),
        ({"member": True, "lrm_state": "wait_for_agent_lock", "lrm_age_s": FRESH_S + 1}, "wait"),
        # back, and at work
        ({"member": True, "lrm_age_s": 3}, "back"),
        ({"member": True, "lrm_age_s": 3, "waited_s": 1, "node_state": "online"}, "wait"),
        ({"member": True, "lrm_age_s": 3, "quorate": False}, "wait"),
    ],
)
def test_verdict(change: dict[str, Any], verdict: str) -> None:
    assert fence.judge(Look(**{**vars(DEAD), **change})) == verdict


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: dict[float, Any] = {}

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when in [each for each in self.events if each <= self.now]:
            self.events.pop(when)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: one.now)
    monkeypatch.setattr(time, "time", lambda: one.now)
    monkeypatch.setattr(time, "sleep", one.sleep)
    return one


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    one = FakeMachine("node1", tmp_path)
    conf = "".join(f"node {{\nname: node{n}\nnodeid: {n}\nring0_addr: 10.0.0.{n}\n}}\n" for n in (1, 2))
    one.write("/etc/pve/corosync.conf", f"nodelist {{\n{conf}}}\ntotem {{\ncluster_name: rack\n}}\n")
    members(one, node2=0)
    one.write("/etc/pve/ha/manager_status", json.dumps({"node_status": {"node2": "unknown"}}))
    return one


def members(machine: FakeMachine, node2: int) -> None:
    online = {"node1": 1, "node2": node2}
    nodes = {name: {"id": int(name[-1]), "online": up, "ip": "10.0.0.1"} for name, up in online.items()}
    said = {"nodename": "node1", "cluster": {"quorate": 1}, "nodelist": nodes}
    machine.write("/etc/pve/.members", json.dumps(said))


def to_be_fenced(machine: FakeMachine) -> None:
    machine.write("/etc/pve/ha/manager_status", json.dumps({"node_status": {"node2": "fence"}}))


def test_a_dead_node_is_fenced_when_its_lock_is_free(machine: FakeMachine, clock: Clock) -> None:
    lock = machine.file(f"/etc/pve/priv/lock/{locks.agent('node2')}")
    lock.mkdir(parents=True)
    began = clock.now
    clock.events = {began + 60: lambda: to_be_fenced(machine), began + 115: lock.rmdir}
    assert fence.fence(machine, "node2")
    assert 115 <= clock.now - began <= 115 + 2 * fence.LOOK_EVERY_S
    assert lock.is_dir()


def test_a_lock_that_was_free_all_along_is_no_proof(machine: FakeMachine, clock: Clock) -> None:
    to_be_fenced(machine)
    began = clock.now
    assert fence.fence(machine, "node2")
    assert clock.now - began >= NOT_BEFORE_S


def test_a_node_that_came_back_is_not_fenced(machine: FakeMachine, clock: Clock) -> None:
    def back() -> None:
        members(machine, node2=1)
        status = {"state": "active", "timestamp": clock.now}
        machine.write("/etc/pve/nodes/node2/lrm_status", json.dumps(status))

    clock.events = {clock.now + 30: back}
    assert not fence.fence(machine, "node2")
    assert not machine.file(f"/etc/pve/priv/lock/{locks.agent('node2')}").exists()


def test_the_agent_speaks_pacemakers_language(
    machine: FakeMachine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "Machine", lambda _: machine)

    def says(text: str) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return fence.main()

    assert says("action=nonsense\n") == 1
    assert says("action=off\n") == 1
    to_be_fenced(machine)
    assert says("action=off\nnodename=node2\n") == 0
    assert machine.file(f"/etc/pve/priv/lock/{locks.agent('node2')}").is_dir()


def asked(text: str, python: Path) -> subprocess.CompletedProcess[str]:
    """The program as Pacemaker calls it, with `python` in the place of python3."""
    program = recipe.NODE_FILES / "usr/sbin/fence_rackproof"
    path = {"PATH": f"{python.parent}:/usr/bin:/bin"}
    return subprocess.run([program], input=text, env=path, capture_output=True, text=True, check=False)


def test_what_only_asks_is_answered_without_python(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\necho "$@"; cat; exit 7\n', encoding="utf-8")
    python.chmod(0o755)
    told = asked("action=metadata\n", python)
    assert told.returncode == 0
    names = {one.get("name") for one in ET.fromstring(told.stdout).iter("action")}
    assert {"off", "reboot", "monitor", "metadata"} <= names
    for action in ("monitor", "status", "list"):
        quiet = asked(f"# a comment *\naction={action}\nport=node2\n", python)
        assert (quiet.returncode, quiet.stdout) == (0, "")
    for text in ("action=off\nnodename=node2\n", "nodename=node2\n", "action=nonsense\n"):
        acts = asked(text, python)
        assert (acts.returncode, acts.stdout) == (7, f"-m pve_standin.ha.fence\n{text}")


def test_locks(machine: FakeMachine, clock: Clock) -> None:
    """A lock is one's own for as long as nobody else can have it."""
    ours, theirs = (HaLock(machine, "x", lambda: clock.now) for _ in range(2))
    assert ours.keep() and not theirs.take()
    clock.now += 60
    assert ours.keep() and ours.held
    clock.now += 119
    assert not ours.held
    assert not ours.keep(), "another one may have taken it meanwhile"
    ours.release()
    assert theirs.take()
    assert HaLock(machine, "x").adopt() and not HaLock(machine, "y").adopt()


def test_a_lock_outlives_a_while_without_quorum(
    machine: FakeMachine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = HaLock(machine, "x", lambda: clock.now)
    assert lock.take()
    with monkeypatch.context() as without_quorum:

        def refused(*_: Any) -> None:
            raise PermissionError

        without_quorum.setattr(os, "utime", refused)
        clock.now += 40
        assert not lock.keep() and lock.held
    assert lock.keep()
    machine.file("/etc/pve/priv/lock/x").rmdir()
    assert not lock.keep() and not lock.held, "it expired, and somebody asked for it"
    assert lock.keep()
