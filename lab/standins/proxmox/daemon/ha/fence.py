"""fence_rackproof: Pacemaker's fencing agent, which does what PVE's manager does: it waits, and takes a lock.

A lost node resets itself by its watchdog. It is dead for certain when its agent lock can be taken, which it
could not refresh since then; only then are its guests started elsewhere. The agent acts for the manager: not
before that has put the node into state `fence`. A node that came back before that is not fenced.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import members
from ..http.machine import Machine
from . import files, locks
from .locks import HaLock

LOOK_EVERY_S = 2.0
# Longer than a watchdog takes to bite after quorum was lost, whatever became of the lock.
NOT_BEFORE_S = 75.0
FRESH_S = 30.0
SECONDS_TO_REJOIN = 5.0


@dataclass(frozen=True)
class Look:
    """What can be known of the lost node. `waited_s`: since the agent was called, `lrm_age_s`: since its
    local resource manager wrote `lrm_state`; `node_state` is the manager's word."""

    quorate: bool
    member: bool
    node_state: str
    lrm_state: str
    lrm_age_s: float
    waited_s: float


def judge(look: Look) -> str:
    """`back`: it lives and takes part again; `take`: its lock, if it is free, proves it dead; else `wait`."""
    if not look.quorate:
        return "wait"
    alive = look.member and look.lrm_age_s <= FRESH_S
    if alive and look.lrm_state == "active" and look.lrm_age_s < look.waited_s:
        return "back"
    if look.node_state != "fence" or look.waited_s < NOT_BEFORE_S:
        return "wait"
    # A member that was started anew says that nothing runs on it yet. One that says nothing may run guests.
    if look.member and not (alive and look.lrm_state == "wait_for_agent_lock"):
        return "wait"
    return "take"


def look(machine: Machine, target: str, waited_s: float) -> Look:
    cluster = members.cluster(machine)
    lrm: Mapping[str, Any] = files.lrm_status(machine, target)
    return Look(
        quorate=cluster.quorate,
        member=any(member.online for member in cluster.members if member.name == target),
        node_state=files.manager_status(machine).get("node_status", {}).get(target, "unknown"),
        lrm_state=lrm.get("state", ""),
        lrm_age_s=time.time() - lrm.get("timestamp", 0),
        waited_s=waited_s,
    )


def fence(machine: Machine, target: str) -> bool:
    """Until the node is dead for certain (True) or back (False); Pacemaker's deadline ends it otherwise."""
    lock = HaLock(machine, locks.agent(target))
    began = time.monotonic()
    while True:
        verdict = judge(look(machine, target, time.monotonic() - began))
        if verdict == "take" and lock.take():
            return True
        if verdict == "back":
            time.sleep(SECONDS_TO_REJOIN)
            return False
        time.sleep(LOOK_EVERY_S)


def options(text: str) -> dict[str, str]:
    """What Pacemaker says on standard input: a `name=value` a line."""
    pairs = (line.strip().partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in pairs if equals}


def main() -> int:
    given = options(sys.stdin.read())
    action = given.get("action", "off")
    if action not in ("off", "reboot"):
        sys.stderr.write(f"fence_rackproof: unknown action '{action}'\n")
        return 1
    target = given.get("port") or given.get("plug") or given.get("nodename", "")
    if not target:
        sys.stderr.write("fence_rackproof: expected the node's name as port\n")
        return 1
    if not fence(Machine(socket.gethostname().partition(".")[0]), target):
        sys.stderr.write(f"fence_rackproof: node '{target}' is back, it is not fenced\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
