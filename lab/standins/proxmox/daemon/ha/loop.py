"""What the two daemons share: rounds until SIGTERM, their lines in the journal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

from ..http.errors import ApiError


def say(text: str) -> None:
    """A line for the journal; the unit names the daemon."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(work: Callable[[], float]) -> None:
    """Call `work` again and again, each time after as many seconds as it asks for, until SIGTERM.

    A round that fails is said, and tried again.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    wait_s = 0.0
    while not stop.wait(wait_s):
        try:
            wait_s = work()
        except (ApiError, OSError) as error:
            say(f"got unexpected error - {error}")
            wait_s = 5.0
