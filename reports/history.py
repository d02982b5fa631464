"""The runs that were: when, of what kind, with what result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reports import criteria
from reports.model import STATUSES
from reports.record import NAME, RecordError, load


@dataclass(frozen=True)
class PastRun:
    """One run in a line. `counts`: scenarios by status; `met`: how many of the ten criteria."""

    folder: Path
    started: str
    site: str
    kind: str
    seed: int
    interrupted: bool
    counts: dict[str, int]
    met: int


def runs(folder: Path) -> list[PastRun]:
    """Runs below `folder`, the newest first; a folder whose record cannot be read is left out."""
    found = []
    for path in folder.glob(f"*/{NAME}"):
        if path.parent.is_symlink():
            continue
        try:
            record = load(path)
        except RecordError:
            continue
        counts = {str(status): count for status, count in record.counts().items()}
        met = sum(criterion.status == "met" for criterion in criteria.judge(record))
        found.append(
            PastRun(
                path.parent,
                record.started,
                record.site,
                record.shown_kind(),
                record.seed,
                record.interrupted,
                counts,
                met,
            )
        )
    return sorted(found, key=lambda run: run.started, reverse=True)


def lines(found: list[PastRun]) -> Iterator[str]:
    """A table for the terminal."""
    if not found:
        yield "no runs yet"
    for run in found:
        counts = ", ".join(f"{run.counts[status]} {status}" for status in STATUSES if run.counts[status])
        ended = "  (interrupted)" if run.interrupted else ""
        yield (
            f"{run.folder.name}  {run.kind:<10} {run.site:<10} seed {run.seed:<10} "
            f"{run.met}/10 criteria  {counts or 'nothing ran'}{ended}"
        )
