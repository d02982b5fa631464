"""Questions to Ceph, through one librados client on one node that is kept for as long as the run lasts.

What is asked travels on standard input. Answers to `auth` commands bear no keys: each is replaced by its
SHA-256, for what a node prints is written into the transcript.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.ceph_agent import CONNECT_S, LIMIT_S
from cluster.ceph_session import CephUnreachableError, Session
from cluster.errors import DeadlineError, RackproofError, UnreachableError

if TYPE_CHECKING:
    from cluster.cluster import Cluster

__all__ = ["Ceph", "CephCommandError", "CephError", "CephUnreachableError"]
Observer = Callable[[str, str, str, float], None]
SOON_S, LATE_S = 5.0, 20.0
"""A node that does not let us in so soon is passed over; where no other answers, it may only be busy."""
_TOLD = 20_000  # characters of an answer that the transcript keeps
Commands = Mapping[str, Mapping[str, Any]]
"""By a name of one's own: {"prefix": "osd pool ls", "detail": "detail"}, as monitors take it, and beside it
`target` ("mgr" or "osd.3": who is asked instead of the monitors), `pick` (top-level keys to keep of a long
answer) and `input` (text that the command reads)."""


@dataclass(frozen=True)
class CephError:
    """A command that Ceph refused: errno, its sentence, and what it printed all the same."""

    code: int
    message: str
    output: Any = None

    def __str__(self) -> str:
        return f"{self.message or 'no reason given'} (error {self.code})"


class CephCommandError(RackproofError):
    """A command that had to succeed did not; names the node, the command and Ceph's sentence."""


def _value(answer: Mapping[str, Any]) -> Any:
    if "code" in answer:
        return CephError(int(answer["code"]), str(answer["message"]).strip(), answer.get("value"))
    return answer["value"]


class Ceph:
    """The storage cluster, asked through whichever node answers; the one that last did comes first.

    The conversation is kept until `close`. One question at a time: threads wait for each other.
    """

    def __init__(self, cluster: Cluster, tell: Observer = lambda *_: None) -> None:
        self._cluster = cluster
        self._tell = tell
        self._last = ""
        self._session: Session | None = None
        self._lock = threading.Lock()

    def prefer(self, node: str) -> None:
        """Ask this node first: it has just answered."""
        with self._lock:
            if node != self._last:
                self._drop()
            self._last = node

    def ask(self, commands: Commands, timeout_s: float = 45) -> dict[str, Any]:
        """Answers by name: parsed JSON, text where it is none, or a `CephError` for a command that failed.

        What was sent and not answered is asked once more elsewhere, so a command may be carried out twice.
        Raises CephUnreachableError with every node's reason when none could ask.
        """
        with self._lock:
            began = time.monotonic()
            kept = self._kept(commands, timeout_s)
            found = self._anew(commands, timeout_s) if kept is None else kept
            told = "; ".join(str(each["prefix"]) for each in commands.values())
            self._tell(self._last, f"ceph: {told}", json.dumps(found)[:_TOLD], time.monotonic() - began)
        return {name: _value(each) for name, each in found.items()}

    def must(self, command: Mapping[str, Any], timeout_s: float = 45) -> Any:
        """One command that has to succeed. Raises CephCommandError otherwise."""
        found = self.ask({"it": command}, timeout_s)["it"]
        if isinstance(found, CephError):
            raise CephCommandError(f"ceph {command['prefix']}: {found}")
        return found

    def close(self) -> None:
        """End the conversation. Never raises."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _kept(self, commands: Commands, timeout_s: float) -> dict[str, Any] | None:
        """By the session that is there; None where it is none, or has ended meanwhile."""
        if self._session is None:
            return None
        try:
            return self._session.ask(commands, _limit(timeout_s), timeout_s)
        except (UnreachableError, DeadlineError):
            self._drop()
            return None

    def _anew(self, commands: Commands, timeout_s: float) -> dict[str, Any]:
        reasons: dict[str, str] = {}
        tries = [(name, SOON_S) for name in sorted(self._cluster.nodes, key=lambda name: name != self._last)]
        for name, patience_s in tries:  # grows by those that did not let us in
            node = self._cluster.nodes[name]
            if not node.reachable(patience_s):
                reasons[name] = f"{node.where} does not answer"
                if patience_s == SOON_S:
                    tries.append((name, LATE_S))
                continue
            try:
                self._session = Session(node, timeout_s)
                found = self._session.ask(commands, _limit(timeout_s), timeout_s)
            except (UnreachableError, DeadlineError) as error:
                self._drop()
                reasons[name] = str(error)
                continue
            self._last = name
            return found
        raise CephUnreachableError("; ".join(reasons.values()) or "the site has no node")


def _limit(timeout_s: float) -> float:
    """Seconds for one daemon: monitors may be late, and then the manager, both within the deadline."""
    return min(LIMIT_S, max(0.4 * timeout_s, (timeout_s - CONNECT_S) / 2))
