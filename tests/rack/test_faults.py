"""Every fault of the library on the rack: broken, felt, healed; and healed though the harness be killed.

Run with the rack up and phase 4 converged, phase 7 where the site orders HA (about 2 minutes a fault for the
first, 4 for the second; up to 10 and 20 where a node starts anew):
    ip netns exec rackproof .venv/bin/python -m pytest tests/rack/test_faults.py -s -k once
    ip netns exec rackproof .venv/bin/python -m pytest tests/rack/test_faults.py -s -k killed
Add a fault's name to -k for one alone ("killed and latency"). RACKPROOF_SEED=N draws other victims, and other
moments; RACKPROOF_SITE=FILE takes another site than sites/lab.toml. Each row is told when it is known, the
table at the end. A fault that does not apply to the site is skipped.
"""

# ruff: noqa: T201 - the tables that it prints are the evidence
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaos import ceph_state, guard_ceph, guard_ha, guards, ha_state, schedule
from chaos.engine import ALONE_S, Engine
from chaos.fault import Fault, QuorumLoss, catalogue
from chaos.faults.storage import StorageFault
from chaos.guard import BondsRedundant, NoSwitchLeft
from chaos.guard_quorum import Membership
from chaos.journal import Entry, Journal, journal_path, recover
from cluster.cluster import Cluster
from cluster.errors import DeadlineError, NotApplicableError, RackproofError
from tests.rack.break_one import SITE
from tests.rack.standing import standing

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("RACKPROOF_SEED", "1"))
KINDS = sorted(catalogue())
HOLD_S = 8.0
WINDOW_S = 25.0
"""The harness is killed within so many seconds of the journal's first line."""
START_S = 180.0
WHOLE_S = 600.0
CALM_S = 300.0
_DNS = (
    "python3 -c 'import socket, sys\n"
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)\n"
    's.sendto(b"\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1a\\4rack\\0\\0\\1\\0\\1", (sys.argv[1], 53))\n'
    "try: s.recv(512)\nexcept OSError: sys.exit(0)\nsys.exit(1)' %(peer)s"
)
_RINGS_CUT = (
    "n=0; until corosync-cmapctl -m stats stats.knet. | grep -q 'connected .* = 0'; do"
    " n=$((n + 1)); [ $n -le 15 ] || exit 1; sleep 1; done"
)
SYMPTOMS = {
    "partition": "! ping -c 2 -W 2 -q %(peer)s > /dev/null",
    "latency": "ping -c 5 -i 0.3 -q %(peer)s | awk -F/ '/^rtt/ { found = $5 > 90 } END { exit !found }'",
    "mtu-black-hole": (
        "ping -c 2 -W 2 -q -s 56 %(peer)s > /dev/null && ! ping -c 2 -W 2 -q -s 1200 %(peer)s > /dev/null"
    ),
    "dns-gone": _DNS,
    "corosync-partition": _RINGS_CUT,
    "corosync-cut": _RINGS_CUT,
    "bmc-unreachable": "! curl -s -k -o /dev/null -m 5 https://%(door)s/redfish/v1/",
}
"""Commands on the first node of the fault that succeed while it is felt, and fail else."""
LATE = ("corosync-partition", "corosync-cut")
"""Felt only after a while, and so not asked for beforehand."""

