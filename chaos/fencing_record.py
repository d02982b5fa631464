"""What the fencing service said on each node: its decisions, on the controller's clock. Parsing is pure.

The service writes one JSON object a line (at, peer, decision, reason), with the node's own time of day. That
clock is compared once, before anything is broken; chrony keeps it afterwards, also over a start of the node.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from chaos.faults.bmc_password import RECORD
from chaos.ports import ClusterPort, NodePort
from cluster.errors import RackproofError, UnknownError

ASK_S = 20.0
_LINES = 500
SENT, CONFIRMED = "off-sent", "off-confirmed"
ON_SENT, BACK = "on-sent", "on-confirmed"
REFUSED, GAVE_UP = "refused", "gave-up"


@dataclass(frozen=True)
class Decision:
    """What `by` said of `peer`, and why. It was said at some moment up to `resolution_s` before `t_s`, on the
    controller's monotonic clock.
    """

    by: str
    peer: str
    word: str
    reason: str
    t_s: float
    resolution_s: float


@dataclass(frozen=True)
class TimeOfDay:
    """A node's time of day against the controller's monotonic clock: `offset_s` is added, and may be too
    large by `resolution_s`.
    """

    offset_s: float
    resolution_s: float


def compare(cluster: ClusterPort, names: Iterable[str]) -> dict[str, TimeOfDay]:
    """The clocks of named nodes. Raises `UnreachableError`, `UnknownError`."""
    wanted = list(names)
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        found = pool.map(_clock, [cluster.nodes[name] for name in wanted])
        return dict(zip(wanted, found, strict=True))


def read(cluster: ClusterPort, clocks: Mapping[str, TimeOfDay], since_s: float) -> tuple[Decision, ...]:
    """All that was certainly said after `since_s`, in order of time. A node that does not answer is passed
    over while another one does. Raises `UnknownError` where none does.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(clocks))) as pool:
        texts = dict(zip(clocks, pool.map(lambda name: _lines(cluster.nodes[name]), clocks), strict=True))
    if all(text is None for text in texts.values()):
        raise UnknownError(f"no node tells what its fencing service said: {', '.join(clocks)} did not answer")
    said = [each for name, text in texts.items() for each in parse(name, text or "", clocks[name])]
    late = (each for each in said if each.t_s - each.resolution_s > since_s)
    return tuple(sorted(late, key=lambda each: each.t_s))


def parse(node: str, text: str, clock: TimeOfDay) -> list[Decision]:
    """The decisions in a record. Lines that are none, such as half a line at a power cut, are passed over."""
    found = []
    for line in text.splitlines():
        try:
            told = json.loads(line)
            at = datetime.fromisoformat(told["at"]).timestamp() + clock.offset_s
            words = [str(told[key]) for key in ("peer", "decision", "reason")]
        except (ValueError, TypeError, KeyError):
            continue
        found.append(Decision(node, words[0], words[1], words[2], at, clock.resolution_s))
    return found


def first(said: Iterable[Decision], peer: str, words: Collection[str]) -> Decision | None:
    """The first decision about a peer that is one of `words`."""
    return next((each for each in said if each.peer == peer and each.word in words), None)


def _clock(node: NodePort) -> TimeOfDay:
    asked = time.monotonic()
    told = node.run("date +%s.%N", timeout=ASK_S).stdout
    answered = time.monotonic()
    try:
        return TimeOfDay(answered - float(told), answered - asked)
    except ValueError:
        raise UnknownError(f"{node.name} does not tell its time of day") from None


def _lines(node: NodePort) -> str | None:
    try:
        ask = f'cat "{RECORD}.1" "{RECORD}" 2>/dev/null | tail -n {_LINES}'
        return node.run(ask, timeout=ASK_S).stdout
    except RackproofError:
        return None
