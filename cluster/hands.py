"""Remote hands: what a drill asks of people (or a rack) that stand before the machines."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cluster.errors import DeadlineError, NotApplicableError, RackproofError

if TYPE_CHECKING:
    from cluster.site_models import Hands as HandsTable

DEADLINE_S = 600  # people walk
Observer = Callable[[str, str, str, float], None]


class HandsError(RackproofError):
    """The command that asks for hands failed."""


class Hands:
    """Runs the commands of `[hands]`; without that table every request is not applicable (PF-HANDS)."""

    def __init__(self, table: HandsTable | None, observer: Observer | None = None) -> None:
        self._table = table
        self._observer = observer

    def pull_drive(self, node: str, serial: str) -> None:
        """Have the drive pulled out of the running node. Raises `NotApplicableError`, `HandsError`,
        `DeadlineError`.
        """
        self._ask("pull_drive", node, serial)

    def push_drive(self, node: str, serial: str) -> None:
        """Have the drive pushed back into its bay. Raises as `pull_drive`."""
        self._ask("push_drive", node, serial)

    def _ask(self, key: str, node: str, serial: str) -> None:
        command = getattr(self._table, key, None)
        if command is None:
            raise NotApplicableError(
                "PF-HANDS",
                f"nobody can be asked to move drive {serial} of {node}: the site has no hands.{key}.",
                "name a command in [hands] that asks somebody, or run the drill beside the rack.",
            )
        words = [word.replace("{node}", node).replace("{serial}", serial) for word in shlex.split(command)]
        start = time.monotonic()
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeadlineError(
                f"hands.{key} for {node}, drive {serial}: not done within {DEADLINE_S} s"
            ) from None
        except OSError as error:
            raise HandsError(f"hands.{key} = {command!r} cannot be run: {error.strerror}") from None
        if self._observer is not None:
            self._observer("hands", shlex.join(words), done.stdout + done.stderr, time.monotonic() - start)
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise HandsError(
                f"hands.{key} for {node}, drive {serial}, failed with {done.returncode}: {last[0]}"
            )
