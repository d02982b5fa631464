"""The judgement: what is to be done about one peer, given one look at the cluster. Pure.

An order is given only where all of this holds in the very look that it comes from: quorum; the peer absent,
without an excuse, for longer than `wait_s`, with quorum all that time; a lease of our own; a BMC that has
just told the ordered serial number. What is ordered is first written into the lease (service.py), so whoever
follows a dead actor knows how far it came.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .clocks import excuse, observe
from .model import (
    CHECK_S,
    FRESH_S,
    KEEP_S,
    LEASE_S,
    RETRY_MOST_S,
    RETRY_S,
    Decision,
    Lease,
    Limits,
    Order,
    Peer,
    Phase,
    Saying,
    State,
    View,
    Word,
)

_DOUBLINGS = 16  # enough to reach RETRY_MOST_S


@dataclass(frozen=True)
class _Case:
    """All that one decision is made of."""

    state: State
    view: View
    peer: Peer
    limits: Limits
    now: float

    @property
    def mine(self) -> Lease | None:
        """The lease, where this very service holds it."""
        lease = self.view.lease
        return lease if lease and not lease.free and lease.holder == self.view.service else None

    def having(self, **changes: Any) -> _Case:
        """The same with another state."""
        return replace(self, state=replace(self.state, **changes))


def decide(state: State, view: View, peer: Peer, limits: Limits, now: float) -> Decision:
    """What to do about `peer` after the look `view` at `now`."""
    case = _Case(observe(state, view, peer, now), view, peer, limits, now)
    if not view.quorate:
        return _quiet(case, Word.REFUSED, "this node has no quorum: nothing is ordered")
    if view.busy:  # an order under way can no longer be taken back, and its lease must not go
        return _keep(case)
    return _present(case) if peer.node in view.members else _absent(case)


def _present(case: _Case) -> Decision:
    """A member: what was taken for it goes back; its BMC is asked now and then whether it could be used."""
    state, name = case.state, case.peer.name
    if case.mine:
        cycles = case.mine.cycles
        text = f"{name} is back after {cycles} power cycle{'' if cycles == 1 else 's'}"
        back = replace(case.mine, phase=Phase.HELD, free=True)
        return _write(case, Order.FREE, back, Saying(Word.ARMED, text))
    if state.reading is not None:
        problem = _problem(case)
        if problem:
            return _failed(case, problem)
        case = case.having(reading=None, failures=0, next_try=case.now + CHECK_S)
        return _quiet(case, Word.ARMED, f"the BMC of {name} answers with serial number {case.peer.serial}")
    if state.next_try is None or case.now >= state.next_try:
        return Decision(state, Order.LOOK)
    return Decision(state)


def _absent(case: _Case) -> Decision:
    name, limits = case.peer.name, case.limits
    reason = excuse(case.state, case.view)
    if reason:
        return _let_be(case, f"{name} is absent and not to be fenced: {reason}")
    if not case.state.seen:
        return _let_be(case, f"{name} is absent and has not been a member since this node was booted")
    lost = case.state.lost_since
    if lost is None or case.now - lost <= limits.wait_s:
        text = f"{name} is absent; its own watchdog has {limits.wait_s:g} s to reset it"
        return _keep(case, Saying(Word.WAITS, text))
    if case.view.trouble:
        return _quiet(case, Word.REFUSED, case.view.trouble)
    if case.state.next_try is not None and case.now < case.state.next_try:
        return _keep(case)
    return _act(case, case.mine) if case.mine else _apply(case, lost)


def _apply(case: _Case, lost: float) -> Decision:
    """Become the one that acts, where nobody does, it is this node's turn and the BMC is the peer's own."""
    view, now, lease, name = case.view, case.now, case.view.lease, case.peer.name
    if lease and not lease.free and not _silent(case):
        return _quiet(case, Word.WAITS, f"another node acts on {name}")
    phase, cycles = _carried(case)
    if phase is Phase.GAVE_UP:
        return _quiet(case, Word.REFUSED, f"{name} was given up after {cycles} power cycles")
    before = sum(member < view.me for member in view.members)
    if now - lost <= case.limits.wait_s + before * LEASE_S:
        text = f"{name} is left to the nodes with lower ids for {before * LEASE_S:g} s"
        return _quiet(case, Word.WAITS, text)
    taken = Lease(lease.generation + 1 if lease else 1, view.service, view.me, -1, phase, cycles)
    if phase is Phase.HELD and cycles >= case.limits.cycles:
        return _give_up(case, Order.TAKE, taken)
    return _unidentified(case) or _write(case.having(watch_since=None), Order.TAKE, taken)


def _silent(case: _Case) -> bool:
    """Whether the holder can no longer act: it is not heard of, and its node, where lost, has been reset."""
    absent = case.view.holder_absent_s
    return case.now - case.state.record_since > LEASE_S and (absent is None or absent > case.limits.wait_s)


def _carried(case: _Case) -> tuple[Phase, int]:
    """Where the record lets a new holder go on: phase, and cycles begun."""
    state, lease = case.state, case.view.lease
    if lease is None:
        return Phase.HELD, 0
    settled = state.settled_at is not None and state.settled_at > state.record_since
    returned = state.member_at is not None and state.member_at > state.record_since
    return (Phase.HELD if returned else lease.phase), (0 if settled else lease.cycles)


def _act(case: _Case, lease: Lease) -> Decision:
    """The next step of the power cycle that is ours."""
    state, name = case.state, case.peer.name
    if state.outcome is not None and state.outcome.problem:
        return _failed(case, state.outcome.problem)
    if lease.phase is Phase.WATCH:
        return _watch(case, lease)
    unidentified = _unidentified(case)
    if unidentified:
        return unidentified
    off = state.reading is not None and state.reading.power == "Off"
    fresh = state.outcome is None  # ours, or of an actor that died: whether its order arrived is not known
    if lease.phase is Phase.HELD:
        return _off(case, lease, lease.cycles + 1)
    if lease.phase is Phase.OFF:
        if fresh:
            return _off(case, lease, lease.cycles)
        return _on(case, lease) if off else _failed(case, f"{name} is not off after ForceOff")
    if off:
        return _on(case, lease) if fresh else _failed(case, f"{name} is not on after power-on")
    text = f"{name} is on; it has {case.limits.watch_s:g} s to come back"
    watched = replace(lease, phase=Phase.WATCH)
    return _write(case.having(watch_since=case.now), Order.KEEP, watched, Saying(Word.ON_CONFIRMED, text))


def _watch(case: _Case, lease: Lease) -> Decision:
    """Power is on again: wait for the peer, then cycle it once more, then give up."""
    since = case.now if case.state.watch_since is None else case.state.watch_since
    case = case.having(watch_since=since)
    if case.now - since <= case.limits.watch_s:
        return _keep(case)
    if lease.cycles >= case.limits.cycles:
        return _give_up(case, Order.FREE, lease)
    lease = replace(lease, phase=Phase.HELD)
    case = replace(case, view=replace(case.view, lease=lease))
    return _unidentified(case) or _off(case, lease, lease.cycles + 1)


def _off(case: _Case, lease: Lease, cycles: int) -> Decision:
    text = f"{case.peer.name} is absent for longer than its watchdog allows: ForceOff, power cycle {cycles}"
    written = replace(lease, phase=Phase.OFF, cycles=cycles)
    return _write(case, Order.OFF, written, Saying(Word.OFF_SENT, f"{text} of at most {case.limits.cycles}"))


def _on(case: _Case, lease: Lease) -> Decision:
    name, serial = case.peer.name, case.peer.serial
    confirmed = Saying(Word.OFF_CONFIRMED, f"{name} is off, says the BMC with serial number {serial}")
    sent = Saying(Word.ON_SENT, f"{name} is switched on")
    say = (sent,) if lease.phase is Phase.ON else (confirmed, sent)
    return _write(case, Order.ON, replace(lease, phase=Phase.ON), *say)


def _give_up(case: _Case, order: Order, lease: Lease) -> Decision:
    text = f"{case.peer.name} did not come back after {lease.cycles} power cycles; it is left alone"
    given_up = replace(lease, phase=Phase.GAVE_UP, free=True)
    return _write(case, order, given_up, Saying(Word.GAVE_UP, f"{text}: somebody must look at it"))


def _unidentified(case: _Case) -> Decision | None:
    """None where the BMC has just told the ordered serial number; else what to do about it."""
    reading, outcome = case.state.reading, case.state.outcome
    if (
        reading is None
        or case.now - reading.at > FRESH_S
        or (outcome is not None and reading.at <= outcome.at)
    ):
        return _keep(case, order=Order.LOOK)
    problem = _problem(case)
    return _failed(case, problem) if problem else None


def _problem(case: _Case) -> str:
    """What is wrong with the last reading; "" for nothing."""
    reading, peer = case.state.reading, case.peer
    if reading is None or reading.problem:
        return reading.problem if reading else "nothing is known of the BMC"
    if reading.serial != peer.serial:
        told = reading.serial or "none"
        return f"the BMC of {peer.name} tells serial number {told}, ordered is {peer.serial}"
    return ""


def _failed(case: _Case, problem: str) -> Decision:
    """Nothing is claimed. The lease goes back, so that another node may try; this one tries again later."""
    wait = min(RETRY_S * 2**case.state.failures, RETRY_MOST_S)
    failures = min(case.state.failures + 1, _DOUBLINGS)
    case = case.having(failures=failures, next_try=case.now + wait, reading=None, outcome=None)
    said = Saying(Word.REFUSED, f"{problem}; attempt {failures}, the next one in {wait:g} s")
    if case.mine:
        return _write(case, Order.FREE, replace(case.mine, free=True), said)
    return Decision(replace(case.state, said=said), say=(said,))


def _let_be(case: _Case, text: str) -> Decision:
    """Not to be fenced: what is held for it goes back."""
    if case.mine:
        return _write(case, Order.FREE, replace(case.mine, free=True), Saying(Word.REFUSED, text))
    return _quiet(case, Word.REFUSED, text)


def _quiet(case: _Case, word: Word, reason: str) -> Decision:
    """No order; said once."""
    return _keep(case, Saying(word, reason))


def _keep(case: _Case, saying: Saying | None = None, order: Order = Order.NOTHING) -> Decision:
    """`order` leaves the record as it is; a holder says now and then that it lives. `saying` is said once."""
    state, say = case.state, tuple[Saying, ...]()
    if saying is not None and saying != state.said:
        state, say = replace(state, said=saying), (saying,)
    due = state.kept_at is None or case.now - state.kept_at >= KEEP_S
    if case.mine and due and case.view.quorate and order is Order.NOTHING:
        kept = replace(case.mine, beat=case.mine.beat + 1)
        return Decision(replace(state, kept_at=case.now), Order.KEEP, kept, say)
    return Decision(state, order, None, say)


def _write(case: _Case, order: Order, lease: Lease, *say: Saying) -> Decision:
    """An order with the record that is written before it; what the BMC told earlier is used up by it."""
    state = replace(case.state, kept_at=case.now, said=say[-1] if say else case.state.said)
    if order in (Order.OFF, Order.ON, Order.FREE):
        state = replace(state, reading=None, outcome=None)
    return Decision(state, order, replace(lease, beat=lease.beat + 1), say)
