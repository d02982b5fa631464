"""Drawings for the report, as inline SVG that needs nothing from outside and prints as well as it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from reports.model import Timeline

WIDTH, LABELS, MARGIN = 1000, 190, 18
ROW, BAR, AXIS = 26, 14, 26
ZOOM_BELOW = 0.06
"""An outage that takes less than this share of the drawing is drawn a second time, enlarged."""
LABELLED = 3
"""The longest outages of a path bear their length; more numbers would cover each other."""
BANDS = {"fault": "#f6dfb8", "heal": "#d9ead7", "info": "#e3e8ee"}
INK, QUIET, LINE, OUTAGE, EXPECTED = "#1f2933", "#66717e", "#d5dae0", "#b3261e", "#3b5b8c"


@dataclass(frozen=True)
class _Scale:
    """From seconds to the horizontal place in the drawing."""

    start: float
    end: float

    def x(self, seconds: float) -> float:
        inside = min(max(seconds, self.start), self.end)
        return LABELS + (inside - self.start) / (self.end - self.start) * (WIDTH - LABELS - MARGIN)

    def shows(self, seconds: float) -> bool:
        return self.start <= seconds <= self.end


def timeline(drill: Timeline) -> str:
    """One drill: the fault's window as a band, outages as bars by path, numbered events, the prediction."""
    whole = _whole(drill)
    parts = [_panel(drill, whole, "whole drill")]
    zoom = _zoom(drill, whole)
    if zoom is not None:
        parts.append(_panel(drill, zoom, "enlarged"))
    longest = max((end - start for _, start, end in drill.outages), default=0.0)
    predicted = "" if drill.predicted_s is None else f", predicted {seconds(drill.predicted_s)}"
    found = f"longest outage {seconds(longest)}" if drill.outages else "no outage"
    body = "".join(parts) + _events(drill)
    return (
        f'<figure class="drill"><figcaption><b>{escape(drill.title)}</b> '
        f"<span>{found}{predicted}</span></figcaption>{body}</figure>"
    )


def seconds(value: float) -> str:
    """A duration as people read it: `310 ms`, `1.02 s`, `75 s`."""
    if abs(value) < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if abs(value) < 10 else f"{value:.0f} s"


def _whole(drill: Timeline) -> _Scale:
    times = [t for t, _ in drill.events]
    times += [t for _, start, end, _ in drill.bands for t in (start, end)]
    times += [t for _, start, end in drill.outages for t in (start, end)]
    times += [0.0, drill.predicted_s or 0.0]
    start, end = min(times), max(times)
    pad = max((end - start) * 0.03, 0.05)
    return _Scale(start - pad, end + pad)


def _zoom(drill: Timeline, whole: _Scale) -> _Scale | None:
    if not drill.outages:
        return None
    start = min(begin for _, begin, _ in drill.outages)
    end = max(finish for _, _, finish in drill.outages)
    longest = max(finish - begin for _, begin, finish in drill.outages)
    if longest > ZOOM_BELOW * (whole.end - whole.start):
        return None
    if end - start > longest * 20:
        # Outages far apart: the longest is the one that is judged.
        _, start, end = max(drill.outages, key=lambda outage: outage[2] - outage[1])
    start, end = min(start, 0.0) if start < 4 * longest else start, max(end, drill.predicted_s or end)
    pad = max((end - start) * 0.15, 0.01)
    return _Scale(start - pad, end + pad)


def _panel(drill: Timeline, scale: _Scale, name: str) -> str:
    paths = list(dict.fromkeys([*drill.paths, *(path for path, _, _ in drill.outages)]))
    top = ROW if drill.events else 6
    rows = len(paths) + (1 if drill.predicted_s is not None else 0)
    floor = top + max(rows, 1) * ROW
    parts = [_band(band, scale, top, floor) for band in drill.bands]
    parts += _ticks(scale, top, floor)
    for index, path in enumerate(paths):
        parts += _path_row(drill, path, scale, top + index * ROW)
    if drill.predicted_s is not None:
        parts += _predicted_row(drill.predicted_s, scale, top + len(paths) * ROW)
    parts += _marks(drill, scale, top, floor)
    height = floor + AXIS
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(drill.title)}, {name}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="Helvetica,Arial,sans-serif" font-size="12">'
        f"{''.join(parts)}{text(0, floor + 17, f'{name}, seconds', QUIET)}</svg>"
    )


