"""A table of figures over several runs: least, median and greatest beside what was predicted and asked.

For what has to be shown more than once: `python -m reports figures --scenario "loses its power"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from reports.html import quantity
from reports.trends import Key, Series

HEADING = ("figure", "runs", "least", "median", "greatest", "predicted", "target")


def chosen(found: Iterable[Series], site: str = "", scenario: str = "") -> list[Series]:
    """The series of a site (its name), of scenarios whose name has `scenario` in it, in any case."""
    part = scenario.casefold()
    return [
        each for each in found if (not site or each.key.site == site) and part in each.key.scenario.casefold()
    ]


def lines(found: Iterable[Series]) -> Iterator[str]:
    """A table in Markdown for each scenario. A run whose scenario ended unknown is not counted."""
    for (site, kind, scenario), members in groupby(found, key=_of):
        rows = [row for each in members if (row := _row(each))]
        if not rows:
            continue
        yield f"{scenario} ({kind} of {site})"
        yield ""
        yield _line(HEADING)
        yield _line("---" for _ in HEADING)
        yield from map(_line, rows)
        yield ""


def _of(each: Series) -> tuple[str, str, str]:
    key: Key = each.key
    return key.site, key.kind, key.scenario


def _row(each: Series) -> tuple[str, ...]:
    known = [point for point in each.points if point.known]
    if not known:
        return ()
    series = Series(each.key, tuple(known))
    unit, (least, greatest) = each.key.unit, series.range
    predicted = [point.reading.predicted for point in known if point.reading.predicted is not None]
    asked = f"{each.key.relation} {quantity(series.last.reading.target, unit)}"
    return (
        each.key.name,
        str(len(known)),
        *(quantity(value, unit) for value in (least, series.median, greatest)),
        quantity(max(predicted), unit) if predicted else "",
        f"{asked} (relaxed)" if each.key.relaxed else asked,
    )


def _line(cells: Iterable[str]) -> str:
    told = (cell.replace("|", "\\|").replace("\u00a0", " ").replace("\u202f", " ") for cell in cells)
    return f"| {' | '.join(told)} |"
