"""Watches paths of the host network in both directions and says when each was interrupted, and for how long.

One agent a host sends a datagram down each of its paths every `interval_s` and records what arrives
(`probe_agent`); `outages` does the arithmetic. What is not certain raises `UnknownError`: a dead agent, a
path never seen working, a host that stood still for too much of the time. A probe that failed is never an
absence of outages.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from chaos.outages import Gap, PathRecord, Quality, Rules, evaluate
from chaos.ports import ClusterPort
from chaos.probe_hosts import AgentHost, LocalHost, Logs, NodeHost, local_address
from cluster.errors import RackproofError, UnknownError

CONTROLLER = "controller"
PORTS = range(21000, 30000)  # below those that kernels hand out; drawn, so that two harnesses do not meet
READY_ARRIVALS = 20
READY_S = 30.0
MAX_STALL_SHARE = 0.2  # a host that stands still for longer cannot judge anybody
_UPTIME_NS = 10_000_000  # /proc/uptime counts hundredths
_T = TypeVar("_T")


@dataclass(frozen=True, order=True)
class Path:
    """One direction between two hosts; a host is a node's name or `CONTROLLER`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


@dataclass(frozen=True)
class Outage:
    """One interruption of one path. Seconds on the controller's monotonic clock.

    `end_s - start_s` is measured on the sender's clock alone; it exceeds the truth by `resolution_s` at
    most. Only where it lies on the controller's clock is an estimate (`ProbeReport.placement_s`). `ended`
    is False where the path had not come back when the record was read.
    """

    path: str
    start_s: float
    end_s: float
    resolution_s: float
    ended: bool = True
    lost: int = 0

    @property
    def seconds(self) -> float:
        """Length in seconds: the truth is at most this."""
        return self.end_s - self.start_s

    @property
    def least_s(self) -> float:
        """The truth is at least this; 0 where stalls of the hosts themselves may explain it all."""
        return max(0.0, self.seconds - self.resolution_s)


@dataclass(frozen=True)
class ProbeReport:
    """What the probes saw. `unknown`: path -> why nothing can be said of it. Seconds throughout."""

    outages: tuple[Outage, ...]
    quality: Mapping[str, Quality]
    unknown: Mapping[str, str]
    interval_s: float
    placement_s: float

    @property
    def resolution_s(self) -> float:
        """Bound of an outage's error with no stall beside it: two intervals as they really were, 99 times
        of 100.
        """
        return 2 * max((q.interval_p99_ns for q in self.quality.values()), default=0) / 1e9

    @property
    def worst_stall_s(self) -> float:
        """The longest time in which some sender sent nothing: an outage within it would not have been
        seen.
        """
        return max((q.worst_stall_ns for q in self.quality.values()), default=0) / 1e9

    def longest(self) -> Outage | None:
        """The longest outage, None if there was none. Raises `UnknownError` as `certain`."""
        return max(self.certain(), key=lambda outage: outage.seconds, default=None)

    def certain(self) -> tuple[Outage, ...]:
        """All outages in order of time. Raises `UnknownError` where any path could not be judged."""
        if self.unknown:
            told = "; ".join(f"{path}: {why}" for path, why in sorted(self.unknown.items()))
            raise UnknownError(f"the probes cannot tell whether there was an outage: {told}")
        return self.outages


def paths_among(hosts: Sequence[str]) -> tuple[Path, ...]:
    """Both directions of every pair."""
    return tuple(Path(a, b) for a in hosts for b in hosts if a != b)


def paths_of(host: str, others: Iterable[str]) -> tuple[Path, ...]:
    """Both directions between one host and each of the others."""
    return tuple(path for other in others if other != host for path in (Path(host, other), Path(other, host)))


