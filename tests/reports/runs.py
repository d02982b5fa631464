"""Runs made up for tests of the history: one folder with evidence each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports.criteria import CRITERIA


def measurement(value: float, **more: Any) -> dict[str, Any]:
    return {
        "name": "longest outage",
        "value": value,
        "unit": "s",
        "relation": "<",
        "target": 1.0,
        "relaxed_from": None,
        "met": True,
        "resolution": 0.01,
        "method": "UDP probe every 10 ms",
        **more,
    }


def scenario(*measurements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "feature": "features/links.feature",
        "scenario": "One link falls",
        "tags": ["criterion-3"],
        "status": "passed",
        "reason": "",
        "seconds": 1.0,
        "changes": [],
        "measurements": list(measurements),
        **more,
    }


def evidence(day: int, *scenarios: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "site": "lab",
        "kind": "rehearsal",
        "started": f"2026-01-{day:02}T01:00:00.000Z",
        "finished": f"2026-01-{day:02}T02:00:00.000Z",
        "seed": 7,
        "versions": {},
        "command": "pytest features/",
        "interrupted": False,
        "scenarios": list(scenarios),
        "criteria": [
            {"id": number, "text": text, "status": "met" if number == 3 else "not tried", "scenarios": []}
            for number, text in enumerate(CRITERIA, 1)
        ],
        **more,
    }


def put(runs: Path, day: int, *scenarios: dict[str, Any], **more: Any) -> Path:
    """One run in a folder of its own, named by its time."""
    folder = runs / f"2026-01-{day:02}T01-00-00Z"
    folder.mkdir(parents=True)
    folder.joinpath("evidence.json").write_text(
        json.dumps(evidence(day, *scenarios, **more)), encoding="utf-8"
    )
    folder.joinpath("report.html").write_text("<html></html>", encoding="utf-8")
    return folder
