"""Steps of the storage benchmark: what is judged, what the baseline does, and what failed stays failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.errors import BlockedError, RackproofError, UnknownError
from cluster.site import ROOT, Site, load
from cluster.site_services import Benchmark
from provisioners.ceph.benchmarks import jobs, run, steady
from provisioners.ceph.benchmarks.run import Measured, Outcome
from reports.evidence import Run
from reports.redaction import Redactor
from steps import phase4_performance as steps
from steps.phase4_performance import Benchmarked
from steps.verdict import NotAsOrderedError

TABLE = Benchmark.model_validate({})
CALM = steady.judge([100.0] * 60, 60)
LAB = load(ROOT / "sites" / "lab.toml")


def outcome(rate: float = 2000.0, wait: float = 0.5) -> Outcome:
    """Every load with one figure: `rate` in MB/s or IOPS, `wait` in s."""
    found = Outcome(run.described(LAB), "fio-3.39")
    for way in jobs.WAYS:
        for profile in jobs.profiles(TABLE):
            value = {"s": wait, "IOPS": rate, "B/s": rate * 1e6}[profile.figure]
            found.measured[way, profile.name] = Measured(
                way, profile, (value,), 1.0, {1_000_000: 9, 5_000_000: 1}, (CALM,), "m"
            )
    found.reports["fio-librbd-latency-1.json"] = "{}"
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The lab, its baseline in a folder of the test."""
    table = run.settings(LAB).model_copy(update={"baseline": tmp_path / "base" / "line.json"})
    return LAB.model_copy(update={"benchmark": table})


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[Run]:
    opened = Run.open(
        tmp_path / "run", site="lab", kind="rehearsal", seed=7, command="", versions={}, redactor=Redactor()
    )
    opened.begin("features/phase4_performance.feature", "s", [])
    yield opened
    opened.finish()


class Bench:
    """In place of a benchmark: what it will find, or what it falls with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, site: Site, evidence: Run) -> None:
        self.finds: Outcome | RackproofError = outcome()
        self.runs = 0
        self.fallen: RackproofError | None = None
        self._site, self._evidence = site, evidence
        monkeypatch.setattr(run, "measure", self._measure)

    def _measure(self, *_: Any) -> Outcome:
        self.runs += 1
        if isinstance(self.finds, RackproofError):
            raise self.finds
        return self.finds

    def _require(self, number: int) -> None:
        assert number == 4
        if self.fallen is not None:
            raise self.fallen

    def session(self) -> Benchmarked:
        phases: Any = SimpleNamespace(require=self._require)
        cluster: Any = SimpleNamespace(site=self._site)
        return Benchmarked(phases, cluster, self._evidence)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, site: Site, evidence: Run) -> Bench:
    return Bench(monkeypatch, site, evidence)


def test_it_is_run_once_and_all_it_found_is_kept(bench: Bench, evidence: Run) -> None:
    session = bench.session()
    assert session.outcome() is session.outcome()
    assert bench.runs == 1
    (kept,) = evidence.record.scenarios
    assert kept.artefacts == ["artefacts/fio-librbd-latency-1.json"]
    (drawn,) = kept.distributions
    assert len(drawn.series) == 6  # three loads of small blocks, two ways
    assert drawn.target_s == 5.0  # as the lab relaxes it


def test_it_is_not_run_where_the_storage_fell(bench: Bench) -> None:
    bench.fallen = BlockedError("phase 4 fell")
    with pytest.raises(BlockedError):
        bench.session().outcome()
    assert bench.runs == 0


def test_what_fell_falls_again_without_another_run(bench: Bench) -> None:
    bench.finds = UnknownError("fio is not installed")
    session = bench.session()
    for _ in range(2):
        with pytest.raises(UnknownError, match="fio is not installed"):
            session.outcome()
    assert bench.runs == 1


def test_each_load_is_judged_and_the_relaxed_target_told(bench: Bench, site: Site, evidence: Run) -> None:
    session = bench.session()
    steps._judge("containers", "random-read", "100k IOPS", site, session, evidence)
    steps._judge("virtual machines", "latency", "5 milliseconds", site, session, evidence)
    steps._judge("virtual machines", "sequential-write", "1 GB/s", site, session, evidence)
    read, wait, write = evidence.record.scenarios[0].measurements
    assert (read.value, read.target, read.relaxed_from) == (2000.0, 20.0, 100_000.0)
    assert (wait.value, wait.target, wait.relaxed_from) == (0.5, 5.0, 0.005)
    assert (write.value, write.unit, write.relaxed_from) == (2e9, "B/s", 1e9)


def test_too_slow_fails(bench: Bench, site: Site, evidence: Run) -> None:
    bench.finds = outcome(rate=3, wait=6)
    session = bench.session()
    with pytest.raises(
        NotAsOrderedError, match="containers: 4 KiB random read is 3 IOPS, expected > 20 IOPS"
    ):
        steps._judge("containers", "random-read", "100k IOPS", site, session, evidence)
    with pytest.raises(NotAsOrderedError, match="is 6 s, expected < 5 s"):
        steps._judge("containers", "latency", "5 milliseconds", site, session, evidence)


def test_a_load_without_a_figure_fails_its_own_scenario_only(bench: Bench, site: Site, evidence: Run) -> None:
    found = outcome()
    found.failed["kernel", "latency"] = UnknownError("node2: fio ran for 1 s")
    del found.measured["kernel", "latency"]
    bench.finds = found
    session = bench.session()
    steps._judge("virtual machines", "latency", "5 milliseconds", site, session, evidence)
    with pytest.raises(UnknownError, match="node2: fio ran for 1 s"):
        steps._judge("containers", "latency", "5 milliseconds", site, session, evidence)
    with pytest.raises(UnknownError, match=r"no figure for containers \(kernel\): latency"):
        steps._baseline("15 %", site, session, evidence)
    assert site.benchmark is not None and site.benchmark.baseline is not None
    assert not site.benchmark.baseline.exists()


def test_the_first_run_makes_the_baseline_and_later_ones_are_held_to_it(
    bench: Bench, site: Site, evidence: Run
) -> None:
    strict = site.model_copy(update={"relax": {}})
    steps._baseline("15 %", strict, bench.session(), evidence)
    assert any("nothing was compared" in note for note in evidence.record.scenarios[0].notes)
    assert not evidence.record.scenarios[0].measurements

    for rate, wait in ((1750.0, 0.55), (4000.0, 0.1)):
        bench.finds = outcome(rate, wait)
        steps._baseline("15 %", strict, bench.session(), evidence)
    assert len(evidence.record.scenarios[0].measurements) == 2 * 10

    bench.finds = outcome(rate=1690.0)
    with pytest.raises(NotAsOrderedError, match=r"librbd random-read: worse than its baseline is 15\.5 %"):
        steps._baseline("15 %", strict, bench.session(), evidence)
    bench.finds = outcome(wait=0.6)
    with pytest.raises(NotAsOrderedError, match="kernel latency: worse than its baseline is 20 %"):
        steps._baseline("15 %", strict, bench.session(), evidence)
    steps._baseline("15 %", site, bench.session(), evidence)  # the lab relaxes it
    assert evidence.record.scenarios[0].measurements[-1].relaxed_from == 15.0
