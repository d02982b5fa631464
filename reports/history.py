"""The runs that were: when, of what kind, with what result, and every figure they measured.

Read from `runs/*/evidence.json`; a run that was killed before it could write one is read from its record.
What cannot be read at all is listed with the reason, never passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.evidence import SCHEMA, to_json
from reports.model import BAD, STATUSES, Status, overall
from reports.record import NAME, RecordError, load

EVIDENCE = "evidence.json"
NOTIFIED = "notified.json"
"""What a run leaves when somebody was to be told of it."""
MAX_BYTES = 256 * 2**20
"""A larger evidence.json is not read: no run of ours writes one, and the page must not eat the machine."""


@dataclass(frozen=True)
class Reading:
    """One measurement of one scenario in one run; figures in `unit`."""

    feature: str
    scenario: str
    status: str
    name: str
    value: float
    unit: str
    relation: str
    target: float
    relaxed: bool
    met: bool
    resolution: float
    method: str
    predicted: float | None = None


@dataclass(frozen=True)
class PastRun:
    """One run. `counts`: scenarios by status; `criteria`: verdict by number; `bad`: (scenario, status).

    `remarks`: what is odd about its evidence, as sentences.
    """

    folder: Path
    started: str
    finished: str
    site: str
    kind: str
    seed: int
    command: str
    interrupted: bool
    counts: dict[Status, int]
    criteria: dict[int, str]
    bad: tuple[tuple[str, str], ...]
    readings: tuple[Reading, ...]
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its folder: the UTC time at which it began."""
        return self.folder.name

    @property
    def verdict(self) -> str:
        """passed | failed | unknown | blocked | interrupted | nothing ran."""
        return overall(self.counts, interrupted=self.interrupted)

    @property
    def met(self) -> int:
        """How many of the ten criteria are met."""
        return sum(status == "met" for status in self.criteria.values())


@dataclass(frozen=True)
class Unread:
    """A folder that looks like a run's and cannot be read, with the reason in one sentence."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class History:
    """Every run below one folder, the newest first, and what could not be read."""

    runs: tuple[PastRun, ...]
    unread: tuple[Unread, ...]


def read(folder: Path) -> History:
    """All runs below `folder`. Links such as `latest` are not followed; nothing is raised for a bad run."""
    found: list[PastRun] = []
    unread: list[Unread] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_symlink() or not path.is_dir() or path.name.startswith("."):
            continue
        one = read_run(path)
        if isinstance(one, PastRun):
            found.append(one)
        else:
            unread.append(one)
    return History(tuple(sorted(found, key=lambda run: (run.started, run.name), reverse=True)), tuple(unread))


def read_run(folder: Path) -> PastRun | Unread:
    """One run: from its evidence, else from its record."""
    why = ""
    try:
        return of_evidence(folder, _evidence(folder / EVIDENCE))
    except FileNotFoundError:
        why = f"there is no {EVIDENCE}"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"{EVIDENCE} cannot be read ({_short(error)})"
    if not (folder / NAME).is_file():
        return Unread(folder, f"{why}, and no {NAME}")
    try:
        data = to_json(load(folder / NAME))
    except (RecordError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Unread(folder, f"{why}, and {NAME} cannot be read ({_short(error)})")
    state = "" if not data["interrupted"] else "; the run goes on or was killed"
    return of_evidence(folder, data, [f"read from its record: {why}{state}"])


def _evidence(path: Path) -> Any:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes, more than {MAX_BYTES}")
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        told = data.get("schema") if isinstance(data, dict) else None
        raise ValueError(f"schema {told!r}, expected {SCHEMA}")
    return data


def of_evidence(folder: Path, data: Mapping[str, Any], remarks: Iterable[str] = ()) -> PastRun:
    """The run that evidence tells of. Raises KeyError, TypeError, ValueError for what is no evidence.

    A single measurement that is not whole is left out, and a remark says how many were.
    """
    told = list(remarks)
    counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
    bad: list[tuple[str, str]] = []
    readings: list[Reading] = []
    broken = 0
    for scenario in data["scenarios"]:
        status = scenario["status"]
        if status not in counts:
            raise ValueError(f"a scenario's status is {status!r}")
        counts[status] += 1
        if status in BAD:
            bad.append((str(scenario["scenario"]), status))
        for measurement in scenario.get("measurements", ()):
            try:
                readings.append(_reading(scenario, measurement))
            except (KeyError, TypeError, ValueError):
                broken += 1
    if broken:
        told.append(f"{broken} measurement{'s' if broken > 1 else ''} not whole, left out")
    return PastRun(
        folder=folder,
        started=_text(data["started"]),
        finished=_text(data["finished"]),
        site=_text(data["site"]),
        kind=_text(data["kind"]),
        seed=int(data["seed"]),
        command=str(data.get("command", "")),
        interrupted=bool(data.get("interrupted", False)),
        counts=counts,
        criteria={int(item["id"]): _text(item["status"]) for item in data["criteria"]},
        bad=tuple(bad),
        readings=tuple(readings),
        remarks=tuple(told),
    )


def _reading(scenario: Mapping[str, Any], measurement: Mapping[str, Any]) -> Reading:
    figures = [float(measurement[key]) for key in ("value", "target", "resolution")]
    if not all(math.isfinite(figure) for figure in figures) or measurement["relation"] not in ("<", ">", "="):
        raise ValueError("no measurement")
    predicted = measurement.get("predicted")
    if predicted is not None and not math.isfinite(predicted):
        raise ValueError("what was predicted is no number")
    return Reading(
        _text(scenario["feature"]),
        _text(scenario["scenario"]),
        _text(scenario["status"]),
        _text(measurement["name"]),
        figures[0],
        _text(measurement["unit"]),
        measurement["relation"],
        figures[1],
        measurement.get("relaxed_from") is not None,
        bool(measurement["met"]),
        figures[2],
        str(measurement.get("method", "")),
        predicted,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _short(error: Exception) -> str:
    told = f"no key {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return " ".join(told.split())[:160]


def runs(folder: Path) -> list[PastRun]:
    """Runs below `folder`, the newest first; a folder that cannot be read is left out."""
    return list(read(folder).runs)


def lines(found: Iterable[PastRun]) -> Iterator[str]:
    """A table for the terminal."""
    none = True
    for run in found:
        none = False
        counts = ", ".join(f"{run.counts[status]} {status}" for status in STATUSES if run.counts[status])
        ended = "  (interrupted)" if run.interrupted else ""
        yield (
            f"{run.name}  {run.kind:<10} {run.site:<10} seed {run.seed:<10} "
            f"{run.met}/10 criteria  {counts or 'nothing ran'}{ended}"
        )
    if none:
        yield "no runs yet"
