"""`python -m reports [RUN]`: rebuild evidence and report of a run from its record, or list the runs.

`python -m reports index` makes the index of all runs anew; `python -m reports prune` removes old ones;
`python -m reports figures` prints what was measured over all of them.

RUN is a folder under reports/runs/ (or `latest`). Used after a run was killed; of a complete run, the report
that pytest-html wrote is left as it is unless --force is given.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from reports import figures, history, html, index, retention, trends
from reports.evidence import save, to_json
from reports.record import NAME, RecordError, load
from reports.redaction import Redactor

RUNS = Path("reports") / "runs"
BASELINES = Path("reports") / "baselines"


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 something could not be written or removed, or no figure was found, 2 the run
    cannot be read.
    """
    given = sys.argv[1:] if arguments is None else arguments
    commands = {"index": _index, "prune": _prune, "figures": _figures}
    try:
        if given and given[0] in commands:
            return commands[given[0]](given[1:])
        return _rebuild(given)
    except OSError as error:
        print(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), file=sys.stderr)
        return 1


def _rebuild(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description=(__doc__ or "").splitlines()[0],
        epilog="also, each with --help: python -m reports index, python -m reports prune, "
        "python -m reports figures",
    )
    parser.add_argument(
        "run", nargs="?", help="folder of the run, or its name under reports/runs; none: list the runs"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the report of a run that came to its end"
    )
    options = parser.parse_args(arguments)
    if options.run is None:
        found = history.read(RUNS)
        for line in history.lines(found.runs):
            print(line)
        for each in found.unread:
            print(f"{each.folder.name}  cannot be read: {each.reason}")
        return 0
    folder = Path(options.run) if Path(options.run).is_dir() else RUNS / options.run
    try:
        record = load(folder / NAME)
    except RecordError as error:
        print(error, file=sys.stderr)
        return 2
    report = folder / "report.html"
    save(folder / "evidence.json", to_json(record))
    print(f"evidence: {folder / 'evidence.json'}")
    if report.exists() and not record.interrupted and not options.force:
        print(f"report: {report} (written by the run itself; --force replaces it)")
        return 0
    # The record was redacted when it was written; here the secrets are no longer known.
    redactor = Redactor()
    html.export(record, folder, redactor)
    report.write_text(html.page(record, redactor), encoding="utf-8")
    print(f"report: {report}")
    return 0


def _index(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reports index", description="make the index page of all runs anew"
    )
    _runs(parser)
    options = parser.parse_args(arguments)
    made = index.write(options.runs)
    unread = f", {made.unread} cannot be read" if made.unread else ""
    print(f"index: {made.path} ({made.runs} runs{unread})")
    for worse in made.regressions:
        print(f"regressed in the newest run: {worse}")
    return 0


def _prune(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reports prune",
        description="remove runs that are neither among the newest of their site nor young; "
        f"a run that did not pass is kept {retention.LONGER} times as many days",
    )
    parser.add_argument(
        "--keep", type=_count, default=30, metavar="N", help="newest runs of a site that stay"
    )
    parser.add_argument("--days", type=_days, default=30.0, metavar="D", help="days that every run stays")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument(
        "--baselines", type=Path, default=BASELINES, metavar="FOLDER", help="runs named in its files stay"
    )
    parser.add_argument("--site", metavar="NAME", help="only runs of this site (its name, not its file)")
    _runs(parser)
    options = parser.parse_args(arguments)
    found = history.read(options.runs)
    gone = retention.old(
        found,
        retention.Kept(options.keep, options.days, options.site),
        datetime.now(UTC),
        retention.protected(options.runs, options.baselines),
    )
    total = len(found.runs) + len(found.unread)
    if options.dry_run:
        for each in gone:
            print(f"would remove {each.sentence()}")
        print(f"{len(gone)} of {total} runs would be removed")
        return 0
    for told in retention.remove(gone):
        print(f"removed {told}")
    print(f"{len(gone)} of {total} runs removed")
    if gone:
        index.write(options.runs)
    return 0


def _figures(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reports figures",
        description="least, median and greatest of every figure over all runs, beside prediction and target",
    )
    parser.add_argument(
        "--scenario", default="", metavar="TEXT", help="only scenarios with this in their name"
    )
    parser.add_argument("--site", default="", metavar="NAME", help="only runs of this site (its name)")
    _runs(parser)
    options = parser.parse_args(arguments)
    found = history.read(options.runs)
    told = list(figures.lines(figures.chosen(trends.series(found.runs), options.site, options.scenario)))
    for line in told:
        print(line)
    for each in found.unread:
        print(f"{each.folder.name} cannot be read: {each.reason}", file=sys.stderr)
    if not told:
        print(f"no run under {options.runs} has such a figure", file=sys.stderr)
    return 0 if told else 1


def _runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help="default: %(default)s")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of runs, 1 or more")
    return int(text)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of days, 0 to 36500")
    return days


if __name__ == "__main__":
    sys.exit(main())
