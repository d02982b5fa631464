"""One measurement across runs, drawn: figures, what was usual, the target, and where it became worse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from reports.html import quantity
from reports.plots import EXPECTED, INK, LINE, OUTAGE, QUIET, line, text
from reports.trends import Point, Series, sentence

WIDTH, HEIGHT, LEFT, RIGHT, TOP, FLOOR = 1000, 170, 96, 18, 22, 136
DRAWN = 60
"""The newest figures that are drawn; the table beside the drawing counts all of them."""
LABEL = 90
"""Room for the label of a regression; where there is less, the first of a row bears it."""
USUAL, BETTER = "#e3e8ee", "#23713b"
FAR = 3.0
"""A target that lies farther outside than this many times the drawn span is named at the edge instead."""


@dataclass(frozen=True)
class _Frame:
    """From run number and figure to a place in the drawing."""

    count: int
    low: float
    high: float

    def x(self, index: int) -> float:
        if self.count == 1:
            return (LEFT + WIDTH - RIGHT) / 2
        return LEFT + 14 + index / (self.count - 1) * (WIDTH - LEFT - RIGHT - 28)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return FLOOR - (inside - self.low) / (self.high - self.low) * (FLOOR - TOP)


def draw(series: Series) -> str:
    """The drawing as inline SVG. A regression is a red triangle with its figure, also told to a reader."""
    points = series.points[-DRAWN:]
    target = points[-1].reading.target
    frame = _frame(points, target)
    parts = [*_usual(points, frame), *_axes(series, points, frame), *_target(series, target, frame)]
    path = "L".join(f"{frame.x(i):.1f} {frame.y(p.value):.1f}" for i, p in enumerate(points))
    parts.append(f'<path d="M{path}" fill="none" stroke="{EXPECTED}" stroke-width="1.5"/>')
    labelled = -WIDTH * 1.0
    for index, point in enumerate(points):
        x, y = frame.x(index), frame.y(point.value)
        parts.append(_point(series, point, x, y))
        if point.trend == "worse" and x - labelled > (2 if _near_end(x) else 1) * LABEL:
            labelled = x
            parts.append(_label(series, point, x, y))
    told = f"{series.key.name}, runs: {len(points)}, regressions: {len(series.regressions)}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}" '
        'xmlns="http://www.w3.org/2000/svg" font-family="Helvetica,Arial,sans-serif" font-size="12">'
        f"{''.join(parts)}</svg>"
    )


def _frame(points: tuple[Point, ...], target: float) -> _Frame:
    values = [point.value for point in points]
    low, high = min(values), max(values)
    span = (high - low) or abs(high) * 0.2 or 1.0
    if low - FAR * span <= target <= high + FAR * span:
        low, high = min(low, target), max(high, target)
    pad = ((high - low) or span) * 0.12
    # Zero is a figure's natural floor: it is never padded away.
    return _Frame(len(points), low - pad if low < 0 else max(low - pad, 0.0), high + pad)


def _axes(series: Series, points: tuple[Point, ...], frame: _Frame) -> Iterable[str]:
    yield line(LEFT, FLOOR, WIDTH - RIGHT, FLOOR, LINE)
    yield line(LEFT, TOP, LEFT, FLOOR, LINE)
    for value in (frame.low, frame.high):
        yield text(LEFT - 6, frame.y(value) + 4, quantity(value, series.key.unit), QUIET, "end")
    yield text(LEFT, FLOOR + 26, _date(points[0]), QUIET)
    if len(points) > 1:
        yield text(WIDTH - RIGHT, FLOOR + 26, _date(points[-1]), QUIET, "end")


def _date(point: Point) -> str:
    return point.run.started[:16].replace("T", " ")


def _usual(points: tuple[Point, ...], frame: _Frame) -> Iterable[str]:
    """A band around what was usual before each run, as wide as the tolerance."""
    for index, point in enumerate(points):
        if point.usual is None or point.tolerance is None:
            continue
        top, floor = frame.y(point.usual + point.tolerance), frame.y(point.usual - point.tolerance)
        half = (WIDTH - LEFT - RIGHT - 28) / max(len(points) - 1, 1) / 2
        left = max(frame.x(index) - half, LEFT)
        width = min(2 * half, WIDTH - RIGHT - left)
        yield (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{max(floor - top, 1):.1f}" '
            f'fill="{USUAL}"/>'
        )


def _target(series: Series, target: float, frame: _Frame) -> Iterable[str]:
    words = f"target {series.key.relation} {quantity(target, series.key.unit)}"
    if frame.low <= target <= frame.high:
        y = frame.y(target)
        yield (
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{INK}" '
            'stroke-dasharray="5 4"/>'
        )
        yield text(LEFT + 6, y - 4 if y > TOP + 14 else y + 14, words, INK)
        return
    side, y = ("above", TOP - 8.0) if target > frame.high else ("below", FLOOR - 5.0)
    yield text(LEFT + 6, y, f"{words}, {side} this", INK)


def _near_end(x: float) -> bool:
    return x > WIDTH - RIGHT - LABEL


def _label(series: Series, point: Point, x: float, y: float) -> str:
    place, anchor = (x + 8, "end") if _near_end(x) else (x - 8, "start")
    height = y - 13 if y > TOP + 18 else y + 20
    return text(place, height, quantity(point.value, series.key.unit), OUTAGE, anchor, bold=True)


def _point(series: Series, point: Point, x: float, y: float) -> str:
    several = f", the worst of {point.taken}" if point.taken > 1 else ""
    missed = "" if point.reading.met else ", target not met"
    told = f"{point.run.name}: {sentence(series, point)}{several}{missed}, {point.trend}"
    title = f"<title>{escape(told)}</title>"
    if point.trend == "worse":
        return f'<path d="M{x:.1f} {y - 8:.1f}l7 13h-14z" fill="{OUTAGE}">{title}</path>'
    colour = OUTAGE if not point.reading.met else BETTER if point.trend == "better" else EXPECTED
    fill = colour if point.known else "#ffffff"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}">{title}</circle>'
