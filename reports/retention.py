"""Which runs are kept, and the removal of the others.

The rule: a run goes when it is not among the newest `keep` of its site and is older than `days`. One that did
not pass (failed, unknown, blocked, interrupted, or not to be read) is kept `LONGER` times as many days, and
one that has no end at least `GOING_ON`, for it may still go on. The newest run of each site, the run that
`latest` points at and every run that a baseline names are never removed.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reports.history import History, PastRun

LONGER = 3
GOING_ON = timedelta(days=1)
UNREAD = "not to be read"
_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(-\d+)?")


@dataclass(frozen=True)
class Kept:
    """What decides: how many newest runs of a site are kept, and for how many days every run is."""

    keep: int
    days: float
    site: str | None = None
    """Only runs of this site go; None: of every site."""


@dataclass(frozen=True)
class Old:
    """A run that is to go: its folder, verdict and age."""

    folder: Path
    verdict: str
    days: float

    def sentence(self) -> str:
        """The run in a line."""
        return f"{self.folder.name}  {self.verdict}, {self.days:.0f} days old, {_size(self.folder)}"


def old(found: History, rule: Kept, now: datetime, protected: Iterable[str] = ()) -> list[Old]:
    """The runs that the rule lets go, the oldest first. Pure; `protected` are names that always stay.

    A folder whose name is not a run's (a UTC time) is never among them, whatever it holds.
    """
    safe = set(protected)
    by_site: dict[str, list[PastRun]] = defaultdict(list)
    for run in found.runs:
        by_site[run.site].append(run)
    for runs in by_site.values():
        safe.update(run.name for run in runs[: max(rule.keep, 1)])
    candidates = [(run.folder, run.verdict) for run in found.runs if rule.site in (None, run.site)]
    candidates += [(each.folder, UNREAD) for each in found.unread if rule.site is None]
    gone = []
    for folder, verdict in candidates:
        age = _age(folder.name, now)
        limit = timedelta(days=rule.days * (1 if verdict == "passed" else LONGER))
        if verdict in ("interrupted", UNREAD):
            limit = max(limit, GOING_ON)
        if age is not None and folder.name not in safe and age > limit:
            gone.append(Old(folder, verdict, age / timedelta(days=1)))
    return sorted(gone, key=lambda each: each.folder.name)


def protected(runs: Path, baselines: Path) -> set[str]:
    """Names of runs that `latest` points at or that a file below `baselines` mentions."""
    names = set()
    latest = runs / "latest"
    if latest.is_symlink():
        names.add(latest.readlink().name)
    for path in sorted(baselines.glob("*.json")) if baselines.is_dir() else ():
        names.update(
            found.group(0) for found in _NAME.finditer(path.read_text(encoding="utf-8", errors="replace"))
        )
    return names


def remove(gone: Iterable[Old]) -> Iterator[str]:
    """Remove each and yield its line after it is gone. Raises OSError where one cannot be removed."""
    for each in gone:
        told = each.sentence()
        if each.folder.is_symlink():
            raise OSError(f"{each.folder}: is a link, and is not removed")
        shutil.rmtree(each.folder)
        yield told


def _age(name: str, now: datetime) -> timedelta | None:
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        began = datetime.strptime(found.group(1), "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return now - began


def _size(folder: Path) -> str:
    total = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    return f"{total / 1e6:.1f} MB"
