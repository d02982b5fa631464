"""The benchmark as a whole: images, fill, and each load on all nodes at once, as often as the site says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from cluster.errors import RackproofError, UnknownError
from cluster.site import Site
from cluster.site_services import Benchmark
from provisioners.ceph.benchmarks import images, jobs, parse, steady
from provisioners.ceph.benchmarks.fleet import Answer, Fleet
from provisioners.ceph.benchmarks.jobs import WAYS, Profile, Way

if TYPE_CHECKING:
    from cluster.cluster import Cluster

Say = Callable[[str], None]
START_S = 180.0
"""What fio may take to start and to end beside the load itself; 60 s were seen on emulated processors."""
FILL_FLOOR = 50e6
"""Bytes a second of one node below which writing an image to the full is given up, after FILL_S more."""
FILL_S = 600.0
P95 = 95.0


@dataclass(frozen=True)
class Measured:
    """One load through one way. `values`: one figure for each repetition, in the profile's unit; `resolution`
    in the same unit; `steadiness` and reports belong to the repetitions in turn.
    """

    way: Way
    profile: Profile
    values: tuple[float, ...]
    resolution: float
    bins: Mapping[int, int] = field(repr=False)
    steadiness: tuple[steady.Steadiness, ...]
    method: str

    @property
    def key(self) -> str:
        """The figure's name in a baseline."""
        return f"{self.way} {self.profile.name}"

    @property
    def value(self) -> float:
        """Median of the repetitions."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Largest less smallest repetition, in the profile's unit."""
        return max(self.values) - min(self.values)

    @property
    def steady(self) -> bool:
        return all(each.steady for each in self.steadiness)

    def curve(self) -> tuple[tuple[float, float], ...]:
        """(percentile, seconds) of all repetitions together."""
        return tuple((float(p), parse.percentile(self.bins, p)) for p in jobs.PERCENTILES)


@dataclass
class Outcome:
    """All that a benchmark found: figures, loads that gave none and why, fio's reports by file name."""

    settings: dict[str, object]
    version: str = ""
    measured: dict[tuple[Way, str], Measured] = field(default_factory=dict)
    failed: dict[tuple[Way, str], RackproofError] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)

    def get(self, way: Way, profile: str) -> Measured:
        """Raises the error with which the load failed."""
        if (way, profile) in self.failed:
            raise self.failed[way, profile]
        return self.measured[way, profile]


def settings(site: Site) -> Benchmark:
    """The site's own, or those for hardware."""
    return site.benchmark or Benchmark.model_validate({})


def described(site: Site) -> dict[str, object]:
    """What figures must have in common to be compared."""
    table = settings(site)
    return {
        **table.model_dump(mode="json", exclude={"baseline"}),
        "nodes": len(site.nodes),
        "pools": dict(jobs.pools(site)),
    }


def limit_s(site: Site) -> float:
    """Seconds after which the nodes themselves take the benchmark away, whatever it is doing."""
    table = settings(site)
    loads = len(WAYS) * len(jobs.profiles(table)) * table.repeats
    return min(86_000.0, 600 + len(WAYS) * fill_s(table) + loads * load_s(table))


def fill_s(table: Benchmark) -> float:
    """Deadline of writing the images to the full."""
    return FILL_S + table.image_size / FILL_FLOOR


def load_s(table: Benchmark) -> float:
    """Deadline of one load."""
    return table.ramp + table.runtime + START_S


def measure(cluster: Cluster, say: Say) -> Outcome:
    """Run everything and take it away again.

    A load that gave no result is kept as its error, and the next is tried. Raises RefusedError before
    anything is made where the pools have too little room, UnknownError where it could not be begun or taken
    away.
    """
    site, table = cluster.site, settings(cluster.site)
    outcome = Outcome(described(site))
    images.room(site, table, cluster.ceph.must({"prefix": "df"}))
    names = tuple(node.name for node in site.nodes)
    with Fleet(cluster, names, limit_s(site), lambda name: images.clean_for(site, name)) as fleet:
        say(f"benchmark: fio serves on {len(names)} nodes, {fleet.driver} drives them")
        devices = images.prepare(cluster, table)
        for way in WAYS:
            own = jobs.images(site)[way]
            places = {name: (own[name], devices[name] if way == "kernel" else None) for name in names}
            try:
                _fill(fleet, table, way, places, outcome, say)
            except RackproofError as error:
                for profile in jobs.profiles(table):
                    outcome.failed[way, profile.name] = error
                continue
            for profile in jobs.profiles(table):
                try:
                    outcome.measured[way, profile.name] = _load(
                        fleet, table, way, profile, places, outcome, say
                    )
                except RackproofError as error:
                    outcome.failed[way, profile.name] = error
                    say(f"benchmark: {way}, {profile.title}: {error}")
    return outcome


