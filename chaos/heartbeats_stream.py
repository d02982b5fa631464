"""A watcher at the far end of a connection: begun again whenever it ends, its clock compared all the while.

The watcher's program goes down its standard input, so nothing is left on a node; it ends with its input. It
says one line at a time, the first word of which is its kind; `ping N` (seven digits) is answered by `pong N
STAMP` with its clock (ns since its machine started). That tells where each of its stamps lies on the
controller's clock, and how surely.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, NamedTuple, Protocol

from chaos.ledger_host import DRIFT, Compared
from cluster.errors import RackproofError

QUIET_S = 90.0
"""A watcher that hears nothing for so long ends itself."""
OPTIONS = ("ServerAliveInterval=5", "ServerAliveCountMax=24")
"""A connection outlasts interruptions of two minutes, and what was seen meanwhile then still arrives."""
PING_S = 1.0
AGAIN_S = 1.0
END_S = 5.0
LATE_NS = 1_000_000_000
HELD_NS = 10_000_000_000
"""What may be late waits for a comparison of clocks, for no longer than this."""
_KEPT = 64
_HASTE = 5  # the first comparisons come quickly
LOADER = (
    'import os,sys;t=b""\n'
    "while len(t)<int(sys.argv[1]):t+=os.read(0,int(sys.argv[1])-len(t)) or sys.exit(3)\n"
    'exec(compile(t,"watcher","exec"))'
)
"""Takes a Python program of a known length from standard input and leaves the rest of it to the program."""


class Placing(Protocol):
    """What places another machine's stamps on the controller's clock."""

    def place(self, stamp_ns: int, told_ns: int) -> tuple[int, int] | None: ...

    def started(self) -> tuple[int, int] | None: ...


class Clock:
    """Places another machine's stamps on the controller's clock. Its stamps are cut off to `tick_ns`."""

    def __init__(self, tick_ns: int = 1) -> None:
        self._tick = tick_ns
        self._known: deque[Compared] = deque(maxlen=_KEPT)

    def compare(self, asked_ns: int, told_ns: int, stamp_ns: int) -> None:
        """The other machine's clock showed `stamp_ns` at some moment from `asked_ns` to `told_ns` of ours.

        What was known before is forgotten where both cannot be true: that machine stood still meanwhile.
        """
        half = (told_ns - asked_ns + self._tick + 1) // 2
        new = Compared(stamp_ns, stamp_ns - (asked_ns + told_ns) // 2 + self._tick // 2, half)
        agreeing = (old for old in self._known if abs(old.ahead - new.ahead) <= _blur(old, stamp_ns) + half)
        self._known = deque([*agreeing, new], maxlen=_KEPT)

    def place(self, stamp_ns: int, told_ns: int) -> tuple[int, int] | None:
        """The ends between which that stamp lies on our clock, where it was told of at `told_ns`; None before
        clocks were compared, and where it would lie in the future.

        What is told of late was late on its way, or its machine had stood still: it ends when it was told of.
        """
        found = self._around(stamp_ns)
        if found is None or found[0] > told_ns:
            return None
        return found[0], told_ns if told_ns - found[1] > LATE_NS else min(found[1], told_ns)

    def started(self) -> tuple[int, int] | None:
        """The ends between which the other machine's start lies; None before clocks were compared."""
        return self._around(0)

    def by(self, stamp_ns: int) -> int | None:
        """Where that stamp lies at the latest by comparisons that came after it, None without one. A machine
        that stood still in between fell behind only then, so the stamp lies earlier still.
        """
        later = (each for each in self._known if each.at >= stamp_ns)
        ends = (stamp_ns - each.ahead + self._tick + _blur(each, stamp_ns) for each in later)
        return min(ends, default=None)

    def copy(self) -> Clock:
        """What is known now."""
        found = Clock(self._tick)
        found._known = self._known.copy()
        return found

    def _around(self, stamp_ns: int) -> tuple[int, int] | None:
        if not self._known:
            return None
        best = min(self._known, key=lambda each: _blur(each, stamp_ns))
        blur, at = _blur(best, stamp_ns), stamp_ns - best.ahead
        return at - blur, at + self._tick + blur


class Settled:
    """Places stamps of what was told of late: not before where they lay by what was known `then`, and not
    after where they lie by what is known `now`.
    """

    def __init__(self, then: Clock, now: Clock) -> None:
        self._then, self._now = then, now

    def place(self, stamp_ns: int, told_ns: int) -> tuple[int, int] | None:
        """As `Clock.place`."""
        found, by = self._then.place(stamp_ns, told_ns), self._now.by(stamp_ns)
        return found if found is None or by is None else (found[0], max(found[0], min(found[1], by)))

    def started(self) -> tuple[int, int] | None:
        """As `Clock.started`."""
        return self._now.started()


def _blur(compared: Compared, stamp_ns: int) -> int:
    """By how much a comparison may be wrong at another moment, as no clock drifts by more than `DRIFT`."""
    return compared.half + int(DRIFT * abs(stamp_ns - compared.at))


@dataclass(frozen=True)
class Far:
    """Where a watcher runs and what it is fed first: its program and its configuration."""

    place: str
    line: list[str]
    first: bytes


