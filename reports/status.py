"""From what pytest says to a status: passed, failed, unknown, blocked, not applicable, skipped."""

from __future__ import annotations

import pytest

from reports.model import STATUSES, Status

LETTERS: dict[Status, str] = {
    "passed": ".",
    "failed": "F",
    "unknown": "U",
    "blocked": "B",
    "not applicable": "N",
    "skipped": "s",
}
COLOURS: dict[Status, dict[str, bool]] = {
    "passed": {"green": True},
    "failed": {"red": True, "bold": True},
    "unknown": {"red": True, "bold": True},
    "blocked": {"yellow": True},
    "not applicable": {"cyan": True},
    "skipped": {"yellow": True},
}
MAX_REASON = 1_000


def of(report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None) -> Status:
    """Status of one phase (setup, call, teardown) of one scenario.

    An exception whose class has a `verdict` decides it; otherwise it is pytest's own outcome.
    """
    verdict = getattr(type(excinfo.value), "verdict", None) if excinfo is not None else None
    if verdict in STATUSES and verdict != "passed":
        found: Status = verdict
        return found
    if hasattr(report, "wasxfail"):
        # An expected failure is still something that is not true of the cluster.
        return "failed"
    if report.outcome == "passed":
        return "passed"
    return "skipped" if report.outcome == "skipped" else "failed"


def reason(excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    """The sentence that says why; empty for a pass."""
    if excinfo is None:
        return ""
    if hasattr(type(excinfo.value), "verdict") or isinstance(excinfo.value, pytest.skip.Exception):
        text = str(excinfo.value)
    else:
        text = excinfo.exconly(tryshort=True)
        text = text.removeprefix("AssertionError: ").removeprefix("Failed: ")
    text = text.strip() or type(excinfo.value).__name__
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 3] + "..."
