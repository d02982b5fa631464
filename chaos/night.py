"""A night: fault after fault of a plan, each under the guard, while a ledger, probes and heartbeats run
throughout.

The plan (`schedule.night`) is fixed by the seed; the clock decides only where in it the night ends. A fault
that was begun is finished. It is healed and full redundancy is back before the next one, or the night ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from chaos import schedule
from chaos.engine import PATIENCE_S, Engine, HealError, Window, begin_patiently
from chaos.fault import Fault, FaultError
from chaos.heartbeats_report import HeartbeatsReport
from chaos.ledger_report import LedgerReport
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from chaos.probe import Outage
from chaos.schedule import Step
from chaos.timeline import Drawing
from cluster.errors import DeadlineError, NotApplicableError, RackproofError, RefusedError, UnknownError

HOLD_S = 10.0
"""How long a fault is left in, at most; a quarter of its dead-man's delay where that is shorter."""
REFUSED_IN_A_ROW = 3
Outcome = Literal["healed", "not applicable", "refused", "unknown", "failed"]
_ENDING: tuple[type[RackproofError], ...] = (HealError, DeadlineError)


@dataclass(frozen=True)
class Seen:
    """What the watch saw between two moments: the longest interruption of each path, and of writes to each
    target, and the longest silence of each guest. `resolution_s`: what an interruption must exceed to be
    seen. `unknown`: why nothing can be said.
    """

    paths: Mapping[str, Outage] = field(default_factory=dict)
    writes: Mapping[str, Outage] = field(default_factory=dict)
    resolution_s: float = 0.0
    unknown: str = ""
    guests: Mapping[str, Outage] = field(default_factory=dict)


