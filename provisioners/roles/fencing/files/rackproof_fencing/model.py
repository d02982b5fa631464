"""What the judgement is given and what it says. All times are seconds of this node's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TICK_S = 2.0
"""How often the cluster is looked at."""
GAP_S = 20.0
"""After so long without a look, nothing is known of what happened meanwhile: every count begins anew."""
FRESH_S = 15.0
"""So long the BMC's word on its serial number and power counts."""
ORDER_S = 90.0
"""After so long an order is killed, also when whoever gave it is dead."""
KEEP_S = 20.0
"""How often the holder of a lease says that it is alive."""
LEASE_S = 240.0
"""A lease of which nothing was heard for so long may be taken over. Between the last word of its holder and
the end of its last order lie at most a slow cluster file system (SLACK_S), a service that hangs until systemd
kills it (STALL_S), and ORDER_S.
"""
STALL_S = 60.0
"""WatchdogSec of the unit."""
SLACK_S = 20.0
"""So long may pass between the decision and the order."""
SETTLED_S = 120.0
"""A node that was back for so long is no longer in a boot loop."""
CHECK_S = 300.0
"""How often the BMC of a healthy peer is asked whether it could be used."""
RETRY_S, RETRY_MOST_S = 10.0, 120.0
"""First and longest wait after a failed attempt; it doubles each time."""


class Phase(StrEnum):
    """How far a power cycle has come, as the cluster's record says."""

    HELD = "held"  # no order of this cycle yet
    OFF = "off"  # ForceOff is or was ordered
    ON = "on"  # Off is confirmed; On is or was ordered
    WATCH = "watch"  # On is confirmed; the node has to come back
    GAVE_UP = "gave-up"  # as many cycles as allowed have brought nothing


class Order(StrEnum):
    """What the service is to do now."""

    NOTHING = "nothing"
    LOOK = "look"  # ask the BMC who it is, and for its power
    TAKE = "take"  # take the lease
    KEEP = "keep"  # write the record
    OFF = "off"
    ON = "on"
    FREE = "free"  # give the lease back


class Word(StrEnum):
    """The decisions that a reader of the journal sees."""

    ARMED = "armed"
    WAITS = "waits"
    REFUSED = "refused"
    OFF_SENT = "off-sent"
    OFF_CONFIRMED = "off-confirmed"
    ON_SENT = "on-sent"
    ON_CONFIRMED = "on-confirmed"
    GAVE_UP = "gave-up"


@dataclass(frozen=True)
class Saying:
    """One line of the journal."""

    word: Word
    reason: str


@dataclass(frozen=True)
class Lease:
    """The right to act on one peer, as the whole cluster sees it. A higher generation ends every lower one.

    holder: the service that took it, new with each start. node: its Corosync node id, 0 while unknown. beat:
    rises with each word of the holder. cycles: power cycles begun since the peer was last well. free: nobody
    acts.
    """

    generation: int
    holder: str
    node: int
    beat: int = 0
    phase: Phase = Phase.HELD
    cycles: int = 0
    free: bool = False


@dataclass(frozen=True)
class Reading:
    """What a BMC said of itself at `at`, or why it said nothing (`problem`, a sentence)."""

    at: float
    serial: str = ""
    power: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Outcome:
    """How an order ended at `at`; `problem` is empty where the agent confirmed it."""

    at: float
    order: Order
    problem: str = ""


@dataclass(frozen=True)
class Peer:
    """A node that may be fenced: name, Corosync node id, the serial number that was ordered."""

    name: str
    node: int
    serial: str


@dataclass(frozen=True)
class Limits:
    """wait_s: absence after which the peer's own watchdog has bitten. watch_s: time to come back after
    power-on. cycles: power cycles that may be tried in a row.
    """

    wait_s: float
    watch_s: float
    cycles: int


@dataclass(frozen=True)
class View:
    """One look at the cluster and at what concerns one peer.

    me: Corosync node id, service: identity of the looking service. members: node ids. excuse: why the absent
    peer is not to be fenced, "" for none. mark: what the peer left behind when it went in good order, "" for
    nothing. trouble: what could not be read, "" for nothing. holder_absent_s: how long the holder's node is
    known to be absent, None while it is a member. busy: something asked of the BMC has not ended. told: what
    has ended since the last look.
    """

    me: int
    service: str
    quorate: bool
    members: frozenset[int]
    excuse: str = ""
    mark: str = ""
    lease: Lease | None = None
    trouble: str = ""
    holder_absent_s: float | None = None
    busy: bool = False
    told: Reading | Outcome | None = None


@dataclass(frozen=True)
class State:
    """What is remembered of one peer from look to look; all but `seen` begins empty with the service."""

    seen: bool = False  # it has been a member since this node was booted
    looked_at: float | None = None
    present: bool | None = None  # at the last look with quorum
    member_at: float | None = None  # last time it was a member
    member_since: float | None = None
    settled_at: float | None = None  # last time it had been a member for SETTLED_S
    absent_since: float | None = None
    lost_since: float | None = None  # absent without an excuse, all the time with quorum and looked at
    spent_mark: str = ""  # a mark that an earlier departure left behind
    record: tuple[int, int] | None = None  # generation and beat of the lease
    record_since: float = 0.0
    watch_since: float | None = None
    kept_at: float | None = None
    reading: Reading | None = None
    outcome: Outcome | None = None
    failures: int = 0
    next_try: float | None = None
    said: Saying | None = None


@dataclass(frozen=True)
class Decision:
    """The next order, the record to be written with it, and what is said once it is under way."""

    state: State
    order: Order = Order.NOTHING
    lease: Lease | None = None
    say: tuple[Saying, ...] = ()