def _band(band: tuple[str, float, float, str], scale: _Scale, top: int, floor: int) -> str:
    label, start, end, kind = band
    if end < scale.start or start > scale.end:
        return ""
    left, right = scale.x(start), scale.x(end)
    box = _rect(left, top, max(right - left, 1), floor - top, BANDS.get(kind, BANDS["info"]))
    return f"<g>{box}<title>{escape(label)}: {start:.3f} to {end:.3f} s</title></g>"


def _ticks(scale: _Scale, top: int, floor: int) -> Iterable[str]:
    step = _nice((scale.end - scale.start) / 8)
    digits = max(0, -math.floor(math.log10(step)))
    number = math.ceil(scale.start / step)
    while number * step <= scale.end:
        x = scale.x(number * step)
        yield line(x, top, x, floor, LINE)
        yield text(x, floor + 17, f"{number * step + 0.0:.{digits}f}", QUIET, "middle")
        number += 1


def _nice(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _path_row(drill: Timeline, path: str, scale: _Scale, y: int) -> Iterable[str]:
    middle = y + ROW / 2
    yield text(0, middle + 4, path if len(path) <= 30 else path[:29] + "…", INK)
    yield line(LABELS, middle, WIDTH - MARGIN, middle, "#9aa5b1")
    own = sorted((o for o in drill.outages if o[0] == path), key=lambda o: o[1] - o[2])
    for rank, (_, start, end) in enumerate(own):
        if end < scale.start or start > scale.end:
            continue
        left, right = scale.x(start), scale.x(end)
        width = max(right - left, 2.5)
        told = f"{path}: {seconds(end - start)} from {start:.3f} s"
        yield f"<g>{_rect(left, middle - BAR / 2, width, BAR, OUTAGE)}<title>{escape(told)}</title></g>"
        if rank >= LABELLED:
            continue
        near_end = left + width + 60 > WIDTH - MARGIN
        x, anchor = (left - 5, "end") if near_end else (left + width + 5, "start")
        yield text(x, middle - 3, seconds(end - start), OUTAGE, anchor, bold=True)


def _predicted_row(predicted: float, scale: _Scale, y: int) -> Iterable[str]:
    middle = y + ROW / 2
    yield text(0, middle + 4, "predicted", EXPECTED)
    if not scale.shows(predicted):
        return
    left, right = scale.x(0.0), scale.x(predicted)
    yield (
        f'<rect x="{left:.1f}" y="{middle - BAR / 2:.1f}" width="{max(right - left, 2.5):.1f}" '
        f'height="{BAR}" fill="none" stroke="{EXPECTED}" stroke-width="1.5" stroke-dasharray="5 3"/>'
    )
    yield text(max(right, left + 2.5) + 5, middle + 4, seconds(predicted), EXPECTED)


def _marks(drill: Timeline, scale: _Scale, top: int, floor: int) -> Iterable[str]:
    taken = -100.0
    for number, (at, label) in enumerate(sorted(drill.events), 1):
        if not scale.shows(at):
            continue
        x = scale.x(at)
        # Marks that would cover each other are moved to the right; the thin line keeps the true place.
        shown = max(x, taken + 19)
        taken = shown
        pointer = f"M{x:.1f} {floor}V{top}L{shown:.1f} {top - 5}"
        name = f"<title>{escape(label)}</title>"
        yield f'<path d="{pointer}" fill="none" stroke="{INK}"/>'
        yield f'<circle cx="{shown:.1f}" cy="{top - 13}" r="9" fill="{INK}">{name}</circle>'
        yield text(shown, top - 9, str(number), "#ffffff", "middle")


def _events(drill: Timeline) -> str:
    items = [f"<li><b>{at:.3f} s</b> {escape(label)}</li>" for at, label in sorted(drill.events)]
    keys = {kind: label for label, _, _, kind in reversed(drill.bands)}
    bands = [
        f'<span class="key"><i style="background:{BANDS.get(kind, BANDS["info"])}"></i>{escape(label)}</span>'
        for kind, label in reversed(keys.items())
    ]
    listed = f"<ol>{''.join(items)}</ol>" if items else ""
    return listed + (f"<p>{''.join(bands)}</p>" if bands else "")


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str) -> str:
    """A straight line of one unit's width."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"/>'


def text(x: float, y: float, words: str, fill: str, anchor: str = "start", bold: bool = False) -> str:
    """One line of text at the baseline (x, y)."""
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}"'
    return f"<text {place}{weight}>{escape(words)}</text>"
