"""A deep scrub of the placement groups that a drill has touched: every copy is read and compared.

Asked for first and awaited later, so that other work can go on meanwhile. That it took place is told by each
placement group's own stamp; that nothing is damaged, by its state and by the health of Ceph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.ceph_state import answer, ceph_of, clean
from chaos.ports import ClusterPort
from cluster.errors import DeadlineError, RackproofError, UnknownError

DAMAGE = frozenset({"OSD_SCRUB_ERRORS", "PG_DAMAGED", "OSD_TOO_MANY_REPAIRS", "OBJECT_UNFOUND"})
_LOOK: Mapping[str, Mapping[str, Any]] = {
    "pgs": {"prefix": "pg ls", "target": "mgr"},
    "health": {"prefix": "health", "detail": "detail"},
}


class DamagedError(RackproofError):
    """A deep scrub has found copies that differ or cannot be read."""


@dataclass(frozen=True)
class Group:
    """One placement group: its id, state, the OSDs that hold it, and the stamp of its last deep scrub."""

    id: str
    state: str
    acting: tuple[int, ...]
    stamp: str


@dataclass(frozen=True)
class Scrub:
    """A deep scrub that was asked for. `before`: placement group -> stamp of its last one."""

    before: Mapping[str, str]
    asked_s: float


def begin(cluster: ClusterPort, osds: Iterable[int]) -> Scrub:
    """Ask for a deep scrub of each placement group with a copy on these OSDs. Raises `UnknownError`."""
    wanted = set(osds)
    found = [group for group in groups(_ask(cluster)["pgs"]) if wanted & set(group.acting)]
    if not found:
        raise UnknownError(f"no placement group has a copy on OSDs {sorted(wanted)}, so none can be scrubbed")
    _order(cluster, [group.id for group in found])
    return Scrub({group.id: group.stamp for group in found}, time.monotonic())


def wait(
    cluster: ClusterPort,
    scrub: Scrub,
    deadline_s: float,
    say: Callable[[str], None],
    *,
    poll_s: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait until all were scrubbed; returns how many. Raises `DamagedError`, or `DeadlineError` after
    `deadline_s` from when it was asked for.
    """
    again = time.monotonic() + 60
    while True:
        seen = _ask(cluster)
        now = {group.id: group for group in groups(seen["pgs"])}
        damage = damaged(seen["health"], (now[pg] for pg in scrub.before if pg in now))
        if damage:
            raise DamagedError(f"the deep scrub found damage: {'; '.join(damage)}")
        left = [pg for pg, stamp in scrub.before.items() if pg not in now or now[pg].stamp == stamp]
        if not left:
            return len(scrub.before)
        elapsed = time.monotonic() - scrub.asked_s
        done = f"{len(scrub.before) - len(left)} of {len(scrub.before)} placement groups"
        if elapsed > deadline_s:
            raise DeadlineError(f"deep scrub: {done} within {deadline_s:g} s")
        say(f"deep scrub: {done}, {elapsed:.0f} s")
        if time.monotonic() > again:  # a request is forgotten where the primary has changed meanwhile
            again = time.monotonic() + 60
            _order(cluster, left)
        sleep(poll_s)


def groups(answered: Mapping[str, Any]) -> list[Group]:
    """The placement groups of `pg ls`. Raises `UnknownError` where they are not understood."""
    try:
        return [
            Group(each["pgid"], each["state"], tuple(each["acting"]), each["last_deep_scrub_stamp"])
            for each in answered["pg_stats"]
        ]
    except (KeyError, TypeError):
        raise UnknownError("Ceph's list of placement groups is not understood") from None


def held(cluster: ClusterPort, osds: Iterable[int]) -> list[str]:
    """Placement groups that still have a copy on these OSDs, or are not clean, as the manager was told."""
    gone = set(osds)
    return [
        group.id
        for group in groups(_ask(cluster)["pgs"])
        if gone & set(group.acting) or not clean(group.state)
    ]


def damaged(health: Mapping[str, Any], found: Iterable[Group]) -> list[str]:
    """What a scrub has found, each as a sentence. Pure."""
    told = [
        f"{code}: {check['summary']['message']}"
        for code, check in sorted(health["checks"].items())
        if code in DAMAGE
    ]
    bad = {"inconsistent", "failed_repair", "recovery_unfound", "snaptrim_error"}
    return told + [f"{group.id} is {group.state}" for group in found if bad & set(group.state.split("+"))]


def _ask(cluster: ClusterPort) -> dict[str, Any]:
    answers = ceph_of(cluster).ask(_LOOK)
    return {key: answer(answers, key) for key in _LOOK}


def _order(cluster: ClusterPort, ids: list[str]) -> None:
    asked = {pg: {"prefix": "pg deep-scrub", "pgid": pg, "target": "mgr"} for pg in ids}
    answers = ceph_of(cluster).ask(asked)
    for pg in ids:
        answer(answers, pg)
