"""pytest plugin that keeps the evidence of a run. conftest.py calls it like this:

    pytest_plugins = ["steps.collect", "reports.plugin", ...]

    @pytest.hookimpl(tryfirst=True)                  # before pytest-html and junitxml are configured
    def pytest_configure(config):
        if features_asked(config):                   # `pytest tests/` and --collect-only open no run
            run = open_run(config, site="lab", kind="rehearsal", seed=7, redactor=Redactor())

The folder is `reports/runs/<UTC time>/` unless `folder=` says otherwise; `versions=` and `relaxed=` go into
the report. Secrets are registered as they become known: `run.redactor.register(secrets.values())`. Steps
ask for the fixtures `evidence` (the Run) and `progress` (prints one line now, as does
`reports.terminal.say`). An exception's class attribute `verdict` (failed, unknown, blocked, not applicable)
becomes the scenario's status.

PYTEST_DONT_REWRITE: conftest.py imports this module before pytest could, and there is no assert in it.
"""

from __future__ import annotations

import logging
import platform
import shlex
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from reports import html, index, percentiles, plots, status, terminal
from reports.catalogue import Case, CatalogueError, read_all
from reports.evidence import Run
from reports.model import BAD, Kind, Planned, ScenarioRun, Status, worst
from reports.redaction import Redactor, redact_logging

RUN = pytest.StashKey[Run]()
PROGRESS = pytest.StashKey[terminal.Progress]()
TOOLS = (
    "pytest",
    "pytest-bdd",
    "pytest-html",
    "pytest-testinfra",
    "ansible-core",
    "redfish",
    "boto3",
)
SLOW_STEP_S = 2.0
"""A step that took longer gets a line of its own on the terminal."""


def features_asked(config: pytest.Config) -> bool:
    """Whether this call of pytest runs features: an argument is, holds, or lies in the folder `features`."""
    if config.option.collectonly or config.option.help or config.option.version:
        return False
    features = config.rootpath / "features"
    for argument in config.args:
        path = (config.invocation_params.dir / argument.split("::")[0]).resolve()
        if path == features or features in path.parents or path in features.parents:
            return True
    return False


def open_run(
    config: pytest.Config,
    *,
    site: str,
    kind: Kind,
    seed: int,
    redactor: Redactor,
    folder: Path | None = None,
    versions: Mapping[str, str] | None = None,
    relaxed: Mapping[str, str] | None = None,
    command: str | None = None,
) -> Run:
    """Open the run of this pytest session; called from a `tryfirst` pytest_configure, see above."""
    folder = folder or new_folder(config.rootpath / "reports" / "runs")
    command = command or shlex.join(["pytest", *config.invocation_params.args])
    tools = {"python": platform.python_version(), **_tools(), **(versions or {})}
    run = Run.open(
        folder,
        site=site,
        kind=kind,
        seed=seed,
        command=command,
        versions=tools,
        redactor=redactor,
        relaxed=relaxed,
    )
    point_latest(folder)
    config.stash[RUN] = run
    config.stash[PROGRESS] = terminal.Progress(config)
    if not getattr(config.option, "htmlpath", None):
        config.option.htmlpath = str(folder / "report.html")
        config.option.self_contained_html = True
    config.option.css = [*(getattr(config.option, "css", None) or []), str(html.CSS)]
    if not config.option.xmlpath:
        config.option.xmlpath = str(folder / "junit.xml")
    config.pluginmanager.register(RunPlugin(config, run), "rackproof-run")
    return run


def new_folder(runs: Path) -> Path:
    """Make and return `runs/<UTC time>`; a number is added if a run began in the same second."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = runs / f"{name}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{runs}: 99 runs began at {name}")


def point_latest(folder: Path) -> None:
    """Make `latest` beside the folder point at it, in one step."""
    partial = folder.parent / f".latest-{folder.name}"
    partial.symlink_to(folder.name)
    partial.replace(folder.parent / "latest")


def _tools() -> dict[str, str]:
    found = {}
    for tool in ("rackproof", *TOOLS):
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found


@pytest.fixture(scope="session")
def evidence(request: pytest.FixtureRequest) -> Run:
    """The run that is going on: measurements, changes, timelines and notes go there."""
    run = request.config.stash.get(RUN, None)
    if run is None:
        raise pytest.UsageError("no run is open: features are run as `pytest features/`")
    return run


@pytest.fixture(scope="session")
def progress(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints one line now, redacted, also while output is captured."""
    shown = request.config.stash.get(PROGRESS, None)
    return (lambda _: None) if shown is None else shown.say


@pytest.fixture(scope="session", autouse=True)
def _suite_properties(
    request: pytest.FixtureRequest, record_testsuite_property: Callable[[str, object], None]
) -> None:
    run = request.config.stash.get(RUN, None)
    if run is None:
        return
    record = run.record
    for name in ("site", "kind", "seed", "started", "command"):
        record_testsuite_property(name, getattr(record, name))
    for tool, number in record.versions.items():
        record_testsuite_property(f"version.{tool}", number)


