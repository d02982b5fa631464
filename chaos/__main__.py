"""`python -m chaos list` shows the faults; `python -m chaos heal --site FILE` heals what the journal
still names.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.fault import catalogue
from chaos.journal import Journal, journal_path, recover
from cluster.errors import RackproofError
from cluster.site import Site, load

ENTERED = "RACKPROOF_ENTERED"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 1 where a fault is left, 2 where the command or the site file is
    wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show every fault that can be injected")
    heal = commands.add_parser("heal", help="heal what the journal of a killed run still names")
    heal.add_argument("--site", type=Path, default=Path("sites/lab.toml"), help="the site file")
    heal.add_argument(
        "--forget", action="store_true", help="only drop what is named: for machines that were installed anew"
    )
    given = parser.parse_args(arguments)
    try:
        return _list() if given.command == "list" else _heal(load(given.site), forget=given.forget)
    except RackproofError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2


def _list() -> int:
    table = Table(title="Faults")
    for heading in ("name", "what", "needs", "blast radius", "heals by", "dead-man's switch"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for name, kind in catalogue().items():
        seconds = kind.__dataclass_fields__["deadman_s"].default
        table.add_row(
            name,
            kind.summary,
            "; ".join(kind.needs),
            kind.blast_radius,
            kind.heals_by,
            f"{kind.deadman}, {seconds:g} s",
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def _heal(site: Site, *, forget: bool) -> int:
    journal = Journal(journal_path(site))
    if forget:
        return _forget(journal)
    if not journal.entries() and not journal.damaged():
        print(f"{journal.path}: nothing is broken")
        return 0
    _enter(site)
    from cluster.cluster import Cluster  # its libraries take a second to load, which `list` need not wait for

    with Cluster(site) as cluster:
        done = recover(cluster, journal, say=print)
    for each in done:
        print(f"{'healed' if each.healed else 'NOT HEALED'}: {each.entry.kind}: {each.detail}")
    return 0 if all(each.healed for each in done) else 1


def _forget(journal: Journal) -> int:
    with journal.locked():
        for entry in journal.entries():
            journal.clear(entry.drill)
            print(f"forgotten, not healed: {entry.kind} {dict(entry.parameters)}")
    return 0


def _enter(site: Site) -> None:
    """Run again behind the prefix that puts a process where the site's machines can be reached; once."""
    if site.rack is None or not site.rack.enter or os.environ.get(ENTERED):
        return
    command = [*shlex.split(site.rack.enter), sys.executable, "-m", "chaos", *sys.argv[1:]]
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, {**os.environ, ENTERED: "1"})  # noqa: S606 - the site's own prefix
    except OSError as error:
        raise RackproofError(f"rack.enter = {site.rack.enter!r} cannot be run: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
