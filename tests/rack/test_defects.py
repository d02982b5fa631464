"""Each defect of the catalogue, put into a converged rack: caught by the scenario it names and no other.

Needs a rack on which `pytest features/ --no-chaos` has passed. Every defect costs one look-only pass over all
features, or over those in RACKPROOF_FEATURES (`--provision never --no-chaos`); those of the cluster and the
storage a second one, in which what is missing may be provisioned: it mends them, or says why it must not.
Tables are printed at the end (`-s`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import defects
from lab.defects import membership, storage

ROOT = Path(__file__).resolve().parents[2]
FEATURES = os.environ.get("RACKPROOF_FEATURES", "features/").split()
LOOK = (*FEATURES, "--provision", "never", "--no-chaos", "-q")
LOOK_S = 600
NOT_LOOKED_AT = {
    "boot-leg-missing": "needs a server that starts anew without the leg; the boot drill shows it",
    "silent-link": "carrier and configuration are right; only a drill that moves the traffic shows it",
    "slow-lacp": "needs a site whose switches offer a LAG",
}
# What lists every difference of a phase is never an unrelated scenario.
SUMMARIES = {
    "Nothing of the base installation is left undone",
    "Nothing of the network is left undone",
    "Nothing of the cluster is left undone",
    "Nothing of the storage is left undone",
}
PROVISION = (
    "features/phase3_cluster.feature",
    "features/phase4_ceph.feature",
    "--no-chaos",
    "-q",
    "-m",
    "not trial",
)
PROVISIONED = {defect.name for defect in (*membership.DEFECTS, *storage.DEFECTS)}
NOT_FOR_US = {
    "ring-1-down": "a cable is put back by people",
    "cephx-off": "refused: monitors must be restarted one by one, and clients without a key would stop",
    "pg-inconsistent": "refused: which replica is right is for people to say",
}
"""Defects that provisioning does not mend, and why it must not."""
pytestmark = pytest.mark.rack
table: list[tuple[str, str, float]] = []
mended: list[tuple[str, str, float]] = []


def _lab(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout


def _look(options: tuple[str, ...] = LOOK) -> dict[str, str]:
    """Status of every scenario of a pass, by title; a look-only one where nothing else is asked."""
    subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LOOK_S,
        check=False,
    )
    found: dict[str, Any] = json.loads(
        (ROOT / "reports/runs/latest/evidence.json").read_text(encoding="utf-8")
    )
    return {scenario["scenario"]: scenario["status"] for scenario in found["scenarios"]}


@pytest.fixture(scope="module", autouse=True)
def _table() -> Iterator[None]:
    yield
    for name, what, seconds in (*table, *mended):
        print(f"{name:<22} {seconds:5.0f} s  {what}")  # noqa: T201 - the table is the result


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    """A defect that is in, and is mended whatever comes."""
    name: str = request.param
    if name in NOT_LOOKED_AT:
        pytest.skip(NOT_LOOKED_AT[name])
    _lab("break", name)
    try:
        yield name
    finally:
        _lab("mend", name)


@pytest.mark.parametrize("broken", list(defects.CATALOGUE), indirect=True)
def test_a_defect_is_caught_by_its_own_scenario_and_no_other(broken: str) -> None:
    began = time.monotonic()
    statuses = _look()
    fallen = {title for title, status in statuses.items() if status not in {"passed", "not applicable"}}
    table.append((broken, "; ".join(sorted(fallen)) or "NOT CAUGHT", time.monotonic() - began))
    named = {scenario.split("::", 1)[1] for scenario in defects.CATALOGUE[broken].caught_by}
    assert fallen & named, f"{broken} was not caught by any of {sorted(named)}; fallen: {sorted(fallen)}"
    assert not fallen - named - SUMMARIES, f"{broken} was also caught by {sorted(fallen - named - SUMMARIES)}"
    if broken in PROVISIONED:
        _provision(broken)


def _provision(broken: str) -> None:
    """What provisioning makes of a defect."""
    began = time.monotonic()
    statuses = _look(PROVISION)
    left = sorted(title for title, status in statuses.items() if status not in {"passed", "not applicable"})
    mended.append((broken, f"left: {'; '.join(left)}" if left else "mended", time.monotonic() - began))
    if broken in NOT_FOR_US:
        assert left, f"{broken} was mended, though: {NOT_FOR_US[broken]}"
    else:
        assert not left, f"{broken} was not mended by provisioning: {left}"