class RunPlugin:
    """The hooks of one run; registered by `open_run` only, so that unit tests are not touched."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self.progress = config.stash[PROGRESS]
        self._phases: list[tuple[Status, str]] = []
        self._seconds = 0.0
        self._step_began = 0.0
        self._interrupted = False
        self._undo: list[Callable[[], None]] = []
        factory = redact_logging(run.redactor)
        self._undo += [lambda: logging.setLogRecordFactory(factory), self.progress.close]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        self._undo.append(terminal.redact_terminal(self.config, self.run.redactor))
        self.progress.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self) -> None:
        try:
            cases = read_all(self.config.rootpath / "features", self.config.rootpath)
        except CatalogueError as error:
            self.run.note(f"not every feature could be read: {error}")
            return
        self.run.catalogue(Planned(case.feature, case.name, case.tags) for case in cases)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.progress.of = sum(_case(item) is not None for item in session.items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        report.longrepr = self.run.redactor.objects(report.longrepr)
        report.sections = self.run.redactor.objects(report.sections)
        if report.failed:
            self.run.note(f"not collected: {report.longreprtext}")
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        case = _case(item)
        if case is None:
            return (yield)
        title = case.template.feature.name
        self._phases, self._seconds = [], 0.0
        self.progress.begin(case.feature, title)
        self.run.begin(case.feature, case.name, case.tags, title)
        result = yield
        found, why = _verdict(self._phases)
        self.run.end(found, why, self._seconds)
        self.progress.end(self.run.record.scenarios[-1])
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if _case(item) is not None:
            self._judge(report, call)
        redact = self.run.redactor.objects
        report.longrepr, report.sections = redact(report.longrepr), redact(report.sections)
        report.user_properties = redact(report.user_properties)
        return report

    def _judge(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        found, why = status.of(report, call.excinfo), status.reason(call.excinfo)
        self._phases.append((found, why))
        self._seconds += call.duration
        report.rackproof_status = found  # type: ignore[attr-defined]
        if found in ("blocked", "not applicable"):
            path, line, _ = report.location
            report.outcome = "skipped"
            report.longrepr = (path, (line or 0) + 1, f"{found}: {why}")
        elif found == "unknown":
            report.outcome = "failed"
        run = self.run.record.scenarios[-1]
        if report.when == "teardown":
            # A drill is often drawn by the fixture that healed it, so not before now.
            drawn = [html.detail(plots.timeline(timeline)) for timeline in run.timelines]
            drawn += [html.detail(percentiles.draw(each)) for each in run.distributions]
            report.extras = [*getattr(report, "extras", []), *drawn]  # type: ignore[attr-defined]
            report.user_properties.extend(_properties(run, _verdict(self._phases)[0]))

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        found: Status | None = getattr(report, "rackproof_status", None)
        if found is None or (report.when != "call" and found == "passed"):
            return None
        # In quiet mode each scenario has a line of its own instead of a letter.
        letter = "" if self.progress.quiet else status.LETTERS[found]
        return found, letter, (found.upper(), status.COLOURS[found])

    def pytest_bdd_before_step_call(self) -> None:
        self._step_began = time.monotonic()

    def pytest_bdd_after_step(self, step: Any) -> None:
        self._step(step, "passed")

    def pytest_bdd_step_error(self, step: Any, exception: BaseException) -> None:
        found: Status = getattr(type(exception), "verdict", "failed")
        self._step(step, "skipped" if isinstance(exception, pytest.skip.Exception) else found)

    def _step(self, step: Any, found: Status) -> None:
        took = time.monotonic() - self._step_began
        text = f"{step.keyword.strip()} {step.name}"
        self.run.step(text, step.line_number, found, took)
        if took >= SLOW_STEP_S and found == "passed":
            self.progress.line(f"        {took:6.1f} s  {text}")

    def pytest_keyboard_interrupt(self) -> None:
        self._interrupted = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._finish()
        if session.exitstatus == pytest.ExitCode.OK and any(
            run.status in BAD for run in self.run.record.scenarios
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _finish(self) -> None:
        self.run.finish(self._interrupted)
        html.export(self.run.record, self.run.folder, self.run.redactor)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminal.summary(terminalreporter, self.run.record, str(self.config.option.htmlpath))
        try:
            made = index.write(self.run.folder.parent)
        except (OSError, ValueError) as error:  # the run's own evidence stands without it
            terminalreporter.write_line(f"history: not drawn: {error}")
            return
        for worse in made.regressions:
            terminalreporter.write_line(f"regressed: {worse}", yellow=True)
        terminalreporter.write_line(f"history: {made.path} ({made.runs} runs)")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self.run.finish(interrupted=True)
        for undo in reversed(self._undo):
            undo()

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        report.title = html.title(self.run.record)

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        self._finish()
        prefix.append(html.render(self.run.record, self.run.redactor))

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        cells.insert(1, '<th class="sortable" data-column-type="feature">Feature</th>')

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        html.table_row(report, cells)


def _case(item: object) -> Case | None:
    found = getattr(item, "case", None)
    return found if isinstance(found, Case) else None


def _verdict(phases: list[tuple[Status, str]]) -> tuple[Status, str]:
    if not phases:
        return "unknown", "pytest ended before the scenario ran"
    found = worst([each for each, _ in phases])
    return found, "; ".join(dict.fromkeys(why for each, why in phases if each == found and why))


def _properties(run: ScenarioRun, found: Status) -> Iterator[tuple[str, object]]:
    yield "status", found
    yield "tags", " ".join(run.tags)
    for m in run.measurements:
        relaxed = "" if m.relaxed_from is None else f", relaxed from {m.relaxed_from:g} {m.unit}"
        yield (
            f"measurement.{m.name}",
            f"{m.value:g} {m.unit} (target {m.relation} {m.target:g} {m.unit}{relaxed}; "
            f"{'met' if m.met else 'not met'}; resolution {m.resolution:g} {m.unit}; {m.method})",
        )
    for change in run.changes:
        yield f"change.{change['node']}", change["summary"]
