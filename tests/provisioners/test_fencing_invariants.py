"""Whatever happens to a cluster, no sequence of it makes the services break their promises."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from provisioners.roles.fencing.files.rackproof_fencing.decide import decide
from provisioners.roles.fencing.files.rackproof_fencing.model import (
    FRESH_S,
    GAP_S,
    LEASE_S,
    ORDER_S,
    SLACK_S,
    STALL_S,
    TICK_S,
    Lease,
    Order,
    Outcome,
    Phase,
    Reading,
    State,
    View,
)
from tests.provisioners.fencing_world import LIMITS, Given, make_world, peer

COUNT = 5
NODES = st.integers(1, COUNT)


def test_the_times_leave_no_gap() -> None:
    """The last order of a silent holder ends before its lease may be taken over."""
    assert SLACK_S + STALL_S + ORDER_S < LEASE_S
    assert FRESH_S < GAP_S < LIMITS.wait_s and TICK_S * 2 < FRESH_S


class Cluster(RuleBasedStateMachine):
    """Five nodes, everything that may happen to them, and what must hold at each order."""

    orders = 0

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.folder = tempfile.TemporaryDirectory()
        self.world = make_world(self.patch, Path(self.folder.name), COUNT)
        self.world.checks.append(self.promises_hold)
        self.last_own = dict.fromkeys(self.world.nodes, self.world.now)
        self.resting: set[int] = set()
        self.left: set[int] = set()
        self.world.turn(10)

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    def promises_hold(self, order: Given) -> None:
        world, number = self.world, order.peer
        side = world.side(order.actor)
        assert world.quorate(side), "an order without quorum"
        assert number not in side, "an order on a member"
        assert world.now - world.outside_since[number] > LIMITS.wait_s, (
            "an order before the watchdog has bitten"
        )
        if world.bmcs[number].serial != peer(number).serial:
            assert world.now - self.last_own[number] <= FRESH_S, (
                "an order on a BMC that is not the peer's own"
            )
        assert number not in self.resting, "an order on a node in maintenance"
        assert number not in self.left, "an order on a node that left in good order"
        for other in world.given:
            if other.peer == number and other.service != order.service:
                assert other.ended <= order.begun, "a second actor while the first may still act"
        Cluster.orders += 1

    @rule(seconds=st.sampled_from([4.0, 30.0, 80.0, 100.0, 250.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        for number, bmc in self.world.bmcs.items():
            if bmc.serial == peer(number).serial:
                self.last_own[number] = self.world.now
        back = {n for n in self.left if self.world.nodes[n].up}
        self.world.turn(seconds)
        self.left -= back

    @rule(number=NODES)
    def crash(self, number: int) -> None:
        self.world.crash(number)

    @rule(number=NODES, seconds=st.sampled_from([84.0, 86.0, 90.0, 100.0, 200.0]))
    def lost(self, number: int, seconds: float) -> None:
        """A healthy cluster loses one node and gets about so far with it."""
        self.recover()
        self.world.crash(number)
        self.time_passes(seconds)

    @rule(kill=st.booleans(), seconds=st.sampled_from([200.0, 500.0, 900.0]))
    def actor_dies(self, kill: bool, seconds: float) -> None:
        """Who gave the last order dies over it, or is cut off."""
        if self.world.given:
            actor = self.world.given[-1].actor
            if kill:
                self.world.kill_service(actor)
            else:
                self.world.part(frozenset(self.world.nodes) - {actor}, frozenset({actor}))
            self.time_passes(seconds)

    @rule()
    def recover(self) -> None:
        self.world.part()
        for number, node in self.world.nodes.items():
            if not node.up:
                self.world.boot(number)
            elif node.service is None:
                self.world.start(number)
        self.time_passes(10)

    @rule(sides=st.lists(st.frozensets(NODES, min_size=1), max_size=3))
    def part(self, sides: list[frozenset[int]]) -> None:
        self.world.part(*sides)

    @rule(number=NODES)
    def service_dies(self, number: int) -> None:
        self.world.kill_service(number)

    @rule(number=NODES, resting=st.booleans())
    def maintenance(self, number: int, resting: bool) -> None:
        (self.resting.add if resting else self.resting.discard)(number)
        (self.world.mount / "ha").mkdir(exist_ok=True)
        status = {"node_status": {f"node{n}": "maintenance" for n in self.resting}}
        (self.world.mount / "ha/manager_status").write_text(json.dumps(status))

    @rule(number=NODES)
    def leaves(self, number: int) -> None:
        service = self.world.nodes[number].service
        if service is not None and self.world.quorate(self.world.side(number)):
            self.world.acting = number
            service._say_goodbye()
            self.world.crash(number)
            self.left.add(number)

    @rule(number=NODES, foreign=st.booleans())
    def cables(self, number: int, foreign: bool) -> None:
        bmc = self.world.bmcs[number]
        if bmc.serial == peer(number).serial:
            self.last_own[number] = self.world.now
        bmc.serial = peer(number % COUNT + 1).serial if foreign else peer(number).serial

    @rule(number=NODES, problem=st.sampled_from(["", "", "silent"]), deaf=st.booleans())
    def bmc_fails(self, number: int, problem: str, deaf: bool) -> None:
        self.world.bmcs[number].problem, self.world.bmcs[number].deaf = problem, deaf

    @rule(seconds=st.floats(1, ORDER_S), stall=st.floats(0, SLACK_S + STALL_S), comes_up=st.booleans())
    def slow(self, seconds: float, stall: float, comes_up: bool) -> None:
        self.world.stall_s = stall
        for number, node in self.world.nodes.items():
            self.world.bmcs[number].seconds, node.comes_up = seconds, comes_up


def test_no_sequence_breaks_a_promise() -> None:
    Cluster.orders = 0
    run_state_machine_as_test(
        Cluster, settings=settings(max_examples=25, stateful_step_count=15, deadline=None)
    )
    assert Cluster.orders > 0, "no promise was put to the test"


@st.composite
def looks(draw: st.DrawFn) -> list[tuple[float, dict[str, object]]]:
    """(seconds since the last look, what is unusual about this one); mostly nothing is."""
    unusual = st.one_of(
        *[st.just({})] * 12,
        st.just({"quorate": False}),
        st.just({"members": frozenset({1, 2, 3})}),
        st.just({"excuse": "it is in maintenance"}),
        st.just({"mark": "left"}),
        st.just({"trouble": "not readable"}),
        st.just({"busy": True}),
        st.just({"serial": "RACK-0002"}),
        st.just({"problem": "silent"}),
        st.just({"thief": True}),
    )
    seconds = st.sampled_from([2.0] * 8 + [15.0, 19.0, 19.0, 19.0, 25.0, 250.0])
    start: list[tuple[float, dict[str, object]]] = [(2.0, {"members": frozenset({1, 2, 3})})]
    return start + draw(st.lists(st.tuples(seconds, unusual), min_size=20, max_size=80))


@settings(max_examples=400, deadline=None)
@given(looks())
def test_an_order_has_all_that_it_needs(sequence: list[tuple[float, dict[str, object]]]) -> None:
    """One service alone, given any looks: whatever it orders, it was entitled to by what it was shown."""
    state, now, lease, told = State(), 0.0, None, None
    good_since: float | None = None
    last: float | None = None
    read: Reading | None = None
    for seconds, unusual in sequence:
        now += seconds
        if unusual.get("thief") and lease:
            lease = Lease(lease.generation + 1, "other", 2)
        fields = {k: v for k, v in unusual.items() if k not in ("serial", "problem", "thief")}
        view = replace(View(1, "me", True, frozenset({1, 2}), lease=lease, told=told), **fields)  # type: ignore[arg-type]
        if isinstance(told, Reading):
            read = told
        told = None
        good = view.quorate and 3 not in view.members and not view.excuse and not view.mark
        if not good or (last is not None and now - last > GAP_S):
            good_since = now if good else None
        elif good_since is None:
            good_since = now
        last = now
        decision = decide(state, view, peer(3), LIMITS, now)
        state = decision.state
        if decision.order in (Order.OFF, Order.ON, Order.TAKE):
            assert good_since is not None and now - good_since > LIMITS.wait_s
            assert not view.busy and not view.trouble
        if decision.order in (Order.OFF, Order.ON):
            assert (
                read is not None
                and read.serial == "RACK-0003"
                and not read.problem
                and now - read.at <= FRESH_S
            )
            assert view.lease is not None and view.lease.holder == "me" and not view.lease.free
            assert decision.lease is not None and decision.lease.beat > view.lease.beat
            told = Outcome(now + 1, decision.order)
            read = None
        if decision.order is Order.LOOK:
            told = Reading(
                now + 1, str(unusual.get("serial", "RACK-0003")), "Off", str(unusual.get("problem", ""))
            )
        if decision.lease is not None:
            assert not (view.busy and decision.lease.free), "the lease goes back while an order may act"
            lease = decision.lease


def test_such_a_sequence_reaches_every_order() -> None:
    """The property above is not empty: undisturbed, the same service goes through the whole cycle."""
    state, now, lease, told = State(), 0.0, None, None
    reached: list[Order] = []
    for step in range(80):
        now += TICK_S
        members = frozenset({1, 2, 3}) if step == 0 else frozenset({1, 2})
        decision = decide(state, View(1, "me", True, members, lease=lease, told=told), peer(3), LIMITS, now)
        state, lease, told = decision.state, decision.lease or lease, None
        reached.append(decision.order)
        if decision.order in (Order.OFF, Order.ON):
            told = Outcome(now + 1, decision.order)
        if decision.order is Order.LOOK:
            told = Reading(now + 1, "RACK-0003", "Off" if lease and lease.phase is Phase.OFF else "On")
    steps = [order for order in reached if order not in (Order.NOTHING, Order.LOOK)]
    assert steps[:4] == [Order.TAKE, Order.OFF, Order.ON, Order.KEEP]
    assert lease is not None and (lease.phase, lease.cycles) == (Phase.WATCH, 1)
