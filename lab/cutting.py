"""`lab cut`: no frame between two points for a known time, and the truth about when that was.

This is what the harness's probes are measured against. OpenFlow flows that drop by MAC addresses are put into
each switch and taken out again; each change lies between two readings of the clock. Should this process be
killed, the flows end by themselves a few seconds late. What the clock readings do not hold is the time until
Open vSwitch's threads notice the change; tests/rack measures that too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lab import ovs
from lab.errors import LabError
from lab.openflow import Drop, Switch
from lab.rack import Rack

LONGEST_S = 60.0
GRACE_S = 3
PRIORITY = 1000
CONTROLLER = "controller"


@dataclass(frozen=True)
class Instant:
    """A moment known to lie between two readings of CLOCK_MONOTONIC, in seconds, and its wall clock time."""

    earliest: float
    latest: float
    wall: float

    @property
    def middle(self) -> float:
        return (self.earliest + self.latest) / 2


def cut(rack: Rack, pair: str, seconds: float) -> str:
    """Cut and mend. Returns lines `start ...`, `end ...`, `lasted ...` with times in seconds.

    Raises LabError for points that are not there or a time over a minute.
    """
    if not 0 < seconds <= LONGEST_S:
        raise LabError(f"--for {seconds}, expected more than 0 and at most {LONGEST_S:.0f} seconds")
    first, colon, second = pair.partition(":")
    if not colon or first == second:
        raise LabError(f"{pair!r} names no two points, expected node1:node2 or node1:{CONTROLLER}")
    flows = _flows(_macs(rack, first), _macs(rack, second), int(seconds) + GRACE_S)
    with ExitStack() as stack:
        switches = [stack.enter_context(Switch(bridge)) for bridge in ovs.bridges(rack)]
        start = _timed([switch.add for switch in switches], flows)
        try:
            time.sleep(max(0.0, start.middle + seconds - time.monotonic()))
        finally:
            end = _timed([switch.delete for switch in switches], flows)
    return "\n".join(
        [
            _line("start", start),
            _line("end", end),
            f"lasted between {end.earliest - start.latest:.6f} and {end.latest - start.earliest:.6f}, "
            f"most likely {end.middle - start.middle:.6f}",
        ]
    )


def _line(name: str, instant: Instant) -> str:
    return (
        f"{name} monotonic {instant.middle:.6f} wall {instant.wall:.6f} "
        f"uncertain {(instant.latest - instant.earliest) / 2:.6f}"
    )


def _timed(changes: Sequence[Callable[[Sequence[Drop]], None]], flows: Sequence[Drop]) -> Instant:
    """Make the change in every switch and read the clock around."""
    earliest, wall = time.monotonic(), time.time()
    for change in changes:
        change(flows)
    latest = time.monotonic()
    return Instant(earliest, latest, wall + (latest - earliest) / 2)


def _macs(rack: Rack, point: str) -> list[str]:
    """MACs that a point may send from: a bond shows either port's."""
    if point == CONTROLLER:
        return [
            Path(f"/sys/class/net/{ovs.leg(vlan.id)}/address").read_text(encoding="ascii").strip()
            for vlan in rack.vlans.values()
        ]
    server = rack.find(point)
    return [server.p0, server.p1]


def _flows(first: list[str], second: list[str], timeout_s: int) -> list[Drop]:
    both_ways = [(a, b) for a in first for b in second] + [(b, a) for a in first for b in second]
    return [Drop(a, b, PRIORITY, ovs.CUT_COOKIE, timeout_s) for a, b in both_ways]