class _Held(NamedTuple):
    """A line that may be late, and the clock as it was known when it came."""

    kind: str
    text: str
    told_ns: int
    clock: Clock


class Stream:
    """One watcher. `begin` says where to run it, anew each time; `take(place, kind, text, told_ns, clock)` is
    called for each of its lines by one thread, `lost(why)` when it ended and nobody had told it to. Neither
    may raise.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[], Far],
        take: Callable[[str, str, str, int, Placing], None],
        lost: Callable[[str], None],
        tick_ns: int = 1,
    ) -> None:
        self.name = name
        self.heard_s = time.monotonic()
        self._begin, self._take, self._lost, self._tick = begin, take, lost, tick_ns
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._sent: dict[int, int] = {}
        self._said: deque[str] = deque(maxlen=5)
        self._thread = threading.Thread(target=self._run, name=f"watch {name}", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """End the watcher by the end of its input, or its connection where it does not end."""
        self._stopping.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError, ValueError):
                assert process.stdin is not None
                process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.ident is not None:
            self._thread.join(2 * END_S)

    def renew(self, why: str) -> None:
        """Begin anew at once: the machine is known to have ended that this connection led to. TCP asks ever
        more seldom, and would notice a minute after the machine is back.
        """
        process = self._process
        if process is not None:
            self._said.append(why)
            process.kill()

    @property
    def silent_s(self) -> float:
        """Seconds since it was heard of."""
        return time.monotonic() - self.heard_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                far = self._begin()
                why = self._once(far)
            except (RackproofError, OSError) as error:
                why = str(error)
            if not self._stopping.is_set():
                self._lost(why)
            self._stopping.wait(AGAIN_S)

    def _once(self, far: Far) -> str:
        """One life of the watcher; why it ended."""
        pipe = subprocess.PIPE
        self._said.clear()
        self._sent = {}
        process = self._process = subprocess.Popen(
            far.line, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        if self._stopping.is_set():  # `close` came before there was a process to end
            process.kill()
        assert process.stdout is not None and process.stderr is not None
        ended = threading.Event()
        aside = [
            threading.Thread(target=self._feed, args=(process, far.first, ended), daemon=True),
            threading.Thread(target=self._complaints, args=(process.stderr,), daemon=True),
        ]
        for thread in aside:
            thread.start()
        try:
            self._listen(far.place, process.stdout)
        finally:
            ended.set()
            process.kill()
            process.wait()
            for thread in aside:
                thread.join(END_S)
        return self._said[-1] if self._said else f"it ended with {process.returncode}"

    def _listen(self, place: str, stream: IO[bytes]) -> None:
        clock = Clock(self._tick)
        held: list[_Held] = []
        try:
            for raw in stream:
                now = time.monotonic_ns()
                if not raw.endswith(b"\n"):
                    break  # cut in the middle
                kind, _, text = raw.decode("utf-8", "replace").strip().partition(" ")
                self.heard_s = now / 1e9
                if kind == "pong":
                    number, stamp = text.split()
                    asked = self._asked(int(number))
                    if asked is None:
                        continue
                    clock.compare(asked, now, int(stamp))
                    if held and asked >= held[0].told_ns:
                        self._hand_on(place, held, clock)
                    continue
                if held and now - held[0].told_ns > HELD_NS:
                    self._hand_on(place, held, None)
                if held or self._late(now):
                    held.append(_Held(kind, text, now, clock.copy()))
                else:
                    self._take(place, kind, text, now, clock)
            self._hand_on(place, held, None)
        except (ValueError, KeyError, TypeError) as error:
            self._said.append(f"it said what it never says: {error!r}")

    def _asked(self, number: int) -> int | None:
        """When that question was asked; those before it are no longer waited for. None: it was not asked."""
        for each in list(self._sent):
            if each < number:
                self._sent.pop(each, None)
        return self._sent.pop(number, None)

    def _late(self, now_ns: int) -> bool:
        """Whether what comes now may have been long on its way: a question waits for its answer."""
        return now_ns - min(list(self._sent.values()), default=now_ns) > LATE_NS

    def _hand_on(self, place: str, held: list[_Held], clock: Clock | None) -> None:
        """All that was held, placed more closely where clocks were compared since."""
        for each in held:
            known = each.clock if clock is None else Settled(each.clock, clock)
            self._take(place, each.kind, each.text, each.told_ns, known)
        held.clear()

    def _feed(self, process: subprocess.Popen[bytes], first: bytes, ended: threading.Event) -> None:
        """The program, then a comparison of clocks every second, which also keeps the watcher alive."""
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(first)
            process.stdin.flush()
            for number in range(1_000_000):
                if ended.is_set():
                    return
                self._sent[number] = time.monotonic_ns()
                process.stdin.write(b"ping %07d\n" % number)
                process.stdin.flush()
                ended.wait(0.2 if number < _HASTE else PING_S)

    def _complaints(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._said.append(text[:300])


def python(program: str, config: str, options: str = "-I -S") -> tuple[list[str], bytes]:
    """(words after the interpreter's name, what to feed first) for a program in Python and its one line of
    configuration.
    """
    source = program.encode()
    return [*options.split(), "-u", "-c", LOADER, str(len(source))], source + config.encode() + b"\n"
