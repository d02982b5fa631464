"""Which phase stands, which fell, and what was last seen of each; converges every phase once a session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chaos import journal
from cluster.cluster import Cluster
from cluster.contradictions import contradictions
from cluster.errors import BlockedError, RackproofError, RefusedError
from provisioners import base_install, ceph, ha, membership, network, preflight
from provisioners.ceph import trials
from provisioners.change import Change, Phase
from provisioners.converge import DifferenceError, converge, plan, rollback
from provisioners.network import isolation, probes
from reports.evidence import Run
from reports.terminal import say
from steps.ahead import Ahead
from steps.modes import Mode

PHASES: Mapping[int, Phase[Any]] = {
    0: preflight.PHASE,
    1: base_install.PHASE,
    2: network.PHASE,
    3: membership.PHASE,
    4: ceph.PHASE,
    7: ha.PHASE,
}


@dataclass(frozen=True)
class Look:
    """A question that one scenario of a phase asks beside the phase's observation. `after`: what it would
    disturb, and therefore waits for.
    """

    phase: int
    call: Callable[[Cluster], Any]
    after: tuple[str, ...] = ()


LOOKS: Mapping[str, Look] = {
    "in force": Look(2, probes.in_force),
    "isolation": Look(2, isolation.probe, after=("phase 2", "in force")),  # it puts ports on the bridge
    "strangers": Look(4, trials.strangers),
}
"""By name; none of them measures a time, or counts packets, that the others would spoil."""


@dataclass
class Phases:
    """The phases of one session over one cluster.

    `require` converges a phase the first time and remembers the outcome: a phase that fell blocks every later
    scenario that stands on it, so that one cause is reported once.
    """

    cluster: Cluster
    mode: Mode
    run: Run
    seen: dict[int, Any] = field(default_factory=dict)
    fallen: dict[int, RackproofError] = field(default_factory=dict)
    ahead: Ahead = field(default_factory=Ahead)

    def phase(self, number: int) -> Phase[Any]:
        """Phase `number`; the base installation by USB stick where this run wants it so."""
        if number == 1 and self.mode.medium == "usb" and self.mode.usb_device:
            return base_install.BaseInstall.by_usb(Path(self.mode.usb_device))
        return PHASES[number]

    def require(self, number: int) -> Any:
        """The observation of phase `number`, converged. Raises BlockedError when it or one before it fell."""
        for earlier in range(number + 1):
            if earlier in self.fallen:
                raise BlockedError(f"phase {earlier} fell: {self.fallen[earlier]}")
        if number not in self.seen:
            try:
                self._guard_order()
                phase = self.phase(number)
                self.seen[number] = converge(
                    phase,
                    self.cluster,
                    self.mode.provision,
                    record=self._record,
                    progress=say,
                    wipe=self.mode.wipe,
                    seen=self.ahead.take(f"phase {number}", lambda: phase.observe(self.cluster)),
                )
            except DifferenceError as difference:
                if not difference.whole:
                    self.fallen[number] = difference
                    raise
                # Each difference fails the scenario that is about it, and one that lists them all.
                self.seen[number] = difference.observation
            except RackproofError as error:
                self.fallen[number] = error
                raise
        return self.seen[number]

    def undone(self, number: int) -> list[str]:
        """What phase `number` orders and is not true, each as a sentence."""
        changes = self.phase(number).missing(self.cluster.site, self.require(number))
        return [f"{change.node}: {change.summary}" for change in changes]

    def look_ahead(self, numbers: Collection[int]) -> None:
        """Begins what scenarios of these phases will ask for, where this run only looks."""
        if self.mode.provision != "never" or not numbers:
            return
        cluster = self.cluster
        # Made before threads ask for them: two threads must not make two of one.
        _ = cluster.nodes, cluster.bmcs, cluster.switches, cluster.ceph, cluster.site.pve and cluster.pve
        for number in (each for each in PHASES if each <= max(numbers)):
            phase = self.phase(number)
            self.ahead.begin(f"phase {number}", partial(phase.observe, cluster))
        for name, look in LOOKS.items():
            if look.phase in numbers:
                self.ahead.begin(name, partial(look.call, cluster), look.after)

    def ask(self, name: str) -> Any:
        """The answer to one of `LOOKS`, begun ahead or asked now."""
        return self.ahead.take(name, lambda: LOOKS[name].call(self.cluster))

    def look(self, number: int) -> Any:
        """A fresh observation of phase `number`; nothing is changed."""
        self.seen[number] = self.phase(number).observe(self.cluster)
        return self.seen[number]

    def glance(self, number: int) -> Any:
        """What phase `number` sees, for a scenario of an earlier one; nothing is required or changed. Where
        this run only looks, one look serves both.
        """
        return self.ahead.peek(f"phase {number}", lambda: self.phase(number).observe(self.cluster))

    def _guard_order(self) -> None:
        """An order that contradicts itself beyond repair is not built."""
        stops = [c for c in contradictions(self.cluster.site) if c.severity == "error"]
        if stops and self.mode.provision == "missing":
            first = stops[0]
            raise RefusedError(
                f"the order contradicts itself ({first.id}): {first.truth} Instead: {first.instead}"
            )

    def _record(self, change: Change) -> None:
        self.run.change(change.node, change.summary)

    def print_plan(self) -> None:
        """Prints every change that is missing, by phase and node, and touches nothing."""
        for number, phase in PHASES.items():
            changes = plan(phase, self.cluster)
            say(f"phase {number} {phase.name}: {len(changes)} changes")
            for change in sorted(changes, key=lambda c: c.node):
                destroys = f" (destroys {change.destroys})" if change.destroys else ""
                say(f"  {change.node}: {change.summary}{destroys}")

    def roll_back(self, number: int) -> None:
        """Undoes what phase `number` changed, from the configuration saved before it first touched a node."""
        if number not in PHASES:
            raise RefusedError(f"--rollback {number}: expected one of {', '.join(map(str, PHASES))}")
        rollback(self.phase(number), self.cluster, progress=say, record=self._record, wipe=self.mode.wipe)

    def keep_secrets(self) -> None:
        """Teaches the record every secret of the parameter tree, so that none is ever written."""
        self.run.redactor.register(self.cluster.secrets.values())

    def heal_what_is_left(self) -> None:
        """Heals what the journal of an earlier, killed run still names, before anything else happens."""
        if self.mode.provision == "missing":
            for left in journal.recover(self.cluster, say=say):
                say(f"{left.entry.kind}: {'healed' if left.healed else 'STILL BROKEN'}: {left.detail}")
