"""`python -m reports [RUN]`: rebuild evidence and report of a run from its record, or list the runs.

RUN is a folder under reports/runs/ (or `latest`). Used after a run was killed; of a complete run, the report
that pytest-html wrote is left as it is unless --force is given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports import history, html
from reports.evidence import save, to_json
from reports.record import NAME, RecordError, load
from reports.redaction import Redactor

RUNS = Path("reports") / "runs"


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the run cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__.splitlines()[0])
    parser.add_argument(
        "run", nargs="?", help="folder of the run, or its name under reports/runs; none: list the runs"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the report of a run that came to its end"
    )
    options = parser.parse_args(arguments)
    if options.run is None:
        for line in history.lines(history.runs(RUNS)):
            print(line)
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


if __name__ == "__main__":
    sys.exit(main())
