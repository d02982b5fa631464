"""Measured outage against the truth: the rack cuts a path for a known time, the probe says for how long.

Run with the rack up and its nodes installed:
    ip netns exec rackproof .venv/bin/python -m pytest tests/rack/test_probe_accuracy.py -s
"""

# ruff: noqa: T201 - the table that it prints is the evidence
from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.probe import CONTROLLER, Outage, ProbeMesh, ProbeReport, paths_of
from cluster.cluster import Cluster
from tests.rack.standing import standing

ROOT = Path(__file__).resolve().parents[2]
LENGTHS_S = (0.3, 1.0, 3.0)
TIMES = 10
CALM_S = 2.5  # between cuts, so that each is an outage of its own
BOUND_S = 0.030
SEARCH_S = 0.5  # how far from the cut its outage may be placed; placing has the round trip's uncertainty

pytestmark = [pytest.mark.rack, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Cut:
    """What the rack says it did; seconds on the controller's monotonic clock, each end `blur` uncertain."""

    asked: float
    start: float
    end: float
    blur: float


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with standing(ROOT / "sites" / "lab.toml") as opened:
        yield opened


def cut(pair: str, seconds: float) -> Cut:
    command = [sys.executable, "-m", "lab", "cut", pair, "--for", f"{seconds:g}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    found = {
        name: (float(when), float(blur))
        for name, when, blur in re.findall(r"^(start|end) monotonic (\S+) .*uncertain (\S+)$", told, re.M)
    }
    (start, one), (end, other) = found["start"], found["end"]
    return Cut(seconds, start, end, one + other)


def matching(report: ProbeReport, path: str, made: Cut) -> Outage:
    near = [
        outage
        for outage in report.outages
        if outage.path == path
        and outage.start_s < made.end + SEARCH_S
        and outage.end_s > made.start - SEARCH_S
    ]
    assert near, f"{path}: no outage near the cut of {made.asked:g} s"
    return max(near, key=lambda outage: outage.seconds)


def test_the_figure_is_within_thirty_milliseconds_of_the_truth(cluster: Cluster) -> None:
    cut_paths = paths_of("node1", ["node2"])
    whole_paths = paths_of("node3", [CONTROLLER])
    cuts: list[Cut] = []
    with ProbeMesh(cluster, (*cut_paths, *whole_paths)) as probes:
        time.sleep(CALM_S)
        for _ in range(TIMES):
            for length in LENGTHS_S:
                cuts.append(cut("node1:node2", length))
                time.sleep(CALM_S)
    report = probes.stop()
    assert report.unknown == {}
    errors: list[float] = []
    print(f"\n{'path':24} asked   truth    probe    error  resolution (s)")
    for path in map(str, cut_paths):
        for made in cuts:
            outage = matching(report, path, made)
            truth = made.end - made.start
            errors.append(outage.seconds - truth)
            print(
                f"{path:24} {made.asked:5.1f} {truth:8.4f} {outage.seconds:8.4f} {errors[-1]:+8.4f}"
                f" {outage.resolution_s:7.4f}   (truth ±{made.blur:.4f})"
            )
    ranked = sorted(abs(error) for error in errors)
    at_95 = ranked[-(-len(ranked) * 95 // 100) - 1]
    print(
        f"{len(ranked)} cuts: median {ranked[len(ranked) // 2]:.4f} s, 95th percentile {at_95:.4f} s,"
        f" worst {ranked[-1]:.4f} s; resolution {report.resolution_s:.4f} s,"
        f" worst stall {report.worst_stall_s:.4f} s"
    )
    for path, quality in report.quality.items():
        print(path, quality)
    whole = {str(path) for path in whole_paths}
    false = [outage for outage in report.outages if outage.path in whole]
    print(f"outages of the path that was not cut: {[(o.path, round(o.seconds, 3)) for o in false]}")
    assert at_95 <= BOUND_S
    assert max((outage.least_s for outage in false), default=0.0) < BOUND_S * 10
