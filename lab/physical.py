"""What hands have done to the rack: drives out of their bays, cables pulled, ports shut. Kept in a file."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.paths import State


@dataclass
class Physical:
    """`pulled`: serials of drives out of their bays, by server. `down`: why a link is down, by tap name."""

    pulled: dict[str, set[str]] = field(default_factory=dict)
    down: dict[str, set[str]] = field(default_factory=dict)

    def in_bay(self, server: str, serial: str) -> bool:
        return serial not in self.pulled.get(server, set())

    def link_up(self, tap: str) -> bool:
        """A link is up when nothing holds it down: cable in place and switch port not shut."""
        return not self.down.get(tap)

    def set_drive(self, server: str, serial: str, present: bool) -> None:
        _mark(self.pulled, server, serial, not present)

    def set_link(self, tap: str, why: str, up: bool) -> None:
        _mark(self.down, tap, why, not up)


def _mark(table: dict[str, set[str]], key: str, value: str, on: bool) -> None:
    members = table.setdefault(key, set())
    if on:
        members.add(value)
    else:
        members.discard(value)
    if not members:
        del table[key]


def path(state: State) -> Path:
    return state.root / "physical.json"


def read(state: State) -> Physical:
    """The present state; a rack nobody has touched when there is no file."""
    try:
        text = path(state).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Physical()
    table = json.loads(text)
    return Physical(
        {key: set(value) for key, value in table["pulled"].items()},
        {key: set(value) for key, value in table["down"].items()},
    )


@contextmanager
def change(state: State) -> Iterator[Physical]:
    """Read, change, write back; one at a time (the switches' consoles and `lab hands` may meet here)."""
    with (state.root / "physical.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        physical = read(state)
        yield physical
        table = {
            name: {key: sorted(value) for key, value in sorted(part.items())}
            for name, part in (("pulled", physical.pulled), ("down", physical.down))
        }
        fresh = path(state).with_suffix(".new")
        fresh.write_text(json.dumps(table, indent=1), encoding="utf-8")
        fresh.rename(path(state))
