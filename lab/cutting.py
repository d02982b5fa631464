"""`lab cut`: no frame between two servers for a known time, and the truth about when that was.

This is what the harness's probes are measured against. The kernel drops what the switches send to either
server's ports (a blackhole queueing discipline on their taps): at once, whatever MAC address a bond
shows, with carrier, links and learned addresses left as they are. Both servers are deaf meanwhile, to the
others too. A process of its own takes the disciplines away should this one be killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass

from lab.errors import LabError
from lab.processes import run
from lab.rack import Rack

LONGEST_S = 60.0
GRACE_S = 3


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
        raise LabError(f"{pair!r} names no two points, expected node1:node2")
    taps = [f"{rack.find(point).name}{port}" for point in (first, second) for port in ("p0", "p1")]
    heal = "".join(f"qdisc del dev {tap} root\n" for tap in taps)
    line = f"sleep {seconds + GRACE_S:g}; printf '{heal}' | tc -force -batch -"
    spare = subprocess.Popen(["sh", "-c", line], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        start = _timed("".join(f"qdisc replace dev {tap} root blackhole\n" for tap in taps))
        half = (start.latest - start.earliest) / 2  # what mending will take, too
        time.sleep(max(0.0, start.middle + seconds - half - time.monotonic()))
    finally:
        end = _timed(heal)
        os.killpg(spare.pid, signal.SIGKILL)
        spare.wait(timeout=5)
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


def _timed(batch: str) -> Instant:
    """Make the change and read the clock around."""
    earliest, wall = time.monotonic(), time.time()
    run(["tc", "-batch", "-"], stdin=batch)
    latest = time.monotonic()
    return Instant(earliest, latest, wall + (latest - earliest) / 2)
