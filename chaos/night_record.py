"""What a night leaves, and how it is read again: its plan and its course, as JSON beside the evidence.

A plan is kept whole, so that a replay needs neither the library nor the order as they were. Where only
evidence.json is left, its seed draws the plan anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from chaos.fault import FaultError
from chaos.night import Struck
from chaos.schedule import Step

PLAN = "chaos-night.json"
COURSE = "chaos-night-course.json"
_STEPS_A_MINUTE = 6  # more than any night gets through


@dataclass(frozen=True)
class Plan:
    """A night as it was planned. `steps` is None where only the seed is known."""

    seed: int
    minutes: float
    steps: tuple[Step, ...] | None


def upto(plan: Iterable[Step], minutes: float) -> tuple[Step, ...]:
    """As much of a plan as a night of so many minutes can need."""
    return tuple(islice(plan, math.ceil(minutes * _STEPS_A_MINUTE) + 1))


def plan_text(seed: int, minutes: float, steps: Iterable[Step]) -> str:
    """The plan as the run keeps it."""
    return json.dumps({"seed": seed, "minutes": minutes, "steps": [asdict(step) for step in steps]}, indent=1)


def course_text(seed: int, course: Iterable[Struck], ended: str) -> str:
    """What became of each fault, as the run keeps it."""
    struck = [each.to_json() for each in course]
    return json.dumps({"seed": seed, "ended": ended, "struck": struck}, indent=1, ensure_ascii=False)


def read(run: Path) -> Plan:
    """The plan of an earlier run: its folder, its evidence.json, or its name in reports/runs.

    Raises `FaultError` where there is none.
    """
    found = next((path for path in (run, Path("reports/runs") / run) if path.exists()), None)
    if found is None:
        raise FaultError(f"--chaos-replay {run}: expected the folder of a run, or its evidence.json")
    folder = found if found.is_dir() else found.parent
    evidence = _json(folder / "evidence.json") if (folder / "evidence.json").exists() else {}
    kept = [folder / name for each in evidence.get("scenarios", ()) for name in each.get("artefacts", ())]
    for path in (*kept, folder / "artefacts" / PLAN):
        if path.name == PLAN and path.exists():
            return _plan(_json(path), path)
    nights = [each for each in evidence.get("scenarios", ()) if "night" in each.get("tags", ())]
    if not nights:
        raise FaultError(f"--chaos-replay {run}: that run had no night")
    minutes = max(float(each.get("seconds", 0.0)) for each in nights) / 60
    return Plan(int(evidence["seed"]), minutes, None)


def _plan(data: dict[str, Any], path: Path) -> Plan:
    try:
        steps = tuple(map(Step.of, data["steps"]))
        return Plan(int(data["seed"]), float(data["minutes"]), steps)
    except (KeyError, TypeError, ValueError) as error:
        raise FaultError(f"{path} is no plan of a night: {error!r}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaultError(f"{path} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise FaultError(f"{path} is no record of a run: expected an object")
    return data