class Watch(Protocol):
    """What runs throughout: one ledger on one node, probes on all paths, heartbeats of all guests."""

    keeper: str

    def start(self) -> None: ...

    def seen(self, since_s: float, until_s: float) -> Seen:
        """Interruptions that reach into [since, until], seconds on the controller's monotonic clock."""

    def expected(self, engine: Engine, window: Window) -> tuple[Prediction | None, Prediction | None]:
        """(interruption of paths, pause of writes) that the live configuration implies."""

    def verify(self) -> LedgerReport | None:
        """Read every acknowledged write back; None where there is nothing to write to."""

    def guests(self) -> HeartbeatsReport | None:
        """What became of the guests; None where there are none. Their watch is ended."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Struck:
    """What became of one step. `began_s`, `seconds`: since the night began, and how long it took in all."""

    step: Step
    outcome: Outcome
    detail: str
    target: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    began_s: float = 0.0
    seconds: float = 0.0
    healed_by: str | None = None
    seen: Seen = field(default_factory=Seen)
    expected: Prediction | None = None
    expected_pause: Prediction | None = None
    drawing: Drawing | None = None

    @property
    def longest(self) -> Outage | None:
        """The longest interruption of any path."""
        return max(self.seen.paths.values(), key=lambda outage: outage.seconds, default=None)

    @property
    def longest_pause(self) -> Outage | None:
        """The longest pause of writes."""
        return max(self.seen.writes.values(), key=lambda outage: outage.seconds, default=None)

    @property
    def longest_silence(self) -> Outage | None:
        """The longest silence of any guest."""
        return max(self.seen.guests.values(), key=lambda outage: outage.seconds, default=None)

    def told(self) -> str:
        """One line for people."""
        return f"{self.step.kind} of {self.target or 'nobody'}: {self.outcome} {self.detail}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """For the record of the night."""
        path, pause, silence = self.longest, self.longest_pause, self.longest_silence
        return {
            "number": self.step.number, "kind": self.step.kind, "target": self.target,
            "parameters": dict(self.parameters), "outcome": self.outcome, "detail": self.detail,
            "began_s": round(self.began_s, 1), "seconds": round(self.seconds, 1), "healed_by": self.healed_by,
            "interrupted_s": round(path.seconds, 3) if path else 0.0,
            "predicted_s": self.expected.most_s if self.expected else None,
            "writes_paused_s": round(pause.seconds, 3) if pause else 0.0,
            "predicted_pause_s": self.expected_pause.most_s if self.expected_pause else None,
            "guests_silent_s": round(silence.seconds, 3) if silence else 0.0,
            "unknown": self.seen.unknown,
        }  # fmt: skip


class Night:
    """Runs a plan for some minutes. `watch(keeper)` makes what runs throughout; `say` is told of progress.
    `course`, `ledgers` and `guests` grow as it goes; `ended` says why it ended before its time, if it did.
    """

    def __init__(
        self,
        cluster: ClusterPort,
        engine: Engine,
        plan: Iterable[Step],
        *,
        seed: int,
        minutes: float,
        kinds: Mapping[str, type[Fault]],
        watch: Callable[[str], Watch],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster, self._engine, self._plan = cluster, engine, plan
        self._seed, self._minutes, self._kinds = seed, minutes, kinds
        self._make_watch, self._say, self._clock, self._sleep = watch, say, clock, sleep
        self._watch: Watch | None = None
        self._numbered = -1
        self._spoilt = False
        self._began = 0.0
        self.course: list[Struck] = []
        self.ledgers: list[LedgerReport] = []
        self.guests: list[HeartbeatsReport] = []
        self.ended = ""

    def run(self) -> None:
        """The whole night. What goes wrong with a fault stands in `course`; what goes wrong with the watching
        is raised, after all was ended.
        """
        self._began = self._clock()
        try:
            for step in self._plan:
                if self._clock() - self._began >= 60 * self._minutes or self.ended:
                    break
                self._relieve(step)
                self._say(f"night, {self._elapsed()}: {step.told()}; a pause of {step.pause_s:g} s")
                self._sleep(step.pause_s)
                self.course.append(struck := self._strike(step))
                self._say(f"night, {self._elapsed()}: {struck.told()}")
                self._judge()
            self._end_watch()
        finally:
            if self._watch is not None:
                self._watch.close()  # something ended the night in the middle: nothing is read back

    def _elapsed(self) -> str:
        return f"{(self._clock() - self._began) / 60:.1f} of {self._minutes:g} min"

    def _relieve(self, step: Step) -> None:
        """Another node keeps the ledger once the plan says so: what was written until then is read back. So
        it is where a node has started anew, since the probes on it have ended, and where a watcher was lost.
        """
        if self._watch is not None and step.watch == self._numbered and not self._spoilt:
            return
        self._end_watch()
        made = self._make_watch(step.keeper)
        self._watch, self._numbered, self._spoilt = made, step.watch, False
        made.start()

    def _end_watch(self) -> None:
        if self._watch is None:
            return
        report = self._watch.verify()
        if report is not None:
            self.ledgers.append(report)
        beats = self._watch.guests()
        if beats is not None:
            self.guests.append(beats)
        watch, self._watch = self._watch, None
        watch.close()

    def _judge(self) -> None:
        """Whether the night can go on."""
        last = self.course[-REFUSED_IN_A_ROW:]
        if self.course[-1].outcome == "failed":
            self.ended = self.course[-1].detail
        elif len(last) == REFUSED_IN_A_ROW and all(each.outcome == "refused" for each in last):
            self.ended = f"the guard refused {REFUSED_IN_A_ROW} faults in a row: {last[-1].detail}"

    def _strike(self, step: Step) -> Struck:
        began = self._clock()
        since = began - self._began
        try:
            fault = self._aim(step)
        except NotApplicableError as error:
            return Struck(step, "not applicable", str(error), began_s=since)
        except RackproofError as error:
            return Struck(step, "unknown", f"no victim: {error}", began_s=since)
        told: dict[str, Any] = {"target": fault.target, "parameters": fault.parameters(), "began_s": since}
        try:
            window = begin_patiently(
                self._engine, fault, self._say, PATIENCE_S, clock=self._clock, sleep=self._sleep
            )
        except NotApplicableError as error:
            return Struck(step, "not applicable", str(error), **told)
        except RefusedError as error:
            return Struck(step, "refused", str(error), **told)
        except RackproofError as error:
            outcome: Outcome = "failed" if isinstance(error, _ENDING) else "unknown"
            self._spoilt = self._spoilt or fault.resets
            return Struck(step, outcome, str(error), **told)
        return self._hold(step, window, told, began)

    def _aim(self, step: Step) -> Fault:
        """The first victim that qualifies. Raises `NotApplicableError` where none does."""
        kind = self._kinds.get(step.kind)
        if kind is None:
            raise FaultError(f"this version knows no fault {step.kind!r}")
        why: NotApplicableError | None = None
        for name in step.victims:
            draws = schedule.stream(self._seed, f"{step.number} {step.kind} {name}")
            try:
                return kind.aimed(self._cluster, name, draws)
            except NotApplicableError as error:
                why = error
        raise why or NotApplicableError("PF-NO-VICTIM", f"{step.kind} finds no victim beside the keeper.")

    def _hold(self, step: Step, window: Window, told: dict[str, Any], began: float) -> Struck:
        """Leave it in for a while, heal it, see redundancy restored, and look at what it cost."""
        assert self._watch is not None, "a watch stands before a fault"
        self._spoilt = self._spoilt or window.fault.resets
        expected: tuple[Prediction | None, Prediction | None] = (None, None)
        outcome: Outcome = "healed"
        detail = ""
        try:
            try:
                expected = self._watch.expected(self._engine, window)
            except RackproofError as error:
                detail = f"no prediction: {error}"
            self._sleep(0.0 if window.fault.alone else min(HOLD_S, window.fault.deadman_s / 4))
            self._engine.end(window)
        except RackproofError as error:
            outcome, detail = "unknown" if isinstance(error, UnknownError) else "failed", str(error)
        finally:
            self._engine.end(window)  # whatever came; asked twice, done once
        until = window.restored_s or time.monotonic()
        seen = self._watch.seen(window.broken_s or until, until)
        self._spoilt = self._spoilt or bool(seen.unknown)
        most = expected[0].most_s if expected[0] else None
        drawing = window.record.drawing(
            (*seen.paths.values(), *seen.writes.values(), *seen.guests.values()), most
        )
        return Struck(
            step, outcome, detail, **told, seconds=self._clock() - began, healed_by=window.healed_by,
            seen=seen, expected=expected[0], expected_pause=expected[1], drawing=drawing,
        )  # fmt: skip
