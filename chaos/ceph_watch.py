"""Looks at Ceph from a node that is spared, twice a second, and says when what became true.

One librados process on that node streams what it sees (`ceph_watch_agent`); nothing is left behind on it.
A moment is the answer of the first look that showed it; it was true at most `resolution_s` earlier, which
is the time since the look before was asked. Placement groups are told to monitors by the manager every few
seconds, so what concerns them is later by that (`STATS_S`). While no monitor answers, that is what is seen.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from chaos.ceph_state import clean
from chaos.ports import ClusterPort, NodePort
from chaos.probe_hosts import NodeHost
from chaos.timeline import Event
from cluster.errors import DeadlineError, RackproofError, UnknownError

START_S = 60.0
CONNECT_S = 20
LIMIT_S = 2400
STATS_S = 10.0
"""Twice mgr_stats_period: placement groups seen clean for so long are clean, and not only told late."""
_POLL_S = 0.2
_AGENT = Path(__file__).with_name("ceph_watch_agent.py")


@dataclass(frozen=True)
class Sample:
    """One look. Seconds on the controller's monotonic clock. `silent`: why no monitor answered, else None."""

    asked_s: float
    told_s: float
    silent: str | None = None
    up: frozenset[int] = frozenset()
    in_: frozenset[int] = frozenset()
    quorum: frozenset[str] = frozenset()
    leader: str | None = None
    mgr: str | None = None
    mds: Mapping[str, str] | None = None
    pgs: Mapping[str, int] | None = None
    health: frozenset[str] = frozenset()

    @property
    def unclean(self) -> int:
        """Placement groups that are not clean."""
        return sum(count for state, count in (self.pgs or {}).items() if not clean(state))

    @property
    def inactive(self) -> int:
        """Placement groups that serve nobody."""
        return sum(count for state, count in (self.pgs or {}).items() if "active" not in state.split("+"))

    @property
    def active_mds(self) -> frozenset[str]:
        """Metadata servers that serve a rank."""
        return frozenset(name for name, how in (self.mds or {}).items() if how == "up:active")


@dataclass(frozen=True)
class Moment:
    """When something was first seen, and how much earlier it may have been true."""

    t_s: float
    resolution_s: float


