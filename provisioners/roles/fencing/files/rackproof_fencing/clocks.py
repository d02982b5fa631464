"""What a look changes in what is remembered: since when a peer is a member, absent, lost. Pure.

A count of absence holds only while this node had quorum and looked all the time: a peer that is absent from a
partition without quorum may be a member of the one that has it.
"""

from __future__ import annotations

from dataclasses import replace

from .model import GAP_S, SETTLED_S, Outcome, Peer, Reading, State, View


def observe(state: State, view: View, peer: Peer, now: float) -> State:
    """The state after the look `view` at `now`."""
    blind = not view.quorate or (state.looked_at is not None and now - state.looked_at > GAP_S)
    if blind:
        state = replace(state, member_since=None, absent_since=None, lost_since=None)
    record = (view.lease.generation, view.lease.beat) if view.lease else None
    if blind or record != state.record:
        state = replace(state, record=record, record_since=now)
    if view.quorate:
        state = _membership(state, view, peer, now)
    return _told(replace(state, looked_at=now), view)


def excuse(state: State, view: View) -> str:
    """Why the absent peer is not to be fenced; "" for no reason."""
    if view.excuse:
        return view.excuse
    if view.mark and view.mark != state.spent_mark:
        return "it left the cluster in good order"
    return ""


def _membership(state: State, view: View, peer: Peer, now: float) -> State:
    present = peer.node in view.members
    if state.present is not present:  # what was asked of the BMC was asked in another situation
        spent = view.mark if present and state.present is False else state.spent_mark
        state = replace(
            state, present=present, spent_mark=spent, reading=None, outcome=None, failures=0, next_try=None
        )
    if present:
        since = now if state.member_since is None else state.member_since
        settled = now if now - since >= SETTLED_S else state.settled_at
        return replace(
            state,
            seen=True,
            member_at=now,
            member_since=since,
            settled_at=settled,
            absent_since=None,
            lost_since=None,
        )
    lost = now if state.lost_since is None else state.lost_since
    return replace(
        state,
        member_since=None,
        absent_since=now if state.absent_since is None else state.absent_since,
        lost_since=None if excuse(state, view) else lost,
    )


def _told(state: State, view: View) -> State:
    if isinstance(view.told, Reading):
        return replace(state, reading=view.told)
    if isinstance(view.told, Outcome):
        return replace(state, outcome=view.told)
    return state
