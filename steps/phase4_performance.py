"""Phase 4: how fast the storage is, through both ways that guests take, and beside its own baseline."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then

from cluster.cluster import Cluster
from cluster.errors import RackproofError, UnknownError
from cluster.site import Site
from cluster.targets import target
from provisioners.ceph.benchmarks import baseline, images
from provisioners.ceph.benchmarks import run as benchmark
from provisioners.ceph.benchmarks.baseline import Baseline, Figure
from provisioners.ceph.benchmarks.jobs import GUESTS, WAYS, Way
from provisioners.ceph.benchmarks.run import P95, Measured, Outcome
from reports.evidence import Distribution, Run
from reports.record import now
from reports.terminal import say
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold, all_met, measure

STORAGE = 4
WORDS: dict[Way, str] = {"librbd": "virtual machines (librbd)", "kernel": "containers (kernel)"}


class Benchmarked:
    """The session's one benchmark; what it found, or the error that every scenario on it then meets."""

    def __init__(self, phases: Phases, cluster: Cluster, evidence: Run) -> None:
        self._phases, self._cluster, self._evidence = phases, cluster, evidence
        self._outcome: Outcome | None = None
        self._fallen: RackproofError | None = None

    def outcome(self) -> Outcome:
        """Runs the benchmark when first asked. Raises what it fell with, every time."""
        self._phases.require(STORAGE)
        if self._fallen is not None:
            raise self._fallen
        if self._outcome is None:
            try:
                self._outcome = benchmark.measure(self._cluster, say)
            except RackproofError as error:
                self._fallen = error
                raise
            self._keep(self._outcome)
        return self._outcome

    def _keep(self, outcome: Outcome) -> None:
        for name, text in outcome.reports.items():
            self._evidence.artefact(name, text)
        if outcome.version:
            self._evidence.note(f"measured with {outcome.version}; its reports are kept in artefacts/")
        for found in outcome.measured.values():
            if not found.steady:
                why = "; ".join(str(each) for each in found.steadiness if not each.steady)
                self._evidence.note(f"{WORDS[found.way]}, {found.profile.title}: {why}")
        if outcome.measured:
            self._evidence.distribution(_distribution(self._cluster.site, outcome))


@pytest.fixture(scope="session")
def benchmarked(phases: Phases, cluster: Cluster, evidence: Run) -> Benchmarked:
    """The benchmark of this session, run once for all scenarios that judge it."""
    return Benchmarked(phases, cluster, evidence)


@given("every node has loaded the storage at the same time, as virtual machines and as containers do")
def _loaded(benchmarked: Benchmarked) -> None:
    benchmarked.outcome()


@then(parsers.parse("all nodes together write in sequence for {guests} with at least {asked}"))
def _sequential_write(guests: str, asked: str, site: Site, benchmarked: Benchmarked, evidence: Run) -> None:
    _judge(guests, "sequential-write", asked, site, benchmarked, evidence)


@then(parsers.parse("all nodes together read in sequence for {guests} with at least {asked}"))
def _sequential_read(guests: str, asked: str, site: Site, benchmarked: Benchmarked, evidence: Run) -> None:
    _judge(guests, "sequential-read", asked, site, benchmarked, evidence)


@then(parsers.parse("all nodes together read small blocks at random for {guests} with at least {asked}"))
def _random_read(guests: str, asked: str, site: Site, benchmarked: Benchmarked, evidence: Run) -> None:
    _judge(guests, "random-read", asked, site, benchmarked, evidence)


@then(parsers.parse("all nodes together write small blocks at random for {guests} with at least {asked}"))
def _random_write(guests: str, asked: str, site: Site, benchmarked: Benchmarked, evidence: Run) -> None:
    _judge(guests, "random-write", asked, site, benchmarked, evidence)


@then(
    parsers.parse(
        "while all nodes read and write at random for {guests}, 95 percent of all waits are under {asked}"
    )
)
def _latency(guests: str, asked: str, site: Site, benchmarked: Benchmarked, evidence: Run) -> None:
    _judge(guests, "latency", asked, site, benchmarked, evidence)


@then(parsers.parse("no figure is worse than its baseline by {asked} or more"))
def _baseline(asked: str, site: Site, benchmarked: Benchmarked, evidence: Run) -> None:
    outcome = benchmarked.outcome()
    if outcome.failed:
        told = ", ".join(f"{WORDS[way]}: {profile}" for way, profile in outcome.failed)
        raise UnknownError(f"there is no figure for {told}, so the baseline cannot be compared with")
    path = _file(site)
    today = Baseline(
        site.name, now(), outcome.settings, {m.key: _figure(m) for m in outcome.measured.values()}
    )
    former = baseline.load(path)
    if former is None:
        baseline.save(path, today)
        evidence.note(
            f"there was no baseline: today's figures are the baseline from now on, in {path};"
            " nothing was compared"
        )
        return
    evidence.note(f"compared with the baseline of {former.taken}, {path}")
    taken = []
    for compared in baseline.compare(path, former, today):
        found = next(m for m in outcome.measured.values() if m.key == compared.name)
        unsteady = "" if compared.was.steady and compared.now.steady else "; not both were steady"
        taken.append(
            measure(
                evidence, site, "baseline_regression", f"{compared.name}: worse than its baseline",
                compared.worse, asked,
                resolution=100 * max(found.resolution, found.spread / 2) / compared.was.value,
                method=f"{benchmark.shown(compared.now.value, found.profile)} beside"
                f" {benchmark.shown(compared.was.value, found.profile)} of {former.taken[:10]}{unsteady}",
            )
        )  # fmt: skip
    all_met(taken)


@then("no image, mapped device or fio server of the benchmark is left")
def _nothing_left(cluster: Cluster) -> None:
    all_hold(images.left(cluster))


def _judge(
    guests: str, profile: str, asked: str, site: Site, benchmarked: Benchmarked, evidence: Run
) -> None:
    if guests not in GUESTS:
        raise NotAsOrderedError(f"guests are {' or '.join(GUESTS)}, not {guests!r}")
    way = next(each for each in WAYS if each == GUESTS[guests])
    found = benchmarked.outcome().get(way, profile)
    all_met(
        [
            measure(
                evidence, site, found.profile.target, f"{guests}: {found.profile.title}", found.value, asked,
                resolution=max(found.resolution, found.spread / 2), method=found.method,
            )
        ]
    )  # fmt: skip


def _figure(found: Measured) -> Figure:
    unit = found.profile.figure
    return Figure(found.value, unit, "less" if unit == "s" else "more", found.steady)


def _file(site: Site) -> Path:
    """The site's own choice, else reports/baselines/NAME.json."""
    chosen = benchmark.settings(site).baseline
    return site.resolve(chosen or Path("reports/baselines") / f"{site.name}.json")


def _latency_target(site: Site) -> float:
    """The figure that is judged, in seconds: the site's where it is relaxed."""
    promised = target("ceph_latency_p95")
    relaxed = site.relax.get(promised.name)
    return promised.value if relaxed is None else promised.parse(relaxed)


def _distribution(site: Site, outcome: Outcome) -> Distribution:
    """Small blocks alone: a large transfer's latency is its size."""
    series = tuple(
        (f"{WORDS[found.way]}, {found.profile.title}", found.curve())
        for found in outcome.measured.values()
        if found.profile.figure != "B/s"
    )
    return Distribution("Latency of small blocks, all nodes at once", series, P95, _latency_target(site))
