"""`python -m steps.nightly --site FILE`: one night as the site's `[nightly]` orders it, for a timer to start.

Runs `pytest features/ -m chaos --chaos-seed N --chaos-minutes M --notify`, stops it when its limit is passed,
tells of what pytest itself could not tell (it never began, was killed, or could not reach a receiver from
where it runs), and removes old runs of this site. The exit status is pytest's, or 124 where the limit stopped
it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import math
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from cluster.errors import RackproofError
from cluster.notify import Message
from cluster.site import ROOT, Site, load
from cluster.site_services import Nightly
from reports import __main__ as reports_command
from reports import history
from reports.history import NOTIFIED, PastRun
from reports.redaction import Redactor
from steps import notifying

RUNS = ROOT / "reports" / "runs"
GRACE_S = 900
"""Seconds that an interrupted run gets to heal what it broke and to write its report, before it is killed."""
STOPPED = 124
MISTAKE = 2


class _BusyError(RackproofError):
    """Another night goes on."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: pytest's own; 2 for a mistake of the caller's, 124 where the limit stopped the run."""
    options = _parser().parse_args(arguments)
    try:
        site = load(options.site)
        table = site.nightly or Nightly.model_validate({})
        command = _command(options, site, table)
        print(shlex.join(command), flush=True)  # noqa: T201
        if options.dry_run:
            return 0
        with _alone(RUNS):
            return _night(site, table, command)
    except RackproofError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return MISTAKE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m steps.nightly", description="one night as the site's [nightly] orders it"
    )
    parser.add_argument("--site", type=Path, default=Path("sites/lab.toml"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, metavar="N", help="draw as run N did; left out: a new one")
    parser.add_argument("--minutes", type=float, metavar="M", help="instead of nightly.minutes")
    parser.add_argument("--chaos", action="store_true", help="break things on a protected site too")
    parser.add_argument("--dry-run", action="store_true", help="print the command and do nothing")
    parser.add_argument("more", nargs="*", metavar="-- OPTION", help="further options for pytest")
    return parser


def _command(options: argparse.Namespace, site: Site, table: Nightly) -> list[str]:
    if site.protected and not options.chaos:
        raise RackproofError(
            f"{site.file}: protected = true: a night breaks things; expected --chaos, which says that it may"
        )
    minutes = table.minutes if options.minutes is None else options.minutes
    if not (math.isfinite(minutes) and 0 < minutes < table.limit / 60):
        raise RackproofError(
            f"--minutes {minutes:g}: expected more than 0 and less than nightly.limit, {table.limit / 60:g}"
        )
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    chosen = ["--chaos"] if options.chaos else []
    return [
        sys.executable, "-m", "pytest", "features/", "-m", "chaos", "--site", _site(options.site),
        "--chaos-seed", str(seed), "--chaos-minutes", f"{minutes:g}", "--notify", *chosen, *options.more,
    ]  # fmt: skip


def _site(path: Path) -> str:
    """The site file as pytest finds it, which is run at the root of the repository."""
    whole = path.resolve()
    return str(whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole)


@contextlib.contextmanager
def _alone(runs: Path) -> Iterator[None]:
    """One night at a time on this controller. Raises _BusyError."""
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / ".nightly.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _BusyError(f"{lock.name}: another night goes on; expected none") from None
        yield


def _night(site: Site, table: Nightly, command: list[str]) -> int:
    before = _names(RUNS)
    status = _run(command, table.limit)
    fresh = sorted(_names(RUNS) - before)
    folder = RUNS / fresh[-1] if fresh else None
    try:
        _tell(site, table, folder, status)
    except (RackproofError, OSError, ValueError) as error:
        print(f"nobody was told: {error}", file=sys.stderr)  # noqa: T201
    days = table.retention / 86_400
    # A folder that cannot be removed is told on the standard error and does not change how the night ended.
    reports_command.main(
        ["prune", "--site", site.name, "--keep", str(table.keep), "--days", f"{days:g}", "--runs", str(RUNS),
         "--baselines", str(ROOT / "reports" / "baselines")]
    )  # fmt: skip
    reports_command.main(["index", "--runs", str(RUNS)])
    return status


def _names(runs: Path) -> set[str]:
    return {path.name for path in runs.iterdir() if path.is_dir() and not path.is_symlink()}


def _run(command: list[str], limit_s: float) -> int:
    """Run it; a signal to us, and the limit, interrupt it so that it heals. Its exit status, or 124."""
    # A session of its own: an interrupt reaches pytest once, through us, and none of its helpers.
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)

    former = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        try:
            status = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            print(f"the night's limit of {limit_s:g} s is passed: interrupted", file=sys.stderr)  # noqa: T201
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=GRACE_S)
            except subprocess.TimeoutExpired:
                # What it broke heals by the dead-man's switches, and by the journal at the next start.
                print(f"not ended {GRACE_S} s after its interrupt: killed", file=sys.stderr)  # noqa: T201
                process.kill()
                process.wait(timeout=GRACE_S)
            return STOPPED
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
    return status if status >= 0 else 128 - status


def _tell(site: Site, table: Nightly, folder: Path | None, status: int) -> None:
    """Tell of what the run could not: everything where it told nothing, else those whom it did not reach."""
    redactor = Redactor()
    past = history.read_run(folder) if folder is not None else None
    if not isinstance(past, PastRun):
        verdict = "passed" if status == 0 else f"did not begin (pytest ended with status {status})"
        if notifying.wanted(table, verdict):
            text = f"The night of {site.name} {verdict}."
            told = notifying.deliver(site, Message(f"rackproof {site.name}: NO RUN", text), redactor)
            _print(notifying.told(told))
        return
    verdict = past.verdict if past.verdict != "passed" or status == 0 else f"ended with status {status}"
    if (past.folder / NOTIFIED).exists():
        left = frozenset(each.to for each in notifying.earlier(past.folder) if not each.sent)
        if left:
            _print(notifying.told(notifying.tell(site, past, redactor, only=left, verdict=verdict)))
        return
    _print(notifying.told(notifying.tell(site, past, redactor, verdict=verdict)))


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
