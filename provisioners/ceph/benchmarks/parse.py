"""fio's JSON (`--output-format=json+`, client and server), read with suspicion. Pure.

fio's exit status is 0 for much that is no result: a server that could not be reached is left out, a mounted
device gives empty jobs. Its sum over clients ("All clients") has no percentiles, so they are computed here
from the histograms of all nodes together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.errors import UnknownError

ALL = "All clients"
MIN_RUNTIME = 0.95
BIN_WIDTH = 1 / 64
"""Relative width of a bin of fio's latency histogram (FIO_IO_U_PLAT_BITS = 6)."""


@dataclass(frozen=True)
class Direction:
    """Reads or writes of one node. `bins`: completions by latency in ns."""

    ios: int
    moved: int
    bytes_per_second: float
    iops: float
    runtime_s: float
    bins: Mapping[int, int] = field(repr=False)


@dataclass(frozen=True)
class Result:
    """One load on all nodes at once: reads and writes by node."""

    version: str
    nodes: Mapping[str, Mapping[str, Direction]]

    def _parts(self) -> Iterable[Direction]:
        return (part for parts in self.nodes.values() for part in parts.values())

    @property
    def bytes_per_second(self) -> float:
        """Of all nodes together."""
        return sum(part.bytes_per_second for part in self._parts())

    @property
    def iops(self) -> float:
        """Of all nodes together."""
        return sum(part.iops for part in self._parts())

    @property
    def bins(self) -> Counter[int]:
        """Completions by latency in ns, of all nodes, reads and writes."""
        total: Counter[int] = Counter()
        for part in self._parts():
            total.update(part.bins)
        return total


def percentile(bins: Mapping[int, int], percent: float) -> float:
    """Seconds within which `percent` of all completions came. Raises UnknownError where there were none."""
    total = sum(bins.values())
    if total == 0:
        raise UnknownError("fio told of no completed operation, so there is no latency")
    wanted, seen = total * percent / 100, 0
    latency = 0
    for latency in sorted(bins):
        seen += bins[latency]
        if seen >= wanted:
            break
    return latency / 1e9


def read(
    text: str,
    rc: int,
    errors: str,
    *,
    clients: Mapping[str, str],
    directions: Sequence[str],
    runtime_s: float | None,
) -> Result:
    """The result of one load. `clients`: node by the name fio's client gave its server.

    `runtime_s` is what was asked of a load that runs by time, None of one that ends by itself. Raises
    UnknownError, naming node and reason, for anything that is no full result of every node.
    """
    before, report = _json(text, rc, errors)
    said = _why(before, errors)
    if rc != 0:
        raise UnknownError(f"fio ended with {rc}: {said}")
    found: dict[str, dict[str, Direction]] = {}
    for entry in report.get("client_stats", []):
        if entry.get("jobname") == ALL:
            continue
        node = clients.get(str(entry.get("hostname", "")))
        if node is None or node in found:
            raise UnknownError(f"fio reports on {entry.get('hostname')!r} in a way that was not asked")
        if entry.get("error"):
            raise UnknownError(f"{node}: fio's job {entry.get('jobname')} ended with error {entry['error']}")
        found[node] = {way: _direction(node, way, entry, runtime_s, said) for way in directions}
    absent = sorted(set(clients.values()) - set(found))
    if absent:
        raise UnknownError(f"fio has no result of {', '.join(absent)}: {said}")
    return Result(str(report.get("fio version", "")), found)


def _json(text: str, rc: int, errors: str) -> tuple[str, dict[str, Any]]:
    """Text before the report, and the report: the first line that is a lone brace begins it."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            try:
                report = json.loads("".join(lines[number:]))
            except ValueError:
                break
            return "".join(lines[:number]), report
    raise UnknownError(f"fio ended with {rc} and gave no report: {_why(text, errors)}")


def _why(before: str, errors: str) -> str:
    """fio's own words, without what it says of every job that starts."""
    plain = ("ioengine=", "Starting ", "Laying out", "...")
    words = [line.strip().removeprefix("<vm>").strip() for line in (errors + "\n" + before).splitlines()]
    kept = [line for line in words if line and not any(mark in line for mark in plain)]
    return "; ".join(dict.fromkeys(kept))[-300:] or "it gave no reason"


def _direction(
    node: str, way: str, entry: Mapping[str, Any], runtime_s: float | None, said: str
) -> Direction:
    try:
        part = entry[way]
        bins = {int(ns): int(count) for ns, count in part["clat_ns"].get("bins", {}).items()}
        found = Direction(
            int(part["total_ios"]),
            int(part["io_bytes"]),
            float(part["bw_bytes"]),
            float(part["iops"]),
            float(part["runtime"]) / 1000,
            bins,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnknownError(f"{node}: fio's report is not of the form known for {way}: {error!r}") from None
    if found.ios == 0:
        raise UnknownError(f"{node}: fio completed no {way}: {said}")
    if not found.bins:
        raise UnknownError(f"{node}: fio reports no latencies of its {way}s")
    if runtime_s is not None and found.runtime_s < MIN_RUNTIME * runtime_s:
        raise UnknownError(f"{node}: fio ran for {found.runtime_s:.1f} s, expected {runtime_s:g} s: {said}")
    return found
