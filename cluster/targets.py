"""The numbers that the plan promises, in one table: what a feature may ask for and what a site may relax.

A site that cannot meet a target names it in `[relax]`; the evidence then shows both figures. Sources: `S` the
plan's decision list and executive summary, `p3`, `p11` its phase guides with the test's number, `house` ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from cluster.units import (
    format_bytes_rate,
    format_iops,
    format_percent,
    format_rate,
    format_seconds,
    format_size,
    parse_bytes_rate,
    parse_iops,
    parse_percent,
    parse_rate,
    parse_seconds,
    parse_size,
)

Unit = Literal["bit/s", "B/s", "s", "B", "IOPS", "%"]

_PARSE: Mapping[Unit, Callable[[object], float]] = {
    "bit/s": parse_rate,
    "B/s": parse_bytes_rate,
    "s": parse_seconds,
    "B": parse_size,
    "IOPS": parse_iops,
    "%": parse_percent,
}
_FORMAT: Mapping[Unit, Callable[[float], str]] = {
    "bit/s": format_rate,
    "B/s": format_bytes_rate,
    "s": format_seconds,
    "B": lambda size: format_size(int(size)),
    "IOPS": format_iops,
    "%": format_percent,
}


@dataclass(frozen=True)
class Target:
    """One promised number. `default` is written as people write it; `value` is in `unit`."""

    name: str
    default: str
    unit: Unit
    relation: Literal["<", ">"]
    source: str

    @property
    def value(self) -> float:
        """The promised number in `unit` (bit/s, s, bytes, operations a second, percent)."""
        return self.parse(self.default)

    def parse(self, text: object) -> float:
        """A value written for this target, in `unit`. Raises UnitError when the unit is of another kind."""
        return _PARSE[self.unit](text)

    def format(self, value: float) -> str:
        """The value as people write it."""
        return _FORMAT[self.unit](value)

    def easier(self, value: float) -> bool:
        """Whether `value` asks for less than the plan does."""
        return value > self.value if self.relation == "<" else value < self.value

    def met(self, measured: float, target: float) -> bool:
        """Whether the measured value keeps the (perhaps relaxed) target."""
        return measured < target if self.relation == "<" else measured > target


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("host_network_throughput", "150 Gbit/s", "bit/s", ">", "S, p11 5.1; p11 1.3 asks for 100"),
        Target("host_network_rtt", "1 ms", "s", "<", "p3; p11 1.3 asks for 0.5 ms"),
        Target("ring_round_trip", "1 ms", "s", "<", "p3: 100 pings, all nodes; the mean is judged"),
        Target("link_outage", "1 s", "s", "<", "S: link loss < 1 s"),
        Target(
            "silent_link_outage", "1 s", "s", "<", "S: link loss < 1 s, read to include loss with carrier up"
        ),
        Target("clock_offset", "50 ms", "s", "<", "house; p1: chrony in sync"),
        Target("bmc_clock_offset", "2 min", "s", "<", "house"),
        Target("base_install_duration", "30 min", "s", "<", "S: p1 30 minutes a node"),
        Target("node_loss_recovery", "3 min", "s", "<", "S: node power loss 2-3 minutes"),
        Target("guest_failure_recovery", "2 min", "s", "<", "S: guest failure 1-2 minutes"),
        Target("mon_failover", "30 s", "s", "<", "S: automatic; bound measured, election takes about 15 s"),
        Target("osd_down_detection", "2 min", "s", "<", "p11 2.1: down and remapped in 1-2 minutes"),
        Target(
            "mgr_failover", "1 min", "s", "<", "house: mon_mgr_beacon_grace 30 s and the start of another"
        ),
        Target("mds_failover", "1 min", "s", "<", "house: mds_beacon_grace 15 s, replay and reconnect"),
        Target("osd_failure_recovery", "10 min", "s", "<", "S: rebalanced in 5-10 minutes"),
        Target("client_io_gap", "30 s", "s", "<", "house: osd_heartbeat_grace 20 s and detection, p11 2.3"),
        Target("ceph_sequential_write", "1 GB/s", "B/s", ">", "S, p11 5.2"),
        Target("ceph_sequential_read", "2 GB/s", "B/s", ">", "p11 5.2; S asks for 1 GB/s"),
        Target("ceph_random_read", "100k IOPS", "IOPS", ">", "S, p11 5.2"),
        Target("ceph_random_write", "100k IOPS", "IOPS", ">", "S, read to mean both; p11 5.2 reads only"),
        Target("ceph_latency_p95", "5 ms", "s", "<", "S, in steady state"),
        Target("baseline_regression", "15 %", "%", "<", "house: no worse than the site's own baseline"),
        Target("ceph_usable_capacity", "90 TB", "B", ">", "S: 90 TB, elsewhere 92 TB"),
        Target("weka_throughput", "50 GB/s", "B/s", ">", "p11 5.4: 50-100 GB/s"),
        Target("weka_random_read", "50k IOPS", "IOPS", ">", "p11 5.4"),
    )
}


def target(name: str) -> Target:
    """The target of that name. Raises KeyError for a name that no feature has."""
    return TARGETS[name]
