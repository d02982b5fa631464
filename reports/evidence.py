"""What steps tell a run: changes, measurements, timelines, transcripts; and evidence.json made of it.

Everything is redacted, then appended to `record.jsonl` and synced, before the call returns.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports import criteria
from reports.model import Distribution, Kind, Measurement, Planned, Relation, RunRecord, Status, Timeline
from reports.record import NAME, Journal, now, replay
from reports.redaction import Redactor

__all__ = ["Distribution", "Measurement", "Run", "Timeline", "judge", "save", "to_json"]

SCHEMA = 1
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
MAX_TRANSCRIPT = 65_536
"""Characters of one command's output that are kept; of more, the first and last halves."""


def judge(
    name: str,
    value: float,
    unit: str,
    relation: Relation,
    target: float,
    relaxed: float | None,
    resolution: float,
    method: str,
    predicted: float | None = None,
) -> Measurement:
    """Judge a number against the feature's target, or against the site's where that is laxer.

    `<` and `>` are strict; `=` means within the resolution. All figures are in `unit`. Raises ValueError for
    a number that is no number: what could not be measured is unknown, never met.
    """
    for what, figure in (("value", value), ("target", target), ("resolution", resolution)):
        if not math.isfinite(figure):
            raise ValueError(f"{name}: {what} is {figure}, which is not a measurement")
    laxer = relaxed is not None and (
        (relation == "<" and relaxed > target)
        or (relation == ">" and relaxed < target)
        or (relation == "=" and relaxed != target)
    )
    limit = relaxed if laxer and relaxed is not None else target
    met = {"<": value < limit, ">": value > limit, "=": abs(value - limit) <= resolution}[relation]
    relaxed_from = target if laxer else None
    return Measurement(name, value, unit, relation, limit, relaxed_from, met, resolution, method, predicted)


