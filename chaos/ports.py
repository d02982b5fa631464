"""What chaos needs of a cluster, as protocols: `cluster.cluster.Cluster` is one, and so are the fakes of
the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from cluster.node import Gathered, Result
from cluster.site import Site


class NodePort(Protocol):
    """Commands on one node. All raise `UnreachableError` where the connection fails."""

    @property
    def name(self) -> str: ...

    def run(
        self, command: str, *args: str, timeout: float = ..., check: bool = ..., data: str | None = ...
    ) -> Result: ...

    def gather(self, script: str, timeout: float = ...) -> Gathered: ...

    def reachable(self, timeout: float = ...) -> bool: ...

    def argv(self, command: str, *, multiplexed: bool = ..., options: tuple[str, ...] = ...) -> list[str]: ...


class PortStatePort(Protocol):
    """State of one switch port."""

    @property
    def admin_up(self) -> bool: ...

    @property
    def up(self) -> bool: ...


class SwitchPort(Protocol):
    """One switch. `arm_undo` schedules `undo shutdown` on the switch itself and returns the job's id."""

    @property
    def name(self) -> str: ...

    def ports(self) -> Mapping[str, PortStatePort]: ...

    def shutdown(self, port: str) -> None: ...

    def undo_shutdown(self, port: str) -> None: ...

    def arm_undo(self, port: str, seconds: float) -> str: ...

    def disarm(self, job: str) -> None: ...


@runtime_checkable
class ListsTimers(Protocol):
    """A switch that can name our timers on it, those of a killed run among them."""

    def armed(self) -> list[str]: ...


class BmcPort(Protocol):
    """One BMC. Nothing is sent where what `power` asks for is so already. `lockout`: after how many wrong
    passwords it locks an account, 0 for never.
    """

    def power_state(self) -> str: ...

    def power_and_reset(self) -> tuple[str, float | None]: ...

    def lockout(self) -> int: ...

    def resets(self) -> tuple[str, ...]: ...

    def power(self, reset_type: str) -> None: ...

    def wait_power(self, state: str, deadline: float) -> float: ...


class ClusterPort(Protocol):
    """A cluster under test."""

    @property
    def site(self) -> Site: ...

    @property
    def nodes(self) -> Mapping[str, NodePort]: ...

    @property
    def switches(self) -> Mapping[str, SwitchPort]: ...

    @property
    def bmcs(self) -> Mapping[str, BmcPort]: ...
