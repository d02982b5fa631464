"""One way to say what is going on: past pytest's capture, with the time that passed since the run began."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Writes one line of progress to the real standard error, where pytest does not hold it back."""
    elapsed = time.monotonic() - _BEGAN
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"[{elapsed:7.1f} s] {text}\n")
        stream.flush()
