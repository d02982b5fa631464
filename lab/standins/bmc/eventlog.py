"""The system event log: what the BMC saw happen to its server, kept over restarts of the BMC."""

from __future__ import annotations

import datetime
import json
import threading
from pathlib import Path
from typing import Any

KEPT = 512


def timestamp() -> str:
    """Now, as Redfish writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class EventLog:
    """Entries in a file of one JSON object a line; ids count up and are not reused after a clearing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] = []
        self._next = 1
        if path.exists():
            self._entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            self._next = max((int(entry["Id"]) for entry in self._entries), default=0) + 1

    def add(self, message: str, severity: str = "OK", sensor: str = "System Event") -> None:
        """Record that something happened now. `severity` is OK, Warning or Critical."""
        with self._lock:
            self._entries.append(
                {
                    "Id": str(self._next),
                    "Created": timestamp(),
                    "Severity": severity,
                    "Message": message,
                    "SensorType": sensor,
                }
            )
            self._entries = self._entries[-KEPT:]
            self._next += 1
            self._save()

    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget all entries but the clearing itself."""
        with self._lock:
            self._entries = []
        self.add("Event log cleared")

    def _save(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(entry) + "\n" for entry in self._entries), encoding="utf-8")
        fresh.rename(self._path)