class ProbeMesh:
    """Probes on a set of paths, as a context manager: entered when every path was seen working.

    `limit_s`: agents die by themselves after it. `hosts` and `addresses` replace those of the cluster
    (tests, namespaces).
    """

    def __init__(
        self,
        cluster: ClusterPort | None,
        paths: Iterable[Path],
        interval_s: float = 0.01,
        limit_s: float = 900.0,
        *,
        port: int | None = None,
        hosts: Mapping[str, AgentHost] | None = None,
        addresses: Mapping[str, str] | None = None,
    ) -> None:
        self.paths = tuple(dict.fromkeys(paths))
        if not self.paths:
            raise ValueError("no path to watch was given")
        if not 0.001 <= interval_s <= 1:
            raise ValueError(f"interval_s = {interval_s}: expected 0.001 to 1")
        self.interval_s = interval_s
        self.limit_s = limit_s
        self.session = secrets.randbits(31)
        self.port = port or PORTS[self.session % len(PORTS)]
        names = sorted({name for path in self.paths for name in (path.source, path.target)})
        self._hosts = dict(hosts) if hosts is not None else _hosts(cluster, names, self.session)
        self._addresses = dict(addresses) if addresses is not None else _addresses(cluster, names)
        self._clocks: dict[str, tuple[int, int]] = {}
        self._broken: dict[str, str] = {}
        self._since_s = 0.0
        self._final: ProbeReport | None = None

    def start(self) -> None:
        """Start all agents and wait until each path was seen working. Raises `UnknownError` after
        stopping them all.
        """
        try:
            self._each(lambda name, host: host.start(self._config(name)))
            ready = self._each(lambda _, host: host.wait_ready(READY_S))
            self._clocks = self._each(lambda _, host: host.clock())
        except BaseException:
            self._quietly(lambda host: host.stop())
            self._quietly(lambda host: host.clear())
            raise
        deaf = sorted(name for name, seen in ready.items() if not seen)
        if deaf:
            why = self._silent()
            self._quietly(lambda host: host.stop())
            self._quietly(lambda host: host.clear())
            raise UnknownError(
                f"the probes did not start: within {READY_S:g} s no traffic on all paths to"
                f" {', '.join(deaf)}: {why}"
            )
        self._since_s = time.monotonic()

    def report(self) -> ProbeReport:
        """What was seen so far; while the probes run it does not cover about the last second."""
        if self._final is not None:
            return self._final
        logs, broken = self._logs()
        return self._judge(logs, {**self._broken, **broken})

    def stop(self) -> ProbeReport:
        """End the agents, read them, remove what they left, and judge. Asked twice, answers the same."""
        if self._final is None:
            running, broken = self._logs()
            for name, logs in running.items():
                if logs.ended is not None:
                    broken[name] = f"the probe on {name} ended before it was told to ({logs.ended})"
            self._broken.update(broken)
            self._broken.update(self._quietly(lambda host: host.stop()))
            logs_now, unread = self._logs()
            self._final = self._judge(logs_now, {**self._broken, **unread})
            self._quietly(lambda host: host.clear())
        return self._final

    def outages(self) -> tuple[Outage, ...]:
        """All outages so far, in order of time. Raises `UnknownError` where any path could not be judged."""
        return self.report().certain()

    def __enter__(self) -> ProbeMesh:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _config(self, name: str) -> dict[str, object]:
        return {
            "session": self.session,
            "bind": self._addresses[name],
            "port": self.port,
            "interval_ns": int(self.interval_s * 1e9),
            "limit_s": self.limit_s,
            "send": [[n, self._addresses[p.target]] for n, p in enumerate(self.paths) if p.source == name],
            "expect": [n for n, p in enumerate(self.paths) if p.target == name],
            "ready": READY_ARRIVALS,
            "flush_ticks": max(1, round(0.5 / self.interval_s)),
        }

    def _judge(self, logs: Mapping[str, Logs], broken: Mapping[str, str]) -> ProbeReport:
        rules = Rules(int(self.interval_s * 1e9), soft_ns=int(3 * self.interval_s * 1e9))
        found: list[Outage] = []
        quality: dict[str, Quality] = {}
        unknown: dict[str, str] = {}
        clocks = self._place(logs)
        for number, path in enumerate(self.paths):
            why = broken.get(path.source) or broken.get(path.target)
            if why is not None:
                unknown[str(path)] = why
                continue
            source, target = logs[path.source], logs[path.target]
            record = evaluate(source.ticks, target.arrivals.get(number, ()), target.ticks, rules)
            if record is None:
                unknown[str(path)] = "nothing arrived, so it was never seen working"
                continue
            quality[str(path)] = record.quality
            why = _untrustworthy(record)
            if why is not None:
                unknown[str(path)] = why
            shift, blur = clocks.get(path.source, (0, 0))
            outages = [_outage(str(path), gap, shift) for gap in record.gaps]
            # what ended before all was ready is of the starting, which burdens the hosts
            found.extend(outage for outage in outages if outage.end_s > self._since_s - blur / 1e9)
        return ProbeReport(
            outages=tuple(sorted(found, key=lambda outage: (outage.start_s, outage.path))),
            quality=quality,
            unknown=unknown,
            interval_s=self.interval_s,
            placement_s=max((blur for _, blur in clocks.values()), default=0) / 1e9,
        )

    def _place(self, logs: Mapping[str, Logs]) -> dict[str, tuple[int, int]]:
        """Each host: what to add to its stamps to place them on the controller's clock, and by how much
        that may err.

        Where datagrams went both ways between host and controller, the quickest of each way tell (as NTP
        does); else half a round trip of a command.
        """
        placed: dict[str, tuple[int, int]] = {}
        for name, known in logs.items():
            ahead, blur = self._clocks.get(name, (known.boot_ns, 0))
            placed[name] = (known.boot_ns - ahead, blur + _UPTIME_NS)
            away, back = Path(CONTROLLER, name), Path(name, CONTROLLER)
            if away in self.paths and back in self.paths and CONTROLLER in logs:
                there = self._quickest(logs[CONTROLLER], known, self.paths.index(away))
                here = self._quickest(known, logs[CONTROLLER], self.paths.index(back))
                if there is not None and here is not None:
                    placed[name] = ((here - there) // 2, (here + there) // 2)
        if CONTROLLER in placed:
            placed[CONTROLLER] = (0, 0)
        return placed

    def _quickest(self, source: Logs, target: Logs, number: int) -> int | None:
        ways = [
            target.ticks[tick] - source.ticks[sequence]
            for sequence, tick in target.arrivals.get(number, ())
            if sequence < len(source.ticks) and tick < len(target.ticks)
        ]
        return min(ways, default=None)

    def _logs(self) -> tuple[dict[str, Logs], dict[str, str]]:
        logs: dict[str, Logs] = {}
        broken: dict[str, str] = {}
        with ThreadPoolExecutor(len(self._hosts)) as pool:
            waiting = {name: pool.submit(host.read) for name, host in self._hosts.items()}
            for name, future in waiting.items():
                try:
                    logs[name] = future.result()
                except RackproofError as error:
                    broken[name] = f"the record of the probe on {name} is not to be had: {error}"
        return logs, broken

    def _silent(self) -> str:
        """Why a start has failed: what the agents say, or else the paths on which nothing came."""
        logs, broken = self._logs()
        if broken:
            return "; ".join(broken.values())
        nothing = [
            str(path) for number, path in enumerate(self.paths) if not logs[path.target].arrivals.get(number)
        ]
        return f"nothing came on {', '.join(nothing)}" if nothing else "too little came"

    def _each(self, action: Callable[[str, AgentHost], _T]) -> dict[str, _T]:
        with ThreadPoolExecutor(len(self._hosts)) as pool:
            waiting = {name: pool.submit(action, name, host) for name, host in self._hosts.items()}
            return {name: future.result() for name, future in waiting.items()}

    def _quietly(self, action: Callable[[AgentHost], None]) -> dict[str, str]:
        """Act on every host though some fail; what failed is returned, not raised."""
        failed: dict[str, str] = {}
        with ThreadPoolExecutor(len(self._hosts)) as pool:
            waiting = {name: pool.submit(action, host) for name, host in self._hosts.items()}
            for name, future in waiting.items():
                try:
                    future.result()
                except RackproofError as error:
                    failed[name] = str(error)
        return failed


def _untrustworthy(record: PathRecord) -> str | None:
    quality = record.quality
    for who, share in (("sender", quality.sender_stall_share), ("receiver", quality.receiver_stall_share)):
        if share > MAX_STALL_SHARE:
            return f"the {who} stood still for {share:.0%} of the time, more than {MAX_STALL_SHARE:.0%}"
    return None


def _outage(path: str, gap: Gap, shift: int) -> Outage:
    start, end = (gap.start_ns + shift) / 1e9, (gap.end_ns + shift) / 1e9
    return Outage(path, start, end, gap.resolution_ns / 1e9, ended=not gap.open, lost=gap.lost)


def _hosts(cluster: ClusterPort | None, names: Sequence[str], session: int) -> dict[str, AgentHost]:
    hosts: dict[str, AgentHost] = {}
    for name in names:
        if name == CONTROLLER:
            hosts[name] = LocalHost(CONTROLLER)
        else:
            hosts[name] = NodeHost(_known(cluster).nodes[name], session)
    return hosts


def _addresses(cluster: ClusterPort | None, names: Sequence[str]) -> dict[str, str]:
    site = _known(cluster).site
    found = {name: str(site.node(name).address) for name in names if name != CONTROLLER}
    if CONTROLLER in names:
        found[CONTROLLER] = local_address(str(site.nodes[0].address))
    return found


def _known(cluster: ClusterPort | None) -> ClusterPort:
    if cluster is None:
        raise ValueError("hosts and addresses must both be given where there is no cluster")
    return cluster
