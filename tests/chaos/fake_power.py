"""BMCs of fake nodes, and the late process that brings a node back; `fire` lets its time pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FakeBmc:
    """A BMC; `state` can be set by a test, `sent` holds the resets that had an effect."""

    def __init__(self, node: Any = None) -> None:
        self.state = "On"
        self.offered = ("On", "ForceOff", "ForceRestart")
        self.locks_after = 0
        self.sent: list[str] = []
        self._node = node

    def power_state(self) -> str:
        return self.state

    def power_and_reset(self) -> tuple[str, float | None]:
        return self.state, None

    def lockout(self) -> int:
        return self.locks_after

    def resets(self) -> tuple[str, ...]:
        return self.offered

    def power(self, reset_type: str) -> None:
        wanted = {"On": "On", "ForceOff": "Off"}[reset_type]
        if self.state == wanted:
            return
        self.state = wanted
        self.sent.append(reset_type)
        if wanted == "On":
            self._node.start()
        else:
            self._node.dead = True

    def wait_power(self, state: str, deadline: float) -> float:
        assert self.state == state
        return 0.0


class FakePower:
    """As `chaos.late_power.LatePower`."""

    def __init__(self, nodes: Mapping[str, Any], bmcs: Mapping[str, FakeBmc]) -> None:
        self._nodes, self._bmcs = nodes, bmcs
        self._armed: dict[str, str] = {}
        self._fired: set[str] = set()

    def arm_start(self, name: str, node: str, seconds: float) -> None:
        self._armed[name] = node

    def armed_starts(self) -> list[str]:
        return sorted(self._armed)

    def disarm_start(self, name: str) -> bool:
        self._fired.discard(name)
        return self._armed.pop(name, None) is not None

    def start_fired(self, name: str) -> bool:
        return name in self._fired

    def fire(self) -> None:
        for name, node in list(self._armed.items()):
            del self._armed[name]
            self._fired.add(name)
            if self._bmcs[node].state == "On" and not self._nodes[node].answers():
                self._bmcs[node].power("ForceOff")
            self._bmcs[node].power("On")
