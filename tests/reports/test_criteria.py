"""A criterion is met only by scenarios that exist, ran and passed, all of them."""

from __future__ import annotations

import pytest

from reports.criteria import CRITERIA, judge
from reports.model import Planned, RunRecord, ScenarioRun, Status


def record(*statuses: Status | None) -> RunRecord:
    """A run with one scenario of criterion 3 for each status; None is one that exists and was not run."""
    made = RunRecord()
    for number, status in enumerate(statuses):
        made.catalogue.append(Planned("f", f"s{number}", ("criterion-3",)))
        if status is not None:
            made.scenarios.append(
                ScenarioRun("f", f"s{number}", ("criterion-3",), status=status, finished=True)
            )
    return made


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((), "not tried"),
        ((None,), "not tried"),
        (("passed",), "met"),
        (("passed", "passed"), "met"),
        (("passed", None), "not tried"),
        (("passed", "failed"), "not met"),
        (("failed", None), "not met"),
        (("passed", "unknown"), "not met"),
        (("passed", "not applicable"), "not met"),
        (("passed", "blocked"), "not tried"),
        (("blocked",), "not tried"),
        (("skipped", "passed"), "not tried"),
    ],
)
def test_verdict(statuses: tuple[Status | None, ...], expected: str) -> None:
    assert judge(record(*statuses))[2].status == expected


def test_there_are_ten_and_a_tag_counts_for_its_own_only() -> None:
    found = judge(record("passed"))
    assert len(found) == len(CRITERIA) == 10
    assert [criterion.id for criterion in found if criterion.status == "met"] == [3]
    tenth = RunRecord(scenarios=[ScenarioRun("f", "s", ("criterion-10",), status="passed", finished=True)])
    assert [criterion.id for criterion in judge(tenth) if criterion.status == "met"] == [10]


def test_the_detail_counts() -> None:
    assert judge(record("passed", "passed", None))[2].detail == "2 passed, 1 not run"
