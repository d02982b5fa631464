"""What runs throughout a night: a ledger on a node that is spared, probes on all paths between nodes, and
heartbeats of the guests that are ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from random import Random

from chaos.engine import Engine, Window
from chaos.faults.storage import StorageFault
from chaos.heartbeats import Heartbeats, expected
from chaos.heartbeats_beats import deaf, gaps
from chaos.heartbeats_report import HeartbeatsReport, judge
from chaos.ledger import Ledger, LedgerReport, ordered_targets
from chaos.night import Seen
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from chaos.predict_ceph import CephTimes
from chaos.probe import Outage, ProbeMesh, paths_among
from chaos.storage_drill import StorageDrill
from cluster.errors import RackproofError

INTERVAL_S = 0.02
"""Half as often as in a drill, for a night is long; not more rarely, or each tick would count as a stall."""
WRITE_S = 0.2
LIMIT_S = 7200.0
"""Agents die by themselves after it; a watch of a few faults is over long before."""


class NightWatch:
    """One watch. Heartbeats are kept in `folder`, one file a watch. Raises `UnknownError` where ledger,
    probes or heartbeats cannot begin.
    """

    def __init__(
        self, cluster: ClusterPort, keeper: str, say: Callable[[str], None], folder: Path | None = None
    ) -> None:
        self.keeper = keeper
        self._cluster, self._say, self._folder = cluster, say, folder
        self._ledger: Ledger | None = None
        self._probes: ProbeMesh | None = None
        self._beats: Heartbeats | None = None
        self._times: CephTimes | None = None

    def start(self) -> None:
        targets = ordered_targets(self._cluster.site)
        if targets:
            self._ledger = Ledger(
                self._cluster, self.keeper, targets, interval_s=WRITE_S, limit_s=LIMIT_S, say=self._say
            )
            self._ledger.start()
        paths = paths_among([spec.name for spec in self._cluster.site.nodes])
        if paths:
            self._probes = ProbeMesh(self._cluster, paths, interval_s=INTERVAL_S, limit_s=LIMIT_S)
            self._probes.start()
        guests = expected(self._cluster.site)
        if guests:
            broken = [name for name in self._cluster.nodes if name != self.keeper]
            self._beats = Heartbeats(
                self._cluster, guests, limit_s=LIMIT_S, avoid=broken, path=self._file(), say=self._say
            )
            self._beats.start()

    def seen(self, since_s: float, until_s: float) -> Seen:
        unknown: list[str] = []
        paths: dict[str, Outage] = {}
        writes: dict[str, Outage] = {}
        resolution = 0.0
        if self._probes is not None:
            report = self._probes.report()
            paths = longest(report.outages, since_s, until_s)
            resolution = report.resolution_s + report.worst_stall_s
            unknown += [f"{path}: {why}" for path, why in sorted(report.unknown.items())]
        if self._ledger is not None:
            try:
                written = self._ledger.report()
                writes = longest(written.outages, since_s, until_s)
                unknown += [f"{target}: {why}" for target, why in sorted(written.unknown.items())]
            except RackproofError as error:
                unknown.append(str(error))
        silences: dict[str, Outage] = {}
        if self._beats is not None:
            record = self._beats.record
            silences = longest(gaps(record), since_s, until_s)
            holes = {
                name for name in record.guests for a, b in deaf(record, name) if a < until_s and b > since_s
            }
            unknown += [f"{name}: nobody asked whether it lives" for name in sorted(holes)]
        return Seen(paths, writes, resolution, "; ".join(unknown), silences)

    def expected(self, engine: Engine, window: Window) -> tuple[Prediction | None, Prediction | None]:
        fault = window.fault
        if not isinstance(fault, StorageFault):
            return window.predicted, None
        drill = StorageDrill(
            self._cluster, engine, Random(0), self._say, window=window, times=self._times  # noqa: S311 - draws nothing
        )  # fmt: skip
        self._times = drill.read_times()
        return Prediction(0.0, 0.0, "no path passes through storage"), drill.expected_pause()

    def verify(self) -> LedgerReport | None:
        return self._ledger.verify() if self._ledger is not None else None

    def guests(self) -> HeartbeatsReport | None:
        if self._beats is None:
            return None
        report = judge(self._beats.stop())
        self._say(f"heartbeats: {report.summary()}")
        return report

    def close(self) -> None:
        try:
            if self._probes is not None:
                self._probes.stop()
        finally:
            try:
                if self._beats is not None:
                    self._beats.stop()
            finally:
                if self._ledger is not None:
                    self._ledger.close()

    def _file(self) -> Path | None:
        """Where this watch's heartbeats are kept."""
        if self._folder is None:
            return None
        names = (self._folder / f"heartbeats-{number}.jsonl" for number in count(1))
        return next(path for path in names if not path.exists())


def longest(outages: Iterable[Outage], since_s: float, until_s: float) -> dict[str, Outage]:
    """Path -> its longest outage of those that reach into [since, until]. Pure."""
    found: dict[str, Outage] = {}
    for outage in outages:
        if outage.end_s < since_s or outage.start_s > until_s:
            continue
        if outage.path not in found or outage.seconds > found[outage.path].seconds:
            found[outage.path] = outage
    return found