pytestmark = [pytest.mark.rack, pytest.mark.timeout(4000)]
every_fault = pytest.mark.parametrize("kind", KINDS)
Rows = list[tuple[str, ...]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with standing(SITE) as opened:
        yield opened


def _table(heading: tuple[str, ...]) -> Iterator[Rows]:
    rows: Rows = [heading]
    yield rows
    widths = [max(len(row[n]) for row in rows) for n in range(len(heading))]
    print()
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _row(table: Rows, *cells: str) -> None:
    """A row of the table, told at once too: the table is printed at the end, which may never come."""
    table.append(cells)
    print("row:", "  ".join(cells), flush=True)


@pytest.fixture(scope="module")
def once() -> Iterator[Rows]:
    yield from _table(("fault", "target", "seen broken s", "felt", "healed by", "healed s", "restored s"))


@pytest.fixture(scope="module")
def killed() -> Iterator[Rows]:
    yield from _table(
        ("fault", "target", "killed after s", "journal said", "switch s", "healed after s", "whole after s")
    )


def drawn(cluster: Cluster, kind: str) -> Fault:
    """A victim that passes the fault's own check; what does not apply to the site skips the test."""
    try:
        fault = catalogue()[kind].draw(cluster, schedule.stream(SEED, kind))
        if isinstance(fault, QuorumLoss):
            fault = replace(fault, consent=True)
        fault.check(cluster)
    except NotApplicableError as error:
        pytest.skip(str(error))
    return fault


def felt(cluster: Cluster, fault: Fault) -> bool | None:
    """Whether the victim feels it; None where there is no way to tell."""
    script = SYMPTOMS.get(fault.kind)
    if hasattr(fault, "answers"):
        script = f"! {{ {fault.answers()}; }}"
    if script is None:
        return None
    peer = getattr(fault, "paths", ("- -",))[0].split()[1]
    door = getattr(fault, "doors", ("- - -",))[0].split()[2]
    node = cluster.nodes[fault.nodes[0]]
    line = script % {"peer": peer, "door": door} if "%(" in script else script
    return node.run(line, timeout=90, check=False).ok


@every_fault
def test_once(kind: str, cluster: Cluster, once: Rows) -> None:
    """Broken, felt, healed, and full redundancy back."""
    fault = drawn(cluster, kind)
    engine = Engine(cluster, guards.whole(), say=print)
    before = felt(cluster, fault) if kind not in LATE else False
    _calm(cluster)
    during: bool | None = None
    with engine.fault(fault) as window:
        if before is False:
            during = felt(cluster, fault)
        elif not fault.alone:
            time.sleep(HOLD_S)
    assert window.broken_s is not None and window.seen_s is not None, "it was not seen broken"
    assert window.healed_s is not None and window.restored_s is not None
    assert fault.healed(cluster)
    assert engine.journal.entries() == []
    _row(
        once, kind, fault.target, f"{window.seen_s - window.broken_s:.1f}",
        {True: "yes", False: "NO", None: "not asked"}[during], str(window.healed_by),
        f"{window.healed_s - window.broken_s:.1f}", f"{window.restored_s - window.healed_s:.1f}",
    )  # fmt: skip
    assert during is not False, f"{fault.target}: in by the kernel's word, and not felt"
    if before is False and kind not in LATE:
        assert felt(cluster, fault) is False, f"{fault.target}: still felt though healed"


@every_fault
def test_killed(kind: str, cluster: Cluster, killed: Rows) -> None:
    """The harness is killed at a random moment; nobody helps; after the switch's deadline all is whole."""
    fault = drawn(cluster, kind)
    _calm(cluster)
    moment = schedule.stream(SEED, f"{kind}: killed").uniform(0.0, WINDOW_S)
    journal = Journal(journal_path(cluster.site))
    assert journal.entries() == [], "an earlier run left a fault: python -m chaos heal"
    given = json.dumps(fault.parameters())
    command = [sys.executable, "-m", "tests.rack.break_one", kind, given, str(HOLD_S)]
    harness = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        _await(
            lambda: bool(journal.entries()) or harness.poll() is not None, START_S, f"{kind}: a first line"
        )
        time.sleep(moment)
        left: list[Entry] = journal.entries()
    finally:
        harness.kill()  # the harness alone: the late hands live in a session of their own
        harness.wait(timeout=30)
    if not left:
        assert harness.returncode == 0, f"{kind}: the harness ended by itself with {harness.returncode}"
        _row(killed, kind, fault.target, f"{moment:.1f}", "over already", "-", "-", "-")
        return
    state, since = left[0].state.value, time.monotonic()
    patience = fault.deadman_s + fault.heal_s + ALONE_S
    healed = _await(lambda: fault.healed(cluster), patience, f"{fault.target} healed by itself")
    # Healed is asked again: a break that was under way may have ended after its harness.
    whole = _await(
        lambda: not lacking(cluster, fault) and fault.healed(cluster),
        fault.deadman_s + WHOLE_S, f"{fault.target}: all whole by itself",
    )  # fmt: skip
    _row(
        killed, kind, fault.target, f"{moment:.1f}", state, f"{fault.deadman_s:g}",
        f"{healed - since:.1f}", f"{whole - since:.1f}",
    )  # fmt: skip
    # Only now: the next start finds the line, finds nothing broken, and drops it.
    assert all(each.healed for each in recover(cluster, journal, say=print))
    assert journal.entries() == []


def lacking(cluster: Cluster, fault: Fault) -> list[str]:
    """What is not whole, only by looking: nothing here mends or clears anything."""
    found: list[str] = []
    for check in (BondsRedundant(), NoSwitchLeft(), Membership()):
        try:
            found += check.problems(cluster, fault)
        except RackproofError as error:
            found.append(str(error))
    if cluster.site.ha is not None:
        try:
            found += guard_ha.lacking(ha_state.read(cluster), [spec.name for spec in cluster.site.nodes])
        except RackproofError as error:
            found.append(str(error))
    if cluster.site.ceph is not None or isinstance(fault, StorageFault):
        try:
            state = ceph_state.read(cluster)
            found += guard_ceph.lacking(state, guard_ceph.ALLOWED | guard_ceph.LATCHED)
        except (RackproofError, NotApplicableError) as error:
            found.append(str(error))
    return found


def _calm(cluster: Cluster) -> None:
    """Warnings of what came before pass first."""
    _await(
        lambda: not guard_ceph.lacking(ceph_state.read(cluster), guard_ceph.ALLOWED | guard_ceph.LATCHED),
        CALM_S, "a calm cluster",
    )  # fmt: skip


def _await(true: Callable[[], bool], seconds: float, what: str) -> float:
    """When it was true. Raises `DeadlineError`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return time.monotonic()
            why = ""
        except RackproofError as error:
            why = f": {error}"
        if time.monotonic() > deadline:
            raise DeadlineError(f"{what} was not seen within {seconds:g} s{why}")
        time.sleep(1.0)
