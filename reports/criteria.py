"""The ten success criteria of the cluster, and what a run says about each.

A criterion is met only if every scenario tagged `@criterion-N` that exists was run and passed. One that
failed, could not be judged (unknown) or cannot be had (not applicable) makes it not met. In all other cases
it was not tried.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from reports.model import RunRecord, Status

CRITERIA: tuple[str, ...] = (
    "All three nodes have joined the cluster",
    "Ceph is healthy with every ordered OSD in",
    "The failure of a single link is survived",
    "High availability moves guests off a failed node",
    "Prometheus scrapes every component",
    "A backup to the Proxmox Backup Server has finished",
    "Weka is mounted on all three nodes",
    "GPU instances (MIG) are visible and allocated",
    "All security checks pass",
    "Performance baselines are recorded",
)
Verdict = Literal["met", "not met", "not tried"]
_AGAINST: frozenset[Status] = frozenset({"failed", "unknown", "not applicable"})


@dataclass(frozen=True)
class Criterion:
    """One criterion with its verdict; `scenarios` are those that bear its tag, `detail` says why."""

    id: int
    text: str
    status: Verdict
    scenarios: tuple[str, ...]
    detail: str


def judge(record: RunRecord) -> list[Criterion]:
    """The ten criteria in order."""
    return [_one(record, number, text) for number, text in enumerate(CRITERIA, 1)]


def _one(record: RunRecord, number: int, text: str) -> Criterion:
    tag = f"criterion-{number}"
    existing = {(plan.feature, plan.scenario): "not run" for plan in record.catalogue if tag in plan.tags}
    outcome: dict[tuple[str, str], str] = dict(existing)
    outcome.update({(run.feature, run.scenario): run.status for run in record.scenarios if tag in run.tags})
    statuses = Counter(outcome.values())
    verdict: Verdict = "not tried"
    if any(status in _AGAINST for status in statuses):
        verdict = "not met"
    elif outcome and set(statuses) == {"passed"}:
        verdict = "met"
    names = tuple(scenario for _, scenario in outcome)
    return Criterion(number, text, verdict, names, _detail(statuses))


def _detail(statuses: Counter[str]) -> str:
    if not statuses:
        return "no scenario yet"
    words = [f"{count} {status}" for status, count in sorted(statuses.items(), key=lambda pair: -pair[1])]
    return ", ".join(words)
