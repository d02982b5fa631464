"""Every decision, one JSON object a line (at, peer, decision, reason), in the journal and in a file."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from .model import Saying, Word

# Priorities of syslog: what an operator must hear of is an error or worse.
_PRIORITY = {Word.GAVE_UP: 2, Word.REFUSED: 3, Word.OFF_SENT: 4, Word.ON_SENT: 4}
_INFORMATION = 6


class Journal:
    """Standard output goes to the journal of systemd, which takes the priority from `<N>`."""

    def __init__(self, path: Path, output: TextIO = sys.stdout) -> None:
        self._path, self._output = path, output

    def say(self, peer: str, saying: Saying) -> None:
        """A full disk keeps nobody from being fenced: the file is left out then."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"at": at, "peer": peer, "decision": saying.word, "reason": saying.reason})
        print(f"<{_PRIORITY.get(saying.word, _INFORMATION)}>{line}", file=self._output, flush=True)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            print(f"<3>{self._path} cannot be written: {error.strerror}", file=self._output, flush=True)
