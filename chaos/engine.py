"""Runs one fault through its life: guard, journal, dead-man's switch, break, heal, redundancy restored,
journal cleared.

    with engine.fault(fault) as window:
        ...  # the fault is in; probes run

Steps that span several sentences of a scenario use `begin` and `end` instead. Healing happens whatever
ends the window: an assertion, ^C, SIGTERM. SIGKILL leaves the switch on the target and the journal's
line, which `journal.recover` reads at the next start. A heal that fails is loud: `HealError`, even where
the switch then did the work.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from chaos.bond_state import BondState
from chaos.fault import Fault
from chaos.guard import Guard, read_bonds
from chaos.journal import Journal, State, journal_path
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from chaos.signals import EndingSignals, shielded
from chaos.timeline import Record
from cluster.errors import RackproofError, RefusedError, UnknownError, UnreachableError

PATIENCE_S = 180.0
"""How long the guard may refuse before a fault is passed over: warnings of the last one pass."""
_ASK_S = 10.0
ALONE_S = 60.0  # after the switch was due: the least time a target may take to answer again
_POLL_S = 0.5
HARNESS = "the harness"
SWITCH = "its dead-man's switch"


class HealError(RackproofError):
    """The harness could not heal what it broke; the message says whether the dead-man's switch did."""


@dataclass
class Window:
    """One drill. Times are seconds on the controller's monotonic clock, None where it did not come to that.

    `before`: each node's bond before the break. `predicted`: what the live configuration implies.
    `handles`: of the switch.
    """

    drill: str
    fault: Fault
    before: Mapping[str, BondState]
    predicted: Prediction | None
    record: Record
    handles: Mapping[str, str] = field(default_factory=dict)
    armed_s: float | None = None
    broken_s: float | None = None
    seen_s: float | None = None
    healed_s: float | None = None
    restored_s: float | None = None
    healed_by: str | None = None
    ended: bool = False
    trouble: list[RackproofError] = field(default_factory=list)


