"""The record of a run: one JSON object a line, written and synced as things happen, read back whole or torn.

A run that was killed leaves a record whose last line may be incomplete; everything before it counts.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from reports.model import (
    Distribution,
    Measurement,
    Planned,
    RunRecord,
    ScenarioRun,
    Status,
    StepRun,
    Timeline,
    Transcript,
)

NAME = "record.jsonl"


class RecordError(Exception):
    """A record cannot be read; the message names the file and what was expected."""


def now() -> str:
    """UTC time as written everywhere in evidence, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """Appends events to `record.jsonl`; each is on the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Append one event and return it as written. Raises ValueError for NaN or infinity."""
        entry = {"event": event, "at": now(), **data}
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        return entry

    def close(self) -> None:
        self._file.close()


def events(path: Path) -> Iterator[dict[str, Any]]:
    """Events of a record; an incomplete last line is left out. Raises RecordError if there is no record."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}; expected the record of a run") from error
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise RecordError(f"{path}:{number}: not a JSON object; expected one event a line") from error
        yield entry


def load(path: Path) -> RunRecord:
    """The run that `record.jsonl` tells of, as far as it came."""
    record = RunRecord()
    count = 0
    for entry in events(path):
        replay(record, entry)
        count += 1
    if count == 0:
        raise RecordError(f"{path}: no complete line in it; the run ended before it began")
    return record


def replay(record: RunRecord, entry: Mapping[str, Any]) -> None:
    """Add one event to a run. Events of a later version that are not known here are passed over."""
    record.finished = entry["at"]
    handler = _HANDLERS.get(entry["event"])
    if handler is not None:
        handler(record, entry)


def _current(record: RunRecord) -> ScenarioRun:
    running = record.scenarios[-1] if record.scenarios else None
    return running if running is not None and not running.finished else record.outside


def _open(record: RunRecord, entry: Mapping[str, Any]) -> None:
    record.site, record.kind, record.seed = entry["site"], entry["kind"], entry["seed"]
    record.command, record.versions = entry["command"], dict(entry["versions"])
    record.relaxed = dict(entry.get("relaxed", {}))
    record.started = entry["at"]


def _catalogue(record: RunRecord, entry: Mapping[str, Any]) -> None:
    record.catalogue = [Planned(item[0], item[1], tuple(item[2])) for item in entry["scenarios"]]


def _begin(record: RunRecord, entry: Mapping[str, Any]) -> None:
    run = ScenarioRun(entry["feature"], entry["scenario"], tuple(entry["tags"]), entry.get("title", ""))
    run.started = entry["at"]
    record.scenarios.append(run)


def _end(record: RunRecord, entry: Mapping[str, Any]) -> None:
    run = _current(record)
    if run is record.outside:
        return
    run.status, run.reason, run.seconds = cast(Status, entry["status"]), entry["reason"], entry["seconds"]
    run.finished = True


def _step(record: RunRecord, entry: Mapping[str, Any]) -> None:
    _current(record).steps.append(StepRun(entry["text"], entry["line"], entry["status"], entry["seconds"]))


def _finish(record: RunRecord, entry: Mapping[str, Any]) -> None:
    record.interrupted = bool(entry.get("interrupted", False))


def _notes(record: RunRecord) -> list[str]:
    run = _current(record)
    return record.notes if run is record.outside else run.notes


def _keep(*keys: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda entry: {key: entry[key] for key in keys if key in entry}


_MEASUREMENT = _keep(*Measurement.__dataclass_fields__)
_TRANSCRIPT = _keep(*Transcript.__dataclass_fields__)

_HANDLERS: Mapping[str, Callable[[RunRecord, Mapping[str, Any]], None]] = {
    "open": _open,
    "catalogue": _catalogue,
    "begin": _begin,
    "end": _end,
    "step": _step,
    "finish": _finish,
    "change": lambda r, e: _current(r).changes.append({"node": e["node"], "summary": e["summary"]}),
    "measure": lambda r, e: _current(r).measurements.append(Measurement(**_MEASUREMENT(e))),
    "timeline": lambda r, e: _current(r).timelines.append(Timeline.of(e)),
    "distribution": lambda r, e: _current(r).distributions.append(Distribution.of(e)),
    "artefact": lambda r, e: _current(r).artefacts.append(e["path"]),
    "transcript": lambda r, e: _current(r).transcripts.append(Transcript(**_TRANSCRIPT(e))),
    "note": lambda r, e: _notes(r).append(e["text"]),
    "contradiction": lambda r, e: r.contradictions.append({k: str(v) for k, v in e["finding"].items()}),
}
