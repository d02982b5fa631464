"""Each measurement across runs: one series, its usual figure, and where it became worse.

The rule, told on the index page as `RULE`: a figure is compared with the median of up to `WINDOW` runs before
it. It has regressed where it is worse by more than the tolerance, which is the largest of `SHARE` of that
median, three times the usual scatter of those runs (their median absolute deviation, scaled to a standard
deviation), `LEAST_SHARE` of the target (a clock that is off by 10 instead of 1 microseconds, where 50 ms are
allowed, has not become worse) and the resolution of the measurement. With fewer than `LEAST` runs before it
nothing is said. What is worse follows from the target's relation: `<` more, `>` less, `=` farther from the
target.

Only like is compared with like: a series has one site, one kind of run, one scenario, one name, unit and
relation, and figures judged against a relaxed target stand apart from those that were not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal

from reports.history import PastRun, Reading
from reports.html import plain, quantity

WINDOW = 10
LEAST = 3
SHARE = 0.20
LEAST_SHARE = 0.01
SCATTER = 3 * 1.4826
RULE = (
    f"A figure has regressed where it is worse than the median of the up to {WINDOW} runs before it by more "
    f"than the tolerance: the largest of {SHARE:.0%} of that median, three times the usual scatter of "
    f"those runs, {LEAST_SHARE:.0%} of its target, and its resolution. Fewer than {LEAST} runs before it: "
    "nothing is said. Worse is more for a target <, less for a target >, farther from it for a target =. "
    "Only runs of one site and one kind are compared, relaxed targets apart from others; of several figures "
    "of one name in one run the worst counts, and figures of a scenario that ended unknown are drawn but not "
    "compared."
)
Trend = Literal["worse", "better", "steady", "too few", "not compared"]
_COUNT = re.compile(r",? of [\d\s.,]+$|, of [\d\s.,]+ \w+$")


@dataclass(frozen=True, order=True)
class Key:
    """What makes two figures comparable."""

    site: str
    kind: str
    feature: str
    scenario: str
    name: str
    unit: str
    relation: str
    relaxed: bool


@dataclass(frozen=True)
class Point:
    """One run's figure. `taken`: how many figures of this name the run has; `value` is the worst of them.

    `usual` and `tolerance` are of the runs before it, None where there are too few.
    """

    run: PastRun
    reading: Reading
    taken: int
    trend: Trend
    usual: float | None = None
    tolerance: float | None = None

    @property
    def value(self) -> float:
        """The figure, in the series' unit."""
        return self.reading.value

    @property
    def known(self) -> bool:
        """False where its scenario ended unknown, so that it says nothing about the cluster."""
        return self.reading.status != "unknown"


@dataclass(frozen=True)
class Series:
    """One measurement across runs, the oldest first."""

    key: Key
    points: tuple[Point, ...]

    @property
    def last(self) -> Point:
        """The newest figure."""
        return self.points[-1]

    @property
    def median(self) -> float:
        """Median of all figures."""
        return median(point.value for point in self.points)

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest figure."""
        values = [point.value for point in self.points]
        return min(values), max(values)

    @property
    def regressions(self) -> tuple[Point, ...]:
        """Points that had become worse."""
        return tuple(point for point in self.points if point.trend == "worse")


def badness(reading: Reading) -> float:
    """A figure turned so that more is worse, in its unit."""
    if reading.relation == "=":
        return abs(reading.value - reading.target)
    return reading.value if reading.relation == "<" else -reading.value


def series(runs: Iterable[PastRun]) -> list[Series]:
    """Every measurement of these runs (in any order) as a series, sorted by site, kind, feature, scenario."""
    kept: dict[Key, list[tuple[PastRun, Reading, int]]] = defaultdict(list)
    for run in sorted(runs, key=lambda each: (each.started, each.name)):
        of_run: dict[Key, list[Reading]] = defaultdict(list)
        for reading in run.readings:
            of_run[_key(run, reading)].append(reading)
        for key, readings in of_run.items():
            known = [each for each in readings if each.status != "unknown"]
            kept[key].append((run, max(known or readings, key=badness), len(readings)))
    return [Series(key, _points(kept[key])) for key in sorted(kept)]


def _key(run: PastRun, reading: Reading) -> Key:
    # A name that ends in a count ("writes lost, of 18234", "went back, of 11365 beats") names the same
    # measurement in each run.
    name = _COUNT.sub("", reading.name)
    return Key(
        run.site, run.kind, reading.feature, reading.scenario, name, reading.unit, reading.relation,
        reading.relaxed,
    )  # fmt: skip


def _points(taken: list[tuple[PastRun, Reading, int]]) -> tuple[Point, ...]:
    points: list[Point] = []
    for run, reading, count in taken:
        before = [point.reading for point in points if point.known][-WINDOW:]
        points.append(_judged(run, reading, count, before))
    return tuple(points)


def _judged(run: PastRun, reading: Reading, count: int, before: list[Reading]) -> Point:
    if reading.status == "unknown":
        return Point(run, reading, count, "not compared")
    if len(before) < LEAST:
        return Point(run, reading, count, "too few")
    usual = median(each.value for each in before)
    # Turned so that more is worse; where the relation is `=`, each is its distance from its own target.
    turned = [badness(each) for each in before]
    scatter = median(abs(value - median(turned)) for value in turned)
    tolerance = max(
        SHARE * abs(usual), SCATTER * scatter, LEAST_SHARE * abs(reading.target), reading.resolution
    )
    worse = badness(reading) - median(turned)
    trend: Trend = "steady"
    if worse > tolerance:
        trend = "worse"
    elif worse < -tolerance:
        trend = "better"
    return Point(run, reading, count, trend, usual, tolerance)


def regressions(found: Iterable[Series], run: str) -> list[tuple[Series, Point]]:
    """What had become worse in the run of that name."""
    return [(each, point) for each in found for point in each.regressions if point.run.name == run]


def sentence(each: Series, point: Point) -> str:
    """One regression in words."""
    unit = each.key.unit
    usual = "" if point.usual is None else f", usually {quantity(point.usual, unit)}"
    told = f"{each.key.name}: {quantity(point.value, unit)}{usual}"
    return plain(told)
