"""A watcher whose connection stands still: what it saw meanwhile is placed as closely as the rest."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos import heartbeats_nodes, heartbeats_stream
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


def test_a_question_that_came_in_pieces_is_answered(tmp_path: Path) -> None:
    """Seen on nodes whose processors are busy: the shell waited for the rest of a line beyond its time."""
    settings = heartbeats_nodes._settings({}, 0.05, 60, str(tmp_path))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/uptime").symlink_to("/proc/uptime")
    program = settings + Path(heartbeats_nodes.__file__).with_name("heartbeats_places.sh").read_text()
    shell = subprocess.Popen(["bash", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert shell.stdin is not None
    for piece in (program, "pi", "ng", " 00000", "42\nping 0000043\n", "ping 0000044ping 0000045\nping 46\n"):
        shell.stdin.write(piece.encode())
        time.sleep(0.3)
    told = shell.communicate(timeout=20)[0].decode()
    answered = [line.split()[1] for line in told.splitlines() if line.startswith("pong")]
    assert answered == ["0000042", "0000043", "0000045"], "one whose line break was lost, one in pieces"
    assert all(len(line.split()) == 3 for line in told.splitlines() if line.startswith("pong"))


FORGETFUL = """
import sys, time
for line in iter(sys.stdin.readline, ""):
    number = int(line.split()[1])
    stamp = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    if number != 2:
        pongs = [f"pong {each} {stamp}" for each in (line.split()[1], "0999999")]
        print(*pongs, f"at {number}", sep="\\n", flush=True)
"""


def test_a_question_that_got_lost_makes_nothing_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats_stream, "LATE_NS", 300_000_000)
    monkeypatch.setattr(heartbeats_stream, "PING_S", 0.1)
    came: list[int] = []
    lost: list[str] = []
    far = Far("here", [sys.executable, "-u", "-c", FORGETFUL], b"")
    stream = Stream("here", lambda: far, lambda *told: came.append(int(told[2])), lost.append)
    stream.start()
    deadline = time.monotonic() + 20
    while len(came) < 15 and time.monotonic() < deadline:
        assert len(stream._sent) < 10
        time.sleep(0.05)
    assert came[:15] == [0, 1, *range(3, 16)], "each as it came, though one question has no answer"
    assert min(stream._sent, default=15) >= 13, "nothing waits for it any more"
    stream.close()
    assert lost == [], "nor does an answer that nobody asked for end it"
