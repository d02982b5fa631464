"""Tells those whom the site's `[nightly]` names how a run ended, where `--notify` asks for it.

Whom it told, and whom it could not, stands in the report and in `notified.json` beside it. It never changes
how the run ends.
"""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from cluster.aws import Aws
from cluster.errors import RackproofError
from cluster.notify import Message, Notifier, Outcome
from cluster.secrets import Secrets
from cluster.site import Site, load
from cluster.site_services import Nightly
from reports import history, trends
from reports.evidence import Run, save, to_json
from reports.history import NOTIFIED, PastRun
from reports.plugin import RUN
from reports.record import now
from reports.redaction import Redactor
from reports.terminal import say

MOST = 20
"""Scenarios that a message names; the report names all."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("rackproof").addoption(
        "--notify", action="store_true", help="tell those whom the site's [nightly] names how the run ended"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Before the record is closed, so that the report can say who was told."""
    run = session.config.stash.get(RUN, None)
    if run is None or not session.config.getoption("--notify"):
        return
    try:
        broken_off = exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        site = load(Path(session.config.getoption("--site")))
        past = _so_far(run, broken_off=broken_off or run.running)
        outcomes = tell(site, past, run.redactor)
    except (RackproofError, OSError, ValueError) as error:
        run.note(f"nobody was told of this run: {error}")
        return
    for line in told(outcomes):
        run.note(line)
        say(line)


def _so_far(run: Run, *, broken_off: bool) -> PastRun:
    past = history.of_evidence(run.folder, to_json(run.record))
    return dataclasses.replace(past, interrupted=broken_off)


def wanted(table: Nightly, verdict: str) -> bool:
    """Whether anybody is to be told of a run with that verdict."""
    return bool(table.notify) and (table.notify_on == "always" or verdict != "passed")


def tell(
    site: Site, past: PastRun, redactor: Redactor, *, only: frozenset[str] | None = None, verdict: str = ""
) -> list[Outcome]:
    """Tell of a run, all or `only` some; what came of it is kept beside the report.

    `verdict` takes the place of the run's own where more is known of how it ended. Raises OSError where
    `notified.json` cannot be written.
    """
    table = site.nightly
    if table is None or not wanted(table, verdict or past.verdict):
        return []
    outcomes = deliver(site, compose(past, verdict or past.verdict, _regressed(past)), redactor, only)
    kept = [] if only is None else [each for each in earlier(past.folder) if each.to not in only]
    listed = [dataclasses.asdict(each) for each in [*kept, *outcomes]]
    save(
        past.folder / NOTIFIED,
        redactor.deep({"at": now(), "verdict": verdict or past.verdict, "outcomes": listed}),
    )
    return outcomes


def deliver(
    site: Site, message: Message, redactor: Redactor, only: frozenset[str] | None = None
) -> list[Outcome]:
    """Send one message through the site's own receivers."""
    aws = Aws(site.aws)
    try:
        notifier = Notifier(site, aws, Secrets(aws, site), hide=redactor.register)
        clean = Message(
            redactor.text(message.subject), redactor.text(message.text), redactor.deep(message.data)
        )
        return notifier.send(clean, only)
    finally:
        aws.close()


def earlier(folder: Path) -> list[Outcome]:
    """What came of telling of a run, as it was kept; empty where nobody was told."""
    try:
        listed = json.loads((folder / NOTIFIED).read_text(encoding="utf-8"))["outcomes"]
        return [Outcome(str(each["to"]), bool(each["sent"]), str(each["detail"])) for each in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def told(outcomes: Iterable[Outcome]) -> list[str]:
    """What came of it, as sentences."""
    listed = list(outcomes)
    sent = ", ".join(each.to for each in listed if each.sent)
    lines = [f"told how this run ended: {sent}"] if sent else []
    return lines + [
        f"NOT told how this run ended: {each.to}: {each.detail}" for each in listed if not each.sent
    ]


def compose(past: PastRun, verdict: str, regressed: Iterable[str] = ()) -> Message:
    """One sentence, the verdict, the scenarios that did not pass, what regressed, and where the report is."""
    count = sum(past.counts.values())
    ran = f"{len(past.bad)} of {count} scenarios did not pass" if past.bad else f"{count} scenarios ran"
    began = past.started[:16].replace("T", " ")
    sentence = f"The {past.kind} of {past.site} that began {began} UTC: {verdict}; {ran}."
    report = f"{past.folder / 'report.html'} on {socket.gethostname()}"
    worse = list(regressed)
    lines = [sentence, "", f"verdict: {verdict}"]
    lines += [f"{status}: {scenario}" for scenario, status in past.bad[:MOST]]
    if len(past.bad) > MOST:
        lines.append(f"and {len(past.bad) - MOST} more")
    lines += [f"regressed: {each}" for each in worse[:MOST]]
    lines += [f"seed: {past.seed}", f"report: {report}"]
    data = {
        "verdict": verdict,
        "site": past.site,
        "kind": past.kind,
        "run": past.name,
        "seed": past.seed,
        "failed": [{"scenario": scenario, "status": status} for scenario, status in past.bad],
        "regressed": worse,
        "report": report,
    }
    return Message(f"rackproof {past.site}: {verdict.upper()}", "\n".join(lines), data)


def _regressed(past: PastRun) -> list[str]:
    """What the run has become worse in, beside the runs before it."""
    others = [run for run in history.read(past.folder.parent).runs if run.name != past.name]
    return [trends.sentence(*each) for each in trends.regressions(trends.series([*others, past]), past.name)]
