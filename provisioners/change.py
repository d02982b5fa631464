"""A change, and what a phase is made of: an observation, the pure list of what is missing, and actions that
close it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site

Progress = Callable[[str], None]
"""Says one line of progress: what, where, n of m, elapsed."""


@dataclass(frozen=True)
class Change:
    """One reversible step on one node, from what is true to what is ordered.

    `destroys` says which data it would erase, as found, on the drives whose serial numbers stand in
    `serials`; empty for nearly every change. `when_wiped` names the action that takes the place of `action`
    once the operator has consented to the loss of every drive in `serials`. `blocks`: while this is missing,
    nothing else of the node can be seen.
    """

    node: str
    summary: str
    action: str
    destroys: str = ""
    serials: tuple[str, ...] = ()
    when_wiped: str = ""
    blocks: bool = False


@runtime_checkable
class Action(Protocol):
    """One way to close differences. Applying it twice does no harm; a killed `apply` is finished by the
    next.
    """

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Closes `changes`. Raises RackproofError when it cannot."""

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Takes back what this action did to the nodes of `changes`, from the state that was saved before."""


Obs = TypeVar("Obs")


class Phase(Protocol[Obs]):
    """One phase of the deployment."""

    @property
    def number(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def actions(self) -> Mapping[str, Action]:
        """Actions by the name that changes bear, in the order in which they are applied."""
        ...

    def observe(self, cluster: Cluster) -> Obs:
        """What is true now; only reads."""
        ...

    def missing(self, site: Site, observation: Obs) -> list[Change]:
        """What is ordered and not true. Pure: the same arguments give the same list."""
        ...
