"""What a run says on the terminal: one line a scenario, the ten criteria at the end; all of it redacted."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from reports import criteria
from reports.model import RunRecord, ScenarioRun, Status
from reports.redaction import RedactingStream, Redactor
from reports.status import COLOURS

WORDS = {"met": {"green": True}, "not met": {"red": True, "bold": True}, "not tried": {"yellow": True}}


def redact_terminal(config: pytest.Config, redactor: Redactor) -> Callable[[], None]:
    """Redact pytest's own output and, where output is not captured, everything that is printed.

    Returns what undoes it.
    """
    writer = config.get_terminal_writer()
    plain = writer.write

    def write(msg: str, *, flush: bool = False, **markup: bool) -> None:
        plain(redactor.text(msg), flush=flush, **markup)

    writer.write = write  # type: ignore[method-assign]
    streams: list[tuple[str, Any, RedactingStream]] = []
    if config.getoption("capture") == "no":
        for name in ("stdout", "stderr"):
            former = getattr(sys, name)
            streams.append((name, former, RedactingStream(former, redactor)))
            setattr(sys, name, streams[-1][2])

    def undo() -> None:
        writer.write = plain  # type: ignore[method-assign]
        for name, former, stream in streams:
            stream.release()
            if getattr(sys, name) is stream:
                setattr(sys, name, former)

    return undo


_running: list[Progress] = []


def say(text: str) -> None:
    """Print one line of progress now: with the time since the run began, redacted, past pytest's capture.

    For code that has no fixtures at hand. Without a run it goes to the standard error.
    """
    if _running:
        _running[-1].say(text)
    else:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


class Progress:
    """Lines about the run as it goes. `of` is the number of scenarios selected."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.monotonic()
        self._lock = threading.RLock()
        _running.append(self)
        self._feature = ""
        self.done = 0
        self.of = 0

    @property
    def quiet(self) -> bool:
        """Whether pytest prints a letter a test, so that our lines take their place."""
        return int(self._config.get_verbosity()) == 0

    def line(self, text: str, **markup: bool) -> None:
        """Print one line now, even while output is captured. Safe from any thread."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            print(text, file=sys.stderr, flush=True)  # noqa: T201
            return
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with self._lock, nullcontext() if capture is None else capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(text, **markup)

    def say(self, text: str) -> None:
        """Print one line with the time since the run began."""
        self.line(f"  [{time.monotonic() - self._began:7.1f} s] {text}")

    def close(self) -> None:
        """No more lines are to come."""
        if self in _running:
            _running.remove(self)

    def start(self) -> None:
        """Take the place of pytest's file names and letters."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self.quiet:
            reporter.showfspath = False

    def begin(self, feature: str, title: str) -> None:
        """Name the feature when it changes."""
        if self.quiet and feature != self._feature:
            self._feature = feature
            self.line("")
            self.line(f"{title or feature}  ({feature})", bold=True)

    def end(self, run: ScenarioRun) -> None:
        """One line for a scenario that ended."""
        self.done += 1
        if not self.quiet:
            return
        width = len(str(self.of))
        self.line(
            f"  [{self.done:{width}}/{self.of}] {run.status:<14} {run.scenario}  ({run.seconds:.1f} s)",
            **COLOURS[run.status],
        )
        if run.status != "passed" and run.reason:
            self.line(f"  {'':{2 * width + 4}}{run.reason.splitlines()[0]}")


def summary(terminalreporter: Any, record: RunRecord, report: str) -> None:
    """The end of the output: what could not be judged, the ten criteria, where the report is."""
    labels: tuple[Status, ...] = ("unknown", "blocked", "not applicable")
    for status in labels:
        runs = [run for run in record.scenarios if run.status == status]
        if runs:
            terminalreporter.write_sep("=", status)
        for run in runs:
            terminalreporter.write_line(f"{run.feature}::{run.scenario}", **COLOURS[status])
            for text in run.reason.splitlines():
                terminalreporter.write_line(f"    {text}")
    terminalreporter.write_sep("=", f"{record.shown_kind().upper()} of {record.site}: the ten criteria")
    for criterion in criteria.judge(record):
        terminalreporter.write(f"{criterion.id:>3}  {criterion.text:<52}")
        terminalreporter.write(f"{criterion.status:<10}", **WORDS[criterion.status])
        terminalreporter.write_line(f" {criterion.detail}")
    relaxed = sum(m.relaxed_from is not None for run in record.scenarios for m in run.measurements)
    if relaxed:
        terminalreporter.write_line(f"{relaxed} measurements were judged against a relaxed target")
    counts = ", ".join(f"{count} {status}" for status, count in record.counts().items() if count)
    terminalreporter.write_line(f"scenarios: {counts or 'none ran'}")
    terminalreporter.write_line(f"report: {report}")
