"""What a run leaves, as data: read from the record, written as evidence.json, shown in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "unknown", "blocked", "not applicable", "skipped"]
Kind = Literal["rehearsal", "acceptance"]
Relation = Literal["<", ">", "="]

STATUSES: tuple[Status, ...] = ("passed", "failed", "unknown", "blocked", "not applicable", "skipped")
WORST_FIRST: tuple[Status, ...] = ("failed", "unknown", "blocked", "not applicable", "skipped", "passed")
BAD: frozenset[Status] = frozenset({"failed", "unknown", "blocked"})
"""Statuses that make the whole run end with an exit status other than 0."""


@dataclass(frozen=True)
class Measurement:
    """One number with all that is needed to judge it. `resolution` is in the same unit as `value`.

    `target` is the figure it was judged against; `relaxed_from` is the feature's own figure where the site
    relaxed it; `predicted` is what the live configuration implies.
    """

    name: str
    value: float
    unit: str
    relation: Relation
    target: float
    relaxed_from: float | None
    met: bool
    resolution: float
    method: str
    predicted: float | None = None


@dataclass(frozen=True)
class Timeline:
    """A drill drawn over time; all times in seconds from the same zero (usually the injection of the fault).

    events: (t, label); bands: (label, start, end, kind) with kind fault | heal | info;
    outages: (path, start, end).
    """

    title: str
    events: tuple[tuple[float, str], ...] = ()
    bands: tuple[tuple[str, float, float, str], ...] = ()
    outages: tuple[tuple[str, float, float], ...] = ()
    predicted_s: float | None = None
    paths: tuple[str, ...] = ()
    """All paths that were watched, so that one without an outage is drawn as an empty row."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Timeline:
        """From JSON, where tuples have become lists."""
        tuples: dict[str, Any] = {
            key: tuple(tuple(item) if isinstance(item, list) else item for item in data.get(key, ()))
            for key in ("events", "bands", "outages", "paths")
        }
        return cls(title=data["title"], predicted_s=data.get("predicted_s"), **tuples)


@dataclass(frozen=True)
class Distribution:
    """Latency against percentile, for the report: series are (label, ((percent, seconds), ...))."""

    title: str
    series: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    target_percent: float | None = None
    target_s: float | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Distribution:
        """From JSON, where tuples have become lists."""
        series = tuple(
            (str(label), tuple((float(percent), float(latency)) for percent, latency in points))
            for label, points in data.get("series", ())
        )
        return cls(data["title"], series, data.get("target_percent"), data.get("target_s"))


@dataclass(frozen=True)
class Transcript:
    """One command as it was run: where, what, what came back, how long it took."""

    where: str
    command: str
    output: str
    seconds: float


@dataclass
class StepRun:
    """One Gherkin step as it went."""

    text: str
    line: int
    status: Status
    seconds: float


@dataclass
class ScenarioRun:
    """One scenario as it went."""

    feature: str
    scenario: str
    tags: tuple[str, ...] = ()
    title: str = ""
    """The feature's own title."""
    status: Status = "unknown"
    reason: str = "the run ended while this scenario ran"
    seconds: float = 0.0
    started: str = ""
    finished: bool = False
    steps: list[StepRun] = field(default_factory=list)
    changes: list[dict[str, str]] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    artefacts: list[str] = field(default_factory=list)
    """Files kept beside the report, relative to the run's folder."""
    transcripts: list[Transcript] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Planned:
    """A scenario that exists, whether this run takes it or not."""

    feature: str
    scenario: str
    tags: tuple[str, ...]


@dataclass
class RunRecord:
    """One run, complete or as far as it came."""

    site: str = ""
    kind: Kind = "rehearsal"
    started: str = ""
    finished: str = ""
    seed: int = 0
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    interrupted: bool = True
    catalogue: list[Planned] = field(default_factory=list)
    scenarios: list[ScenarioRun] = field(default_factory=list)
    contradictions: list[dict[str, str]] = field(default_factory=list)
    relaxed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    outside: ScenarioRun = field(default_factory=lambda: ScenarioRun("", "Before and between the scenarios"))
    """Changes, transcripts and measurements made while no scenario was running."""

    def shown_kind(self) -> Kind:
        """Acceptance only where no target was relaxed, whatever the site calls itself."""
        relaxed = any(m.relaxed_from is not None for run in self.scenarios for m in run.measurements)
        return "rehearsal" if relaxed or self.relaxed else self.kind

    def counts(self) -> dict[Status, int]:
        """How many scenarios have each status."""
        return {status: sum(run.status == status for run in self.scenarios) for status in STATUSES}


def overall(counts: Mapping[Status, int], *, interrupted: bool) -> str:
    """The verdict on a whole run in a word or two; only `passed` is good."""
    if interrupted:
        return "interrupted"
    order: tuple[Status, ...] = ("failed", "unknown", "blocked", "passed")
    for status in order:
        if counts.get(status):
            return status
    return "nothing ran"


def worst(statuses: list[Status]) -> Status:
    """The status that stands for several: a failure beats everything, a pass nothing."""
    return min(statuses, key=WORST_FIRST.index)
