"""Observe, list what is missing, apply it, observe again: the one loop by which every phase comes true."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from cluster.errors import DeadlineError, NotConvergedError, RackproofError, RefusedError
from provisioners.change import Action, Change, Phase, Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster

Obs = TypeVar("Obs")
Mode = Literal["missing", "never", "plan"]

MAX_ROUNDS = 4  # a phase whose actions do not close their own differences in a few rounds never will
DEADLINE_S = 3600.0


class DifferenceError(NotConvergedError):
    """What is missing and may not be provisioned. `observation` is what was seen, `changes` what it lacks.

    Where no change `blocks`, the observation is whole: each scenario can find its own difference in it.
    """

    def __init__(self, message: str, observation: object, changes: Sequence[Change]) -> None:
        self.observation = observation
        self.changes = tuple(changes)
        super().__init__(message)

    @property
    def whole(self) -> bool:
        """Whether everything could be seen, so that only details differ."""
        return not any(change.blocks for change in self.changes)


class CannotApplyError(NotConvergedError):
    """A change has no action that could close it: what is true can only be put right by people."""


def plan(phase: Phase[Obs], cluster: Cluster) -> list[Change]:
    """Every change that the phase lacks. Nothing is touched; servers that are off stay off."""
    return phase.missing(cluster.site, phase.observe(cluster))


def converge(
    phase: Phase[Obs],
    cluster: Cluster,
    mode: Mode = "missing",
    *,
    record: Callable[[Change], None],
    progress: Progress,
    wipe: frozenset[str] = frozenset(),
    deadline_s: float = DEADLINE_S,
    seen: Obs | None = None,
) -> Obs:
    """Makes the phase true and returns the observation that shows it.

    mode `plan` reports each change to `record` and touches nothing; `never` raises NotConvergedError with
    the difference; `missing` applies what is missing, action by action in the order of first appearance,
    and looks again. Each change is recorded before it is applied, so that a killed run leaves what it
    began. `seen` is an observation that was just taken, and takes the place of the first.

    Raises RefusedError (data would be lost that `wipe` does not name; nothing was changed),
    NotConvergedError (still different, or no action closes it), DeadlineError (`deadline_s` passed), and
    what the actions raise.
    """
    began = time.monotonic()
    observation = phase.observe(cluster) if seen is None else seen
    changes = phase.missing(cluster.site, observation)
    if mode == "plan":
        for change in changes:
            record(change)
        return observation
    if changes and mode == "never":
        message = _difference(phase, changes, "and nothing may be provisioned (--provision never)")
        raise DifferenceError(message, observation, changes)
    for round_number in range(1, MAX_ROUNDS + 1):
        if not changes:
            return observation
        consented = [_with_consent(change, wipe) for change in changes]
        refuse_loss(consented, wipe)
        _apply_round(phase, cluster, consented, record, progress, began + deadline_s)
        observation = phase.observe(cluster)
        left = phase.missing(cluster.site, observation)
        if left == changes:
            raise NotConvergedError(_difference(phase, left, f"after {round_number} rounds of changes"))
        changes = left
    if changes:
        raise NotConvergedError(_difference(phase, changes, f"after {MAX_ROUNDS} rounds of changes"))
    return observation


def rollback(
    phase: Phase[Obs],
    cluster: Cluster,
    *,
    progress: Progress,
    record: Callable[[Change], None] | None = None,
    wipe: frozenset[str] = frozenset(),
    nodes: Iterable[str] | None = None,
) -> None:
    """Takes back what the phase did to every node (or `nodes`), last action first, from the saved state.

    An action whose undo erases drives (taking back an installation) is refused unless all of a node's boot
    drives are in `wipe`: RefusedError, and nothing was changed.
    """
    names = list(nodes) if nodes is not None else [node.name for node in cluster.site.nodes]
    plans: list[tuple[Action, list[Change]]] = []
    for name, action in reversed(list(phase.actions.items())):
        changes = [_undoing(phase, cluster, action, name, node) for node in names]
        refuse_loss(changes, wipe)
        plans.append((action, changes))
    for action, changes in plans:
        for change in changes:
            if record is not None:
                record(change)
        action.undo(cluster, changes, progress)


def _undoing(phase: Phase[Obs], cluster: Cluster, action: Action, name: str, node: str) -> Change:
    loses = bool(getattr(action, "undo_destroys", False))
    serials = tuple(cluster.site.node(node).boot_drives) if loses else ()
    return Change(
        node,
        f"take back phase {phase.number} ({phase.name}): {name}",
        name,
        destroys="the installed system" if loses else "",
        serials=serials,
    )


def refuse_loss(changes: Sequence[Change], wipe: frozenset[str]) -> None:
    """Raises RefusedError naming each drive that would lose data and is not in `wipe`."""
    refused = [c for c in changes if c.destroys and not (c.serials and set(c.serials) <= wipe)]
    if refused:
        sentences = []
        for change in refused:
            asked = " ".join(f"--wipe {serial}" for serial in change.serials if serial not in wipe)
            sentences.append(
                f"{change.node}: refused to {change.summary}: it would destroy {change.destroys} on"
                f" {' and '.join(change.serials) or 'an unnamed drive'};"
                f" consent with {asked or '--wipe SERIAL'}"
            )
        raise RefusedError("; ".join(sentences))


def _with_consent(change: Change, wipe: frozenset[str]) -> Change:
    if change.when_wiped and change.serials and set(change.serials) <= wipe:
        return replace(change, action=change.when_wiped, when_wiped="")
    return change


def _apply_round(
    phase: Phase[Obs],
    cluster: Cluster,
    changes: Sequence[Change],
    record: Callable[[Change], None],
    progress: Progress,
    until: float,
) -> None:
    order = list(dict.fromkeys(change.action for change in changes))
    orphans = [change for change in changes if change.action not in phase.actions]
    if orphans:
        raise CannotApplyError(_difference(phase, orphans, "and no provisioning can put that right"))
    for number, name in enumerate(order, start=1):
        if time.monotonic() > until:
            raise DeadlineError(f"phase {phase.number} ({phase.name}): the deadline passed before '{name}'")
        batch = [change for change in changes if change.action == name]
        for change in batch:
            progress(f"{change.node}: {change.summary}")
            record(change)
        began = time.monotonic()
        try:
            phase.actions[name].apply(cluster, batch, progress)
        except RackproofError:
            progress(f"phase {phase.number}: {name} failed after {time.monotonic() - began:.0f} s")
            raise
        took = time.monotonic() - began
        progress(f"phase {phase.number}: {name} ({number} of {len(order)}) done in {took:.0f} s")


def _difference(phase: Phase[Obs], changes: Sequence[Change], when: str) -> str:
    lines = "; ".join(f"{change.node}: {change.summary}" for change in changes)
    return f"phase {phase.number} ({phase.name}) is not as ordered {when}: {lines}"
