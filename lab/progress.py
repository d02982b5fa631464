"""Progress of long work: what, where, n of m, elapsed."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Prints one line per step: `[ 3/12   4.2 s] what`. Calling it prints a line within the current step."""

    def __init__(self, total: int, out: TextIO | None = None, *, done: int = 0, begun_s: float = 0.0) -> None:
        self._total = total
        self._done = done
        self._out = out or sys.stdout
        self._started = time.monotonic() - begun_s

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def step(self, what: str) -> None:
        """Begin the next step."""
        self._done += 1
        self._total = max(self._total, self._done)
        self._write(f"{self._done:2d}/{self._total:<2d}", what)

    def __call__(self, what: str) -> None:
        self._write("  ...", what)

    def _write(self, place: str, what: str) -> None:
        self._out.write(f"[{place} {self.elapsed_s:6.1f} s] {what}\n")
        self._out.flush()