class Run:
    """One run of the harness and the folder that holds its evidence. Safe to call from several threads."""

    def __init__(self, folder: Path, redactor: Redactor) -> None:
        self.folder = folder
        self.redactor = redactor
        self.record = RunRecord()
        self._lock = threading.RLock()
        self._journal = Journal(folder / NAME)
        self._closed = False

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        site: str,
        kind: Kind,
        seed: int,
        command: str,
        versions: Mapping[str, str],
        redactor: Redactor,
        relaxed: Mapping[str, str] | None = None,
    ) -> Run:
        """Start the record in `folder`, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, redactor)
        run._write(
            "open",
            schema=SCHEMA,
            site=site,
            kind=kind,
            seed=seed,
            command=command,
            versions=dict(versions),
            relaxed=dict(relaxed or {}),
        )
        return run

    def _write(self, event: str, **data: Any) -> None:
        with self._lock:
            if self._closed:
                return
            clean = {key: self.redactor.deep(value) for key, value in data.items()}
            replay(self.record, self._journal.write(event, clean))

    def catalogue(self, scenarios: Iterable[Planned]) -> None:
        """Name every scenario that exists, run or not: the criteria are judged against all of them."""
        self._write("catalogue", scenarios=[[s.feature, s.scenario, list(s.tags)] for s in scenarios])

    def begin(self, feature: str, scenario: str, tags: Sequence[str], title: str = "") -> None:
        """A scenario starts; what is told from now on belongs to it."""
        self._write("begin", feature=feature, scenario=scenario, tags=list(tags), title=title)

    def step(self, text: str, line: int, status: Status, seconds: float) -> None:
        """A step of the running scenario ended."""
        self._write("step", text=text, line=line, status=status, seconds=round(seconds, 3))

    def change(self, node: str, summary: str) -> None:
        """A change was made to a node."""
        self._write("change", node=node, summary=summary)

    def measure(self, measurement: Measurement) -> Measurement:
        """Keep a measurement; returned so that the caller can assert on `met`."""
        if not math.isfinite(measurement.value):
            raise ValueError(f"{measurement.name}: {measurement.value} is not a measurement")
        self._write("measure", **dataclasses.asdict(measurement))
        return measurement

    def timeline(self, timeline: Timeline) -> None:
        """Keep the course of a drill."""
        self._write("timeline", **dataclasses.asdict(timeline))

    def distribution(self, distribution: Distribution) -> None:
        """Keep latencies by percentile, drawn in the report."""
        self._write("distribution", **dataclasses.asdict(distribution))

    def artefact(self, name: str, text: str) -> Path:
        """Keep a file whole, redacted, in the folder `artefacts` beside the report; its path is returned.

        A name that is taken gets a number. Raises ValueError for a name that is not a plain file name.
        """
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no plain file name")
        with self._lock:
            folder = self.folder / "artefacts"
            folder.mkdir(exist_ok=True)
            stem, dot, ending = name.partition(".")
            free = (name, *(f"{stem}-{number}{dot}{ending}" for number in range(2, 1000)))
            path = next(folder / each for each in free if not (folder / each).exists())
            path.write_text(self.redactor.text(text), encoding="utf-8")
            self._write("artefact", path=str(path.relative_to(self.folder)))
        return path

    def transcript(self, where: str, command: str, output: str, seconds: float) -> None:
        """Keep a command and what it answered."""
        # Redacted before it is cut: half a secret is no longer recognised.
        output = self.redactor.text(output)
        if len(output) > MAX_TRANSCRIPT:
            half = MAX_TRANSCRIPT // 2
            left_out = len(output) - MAX_TRANSCRIPT
            output = f"{output[:half]}\n[{left_out} characters left out]\n{output[-half:]}"
        self._write("transcript", where=where, command=command, output=output, seconds=round(seconds, 3))

    def note(self, text: str) -> None:
        """Keep a sentence for the reader of the report."""
        self._write("note", text=text)

    def contradiction(self, finding: Mapping[str, str] | Any) -> None:
        """Keep an order that cannot hold, once.

        A mapping or a dataclass with id, severity, key, order, truth and instead.
        """
        if not isinstance(finding, Mapping):
            finding = dataclasses.asdict(finding)
        known = [item["id"] + item.get("key", "") for item in self.record.contradictions]
        if str(finding["id"]) + str(finding.get("key", "")) not in known:
            self._write("contradiction", finding=dict(finding))

    def end(self, status: Status, reason: str, seconds: float) -> None:
        """The running scenario ended."""
        self._write("end", status=status, reason=reason, seconds=round(seconds, 3))

    @property
    def running(self) -> bool:
        """Whether a scenario has begun and not ended."""
        return bool(self.record.scenarios) and not self.record.scenarios[-1].finished

    def finish(self, interrupted: bool = False) -> None:
        """Close the record and write evidence.json. Calling it again does nothing."""
        with self._lock:
            if self._closed:
                return
            if self.running:
                self.end("unknown", "the run was interrupted while this scenario ran", 0.0)
            self._write("finish", interrupted=interrupted)
            self._closed = True
            self._journal.close()
            save(self.folder / "evidence.json", self.redactor.deep(to_json(self.record)))


def to_json(record: RunRecord) -> dict[str, Any]:
    """evidence.json of a run, in the schema of docs/report.md."""
    return {
        "schema": SCHEMA,
        "site": record.site,
        "kind": record.shown_kind(),
        "started": record.started,
        "finished": record.finished or now(),
        "seed": record.seed,
        "versions": record.versions,
        "command": record.command,
        "interrupted": record.interrupted,
        "scenarios": [
            {
                "feature": run.feature,
                "scenario": run.scenario,
                "tags": list(run.tags),
                "status": run.status,
                "reason": run.reason,
                "seconds": run.seconds,
                "changes": run.changes,
                "measurements": [dataclasses.asdict(m) for m in run.measurements],
                "timelines": [dataclasses.asdict(t) for t in run.timelines],
                "distributions": [dataclasses.asdict(d) for d in run.distributions],
                "artefacts": list(run.artefacts),
            }
            for run in record.scenarios
        ],
        "criteria": [
            {
                "id": c.id,
                "text": c.text,
                "status": c.status,
                "scenarios": list(c.scenarios),
                "detail": c.detail,
            }
            for c in criteria.judge(record)
        ],
    }


def save(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
