"""Latency against percentile as inline SVG: both scales logarithmic, so that the slow few can be seen.

The horizontal scale counts nines (90, 99, 99.9 %): each step to the right is a tenth of the operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from reports.model import Distribution
from reports.plots import EXPECTED, INK, LINE, MARGIN, QUIET, WIDTH, line, seconds, text

HEIGHT, TOP, LEFT, LEGEND = 320, 14, 80, 18
MARKS = (50.0, 90.0, 95.0, 99.0, 99.9, 99.99)
COLOURS = ("#1b6ca8", "#b3261e", "#2e7d32", "#8e44ad", "#b26a00", "#37474f")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "10 4")
"""Beside the colours, for a print in black."""


def draw(distribution: Distribution) -> str:
    """A figure with one line for each series, the target as a dashed cross. Points at 100 % are left out."""
    series = [
        (label, [(p, s) for p, s in points if 0 < p < 100 and s > 0]) for label, points in distribution.series
    ]
    series = [(label, points) for label, points in series if points]
    if not series:
        return (
            f'<figure class="latency"><figcaption><b>{escape(distribution.title)}</b> '
            "<span>no latencies</span></figcaption></figure>"
        )
    latencies = [s for _, points in series for _, s in points]
    if distribution.target_s is not None:
        latencies.append(distribution.target_s)
    frame = _Frame(
        math.floor(math.log10(min(latencies)) - 1e-9),
        math.ceil(math.log10(max(latencies)) + 1e-9),
        max(99.9, *(p for _, points in series for p, _ in points)),
    )
    parts = [*_grid(frame)]
    if distribution.target_s is not None and distribution.target_percent is not None:
        parts += _target(frame, distribution.target_percent, distribution.target_s)
    for number, (_, points) in enumerate(series):
        parts.append(_curve(frame, points, number))
    parts += _legend(series)
    height = HEIGHT + LEGEND * (len(series) + 1) + 8
    return (
        f'<figure class="latency"><figcaption><b>{escape(distribution.title)}</b></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(distribution.title)}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="Helvetica,Arial,sans-serif" font-size="12">'
        f"{''.join(parts)}</svg></figure>"
    )


class _Frame:
    """From percent and seconds to the place in the drawing; `low` and `high` are powers of ten."""

    def __init__(self, low: int, high: int, most: float) -> None:
        self.low, self.high = low, max(high, low + 1)
        self.nines = _nines(most)

    def x(self, percent: float) -> float:
        return LEFT + min(_nines(percent) / self.nines, 1.0) * (WIDTH - LEFT - MARGIN)

    def y(self, latency: float) -> float:
        share = (math.log10(latency) - self.low) / (self.high - self.low)
        return TOP + (1 - min(max(share, 0.0), 1.0)) * (HEIGHT - TOP - 30)


def _nines(percent: float) -> float:
    return -math.log10(1 - percent / 100)


def _grid(frame: _Frame) -> Iterable[str]:
    bottom = frame.y(10.0**frame.low)
    for power in range(frame.low, frame.high + 1):
        y = frame.y(10.0**power)
        yield line(LEFT, y, WIDTH - MARGIN, y, LINE)
        yield text(LEFT - 6, y + 4, _latency(10.0**power), QUIET, "end")
    for percent in (mark for mark in MARKS if _nines(mark) <= frame.nines + 1e-9):
        x = frame.x(percent)
        yield line(x, TOP, x, bottom, LINE)
        yield text(x, bottom + 16, f"{percent:g} %", QUIET, "middle")


def _curve(frame: _Frame, points: list[tuple[float, float]], number: int) -> str:
    path = " ".join(f"{frame.x(p):.1f},{frame.y(s):.1f}" for p, s in sorted(points))
    return (
        f'<polyline points="{path}" fill="none" stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2" '
        f'stroke-dasharray="{DASHES[number % len(DASHES)]}"/>'
    )


def _target(frame: _Frame, percent: float, latency: float) -> Iterable[str]:
    x, y = frame.x(percent), frame.y(latency)
    dash = f'stroke="{EXPECTED}" stroke-dasharray="5 3"/>'
    yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{x:.1f}" y2="{y:.1f}" {dash}'
    yield f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{frame.y(10.0**frame.low):.1f}" {dash}'
    yield text(LEFT + 6, y - 5, f"target {_latency(latency)} at {percent:g} %", EXPECTED)


def _legend(series: list[tuple[str, list[tuple[float, float]]]]) -> Iterable[str]:
    yield text(0, HEIGHT + 10, "operations completed within (percent)", QUIET)
    for number, (label, points) in enumerate(series):
        y = HEIGHT + 10 + LEGEND * (number + 1)
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        yield (
            f'<line x1="0" y1="{y - 4}" x2="34" y2="{y - 4}" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
        )
        told = ", ".join(
            f"{p:g} % within {_latency(s)}" for p, s in sorted(points) if p in (50.0, 95.0, 99.0)
        )
        yield text(42, y, f"{label}: {told}" if told else label, INK)


def _latency(value: float) -> str:
    if value < 0.001:
        return f"{value * 1e6:.3g} us"
    return seconds(value) if value >= 1 else f"{value * 1000:.3g} ms"
