"""Waiting for the cluster: a quorum of so many nodes, a task of before that runs, the API after a restart."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.pve import PveError
from provisioners.change import Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster

POLL_S = 2.0
QUORUM_S = 240.0
API_S = 240.0
TASK_S = 600.0
_ASK = "corosync-quorumtool -s 2>/dev/null; stat -c 'mode %a' /etc/pve"
_MEMBER = re.compile(r"(?m)^\s*(?:0x[0-9a-f]+|\d+)\s+\d+\s+\S+")


@dataclass(frozen=True)
class Quorum:
    """What one node says at once; `writable`: the cluster's files can be written."""

    quorate: bool
    nodes: int
    writable: bool


def read_quorum(text: str) -> Quorum:
    """corosync-quorumtool -s, and a line `mode NNN` of /etc/pve."""
    _, _, table = text.partition("Membership information")
    mode = re.search(r"(?m)^mode \d*(\d)\d\d$", text)
    return Quorum(
        bool(re.search(r"(?m)^Quorate:\s+Yes", text)),
        len(_MEMBER.findall(table)),
        bool(mode and int(mode[1]) & 2),
    )


def wait_quorum(
    cluster: Cluster, names: list[str], nodes: int, progress: Progress, deadline_s: float = QUORUM_S
) -> None:
    """Waits until each of `names` has a quorum, sees `nodes` nodes or more and can write the cluster's files.

    Raises DeadlineError with what was seen last.
    """
    until = time.monotonic() + deadline_s
    seen: dict[str, str] = {}
    progress(f"waiting for a quorum of {nodes} on {', '.join(names)} (at most {deadline_s:.0f} s)")
    while True:
        seen = {}
        for name in names:
            try:
                found = read_quorum(cluster.nodes[name].run(_ASK, check=False, timeout=30).stdout)
            except RackproofError as error:
                seen[name] = str(error)
                continue
            if not (found.quorate and found.nodes >= nodes and found.writable):
                quorum = "a quorum" if found.quorate else "no quorum"
                seen[name] = f"{quorum}, {found.nodes} of {nodes} nodes in sight"
        if not seen:
            return
        if time.monotonic() > until:
            said = "; ".join(f"{name}: {text}" for name, text in seen.items())
            raise DeadlineError(f"no quorum of {nodes} nodes within {deadline_s:.0f} s: {said}")
        time.sleep(POLL_S)


def wait_api(cluster: Cluster, name: str, deadline_s: float = API_S) -> None:
    """Waits until a node's API answers; its certificate may have changed. Raises DeadlineError."""
    until = time.monotonic() + deadline_s
    while True:
        try:
            cluster.pve[name].call("get", "version")
            return
        except UnreachableError as error:
            cluster.pve[name].forget()
            if time.monotonic() > until:
                raise DeadlineError(
                    f"{name}: its API did not answer within {deadline_s:.0f} s: {error}"
                ) from None
        time.sleep(POLL_S)


def finish_running(cluster: Cluster, name: str, kind: str, progress: Progress) -> bool:
    """Waits for a task that a run before this one began and that still runs in the node's daemon.

    True when there was one. How it ended does not matter: whoever asks looks again.
    """
    wait_api(cluster, name)
    found = cluster.pve[name].running(kind)
    for upid in found:
        progress(f"{name}: {kind} of a run before still runs; waiting for it (at most {TASK_S:.0f} s)")
        try:
            cluster.pve[name].wait(upid, TASK_S, progress)
        except PveError as error:
            progress(f"{name}: {error}")
    return bool(found)


def until_true(check: Callable[[], str], deadline_s: float, what: str) -> None:
    """Calls `check` until it returns "": nothing is lacking. Raises DeadlineError with what it says."""
    until = time.monotonic() + deadline_s
    while lacking := check():
        if time.monotonic() > until:
            raise DeadlineError(f"{what} within {deadline_s:.0f} s: {lacking}")
        time.sleep(POLL_S)
