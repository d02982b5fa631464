"""The gate before a fault and after it: a healthy cluster, one fault at a time, redundancy restored, a
way back in.

Checks are pluggable: a phase that brings quorum or storage adds its own (`Guard(extra=(check,))`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from chaos import bond_state, late
from chaos.bond_state import BondState
from chaos.fault import Fault
from chaos.journal import Journal
from chaos.ports import ClusterPort
from cluster import deadman
from cluster.errors import DeadlineError, RackproofError, RefusedError

RESTORED_S = 120.0
SETTLE_S = 3.0
TELL_S = 10.0
"""Progress is told so often."""
_POLL_S = 1.0
_K = TypeVar("_K")
_T = TypeVar("_T")


class FlapError(RackproofError):
    """A link failed more often than the fault explains."""


class Check(Protocol):
    """One condition of health. `before_only`: asked before a fault, but not part of redundancy restored."""

    @property
    def name(self) -> str: ...

    @property
    def before_only(self) -> bool: ...

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        """What is wrong, each as a sentence; may raise `RackproofError`, which counts as a problem."""


@dataclass(frozen=True)
class BondsRedundant:
    """Every node answers, and every leg of its bond is up and in use."""

    name: str = "bonds are redundant"
    before_only: bool = False

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        del fault
        found = []
        for node, bond in read_bonds(cluster).items():
            legs = len(cluster.site.node(node).links)
            found += [f"{node}: {text}" for text in bond.missing(legs)]
        return found


@dataclass(frozen=True)
class NoSwitchLeft:
    """No dead-man's switch of an earlier drill is still armed, on a node or (late processes) on the
    controller: it would heal this one.
    """

    name: str = "no dead-man's switch is armed"
    before_only: bool = True

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        del fault
        left = _at_once({name: partial(deadman.armed, node) for name, node in cluster.nodes.items()})
        found = [f"{name} still has {', '.join(units)} armed" for name, units in left.items() if units]
        here = late.alive(late.late_folder(cluster.site))
        return found + ([f"processes of {', '.join(here)} still wait on the controller"] if here else [])


@dataclass(frozen=True)
class WayBackIn:
    """The BMC of each node that will feel the fault answers: if all else fails, it is the way back in."""

    name: str = "BMCs answer"
    before_only: bool = True

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        states = _at_once({name: cluster.bmcs[name].power_state for name in dict.fromkeys(fault.nodes)})
        return [f"{name} is {state} by its BMC" for name, state in states.items() if state != "On"]


STANDARD: tuple[Check, ...] = (BondsRedundant(), NoSwitchLeft(), WayBackIn())


class Guard:
    """Refuses what may not be broken, and waits until what was broken is whole again."""

    def __init__(
        self,
        checks: Iterable[Check] = STANDARD,
        extra: Iterable[Check] = (),
        *,
        restored_s: float = RESTORED_S,
        settle_s: float = SETTLE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.checks = (*checks, *extra)
        self.restored_s = restored_s
        self.settle_s = settle_s
        self._sleep = sleep

    def admit(self, cluster: ClusterPort, fault: Fault, journal: Journal) -> None:
        """Raise `RefusedError` unless the cluster is whole and nothing else is broken."""
        left = journal.entries()
        if left:
            named = ", ".join(f"{entry.kind} ({entry.state})" for entry in left)
            raise RefusedError(
                f"{fault.target} is not broken: the journal still names {named}; run `python -m chaos heal`"
            )
        found = self._problems(cluster, fault, self.checks)
        if found:
            raise RefusedError(f"{fault.target} is not broken: the cluster is not whole: {'; '.join(found)}")

    def await_restored(
        self, cluster: ClusterPort, fault: Fault, before: Mapping[str, BondState], say: Callable[[str], None]
    ) -> None:
        """Wait until redundancy is back and stays so for `settle_s`.

        Raises `DeadlineError` after `restored_s` with what is lacking, `FlapError` where links failed
        unexplained.
        """
        lasting = [check for check in self.checks if not check.before_only]
        begun = time.monotonic()
        steady: float | None = None
        told = begun - TELL_S
        asked = lasting
        while True:
            lacking_by = {check: self._problems(cluster, fault, [check]) for check in asked}
            found = [text for texts in lacking_by.values() for text in texts]
            now = time.monotonic()
            if found:  # what was well is asked again when the rest is: each look costs the nodes that recover
                steady, asked = None, [check for check, texts in lacking_by.items() if texts]
            elif asked != lasting:
                asked = lasting
                continue
            elif steady is None:
                steady = now
            if steady is not None and now - steady >= self.settle_s:
                break
            if now - begun > self.restored_s + self.settle_s:
                lacking = "; ".join(found) or "it did not stay so"
                raise DeadlineError(
                    f"redundancy after {fault.kind} of {fault.target} was not restored"
                    f" within {self.restored_s:g} s: {lacking}"
                )
            if found and now - told >= TELL_S:
                told = now
                say(f"waiting for redundancy, {now - begun:.0f} s: {'; '.join(found)}")
            self._sleep(_POLL_S)
        unexplained = bond_state.flaps(before, read_bonds(cluster), fault.may_fail(before)) if before else []
        if unexplained:
            raise FlapError(f"after {fault.kind} of {fault.target}: {'; '.join(unexplained)}")

    def _problems(self, cluster: ClusterPort, fault: Fault, checks: Iterable[Check]) -> list[str]:
        """What each check finds, in their order; they ask side by side."""

        def of(check: Check) -> list[str]:
            try:
                return check.problems(cluster, fault)
            except RackproofError as error:
                return [f"{check.name}: {error}"]

        found = _at_once({check: partial(of, check) for check in checks})
        return [text for texts in found.values() for text in texts]


def read_bonds(cluster: ClusterPort) -> dict[str, BondState]:
    """Each node's bond now, all nodes at once. Raises `UnreachableError`, `UnknownError`."""
    name = cluster.site.bond.name
    return _at_once({key: partial(bond_state.read, node, name) for key, node in cluster.nodes.items()})


def _at_once(calls: Mapping[_K, Callable[[], _T]]) -> dict[_K, _T]:
    with ThreadPoolExecutor(max_workers=max(1, len(calls))) as pool:
        waiting = {name: pool.submit(call) for name, call in calls.items()}
        return {name: future.result() for name, future in waiting.items()}
