"""Hands that push a drive back though the harness be gone: a node cannot push its own drive back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

from chaos.late import Late, late_folder, serve
from chaos.ports import ClusterPort
from cluster.hands import Hands
from cluster.site import Site


@runtime_checkable
class LateHandsPort(Protocol):
    """Hands that can be told beforehand to push a drive back after `seconds`, by a name of the caller's."""

    def pull_drive(self, node: str, serial: str) -> None: ...

    def push_drive(self, node: str, serial: str) -> None: ...

    def arm_push(self, name: str, node: str, serial: str, seconds: float) -> None: ...

    def armed_pushes(self) -> list[str]: ...

    def disarm_push(self, name: str) -> bool: ...

    def push_fired(self, name: str) -> bool: ...


def hands_of(cluster: ClusterPort) -> LateHandsPort:
    """The cluster's hands."""
    own = getattr(cluster, "hands", None)
    return own if isinstance(own, LateHandsPort) else LateHands(cluster.site)


class LateHands:
    """The site's hands, and the switch for them. Raises as `cluster.hands.Hands`."""

    def __init__(self, site: Site, folder: Path | None = None) -> None:
        self._table = site.hands
        self._hands = Hands(site.hands)
        self._late = Late(folder or late_folder(site), "hands", "chaos.late_hands")

    def pull_drive(self, node: str, serial: str) -> None:
        self._hands.pull_drive(node, serial)

    def push_drive(self, node: str, serial: str) -> None:
        self._hands.push_drive(node, serial)

    def arm_push(self, name: str, node: str, serial: str, seconds: float) -> None:
        """Have the drive pushed back after `seconds`. Raises `RefusedError` where that is not certain."""
        command = getattr(self._table, "push_drive", None)
        self._late.arm(name, seconds, {"push_drive": command, "node": node, "serial": serial})

    def armed_pushes(self) -> list[str]:
        """Names whose process waits now."""
        return self._late.armed()

    def disarm_push(self, name: str) -> bool:
        """False where it was not armed or has fired already."""
        return self._late.disarm(name)

    def push_fired(self, name: str) -> bool:
        return self._late.fired(name)


def _push(order: Mapping[str, Any], private: str, withdrawn: Callable[[], bool]) -> None:
    del private, withdrawn
    table = SimpleNamespace(push_drive=order["push_drive"])
    Hands(table).push_drive(order["node"], order["serial"])  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(serve(_push))
