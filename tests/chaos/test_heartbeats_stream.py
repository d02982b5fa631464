"""A watcher whose connection stands still: what it saw meanwhile is placed as closely as the rest."""

from __future__ import annotations

import sys
import time

from chaos.heartbeats_stream import Far, Placing, Stream

CUT_S = 2.5
WATCHER = f"""
import select, sys, time
began, kept = time.monotonic(), []
def now(): return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
while True:
    cut = 1.0 < time.monotonic() - began < 1.0 + {CUT_S}
    kept.append(f"at {{now()}}")
    if cut:
        time.sleep(0.1)  # it goes on looking; nothing comes in, and nothing gets out
        continue
    if select.select([0], [], [], 0.1)[0]:
        line = sys.stdin.readline()
        if not line:
            break
        kept.append(f"pong {{line.split()[1]}} {{now()}}")
    print(*kept, sep="\\n", flush=True)
    kept.clear()
"""


def test_what_was_seen_while_the_line_was_cut_is_placed_closely() -> None:
    placed: list[tuple[int, int, int]] = []
    late = 0

    def take(_: str, kind: str, text: str, told_ns: int, clock: Placing) -> None:
        nonlocal late
        found = clock.place(int(text), told_ns)
        assert kind == "at"
        if found is not None:
            ahead = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
            truth = int(text) - ahead
            placed.append((found[0] - truth, found[1] - truth, told_ns - truth))
            late += told_ns - truth > 1_500_000_000

    stream = Stream(
        "here", lambda: Far("here", [sys.executable, "-u", "-c", WATCHER], b""), take, lambda _: None
    )
    stream.start()
    deadline = time.monotonic() + 20
    while late < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    stream.close()
    assert late >= 5, "lines that were long on their way"
    fuzz = 50_000_000
    assert all(lo - fuzz <= 0 <= hi + fuzz for lo, hi, _ in placed), "around the truth"
    assert max(hi - lo for lo, hi, told in placed if told > 1_500_000_000) < 1_000_000_000
