"""What a run that only looks will ask for, begun all at once: most of it is waiting.

Nothing is begun where something may be provisioned: what a phase finds then depends on the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")
WORKERS = 4
"""Questions under way at once: more of them only wait for the processor of a small node."""


class Ahead:
    """Questions that were begun and not yet taken, by name."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[str, Future[Any]] = {}

    def begin(self, name: str, look: Callable[[], Any], after: Sequence[str] = ()) -> None:
        """Begins one in a thread, as soon as those begun before it that `after` names have ended."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="ahead")
        earlier = [self._begun[each] for each in after if each in self._begun]

        def in_turn() -> Any:
            wait(earlier)
            return look()

        self._begun[name] = self._pool.submit(in_turn)

    def take(self, name: str, look: Callable[[], T]) -> T:
        """What was begun under that name, once; else `look` now. Raises what looking raised."""
        begun: Future[T] | None = self._begun.pop(name, None)
        return look() if begun is None else begun.result()

    def peek(self, name: str, look: Callable[[], T]) -> T:
        """The same, and it stays there to be taken."""
        begun: Future[T] | None = self._begun.get(name)
        return look() if begun is None else begun.result()

    def quiet(self) -> None:
        """Waits until nothing is under way: before something is measured that the others would spoil."""
        wait(self._begun.values())

    def close(self) -> None:
        """Waits for what is under way, so that each look removes what it set up; what waits is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._begun.clear()