class Engine:
    """Breaks one thing at a time on a cluster. `say(text)` is told of progress."""

    def __init__(
        self,
        cluster: ClusterPort,
        guard: Guard | None = None,
        journal: Journal | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.cluster = cluster
        self.guard = guard or Guard()
        self.journal = journal or Journal(journal_path(cluster.site))
        self._say = say
        self._sleep = sleep
        self._signals = EndingSignals()
        self._lock = contextlib.ExitStack()

    @contextlib.contextmanager
    def fault(self, fault: Fault) -> Iterator[Window]:
        """The window in which a fault is in. Raises `RefusedError` (nothing was touched), `HealError`,
        `UnknownError`.
        """
        window = self.begin(fault)
        try:
            yield window
        finally:
            self.end(window)

    def begin(self, fault: Fault) -> Window:
        """Break the target; on return it is seen broken. Whatever goes wrong on the way is healed before
        it is raised.
        """
        self._lock.enter_context(self.journal.locked())
        try:
            self.guard.admit(self.cluster, fault, self.journal)
            fault.check(self.cluster)
            before = read_bonds(self.cluster)
            record = Record(f"{fault.kind}: {fault.target}")
            drill = self.journal.begin(fault)
        except BaseException:
            self._lock.close()
            raise
        window = Window(drill, fault, before, fault.predicted(before), record)
        try:
            self._signals.install()
            self._break(window)
        except BaseException as error:
            try:
                self.end(window)
            except HealError:
                raise  # louder than what led to it
            except RackproofError as also:
                error.add_note(f"and on the way out: {also}")
            raise
        return window

    def end(self, window: Window) -> None:
        """Heal, see it healed and redundant, clear the journal. Asked twice, done once.

        Raises `HealError`, `DeadlineError` or `FlapError` (redundancy), `UnknownError` (the drill showed
        nothing).
        """
        if window.ended:
            return
        window.ended = True
        try:
            with shielded():
                self._heal(window)
        finally:
            self._signals.restore()
            self._lock.close()
        if window.trouble:
            raise window.trouble[0]

    def _break(self, window: Window) -> None:
        fault, drill = window.fault, window.drill
        window.handles = dict(fault.arm(self.cluster, drill))
        window.armed_s = window.record.mark(f"dead-man's switch armed, {fault.deadman_s:g} s")
        self.journal.advance(drill, State.ARMED, window.handles)
        if not fault.armed(self.cluster, drill, window.handles):
            raise RefusedError(f"{fault.target} is not broken: its dead-man's switch is not seen to be armed")
        self.journal.advance(drill, State.BREAKING)
        self._say(f"breaking: {fault.kind} of {fault.target}; it heals itself after {fault.deadman_s:g} s")
        fault.prepare(self.cluster, drill)
        taken = time.monotonic() - window.armed_s
        if taken > fault.deadman_s / 2:
            raise RefusedError(
                f"{fault.target} is not broken: {taken:.0f} s of its dead-man's switch's"
                f" {fault.deadman_s:g} s were gone before the break"
            )
        window.broken_s = window.record.mark(f"{fault.kind} injected", origin=True)
        fault.inject(self.cluster, drill)
        deadline = time.monotonic() + fault.inject_s
        while not fault.injected(self.cluster, drill):
            if time.monotonic() > deadline:
                raise UnknownError(f"{fault.kind} of {fault.target} was not seen within {fault.inject_s:g} s")
            self._sleep(_POLL_S)
        window.seen_s = window.record.mark(f"{fault.target} seen broken")
        self.journal.advance(drill, State.BROKEN)

    def _heal(self, window: Window) -> None:
        """Every step is tried whatever became of the one before; what went wrong is kept in `trouble`, in
        order.
        """
        fault, drill = window.fault, window.drill
        with self._kept(window):
            self.journal.advance(drill, State.HEALING)
        with self._kept(window):
            self._still_broken(window)
        window.record.mark("healing")
        healed = self._mend(window)
        window.healed_s = window.record.mark(
            f"healed by {window.healed_by}" if healed else "healing has failed"
        )
        if window.broken_s is not None:
            window.record.band(fault.target, window.broken_s, window.healed_s, "broken")
        if not healed:
            return  # the journal keeps its line and the target its switch
        with self._kept(window):
            self.journal.advance(drill, State.HEALED)
        with self._kept(window):
            self._disarm(window)
        with self._kept(window):
            self.guard.await_restored(self.cluster, fault, window.before, self._say)
            window.restored_s = window.record.mark("redundancy restored")
            window.record.band("redundancy", window.healed_s, window.restored_s, "recovering")
        with self._kept(window):
            self.journal.clear(drill)

    def _mend(self, window: Window) -> bool:
        """Heal, or wait for the switch to: True once the target is seen healed."""
        fault = window.fault
        why: RackproofError | None = None
        if not (fault.alone and window.broken_s is not None):
            try:
                fault.heal(self.cluster, window.drill)
                if self._seen_healed(fault, time.monotonic() + fault.heal_s):
                    window.healed_by = HARNESS
                    return True
                why = HealError(f"{fault.target} was not seen healed within {fault.heal_s:g} s")
            except UnreachableError as error:
                why = None if fault.may_isolate else error
            except RackproofError as error:
                why = error
        due = (window.armed_s or time.monotonic()) + fault.deadman_s
        grace = max(ALONE_S, fault.heal_s)
        left = max(0.0, due - time.monotonic())
        self._say(f"waiting for the dead-man's switch of {fault.target}, due in {left:.0f} s")
        if self._seen_healed(fault, due + grace):
            window.healed_by = SWITCH
            if why is not None:
                window.trouble.insert(
                    0, HealError(f"{fault.target} was healed by {SWITCH} and not by {HARNESS}: {why}")
                )
            return True
        window.trouble.insert(
            0,
            HealError(
                f"{fault.target} is STILL BROKEN ({fault.kind}) {grace:g} s after {SWITCH} was due"
                f"{f': {why}' if why else ''}; the journal keeps it: run `python -m chaos heal`"
            ),
        )
        return False

    def _seen_healed(self, fault: Fault, deadline: float) -> bool:
        while True:
            try:
                if fault.healed(self.cluster):
                    return True
            except RackproofError:
                pass  # cut off, or half-way back: what counts is whether it is healed in time
            if time.monotonic() >= deadline:
                return False
            self._sleep(_POLL_S)

    def _still_broken(self, window: Window) -> None:
        """A fault that the switch healed in mid-drill was not in for as long as the drill looked."""
        fault = window.fault
        if window.seen_s is None or window.broken_s is None or fault.may_isolate:
            return
        if not fault.injected(self.cluster, window.drill):
            elapsed = time.monotonic() - window.broken_s
            raise UnknownError(
                f"{fault.kind} of {fault.target} was no longer in when it was to be healed,"
                f" after {elapsed:.0f} s (its dead-man's switch fires after {fault.deadman_s:g} s)"
            )

    def _disarm(self, window: Window) -> None:
        fault, drill = window.fault, window.drill
        fired = window.armed_s is not None and fault.fired(self.cluster, drill)
        fault.disarm(self.cluster, drill, window.handles)
        if window.seen_s is None:
            return
        fault.proven(self.cluster, drill)
        if fault.alone and not fired:
            raise UnknownError(f"{fault.target} came back, but its dead-man's switch has not fired")

    @contextlib.contextmanager
    def _kept(self, window: Window) -> Iterator[None]:
        try:
            yield
        except RackproofError as error:
            window.trouble.append(error)


def begin_patiently(
    engine: Engine,
    fault: Fault,
    say: Callable[[str], None],
    patience_s: float,
    *,
    before: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Window:
    """Break it once the guard lets it, asked for `patience_s`; `before` is called before each time. Raises as
    `Engine.begin`, at once where the journal names something: that stays until somebody heals it.
    """
    deadline = clock() + patience_s
    while True:
        before()
        try:
            return engine.begin(fault)
        except RefusedError as error:
            left = deadline - clock()
            if left <= 0 or engine.journal.entries():
                raise
            say(f"waiting until the guard admits it, {left:.0f} s at most: {error}")
        sleep(_ASK_S)
        fault = replace(fault)  # to what the guard remembers it is another one: each look is the first