class CephWatch:
    """A watch, as a context manager: entered when Ceph was seen once. `avoid`: nodes that will be broken."""

    def __init__(
        self,
        cluster: ClusterPort,
        avoid: Sequence[str] = (),
        interval_s: float = 0.5,
        *,
        command: Sequence[str] | None = None,
    ) -> None:
        if not 0.1 <= interval_s <= 10:
            raise ValueError(f"interval_s = {interval_s}: expected 0.1 to 10")
        self.interval_s = interval_s
        self._nodes = [node for name, node in cluster.nodes.items() if name not in avoid]
        self._command = list(command) if command else None
        self._process: subprocess.Popen[str] | None = None
        self._samples: list[Sample] = []
        self._news = threading.Condition()
        self._dead: str | None = None
        self._ahead_s = 0.0
        self._stopped = False
        self.node = ""
        self.placement_s = 0.0

    def start(self) -> None:
        """Begin to look. Raises `UnknownError` where no spared node can."""
        reasons = []
        for node in self._nodes:
            try:
                self._begin(node)
                return
            except RackproofError as error:
                reasons.append(str(error))
                self._end()
        raise UnknownError(f"Ceph cannot be watched: {'; '.join(reasons) or 'no node is spared'}")

    def stop(self) -> None:
        """End it. Asked twice, done once."""
        self._stopped = True
        self._end()

    def samples(self) -> list[Sample]:
        """All looks so far. Raises `UnknownError` where the watch has ended by itself."""
        with self._news:
            if self._dead is not None and not self._stopped:
                raise UnknownError(f"the watch of Ceph on {self.node} has ended: {self._dead}")
            return list(self._samples)

    def until(self, is_so: Callable[[Sample], bool], since_s: float, deadline_s: float, what: str) -> Moment:
        """The first moment after `since_s` at which `is_so`. Raises `DeadlineError` after `deadline_s` from
        `since_s`, naming `what`; `UnknownError`.
        """
        while True:
            samples = self.samples()
            found = first(samples, is_so, since_s)
            if found is not None:
                return found
            if time.monotonic() - since_s > deadline_s:
                last = samples[-1].silent if samples else None
                more = f"; no monitor answers: {last}" if last else ""
                raise DeadlineError(f"{what}: not seen within {deadline_s:g} s{more}")
            with self._news:
                self._news.wait(_POLL_S)

    def until_clean(self, since_s: float, deadline_s: float, what: str, say: Callable[[str], None]) -> Moment:
        """When all placement groups were clean and stayed so (for `STATS_S`). Raises as `until`."""
        told = time.monotonic()
        while True:
            samples = self.samples()
            found = steady(samples, lambda s: s.silent is None and s.unclean == 0, since_s, STATS_S)
            if found is not None:
                return found
            now = time.monotonic()
            left = samples[-1].unclean if samples else 0
            if now - since_s > deadline_s + STATS_S:
                raise DeadlineError(
                    f"{what}: not within {deadline_s:g} s; {left} placement groups are not clean"
                )
            if now - told > 10:
                told = now
                say(f"{what}: {left} placement groups are not clean, {now - since_s:.0f} s")
            with self._news:
                self._news.wait(1.0)

    def __enter__(self) -> CephWatch:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _begin(self, node: NodePort) -> None:
        self.node = node.name
        ahead, blur = NodeHost(node, 0).clock()
        self._ahead_s, self.placement_s = ahead / 1e9, blur / 1e9
        line = self._command or node.argv("exec python3 -u -", multiplexed=False)
        pipe = subprocess.PIPE
        self._dead = None
        self._process = subprocess.Popen(
            line, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        head = f"INTERVAL_S, LIMIT_S, CONNECT_S = {self.interval_s!r}, {LIMIT_S}, {CONNECT_S}\n"
        try:
            self._process.stdin.write(_source(head))
            self._process.stdin.close()
        except OSError as error:
            raise UnknownError(f"{node.name}: {error.strerror}") from None
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        deadline = time.monotonic() + START_S
        while not any(sample.silent is None for sample in self.samples()):
            if time.monotonic() > deadline:
                raise UnknownError(f"{node.name}: Ceph was not seen within {START_S:g} s")
            with self._news:
                self._news.wait(_POLL_S)

    def _listen(self, stream: IO[str]) -> None:
        why = "the connection ended"
        try:
            for text in stream:
                line = json.loads(text)
                if "fatal" in line:
                    why = str(line["fatal"])
                    continue
                with self._news:
                    self._samples.append(sample(line, self._ahead_s))
                    self._news.notify_all()
        except (ValueError, KeyError, TypeError) as error:
            why = f"it told what is not understood: {type(error).__name__} {error}"
        with self._news:
            self._dead = why
            self._news.notify_all()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def sample(line: Mapping[str, Any], ahead_s: float) -> Sample:
    """A line of the agent, placed on the controller's clock."""
    asked, told = line["asked"] / 1e9 - ahead_s, line["told"] / 1e9 - ahead_s
    if "silent" in line:
        return Sample(asked, told, silent=str(line["silent"]))
    seen = line["seen"]
    return Sample(
        asked,
        told,
        None,
        frozenset(seen["up"]),
        frozenset(seen["in"]),
        frozenset(seen["quorum"]),
        seen["leader"],
        seen["mgr"],
        dict(seen["mds"]),
        dict(seen["pgs"]),
        frozenset(seen["health"]),
    )


def first(samples: Sequence[Sample], is_so: Callable[[Sample], bool], since_s: float) -> Moment | None:
    """The first look told after `since_s` that shows it. Pure."""
    before = since_s
    for each in samples:
        if each.told_s < since_s:
            continue
        if each.silent is None and is_so(each):
            return Moment(each.told_s, max(0.0, each.told_s - before))
        before = max(since_s, each.asked_s)
    return None


def steady(
    samples: Sequence[Sample], is_so: Callable[[Sample], bool], since_s: float, for_s: float
) -> Moment | None:
    """The first look after `since_s` from which on it stays so, once it has for `for_s` seconds. Pure."""
    began: Moment | None = None
    before = since_s
    for each in samples:
        if each.told_s < since_s:
            continue
        if not is_so(each):
            began = None
        elif began is None:
            began = Moment(each.told_s, max(0.0, each.told_s - before))
        before = max(since_s, each.asked_s)
    if began is None or samples[-1].told_s - began.t_s < for_s:
        return None
    return began


def changes(samples: Sequence[Sample], since_s: float) -> list[Event]:
    """What changed from look to look after `since_s`, for the timeline. Pure."""
    events: list[Event] = []
    last: Sample | None = None
    quiet = False
    for each in samples:
        if each.silent is not None:
            if last is not None and not quiet and each.told_s >= since_s:
                events.append(Event(each.told_s, "no monitor answers"))
            quiet = True
            continue
        if last is not None and each.told_s >= since_s:
            events += [Event(each.told_s, text) for text in _differences(last, each)]
        last, quiet = each, False
    return events


def _differences(was: Sample, now: Sample) -> list[str]:
    found = []
    for what, which in (
        ("down", was.up - now.up),
        ("up", now.up - was.up),
        ("out", was.in_ - now.in_),
        ("in", now.in_ - was.in_),
    ):
        if which:
            found.append(f"osd.{', osd.'.join(map(str, sorted(which)))} {what}")
    found += [f"mon.{name} left the quorum" for name in sorted(was.quorum - now.quorum)]
    found += [f"mon.{name} joined the quorum" for name in sorted(now.quorum - was.quorum)]
    if was.leader != now.leader:
        found.append(f"mon.{now.leader} leads")
    if was.mgr != now.mgr:
        found.append(f"mgr.{now.mgr} is active" if now.mgr else "no manager is active")
    found += [f"mds.{name} is active" for name in sorted(now.active_mds - was.active_mds)]
    if bool(was.inactive) != bool(now.inactive):
        found.append("placement groups inactive" if now.inactive else "all placement groups active")
    if bool(was.unclean) != bool(now.unclean):
        found.append("placement groups unclean" if now.unclean else "all placement groups clean")
    return found


def _source(head: str) -> str:
    """The agent with its configuration; `from __future__` must come first."""
    text = _AGENT.read_text(encoding="utf-8")
    mark = "from __future__ import annotations\n"
    before, _, after = text.partition(mark)
    return f"{before}{mark}{head}{after}"
