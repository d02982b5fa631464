"""The figures of a compute drill: each beside what was predicted, and where they go in the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos.ceph_watch import Moment
from chaos.compute_drill import ComputeDrill
from chaos.fencing_record import CONFIRMED, Decision
from chaos.heartbeats_failover import Failover, drawing
from chaos.predict import Prediction
from cluster.errors import UnknownError
from cluster.site import Site
from reports.evidence import Run, Timeline, judge
from reports.model import Measurement
from steps.drilled import beside
from steps.verdict import measure


@dataclass
class Watched:
    """The drill of one scenario, and where its figures go. `courses`: of the guests that came back."""

    drill: ComputeDrill
    site: Site
    evidence: Run
    courses: dict[str, Failover] = field(default_factory=dict)
    predicted_s: float | None = None
    drawn: bool = False

    @property
    def name(self) -> str:
        """What was broken, as measurements name it; with whether the node led, which costs a minute."""
        fault, lost = self.drill.fault, self.drill.fault.silenced
        led = f" ({'the master' if self.drill.was_master else 'not the master'})" if lost else ""
        return f"{fault.kind} of {fault.target}{led}"

    def answering(self, name: str, asked: str, expected: Prediction) -> list[Measurement]:
        """From the break to each guest's first beat, beside what the live configuration implies."""
        self.predicted_s = expected.most_s
        found = []
        for guest, course in sorted(self.courses.items()):
            if course.first_beat is None:
                raise UnknownError(f"{guest} came back, and its silence was not heard: nobody knows how long")
            value = course.first_beat.t_s - course.since_s
            blur = min(value, course.first_beat.resolution_s + self.drill.took_s)
            what = f"{guest} answers from {course.target}"
            self.evidence.note(beside(f"{self.name}: {what}", value, blur, expected))
            found.append(
                measure(
                    self.evidence, self.site, name, f"{self.name}: {what}", value, asked,
                    resolution=blur, method=self._method, predicted=expected.most_s,
                )
            )  # fmt: skip
        return found

    def beside(self, what: str, moment: Moment | None, expected: Prediction) -> None:
        """One step of a recovery against its latest predicted end. Recorded, and judged in the report."""
        if moment is None:
            self.evidence.note(f"{self.name}: {what}: was not seen")
            return
        value = max(0.0, moment.t_s - self.drill.broken_s)
        blur = min(value, moment.resolution_s + self.drill.took_s)
        self.evidence.note(beside(f"{self.name}: {what}", value, blur, expected))
        if expected.most_s is not None:
            self.evidence.measure(
                judge(f"{self.name}: {what}", value, "s", "<", expected.most_s + blur + 0.001, None, blur,
                      "what the nodes tell of themselves and of the HA manager, seen from outside",
                      expected.most_s)
            )  # fmt: skip

    @property
    def _method(self) -> str:
        every = self.drill.heard.record.interval_ns / 1e6
        return f"each guest is asked every {every:g} ms for its count; until the first new one"

    def draw(self) -> None:
        """The course of each guest for the report, once."""
        if self.drawn or self.drill.window is None or self.drill.beats is None:
            return
        self.drawn = True
        record = self.drill.record
        for course in self.courses.values():
            made = drawing(record, course, self.predicted_s)
            title = f"{self.name}: {made.title}"
            self.evidence.timeline(
                Timeline(title, made.events, made.bands, made.outages, made.predicted_s, (course.guest,))
            )


def tell(watched: Watched, said: Iterable[Decision]) -> None:
    """What the fencing service said of the lost nodes, and whether it confirmed that they were off."""
    drill = watched.drill
    ours = [each for each in said if each.peer in drill.struck]
    for each in ours:
        watched.evidence.note(
            f"fencing service of {each.by}, {each.t_s - drill.broken_s:.1f} s after the loss, of {each.peer}:"
            f" {each.word}, {each.reason}"
        )
    off = {each.peer for each in ours if each.word == CONFIRMED}
    for node in drill.struck:
        word = "confirmed" if node in off else "did not confirm"
        watched.evidence.note(f"{watched.name}: the fencing service {word} that {node} was off")
