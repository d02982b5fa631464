"""pve-ha-lrm: this node's part (PVE::HA::LRM). It holds the node's agent lock while Pacemaker runs here.

The lock comes first and goes last: while Pacemaker may run guests here, nobody else can take it.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable

from ..config import members
from ..http.errors import ApiError
from ..http.machine import Machine
from . import files, locks, loop, pacemaker, resources
from .locks import HaLock
from .manager import shutdown_policy
from .nodestates import Say

ACTIVE_ROUND_S, WAIT_ROUND_S = 10.0, 5.0


class Lrm:
    """`state` and `mode` are PVE's: wait_for_agent_lock, active, lost_agent_lock; active, maintenance, ..."""

    def __init__(
        self, machine: Machine, say: Say = loop.say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.state = "wait_for_agent_lock"
        self.mode = "active"
        self._machine = machine
        self._say = say
        self._joined = False
        self._lock = HaLock(machine, locks.agent(machine.node), clock)
        if pacemaker.running(machine):  # this daemon was started anew
            self._lock.adopt()
            self._become("active")

    def round(self) -> float:
        """One round; returns the seconds until the next. ApiError where Pacemaker does not start or stop."""
        if not members.cluster(self._machine).quorate:
            if self.state == "active":
                self._become("lost_agent_lock")
            return WAIT_ROUND_S
        status = files.manager_status(self._machine)
        node = self._machine.node
        asked = status.get("node_request", {}).get(node, {})
        self.mode = "maintenance" if asked.get("maintenance") else "active"
        to_be_fenced = status.get("node_status", {}).get(node) == "fence"
        needed = bool(resources.read(self._machine) or status.get("service_status"))
        if self.state == "wait_for_agent_lock":
            if needed:
                pacemaker.feed_watchdog(self._machine)
                if not to_be_fenced and self._lock.take():
                    self._begin()
        elif not pacemaker.running(self._machine):
            # Its unit freed the lock if it ended in order. If not, guests may be left: the watchdog bites.
            self._lock.forget()
            self._become("wait_for_agent_lock")
        elif not needed:
            self._end()
        elif to_be_fenced:
            self._perish()
        else:
            self._become("active" if self._lock.keep() else "lost_agent_lock")
            self._joined = self._joined or self._takes_part()
        self._write()
        return ACTIVE_ROUND_S if self.state == "active" else WAIT_ROUND_S

    def _begin(self) -> None:
        try:
            pacemaker.start(self._machine)
        except ApiError:
            if not pacemaker.running(self._machine):
                self._lock.release()
            raise
        self._become("active")

    def _takes_part(self) -> bool:
        seen = pacemaker.seen(self._machine)
        return seen is not None and self._machine.node in seen.nodes and seen.nodes[self._machine.node].online

    def _end(self) -> None:
        """Nothing is left to look after: no Pacemaker, and nobody counts on the watchdog."""
        pacemaker.stop(self._machine)
        self._lock.release()
        self._become("wait_for_agent_lock")

    def _perish(self) -> None:
        """The others hold this node for dead, so it must be: the watchdog is no longer fed."""
        if self.state != "lost_agent_lock":
            self._say("node need to be fenced - releasing agent_lock")
            self._become("lost_agent_lock")
        stop = ["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "watchdog-mux"]
        self._machine.run(stop, check=False)

    def leave(self) -> None:
        """Say how this node goes, as PVE's shutdown policies have it; guests stop when Pacemaker does."""
        jobs = self._machine.run(["systemctl", "list-jobs", "--no-legend"], check=False).out
        policy = shutdown_policy(self._machine)
        if "shutdown.target" not in jobs:
            self._say("restart LRM, freeze all services")
            self.mode = "restart"
        else:
            self._say(f"got shutdown request with shutdown policy '{policy}'")
            freeze = policy == "freeze" or (policy == "conditional" and "reboot.target" in jobs)
            self.mode = "maintenance" if policy == "migrate" else "restart" if freeze else "shutdown"
        try:
            self._write()
        except ApiError as error:
            self._say(f"unable to write lrm status file - {error}")

    def _become(self, state: str) -> None:
        if state != self.state:
            self._say(f"status change {self.state} => {state}")
            self.state = state
            self._joined = self._joined and state != "wait_for_agent_lock"

    def _write(self) -> None:
        status = {"state": self.state, "mode": self.mode, "joined": int(self._joined), "results": {}}
        files.write_lrm_status(self._machine, {**status, "timestamp": int(time.time())})


def main() -> int:
    lrm = Lrm(Machine(socket.gethostname().partition(".")[0]))
    loop.run(lrm.round)
    lrm.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
