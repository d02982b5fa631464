"""SIGTERM and SIGINT during a drill: they end it, and never its healing."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """The harness was told to end. Like ^C it is no error of a scenario: it ends the whole run, and
    fixtures unwind.
    """


class EndingSignals:
    """Turns signals that would end the process into `Terminated`, so that `finally` blocks run and heal."""

    def __init__(self) -> None:
        self._old: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take the signals over; only the main thread can, and only where nothing has."""
        if threading.current_thread() is not threading.main_thread() or self._old:
            return
        for number in _ENDING:
            self._old[number] = signal.signal(number, _raise)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old.clear()


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Within, ending signals are only noted; the first one noted is raised as `Terminated` at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    old = {number: signal.signal(number, lambda got, _: noted.append(got)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if noted:
        raise Terminated(f"signal {signal.Signals(noted[0]).name} came while a fault was being healed")


def _raise(number: int, frame: FrameType | None) -> None:
    del frame
    raise Terminated(f"signal {signal.Signals(number).name}")
