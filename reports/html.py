"""The report a customer reads and signs. pytest-html writes the file; this is what stands in it.

`render` gives the readable part (no script needed), pytest-html adds the table of raw results below it. The
record of a run that was killed is rendered into a page of its own by `page`.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import criteria, percentiles, plots
from reports.catalogue import phase_of
from reports.model import STATUSES, RunRecord, ScenarioRun, overall
from reports.redaction import Redactor

FOLDER = Path(__file__).parent / "templates"
CSS = FOLDER / "report.css"
MAX_SHOWN = 4_000
"""Characters of a transcript in the report; the whole of it is in the folder `transcripts` beside it."""
MAX_TRANSCRIPTS = 400


def title(record: RunRecord) -> str:
    """Title of the page."""
    return f"{record.shown_kind().upper()} {record.site} {record.started[:19].replace('T', ' ')} UTC"


def render(record: RunRecord, redactor: Redactor) -> str:
    """The readable part of the report, as HTML to stand inside a page."""
    everything = [*record.scenarios, record.outside]
    template = environment().get_template("report.html.j2")
    text = template.render(
        record=record,
        kind=record.shown_kind(),
        criteria=criteria.judge(record),
        counts=[(status, count) for status, count in record.counts().items() if count],
        overall=overall(record.counts(), interrupted=record.interrupted),
        features=_features(record),
        changes=_changes(everything),
        measurements=[(run, m) for run in everything for m in run.measurements],
        drills=[(run, Markup(plots.timeline(t))) for run in everything for t in run.timelines],  # noqa: S704
        latencies=[
            (run, Markup(percentiles.draw(d)))  # noqa: S704
            for run in everything
            for d in run.distributions
        ],
        artefacts=[(run, path) for run in everything for path in run.artefacts],
        transcripts=_transcripts(everything),
        max_shown=MAX_SHOWN,
        not_run=len(record.catalogue) - len(record.scenarios),
    )
    return redactor.known(text)


def page(record: RunRecord, redactor: Redactor) -> str:
    """A whole page without pytest-html's table: for a run whose pytest did not live to write one."""
    body = render(record, redactor)
    css = CSS.read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f"<title>{escape(title(record))}</title><style>{css}</style></head><body>{body}</body></html>\n"
    )


def export(record: RunRecord, folder: Path, redactor: Redactor) -> None:
    """Write the drawings and whole transcripts beside the report, one file each."""
    for number, timeline in enumerate(_all_timelines(record), 1):
        (folder / "plots").mkdir(exist_ok=True)
        drawing = "\n".join(re.findall(r"<svg.*?</svg>", plots.timeline(timeline), re.DOTALL)[:1])
        target = folder / "plots" / f"{number:02}-{_slug(timeline.title)}.svg"
        target.write_text(redactor.known(drawing), encoding="utf-8")
    everything = [record.outside, *record.scenarios]
    for number, distribution in enumerate((d for run in everything for d in run.distributions), 1):
        (folder / "plots").mkdir(exist_ok=True)
        drawing = "\n".join(re.findall(r"<svg.*?</svg>", percentiles.draw(distribution), re.DOTALL))
        target = folder / "plots" / f"latency-{number:02}-{_slug(distribution.title)}.svg"
        target.write_text(redactor.known(drawing), encoding="utf-8")
    for number, run in enumerate([record.outside, *record.scenarios]):
        if not run.transcripts:
            continue
        (folder / "transcripts").mkdir(exist_ok=True)
        lines = [f"[{t.where}] {t.command}  ({t.seconds:.2f} s)\n{t.output}\n" for t in run.transcripts]
        target = folder / "transcripts" / f"{number:03}-{_slug(run.scenario)}.txt"
        target.write_text(redactor.known("\n".join(lines)), encoding="utf-8")


def detail(drawing: str) -> dict[str, str | None]:
    """A drawing as an extra of pytest-html, shown in the details of its scenario."""
    from pytest_html import extras

    made: dict[str, str | None] = extras.html(drawing)
    return made


def table_row(report: Any, cells: list[str]) -> None:
    """Name feature, scenario and our own status in a row of pytest-html's table."""
    feature, _, scenario = report.nodeid.partition("::")
    found = getattr(report, "rackproof_status", None)
    if found is not None:
        cells[0] = f'<td class="col-result {_slug(found)}">{escape(found.capitalize())}</td>'
    phase = "" if report.when in ("call", "collect") else f" ({report.when})"
    cells[1] = f'<td class="col-testId">{escape(scenario or feature)}{phase}</td>'
    cells.insert(1, f'<td class="col-feature">{escape(Path(feature).name)}</td>')


def environment() -> Environment:
    """Templates of this room, with the filters that pages share: slug, quantity, duration, when."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(slug=_slug, quantity=quantity, duration=_duration, when=_when)
    return made


def quantity(value: float, unit: str) -> str:
    """A number and its unit as people read them: `310 ms`, `23.5 Mbit/s`, `1\u202f250 IOPS`."""
    if unit in ("bit/s", "B/s", "B") and abs(value) >= 1000:
        power = min(int(math.log10(abs(value)) // 3), 5)
        return f"{value / 1000**power:.4g}\u00a0{' kMGTP'[power]}{unit}"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1000:.4g}\u00a0ms"
    plain = f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 1000 else f"{value:.4g}"
    return f"{plain}\u00a0{unit}" if unit else plain


def plain(text: str) -> str:
    """Text for a terminal: with common spaces only."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def _when(stamp: str) -> str:
    return f"{stamp[:10]} {stamp[11:19]} UTC" if stamp else ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]


def _features(record: RunRecord) -> list[dict[str, Any]]:
    grouped: dict[str, list[ScenarioRun]] = defaultdict(list)
    for run in record.scenarios:
        grouped[run.feature].append(run)
    found = []
    for feature, runs in grouped.items():
        counts = [(status, sum(run.status == status for run in runs)) for status in STATUSES]
        found.append(
            {
                "path": feature,
                "phase": phase_of(feature),
                "title": runs[0].title or feature,
                "runs": runs,
                "counts": [(status, count) for status, count in counts if count],
            }
        )
    return found


def _changes(runs: list[ScenarioRun]) -> dict[str, list[tuple[str, str]]]:
    by_node: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for run in runs:
        for change in run.changes:
            by_node[change["node"]].append((change["summary"], run.scenario))
    return dict(sorted(by_node.items()))


def _transcripts(runs: list[ScenarioRun]) -> list[tuple[ScenarioRun, int]]:
    """Scenarios with how many of their transcripts are shown; the report stays small enough to be mailed."""
    left = MAX_TRANSCRIPTS
    shown = []
    for run in runs:
        if run.transcripts:
            shown.append((run, min(left, len(run.transcripts))))
            left -= shown[-1][1]
    return shown


def _all_timelines(record: RunRecord) -> list[Any]:
    return [timeline for run in [record.outside, *record.scenarios] for timeline in run.timelines]
