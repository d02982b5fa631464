"""What a fault is: how it is injected, how it is healed, and who heals it if we die. The third comes first.

A new fault is one class in one file of `chaos/faults/`; being there is enough to be listed and to be held
to the contract by tests/chaos/test_fault_contract.py. Its fields are plain data: they are what the
journal writes, and all that is needed to heal it from another process. docs/how-to/add-a-fault.md walks
through one.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from random import Random
from typing import Any, ClassVar, Self

from chaos.aim import narrowed
from chaos.bond_state import BondState
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import RackproofError
from cluster.site import Site

MIN_DEADMAN_S = 5.0
MAX_DEADMAN_S = 600.0


class FaultError(RackproofError):
    """A fault was asked for that does not exist or whose parameters are wrong."""


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """A fault on one target. Subclasses are frozen dataclasses whose fields are str, float, bool or
    tuples of str.

    Methods take the cluster, and the drill's id (`[a-z0-9]+`, unique) where something on a target is
    named after it. `heal` and `disarm` must be harmless when there is nothing to heal or disarm, and when
    done twice.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    blast_radius: ClassVar[str]
    heals_by: ClassVar[str]
    deadman: ClassVar[str]
    may_isolate: ClassVar[bool] = False
    """True where the target may be cut off from the harness: then the dead-man's switch is who heals it."""
    alone: ClassVar[bool] = False
    """True where the harness must not heal: the drill shows that the target comes back without help."""
    resets: ClassVar[bool] = False
    """True where a node starts anew because of it: whatever watched from that node has ended."""
    inject_s: ClassVar[float] = 20.0
    """Seconds within which the target must be seen broken."""
    heal_s: ClassVar[float] = 30.0
    """Seconds within which the target must be seen healed."""

    deadman_s: float = 90.0
    """Seconds after which the target heals itself; longer than the drill."""

    def __post_init__(self) -> None:
        if not MIN_DEADMAN_S <= self.deadman_s <= MAX_DEADMAN_S:
            raise FaultError(
                f"{self.kind}: deadman_s = {self.deadman_s:g}:"
                f" expected {MIN_DEADMAN_S:g} to {MAX_DEADMAN_S:g}"
            )

    @property
    @abstractmethod
    def target(self) -> str:
        """What is broken, as a reader of the report names it."""

    @property
    @abstractmethod
    def nodes(self) -> tuple[str, ...]:
        """Nodes that feel it."""

    @property
    def silenced(self) -> tuple[str, ...]:
        """Nodes that are no members of the cluster while it is in: the guard keeps a majority of the
        others.
        """
        return ()

    @classmethod
    @abstractmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        """A fault of this kind on a target of the cluster drawn by `random`; reads, breaks nothing."""

    @classmethod
    def candidates(cls, site: Site) -> tuple[str, ...]:
        """What could be a victim by the order alone, the name of its node (or switch) first; nodes by
        default. A plan is drawn from these names, so that it depends on nothing that changes.
        """
        return tuple(spec.name for spec in site.nodes)

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        """A fault of this kind on one of `candidates`; `random` draws what the name leaves open. Raises
        `NotApplicableError` where that one does not qualify, such as a monitor that leads.
        """
        return cls.draw(narrowed(cluster, candidate), random)

    @abstractmethod
    def check(self, cluster: ClusterPort) -> None:
        """Raise `NotApplicableError` where the target lacks what `needs` names, `RefusedError` where it
        is not as assumed.
        """

    @abstractmethod
    def arm(self, cluster: ClusterPort, drill: str) -> Mapping[str, str]:
        """Arm the dead-man's switch on the target; returns the handles that `disarm` needs."""

    @abstractmethod
    def armed(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        """Whether the switch is seen to be armed on the target."""

    @abstractmethod
    def disarm(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        """Disarm the switch. False where it had fired already or was not armed."""

    @abstractmethod
    def fired(self, cluster: ClusterPort, drill: str) -> bool:
        """Whether the switch is known to have fired; False too where the target does not tell."""

    def prepare(self, cluster: ClusterPort, drill: str) -> None:
        """Put in what the break is to meet, or what makes it last: no time counts before that is in. `heal`
        and the switch mend it too.
        """
        del cluster, drill

    @abstractmethod
    def inject(self, cluster: ClusterPort, drill: str) -> None:
        """Break the target; times are counted from here."""

    @abstractmethod
    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        """Whether the target is seen broken, in the way intended."""

    @abstractmethod
    def heal(self, cluster: ClusterPort, drill: str) -> None:
        """Mend the target. Raises `UnreachableError` where it is cut off."""

    @abstractmethod
    def healed(self, cluster: ClusterPort) -> bool:
        """Whether nothing of the fault is left on the target."""

    def proven(self, cluster: ClusterPort, drill: str) -> None:
        """Once healed: raise `UnknownError` if the target's own record says that it was never broken."""
        del cluster, drill

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        """The outage that the live configuration of the nodes implies; None where no model exists."""
        del bonds
        return None

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        """(node, interface) whose link may count one failure because of this fault; all others may count
        none.
        """
        del bonds
        return frozenset()

    def parameters(self) -> dict[str, Any]:
        """The fields, as the journal writes them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class QuorumLoss(Fault):
    """A fault that may leave no quorum: the guard lets it only where whoever asks says so by `consent`."""

    consent: bool = False
    """True: the asker knows that nothing is managed and nothing restarted until it is healed."""


def catalogue() -> dict[str, type[Fault]]:
    """All kinds of fault, by the name that the journal and `python -m chaos list` use. A class whose name
    begins with "_" is none: it is a part of others.
    """
    package = importlib.import_module("chaos.faults")
    for module in pkgutil.iter_modules(package.__path__, "chaos.faults."):
        importlib.import_module(module.name)
    found: dict[str, type[Fault]] = {}
    waiting: list[type[Fault]] = list(Fault.__subclasses__())
    while waiting:
        each = waiting.pop()
        waiting.extend(each.__subclasses__())
        present = getattr(sys.modules.get(each.__module__), each.__name__, None) is each
        ours = each.__module__.startswith("chaos.faults.") and not each.__name__.startswith("_")
        if present and ours and not inspect.isabstract(each):
            found[each.kind] = each
    return dict(sorted(found.items()))


def rebuild(
    kind: str, parameters: Mapping[str, Any], known: Mapping[str, type[Fault]] | None = None
) -> Fault:
    """The fault that a journal names. Raises `FaultError` where this version does not know it."""
    classes = catalogue() if known is None else known
    if kind not in classes:
        raise FaultError(f"the journal names a fault {kind!r} that this version does not know")
    wanted = {field.name for field in fields(classes[kind])}
    if set(parameters) != wanted:
        raise FaultError(f"fault {kind!r}: parameters {sorted(parameters)}: expected {sorted(wanted)}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()
    }
    return classes[kind](**values)
