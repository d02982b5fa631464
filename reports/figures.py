"""A table of figures over several runs: least, median and greatest beside what was predicted and asked.

For what has to be shown more than once: `python -m reports figures --scenario "loses its power"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from reports.html import quantity
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
    known = tuple(point for point in each.points if point.known)
    unknown = len(each.points) - len(known)
    runs = f"{len(known)}, {unknown} unknown" if unknown else str(len(known))
    unit = each.key.unit
    asked = f"{each.key.relation} {quantity(each.last.reading.target, unit)}"
    values: tuple[float, ...] = ()
    if known:
        series = Series(each.key, known)
        values = series.range[0], series.median, series.range[1]
    predicted = [point.reading.predicted for point in known if point.reading.predicted is not None]
    return (
        each.key.name,
        runs,
        *(quantity(value, unit) for value in values),
        *("" for _ in range(3 - len(values))),
        quantity(max(predicted), unit) if predicted else "",
        f"{asked} (relaxed)" if each.key.relaxed else asked,
    )


def _line(cells: Iterable[str]) -> str:
    told = (cell.replace("|", "\\|").replace("\u00a0", " ").replace("\u202f", " ") for cell in cells)
    return f"| {' | '.join(told)} |"