Places = Mapping[str, tuple[jobs.Image, str | None]]


def _fill(fleet: Fleet, table: Benchmark, way: Way, places: Places, outcome: Outcome, say: Say) -> None:
    began = time.monotonic()
    files = {name: jobs.prefill(table, image, device) for name, (image, device) in places.items()}
    answer = fleet.drive(files, jobs.LOG, fill_s(table))
    outcome.reports[f"fio-{way}-fill.json"] = answer.report
    result = _read(fleet, answer, ("write",), None)
    wanted = jobs.slice_of(table) * table.jobs
    for name, parts in result.nodes.items():
        if parts["write"].moved < wanted:
            raise UnknownError(
                f"{name}: only {parts['write'].moved} of {wanted} bytes of the image were written, so a read"
                " would be of nothing"
            )
    say(
        f"benchmark: {way}: {len(places)} images of {wanted / 2**20:.0f} MiB written to the full in"
        f" {time.monotonic() - began:.0f} s"
    )


def _load(
    fleet: Fleet, table: Benchmark, way: Way, profile: Profile, places: Places, outcome: Outcome, say: Say
) -> Measured:
    files = {name: jobs.job(table, profile, image, device) for name, (image, device) in places.items()}
    values: list[float] = []
    kept: list[steady.Steadiness] = []
    bins: Counter[int] = Counter()
    for turn in range(1, table.repeats + 1):
        answer = fleet.drive(files, jobs.LOG, load_s(table))
        outcome.reports[f"fio-{way}-{profile.name}-{turn}.json"] = answer.report
        result = _read(fleet, answer, profile.directions, table.runtime)
        _plausible(fleet.cluster.site, profile, result)
        outcome.version = result.version
        values.append(figure(profile, result))
        kept.append(steady.judge(steady.per_second(answer.logs.values()), table.runtime))
        bins.update(result.bins)
        say(
            f"benchmark: {way}, {profile.title}, {turn} of {table.repeats}:"
            f" {shown(values[-1], profile)}, {kept[-1]}"
        )
    return summed(table, way, profile, values, bins, kept, len(places))


def summed(
    table: Benchmark,
    way: Way,
    profile: Profile,
    values: list[float],
    bins: Mapping[int, int],
    kept: list[steady.Steadiness],
    nodes: int,
) -> Measured:
    """Repetitions as one figure with its method and resolution.

    A rate is uncertain by what was in flight at the end of the window; a percentile by fio's histogram.
    """
    in_flight = nodes * table.jobs * profile.depth / table.runtime
    resolution = {
        "B/s": in_flight * profile.block,
        "IOPS": in_flight,
        "s": median(values) * parse.BIN_WIDTH,
    }[profile.figure]
    unsteady = [str(each) for each in kept if not each.steady]
    method = (
        f"{profile.what}, {table.jobs} jobs on each of {nodes} nodes at once, {way},"
        f" {table.runtime:g} s after a ramp of {table.ramp:g} s, median of {len(values)}"
    )
    if len(values) > 1:
        method += f" (from {shown(min(values), profile)} to {shown(max(values), profile)})"
    method += f"; {unsteady[0] if unsteady else 'steady'}"
    return Measured(way, profile, tuple(values), resolution, bins, tuple(kept), method)


def figure(profile: Profile, result: parse.Result) -> float:
    """What the profile is about, in its unit."""
    if profile.figure == "s":
        return parse.percentile(result.bins, P95)
    return result.bytes_per_second if profile.figure == "B/s" else result.iops


def shown(value: float, profile: Profile) -> str:
    """A figure as people read it."""
    if profile.figure == "s":
        return f"{value * 1000:.3g} ms"
    return f"{value / 1e6:.4g} MB/s" if profile.figure == "B/s" else f"{value:.0f} IOPS"


def _read(fleet: Fleet, answer: Answer, directions: tuple[str, ...], runtime_s: float | None) -> parse.Result:
    return parse.read(
        answer.report,
        answer.rc,
        answer.errors,
        clients=fleet.clients,
        directions=directions,
        runtime_s=runtime_s,
    )


def _plausible(site: Site, profile: Profile, result: parse.Result) -> None:
    """Too fast is as suspicious as too slow: what the nodes' links cannot carry was not stored or read.

    Of n nodes each finds one n-th of the primaries on itself, so links bear (n - 1) / n of the traffic.
    """
    count = len(site.nodes)
    if count < 2:
        return
    carried = sum(link.speed for node in site.nodes for link in node.links) / 8 * count / (count - 1)
    if result.bytes_per_second > carried:
        raise UnknownError(
            f"{profile.title}: {result.bytes_per_second / 1e9:.1f} GB/s is more than the links of all nodes"
            f" can carry ({carried / 1e9:.1f} GB/s), so something else than storage was measured"
        )
