"""The manager's word on each node: online, maintenance, unknown, fence, gone (PVE::HA::NodeStatus). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .pacemaker import Seen

FENCE_DELAY_S = 60.0
FORGET_AFTER_S = 3600.0
Say = Callable[[str], None]


class NodeStates:
    """States by name. Who takes over as manager counts every delay anew, as PVE's does.

    `acknowledged`: nodes that were fenced with success in the last look.
    """

    def __init__(self, states: Mapping[str, str], say: Say) -> None:
        self.states = dict(states)
        self._say = say
        self._last_online: dict[str, float] = {}
        self.acknowledged: set[str] = set()

    def update(
        self, now: float, members: Mapping[str, bool], modes: Mapping[str, str], seen: Seen | None
    ) -> None:
        """One look. `now` in seconds of a clock that is never set; `members`: who is listed, and whether it
        is in the quorate partition; `modes` of the local resource managers; `seen` as Pacemaker has it.

        A lost node is to be fenced once it was away for a minute, unless Pacemaker knows that it left in
        order. It is fenced when Pacemaker holds it for clean.
        """
        self.acknowledged.clear()
        for node in sorted({*members, *self.states}):
            if members.get(node):
                self._last_online[node] = now
                self._present(node, modes.get(node, "active"), seen)
            else:
                self._absent(node, now, node in members, modes.get(node, "active"), seen)

    def _present(self, node: str, mode: str, seen: Seen | None) -> None:
        if self.states.get(node) == "fence" and not self._freed(node, seen):
            return
        self._set(node, "maintenance" if mode == "maintenance" else "online")

    def _absent(self, node: str, now: float, listed: bool, mode: str, seen: Seen | None) -> None:
        state = self.states.get(node, "unknown")
        away_s = now - self._last_online.setdefault(node, now)
        if state == "fence":
            if self._freed(node, seen):
                self._set(node, "unknown")
        elif state == "maintenance" and mode == "maintenance" and _clean(node, seen):
            return
        elif not listed:
            self._set(node, "gone")
            if away_s >= FORGET_AFTER_S:
                self._say(f"deleting gone node '{node}', not a cluster member anymore.")
                del self.states[node], self._last_online[node]
        elif seen is not None and not _clean(node, seen) and away_s >= FENCE_DELAY_S:
            self._set(node, "fence")
        else:
            self._set(node, "unknown")

    def _freed(self, node: str, seen: Seen | None) -> bool:
        """Whether a node that was to be fenced is dead for certain, or has come back alive."""
        if not _clean(node, seen):
            return False
        if seen and not seen.nodes[node].online:
            self._say(f"fencing: acknowledged - got agent lock for node '{node}'")
            self.acknowledged.add(node)
        return True

    def _set(self, node: str, state: str) -> None:
        old = self.states.get(node, "unknown")
        self.states[node] = state
        if old != state:
            self._say(f"node '{node}': state changed from '{old}' => '{state}'")

    def at(self, state: str) -> set[str]:
        """The nodes in a state."""
        return {node for node, its in self.states.items() if its == state}


def _clean(node: str, seen: Seen | None) -> bool:
    return seen is not None and node in seen.nodes and not seen.nodes[node].unclean
