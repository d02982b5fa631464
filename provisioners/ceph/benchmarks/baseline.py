"""The baseline on file: a site's first figures, which later ones are compared with.

One JSON file a site. It is made by the first benchmark that has a figure for every load, and never
overwritten: whoever wants another deletes it. Figures are only compared where both were taken in the same
way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cluster.errors import RackproofError, UnknownError

SCHEMA = 1


class BaselineError(RackproofError):
    """The baseline's file cannot be used; the sentence says what was expected."""


@dataclass(frozen=True)
class Figure:
    """One figure in `unit`, with what is better; `steady` as it was judged when it was taken."""

    value: float
    unit: str
    better: Literal["more", "less"]
    steady: bool


@dataclass(frozen=True)
class Baseline:
    """Figures by name, when they were taken (UTC), and what they must have in common with others."""

    site: str
    taken: str
    settings: Mapping[str, Any]
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Comparison:
    """A figure beside its baseline. `worse`: percent by which it is worse; negative where it is better."""

    name: str
    was: Figure
    now: Figure

    @property
    def worse(self) -> float:
        if self.was.better == "more":
            return 100 * (1 - self.now.value / self.was.value)
        return 100 * (self.now.value / self.was.value - 1)


def save(path: Path, baseline: Baseline) -> None:
    """Write the file, which must not be there yet. Raises BaselineError."""
    text = (
        json.dumps({"schema": SCHEMA, **asdict(baseline)}, indent=1, sort_keys=True, allow_nan=False) + "\n"
    )
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        raise BaselineError(f"{path}: the baseline cannot be written: {error.strerror}") from None


def load(path: Path) -> Baseline | None:
    """The baseline, or None where there is no file. Raises BaselineError for a file of another form."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path}: the baseline cannot be read: {error}") from None
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']}")
        figures = {str(name): _figure(each) for name, each in data["figures"].items()}
        return Baseline(str(data["site"]), str(data["taken"]), dict(data["settings"]), figures)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(
            f"{path}: not a baseline of schema {SCHEMA} ({error}); delete it to have this run make another"
        ) from None


def compare(path: Path, was: Baseline, now: Baseline) -> list[Comparison]:
    """Each figure of the baseline beside today's.

    Raises UnknownError where they cannot be compared: another site, other settings, a figure that is missing.
    """
    if was.site != now.site:
        raise UnknownError(f"{path}: the baseline is of site {was.site!r}, expected {now.site!r}")
    mine, theirs = json.loads(json.dumps(dict(now.settings))), dict(was.settings)
    other = sorted(key for key in {*theirs, *mine} if theirs.get(key) != mine.get(key))
    if other:
        told = ", ".join(f"{key} was {theirs.get(key)!r} and is {mine.get(key)!r}" for key in other)
        raise UnknownError(
            f"{path}: the baseline of {was.taken} was taken in another way ({told});"
            " delete it to take a new one"
        )
    absent = sorted(set(was.figures) - set(now.figures))
    if absent:
        raise UnknownError(f"there is no figure today for {', '.join(absent)}, so nothing can be compared")
    return [Comparison(name, figure, now.figures[name]) for name, figure in was.figures.items()]


def _figure(data: Mapping[str, Any]) -> Figure:
    value, better = float(data["value"]), data["better"]
    if not 0 < value < float("inf"):
        raise ValueError(f"a figure of {value}")
    if better not in ("more", "less"):
        raise ValueError(f"better = {better!r}")
    return Figure(value, str(data["unit"]), better, bool(data["steady"]))
