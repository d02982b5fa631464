"""A table of figures over several runs: least, median and greatest beside what was predicted and asked.

For what has to be shown more than once: `python -m reports figures --scenario "loses its power"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from reports.html import plain, quantity
from reports.trends import Series

HEADING = ("figure", "runs", "least", "median", "greatest", "predicted", "target")


def chosen(found: Iterable[Series], site: str = "", scenario: str = "") -> list[Series]:
    """The series of a site (its name), of scenarios whose name has `scenario` in it, in any case."""
    part = scenario.casefold()
    return [
        each for each in found if (not site or each.key.site == site) and part in each.key.scenario.casefold()
    ]


def lines(found: Iterable[Series]) -> Iterator[str]:
    """A table in Markdown for each scenario. Figures of a scenario that ended unknown are only counted."""
    for (site, kind, scenario), members in groupby(found, key=_of):
        yield f"{scenario} ({kind} of {site})"
        yield ""
        yield _line(HEADING)
        yield _line("---" for _ in HEADING)
        yield from (_line(_row(each)) for each in members)
        yield ""


def _of(each: Series) -> tuple[str, str, str]:
    return each.key.site, each.key.kind, each.key.scenario


def _row(each: Series) -> tuple[str, ...]:
    known = replace(each, points=tuple(point for point in each.points if point.known))
    unknown = len(each.points) - len(known.points)
    unit = each.key.unit
    values = (known.range[0], known.median, known.range[1]) if known.points else ()
    predicted = [point.reading.predicted for point in known.points if point.reading.predicted is not None]
    asked = f"{each.key.relation} {quantity(each.last.reading.target, unit)}"
    return (
        each.key.name,
        f"{len(known.points)}, {unknown} unknown" if unknown else str(len(known.points)),
        *([quantity(value, unit) for value in values] or [""] * 3),
        quantity(max(predicted), unit) if predicted else "",
        f"{asked} (relaxed)" if each.key.relaxed else asked,
    )


def _line(cells: Iterable[str]) -> str:
    told = (plain(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(told)} |"
