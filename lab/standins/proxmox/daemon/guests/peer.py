"""The node that a guest goes to, spoken to by its API as root@pam."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ..config import members
from ..http import peers
from ..http.errors import ApiError
from ..http.machine import Machine
from .files import Guest

CALL_S = 60.0
TASK_DEADLINE_S = 600.0
_POLL_S = 1.0


@dataclass(frozen=True)
class Peer:
    """Another node as this machine reaches it."""

    machine: Machine
    node: str

    @property
    def address(self) -> str:
        return members.address(self.machine, self.node)

    def task(self, guest: Guest, path: str, **params: Any) -> list[str]:
        """Start a task below the guest's place and wait for it; its log. ApiError with how it ended."""
        place = f"/nodes/{self.node}/{guest.kind}/{guest.vmid}/{path}"
        upid = str(self._call("POST", place, params))
        deadline = time.monotonic() + TASK_DEADLINE_S
        while time.monotonic() < deadline:
            state = self._call("GET", f"/nodes/{self.node}/tasks/{upid}/status")
            if state["status"] == "stopped":
                said = str(state["exitstatus"])
                if said != "OK" and not said.startswith("WARNINGS"):
                    raise ApiError(500, said)
                log = self._call("GET", f"/nodes/{self.node}/tasks/{upid}/log", {"limit": 0})
                return [str(line["t"]) for line in log]
            time.sleep(_POLL_S)
        raise ApiError(500, f"{path} on node '{self.node}' did not end within {TASK_DEADLINE_S:g} s")

    def _call(self, method: str, path: str, params: dict[str, Any] | None = None) -> Any:
        return peers.call(self.machine, self.node, method, path, params, timeout_s=CALL_S)
