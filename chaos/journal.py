"""The file on the controller that says which faults are in, and what heals them when the harness could not.

A line is written and synced before anything is armed or broken, and after each change of state. It is
data (a fault's name and fields), never code; each line bears a CRC, so that half a line, left by a power
cut, is told from a whole one. The file is emptied when the target was seen healed and redundant. A lock
on it keeps two harnesses from breaking at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from chaos.fault import Fault, rebuild
from chaos.ports import ClusterPort
from cluster.errors import RackproofError, RefusedError, UnreachableError
from cluster.site import Site

HEAL_S = 60.0
_POLL_S = 1.0
_GRACE_S = 30.0  # after a dead-man's switch was due: the time a target may take to answer again


class JournalError(RackproofError):
    """The journal cannot be read or written; nothing may be broken until it can."""


class State(StrEnum):
    """How far a drill has come. Whatever it is, healing is the same: heal, see it healed, disarm."""

    INTENDED = "intended"
    ARMED = "armed"
    BREAKING = "breaking"
    BROKEN = "broken"
    HEALING = "healing"
    HEALED = "healed"
    CLEARED = "cleared"


@dataclass(frozen=True)
class Entry:
    """The latest line of one drill. `at`: UTC of that line; `begun`: UTC of its first one; `handles`: of
    the switch.
    """

    drill: str
    state: State
    kind: str
    parameters: Mapping[str, Any]
    handles: Mapping[str, str]
    begun: str
    at: str

    def age_s(self) -> float:
        """Seconds since the drill began, by the controller's wall clock (it may have restarted meanwhile)."""
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.begun)).total_seconds())


@dataclass(frozen=True)
class Recovered:
    """What became of one entry: `healed` and cleared, or why not."""

    entry: Entry
    healed: bool
    detail: str


def journal_path(site: Site) -> Path:
    """Where a site's journal lies: outside any checkout, since it is about the cluster and not about the
    code.
    """
    named = os.environ.get("RACKPROOF_JOURNALS")
    state = Path(named) if named else _state_home() / "rackproof"
    return state / f"{site.name}.journal"


class Journal:
    """One site's journal. Raises `JournalError` where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the journal alone. Raises `RefusedError` at once where another harness (or this one) holds
        it.
        """
        if self._held:
            raise RefusedError("a fault is in already: one at a time")
        with self._open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RefusedError(f"another harness is in a drill: it holds {self.path}") from None
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def begin(self, fault: Fault) -> str:
        """Write that a fault is intended; returns the new drill's id."""
        now = _now()
        entry = Entry(secrets.token_hex(4), State.INTENDED, fault.kind, fault.parameters(), {}, now, now)
        self._append(entry)
        return entry.drill

    def advance(self, drill: str, state: State, handles: Mapping[str, str] | None = None) -> None:
        """Write a drill's new state."""
        entry = self._entry(drill)
        kept = entry.handles if handles is None else handles
        self._append(Entry(drill, state, entry.kind, entry.parameters, kept, entry.begun, _now()))

    def clear(self, drill: str) -> None:
        """Write that a drill is over; the file is emptied once none is left."""
        self.advance(drill, State.CLEARED)
        if not self.entries():
            with self._open() as file:
                file.truncate(0)
                os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """Drills that are not over, oldest first."""
        return self._read()[0]

    def damaged(self) -> int:
        """Lines that cannot be trusted, the last one aside, which a power cut may have halved."""
        return self._read()[1]

    def _entry(self, drill: str) -> Entry:
        for entry in self.entries():
            if entry.drill == drill:
                return entry
        raise JournalError(f"{self.path} no longer names drill {drill}")

    def _read(self) -> tuple[list[Entry], int]:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise JournalError(f"{self.path} cannot be read: {error.strerror}") from None
        found: dict[str, Entry] = {}
        bad = 0
        lines = data.split(b"\n")
        for number, line in enumerate(lines):
            entry = _decode(line)
            if entry is not None:
                found[entry.drill] = entry
            elif line and number < len(lines) - 1:
                bad += 1
        return [entry for entry in found.values() if entry.state is not State.CLEARED], bad

    def _append(self, entry: Entry) -> None:
        try:
            with self._open() as file:
                _drop_half_line(file.fileno())
                os.write(file.fileno(), _encode(entry))
                os.fsync(file.fileno())
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be written: {error.strerror}; nothing is broken without it"
            ) from None

    def _open(self) -> Any:
        try:
            fresh = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "ab")
            if fresh:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise JournalError(f"{self.path} cannot be opened: {error.strerror}") from None
        return file


