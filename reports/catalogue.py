"""The scenarios that exist: every `.feature` file, one case per scenario and per row of an outline.

The names given here are the node ids of pytest and the names in every report: both speak of one thing.
Parsing is pytest-bdd's own (`pytest_bdd.feature.get_feature`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_bdd.exceptions import GherkinParseError
from pytest_bdd.feature import get_feature
from pytest_bdd.gherkin_parser import get_gherkin_document
from pytest_bdd.parser import Feature, ScenarioTemplate

PHASE = re.compile(r"^phase(\d+)")
UNNUMBERED = 10.5
"""Where a feature without a phase number stands: after the phases, before the drills of phase 11."""


class CatalogueError(Exception):
    """A feature file cannot be used; the message names file, line and what was expected."""


@dataclass(frozen=True)
class Case:
    """One scenario that can be run: `name` is unique in its file; `row` holds an example's values."""

    feature: str
    name: str
    tags: tuple[str, ...]
    line: int
    template: ScenarioTemplate = field(repr=False, compare=False)
    row: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def phase(self) -> int | None:
        """Number of the phase, from the name of the file or of the folder it stands in."""
        return phase_of(self.feature)


def phase_of(feature: str) -> int | None:
    """7 for `features/phase7_ha.feature`, 11 for `features/phase11_validation/links.feature`, else None."""
    found = [PHASE.match(part) for part in Path(feature).parts]
    return next((int(match.group(1)) for match in found if match), None)


def order(feature: str) -> tuple[float, list[tuple[int, str]]]:
    """Sort key: phases in numeric order, then the path with its numbers read as numbers."""
    phase = phase_of(feature)
    pieces = re.split(r"(\d+)", feature)
    natural = [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]
    return (UNNUMBERED if phase is None else float(phase), natural)


def read(path: Path, root: Path) -> list[Case]:
    """Cases of one feature file in the order written. Raises CatalogueError if it cannot be run."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    feature = _parse(path, name)
    cases = [case for template in feature.scenarios.values() for case in _cases(feature, template, name)]
    if not cases:
        raise CatalogueError(f"{name}: no scenario in it; expected at least one")
    for title, count in Counter(case.name for case in cases).items():
        if count > 1:
            raise CatalogueError(
                f"{name}: {count} rows of an outline are both called {title!r}; expected different rows"
            )
        if "::" in title:
            raise CatalogueError(
                f"{name}: scenario {title!r} has '::' in its title, which pytest reads as a separator"
            )
    return cases


def read_all(folder: Path, root: Path) -> list[Case]:
    """Cases of every feature file below `folder`, in the order of a run."""
    paths = sorted(folder.rglob("*.feature"), key=lambda path: order(path.relative_to(root).as_posix()))
    return [case for path in paths for case in read(path, root)]


def _parse(path: Path, name: str) -> Feature:
    try:
        document = get_gherkin_document(str(path))
        feature = get_feature(str(path.parent), path.name)
    except GherkinParseError as error:
        text = f": {error.line_content.strip()!r}" if error.line_content.strip() else ""
        raise CatalogueError(f"{name}:{error.line}: {error.message}{text}") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise CatalogueError(f"{name}: no feature in it; expected a line 'Feature: ...'") from error
    # pytest-bdd keeps the last of two scenarios with one title and drops the first without a word.
    children = list(document.feature.children)
    children += [inner for child in children if child.rule for inner in child.rule.children]
    lines: dict[str, int] = {}
    for child in children:
        if child.scenario is None:
            continue
        title, line = child.scenario.name, child.scenario.location.line
        if title in lines:
            raise CatalogueError(
                f"{name}:{line}: second scenario called {title!r}, the first is in line {lines[title]}"
            )
        if not title.strip():
            raise CatalogueError(f"{name}:{line}: scenario without a title")
        lines[title] = line
    return feature


def _cases(feature: Feature, template: ScenarioTemplate, name: str) -> Iterator[Case]:
    rule = set(template.rule.tags) if template.rule else set()
    tags = set(feature.tags) | set(template.tags) | rule
    if not template.templated:
        yield Case(name, template.name, tuple(sorted(tags)), template.line_number, template)
        return
    rows = [(row, set(table.tags)) for table in template.examples for row in table.as_contexts()]
    if not rows:
        raise CatalogueError(
            f"{name}:{template.line_number}: outline {template.name!r} has no row in its examples"
        )
    titles = [template.render(row).name for row, _ in rows]
    told_apart = len(set(titles)) == len(titles)
    for (row, extra), title in zip(rows, titles, strict=True):
        unique = title if told_apart else f"{title}[{'-'.join(row.values())}]"
        yield Case(name, unique, tuple(sorted(tags | extra)), template.line_number, template, row)
