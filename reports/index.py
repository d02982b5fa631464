"""The index page of all runs: `index.html` beside them, self-contained, made from their evidence."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reports import history, trend_plot, trends
from reports.criteria import CRITERIA
from reports.html import CSS, FOLDER, environment
from reports.model import STATUSES
from reports.record import now

NAME = "index.html"
COLUMNS = 30
"""The newest runs that have a column in the matrix of the criteria."""


@dataclass(frozen=True)
class Made:
    """The page that was written: where, of how many runs, and what the newest run has become worse in."""

    path: Path
    runs: int
    unread: int
    regressions: tuple[str, ...]


def write(folder: Path) -> Made:
    """Make `folder`/index.html anew from all runs there. Raises OSError where it cannot be written."""
    found = history.read(folder)
    drawn = trends.series(found.runs)
    newest = found.runs[0].name if found.runs else ""
    worse = tuple(trends.sentence(*each) for each in trends.regressions(drawn, newest))
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    # Two runs may end at the same moment: each writes a file of its own and puts it in place whole.
    partial = folder / f".{NAME}.{os.getpid()}"
    partial.write_text(page(found, drawn), encoding="utf-8")
    partial.replace(path)
    return Made(path, len(found.runs), len(found.unread), worse)


def page(found: history.History, drawn: list[trends.Series]) -> str:
    """The page as HTML."""
    css = CSS.read_text(encoding="utf-8") + (FOLDER / "index.css").read_text(encoding="utf-8")
    template = environment().get_template("index.html.j2")
    return template.render(
        css=Markup(css),  # noqa: S704
        made=now(),
        runs=[_line(run) for run in found.runs],
        unread=found.unread,
        columns=found.runs[:COLUMNS],
        criteria=list(enumerate(CRITERIA, 1)),
        groups=_groups(drawn),
        rule=trends.RULE,
        newest=found.runs[0] if found.runs else None,
        worse=trends.regressions(drawn, found.runs[0].name) if found.runs else [],
        sentence=trends.sentence,
    )


def _line(run: history.PastRun) -> dict[str, Any]:
    return {
        "run": run,
        "counts": [(status, run.counts[status]) for status in STATUSES if run.counts[status]],
        "report": f"{run.name}/report.html" if (run.folder / "report.html").is_file() else "",
        "told": _told(run.folder / history.NOTIFIED),
    }


def _told(path: Path) -> tuple[str, ...]:
    """Whom the run could not tell how it ended, as sentences; empty where nobody was left out."""
    try:
        outcomes = json.loads(path.read_text(encoding="utf-8"))["outcomes"]
        return tuple(f"not told: {each['to']}: {each['detail']}" for each in outcomes if not each["sent"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError):
        return (f"{path.name} cannot be read",)


def _groups(drawn: Iterable[trends.Series]) -> list[dict[str, Any]]:
    """Series by site and kind, those that are worse now first."""
    grouped: dict[tuple[str, str], list[trends.Series]] = defaultdict(list)
    for each in drawn:
        grouped[each.key.site, each.key.kind].append(each)
    return [
        {
            "site": site,
            "kind": kind,
            "series": [
                (each, Markup(trend_plot.draw(each)))  # noqa: S704
                for each in sorted(members, key=lambda one: one.last.trend != "worse")
            ],
        }
        for (site, kind), members in sorted(grouped.items())
    ]