def recover(
    cluster: ClusterPort,
    journal: Journal | None = None,
    say: Callable[[str], None] = lambda _: None,
    known: Mapping[str, type[Fault]] | None = None,
) -> list[Recovered]:
    """Heal what the journal still names, and clear it. Call before anything else at the start of a run.

    A target that does not answer is waited for until its dead-man's switch was due; what cannot be healed
    stays in the journal, and the guard refuses drills until it is gone. Raises `JournalError` (after
    healing what can be read) where lines are damaged, `RefusedError` where another harness is in a drill.
    """
    book = journal or Journal(journal_path(cluster.site))
    if not book.path.exists():
        return []
    done = []
    with book.locked():
        bad = book.damaged()
        for entry in book.entries():
            say(f"healing {entry.kind} {dict(entry.parameters)} of an earlier run ({entry.state})")
            try:
                told = _heal(cluster, rebuild(entry.kind, entry.parameters, known), entry)
            except RackproofError as error:
                done.append(Recovered(entry, False, str(error)))
                continue
            if not bad:
                book.clear(entry.drill)
            done.append(Recovered(entry, True, told))
        if bad:
            raise JournalError(
                f"{book.path} has {bad} damaged lines; of {len(done)} faults that could be read"
                f" {sum(each.healed for each in done)} are healed; look at the cluster, then remove the file"
            )
    return done


def _heal(cluster: ClusterPort, fault: Fault, entry: Entry) -> str:
    """Heal until seen healed. Raises the last error where that is not so in time."""
    begun = time.monotonic()
    patience = max(fault.deadman_s + _GRACE_S - entry.age_s(), 0.0)
    deadline = begun + max(patience, HEAL_S, fault.heal_s)
    while True:
        try:
            fault.heal(cluster, entry.drill)
            if fault.healed(cluster):
                break
            why: RackproofError = RefusedError(f"{fault.target} is still broken")
        except UnreachableError as error:
            why = error
            deadline = min(deadline, begun + patience)
        except RackproofError as error:
            why = error
        if time.monotonic() >= deadline:
            raise why
        time.sleep(_POLL_S)
    fault.disarm(cluster, entry.drill, entry.handles)
    return f"{fault.target} is healed"


def _encode(entry: Entry) -> bytes:
    fields = {
        "drill": entry.drill,
        "state": entry.state.value,
        "kind": entry.kind,
        "parameters": dict(entry.parameters),
        "handles": dict(entry.handles),
        "begun": entry.begun,
        "at": entry.at,
    }
    payload = json.dumps(fields, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _decode(line: bytes) -> Entry | None:
    """The entry of a line; None where the line is not as it was written."""
    check, _, payload = line.partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(payload):
            return None
        fields = json.loads(payload)
        return Entry(**{**fields, "state": State(fields["state"])})
    except (ValueError, TypeError, KeyError):
        return None


def _drop_half_line(descriptor: int) -> None:
    """A line that a crash halved was never acted on (it is synced first): it is cut off before the next
    is added.
    """
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, size, 0)
    whole = data.rfind(b"\n") + 1
    if whole != size:
        os.ftruncate(descriptor, whole)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _state_home() -> Path:
    named = os.environ.get("XDG_STATE_HOME")
    return Path(named) if named else Path.home() / ".local" / "state"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
