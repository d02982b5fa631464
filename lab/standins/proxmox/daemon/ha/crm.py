"""pve-ha-crm: of all nodes' daemons the one that holds the manager's lock decides (PVE::HA::CRM)."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable

from ..config import members
from ..config.members import Cluster
from ..http.machine import Machine
from . import files, locks, loop, resources
from .locks import HaLock
from .manager import Manager
from .nodestates import Say

MASTER_ROUND_S, OTHER_ROUND_S = 10.0, 5.0


class Crm:
    """`state` is PVE's: wait_for_quorum, slave, master, lost_manager_lock."""

    def __init__(
        self, machine: Machine, say: Say = loop.say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.state = "wait_for_quorum"
        self._machine = machine
        self._say = say
        self._clock = clock
        self._lock = HaLock(machine, locks.MANAGER, clock)
        self._manager: Manager | None = None

    def round(self) -> float:
        """One round; returns the seconds until the next. ApiError where the manager's work failed."""
        # Read first, as PVE's does: to refresh the lock waits while the membership changes.
        cluster = members.cluster(self._machine)
        if self._manager is not None and not self._lock.keep():
            self._become("lost_manager_lock")
        if self._manager is None:
            self._stand(cluster)
        if self._manager is None:
            return OTHER_ROUND_S
        self._manager.manage(cluster)
        if self._manager.idle and not resources.read(self._machine):
            self._say("no services left - releasing the manager lock")
            self.leave()
            self._become("wait_for_quorum")
        return MASTER_ROUND_S

    def leave(self) -> None:
        """Let another one be master at once."""
        if self._manager is not None:
            self._say("voluntary release CRM lock")
            self._lock.release()

    def _stand(self, cluster: Cluster) -> None:
        """Try to become master, where there is something to look after and Pacemaker, by which it is looked
        after, runs on this node."""
        node = self._machine.node
        status = files.manager_status(self._machine)
        fenced = status.get("node_status", {}).get(node) == "fence"
        needed = status.get("service_status") or resources.read(self._machine)
        able = files.lrm_status(self._machine, node).get("state") == "active" and not fenced
        if not needed or not able or not cluster.quorate:
            self._become("wait_for_quorum")
        else:
            self._become("master" if self._lock.take() else "slave")

    def _become(self, state: str) -> None:
        if state != self.state:
            self._say(f"status change {self.state} => {state}")
            self.state = state
            master = state == "master"
            self._manager = Manager(self._machine, self._say, self._clock) if master else None


def main() -> int:
    crm = Crm(Machine(socket.gethostname().partition(".")[0]))
    loop.run(crm.round)
    loop.say("server received shutdown request")
    crm.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
