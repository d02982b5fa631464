"""What the services of a whole cluster do, told as stories; time is the test's."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from provisioners.roles.fencing.files.rackproof_fencing.model import LEASE_S, SLACK_S, Lease, Order, Phase
from provisioners.roles.fencing.files.rackproof_fencing.shared import Shared
from tests.provisioners.fencing_world import LIMITS, Work, World, make_world

CYCLE = [(1, Order.OFF), (1, Order.ON)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    made = make_world(monkeypatch, tmp_path)
    made.turn(20)
    return made


def manager(world: World, **status: object) -> None:
    (world.mount / "ha").mkdir(exist_ok=True)
    (world.mount / "ha/manager_status").write_text(json.dumps(status))


def test_a_lost_node_is_cycled_once_by_the_lowest_and_comes_back(world: World) -> None:
    lost = world.now
    world.crash(3)
    world.turn(300)
    assert world.orders(3) == CYCLE
    assert world.given[0].begun - lost > LIMITS.wait_s, "never before the watchdog must have bitten"
    assert world.given[0].begun - lost < LIMITS.wait_s + 20
    assert world.nodes[3].up
    words = world.words(1, 3)
    assert words == [
        "armed",
        "waits",
        "off-sent",
        "off-confirmed",
        "on-sent",
        "on-confirmed",
        "armed",
        "armed",
    ]
    assert "off-sent" not in world.words(2, 3)


def test_a_node_that_comes_back_in_time_is_let_be(world: World) -> None:
    world.crash(3)
    world.turn(LIMITS.wait_s - 5)
    world.boot(3)
    world.turn(600)
    assert world.given == []


def test_a_minority_orders_nothing_and_the_majority_fences_it(world: World) -> None:
    world.part(frozenset({2, 3}), frozenset({1}))
    world.turn(60)
    assert world.words(1, 2)[-1] == "refused" and world.given == []
    world.turn(60)
    assert world.orders(1)[0] == (2, Order.OFF) and world.orders(2) == world.orders(3) == []


def test_without_quorum_anywhere_nobody_is_fenced(world: World) -> None:
    world.part(frozenset({1}), frozenset({2}), frozenset({3}))
    world.turn(900)
    assert world.given == []
    world.part(frozenset({1, 2}), frozenset({3}))
    world.turn(LIMITS.wait_s - 5)
    assert world.given == [], "the count begins with quorum: node3 may have had it until then"
    world.turn(30)
    assert world.orders(3)[0] == (1, Order.OFF)


@pytest.mark.parametrize(
    "status",
    [
        {"node_status": {"node3": "maintenance"}},
        {"node_request": {"node3": {"maintenance": 1}}},
        {"disarm": {"mode": "freeze"}},
    ],
)
def test_maintenance_is_no_loss(world: World, status: dict[str, object]) -> None:
    manager(world, **status)
    world.crash(3)
    world.turn(900)
    assert world.given == [] and world.words(1, 3)[-1] == "refused"
    manager(world, node_status={"node3": "unknown"})
    world.turn(LIMITS.wait_s - 5)
    assert world.given == [], "the count begins when the excuse ends"
    world.turn(30)
    assert world.orders(3) == CYCLE


def test_who_leaves_in_good_order_is_let_be_until_it_was_here_again(world: World) -> None:
    service = world.nodes[3].service
    assert service is not None
    world.acting = 3
    service._say_goodbye()
    world.turn(6)
    world.crash(3)
    world.turn(900)
    assert world.given == [] and world.words(1, 3)[-1] == "refused"
    world.boot(3)
    world.kill_service(3)  # it never clears its mark
    world.turn(30)
    world.crash(3)
    world.turn(120)
    assert world.orders(3) == CYCLE, "the mark of an earlier departure excuses nobody"


def test_a_mark_is_cleared_by_the_node_that_came_back(world: World) -> None:
    service = world.nodes[3].service
    assert service is not None
    world.acting = 3
    service._say_goodbye()
    assert (world.mount / "rackproof/fencing/node3.left").exists()
    world.crash(3)
    world.boot(3)
    world.turn(10)
    assert not (world.mount / "rackproof/fencing/node3.left").exists()


def test_a_node_that_was_never_seen_is_let_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = make_world(monkeypatch, tmp_path)
    world.crash(3)
    world.turn(900)
    assert world.given == [] and world.words(1, 3) == ["refused"]


def test_a_service_that_starts_anew_still_knows_whom_it_has_seen(world: World) -> None:
    world.crash(3)
    world.kill_service(1)
    world.kill_service(2)
    world.start(1)
    world.turn(LIMITS.wait_s + 20)
    assert world.orders(3) == CYCLE


def test_a_foreign_bmc_gets_no_order(world: World) -> None:
    world.bmcs[3].serial = "RACK-0002"
    world.crash(3)
    world.turn(1200)
    assert world.given == []
    reasons = [s.reason for _, me, _, s in world.said if me == 1]
    assert any("tells serial number RACK-0002, ordered is RACK-0003" in reason for reason in reasons)


def test_a_silent_bmc_is_asked_again_ever_more_rarely_and_nothing_is_claimed(world: World) -> None:
    world.bmcs[3].problem = "the BMC does not answer"
    world.crash(3)
    lost = world.now
    world.turn(3600)
    assert world.given == []
    tries = [t for t, me, _, s in world.said if me == 1 and t > lost and "attempt" in s.reason]
    gaps = [b - a for a, b in pairwise(tries)]
    assert gaps == sorted(gaps) and gaps[0] < 20 and 115 < gaps[-1] < 130
    assert not {"off-confirmed", "on-sent"} & {*world.words(1, 3), *world.words(2, 3)}
    world.bmcs[3].problem = ""
    world.turn(140)
    assert [order for _, order in world.orders(3)] == [Order.OFF, Order.ON]


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (lambda world: world.boot(3), "membership changed at the last moment"),
        (lambda world: world.part(frozenset({1}), frozenset({2})), "membership changed at the last moment"),
        (lambda world: setattr(world, "now", world.now + SLACK_S + 1), "took 21 s to answer"),
    ],
)
def test_what_changes_while_an_order_is_written_down_stops_it(
    world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[World], None], reason: str
) -> None:
    write, happened = Shared.write, []

    def slow(self: Shared, name: str, lease: Lease) -> None:
        write(self, name, lease)
        if lease.phase is Phase.OFF and not happened:
            happened.append(lease)
            meanwhile(world)

    monkeypatch.setattr(Shared, "write", slow)
    told: list[str] = []
    monkeypatch.setattr(Work, "tell", lambda _self, outcome: told.append(outcome.problem))
    world.crash(3)
    world.turn(LIMITS.wait_s + 20)
    assert happened and len(told) == 1 and reason in told[0]
    assert world.given == []


def test_a_bmc_that_answers_again_is_taken_at_the_next_attempt(world: World) -> None:
    world.bmcs[3].problem = "the BMC does not answer"
    world.crash(3)
    world.turn(LIMITS.wait_s + 5)
    assert "attempt 1," in [s.reason for _, me, _, s in world.said if me == 1][-1]
    world.bmcs[3].problem = ""
    world.turn(30)
    assert world.orders(3) == CYCLE


def test_an_off_that_is_not_confirmed_is_never_followed_by_on(world: World) -> None:
    world.bmcs[3].deaf = True
    world.crash(3)
    world.turn(1200)
    assert {order for _, order in world.orders(3)} == {Order.OFF}
    assert "off-confirmed" not in world.words(1, 3)


def test_an_off_that_only_the_bmc_claims_is_ordered_again(world: World) -> None:
    world.bmcs[3].mute = True
    world.crash(3)
    world.turn(100)
    assert world.orders(3) and {order for _, order in world.orders(3)} == {Order.OFF}
    assert world.bmcs[3].power == "Off" and "off-confirmed" not in world.words(1, 3)
    world.bmcs[3].mute = False
    world.turn(300)
    assert world.orders(3)[-1] == (1, Order.ON) and world.nodes[3].up


def test_a_node_that_does_not_come_back_is_given_up_loudly(world: World) -> None:
    world.nodes[3].comes_up = False
    world.crash(3)
    world.turn(4 * LIMITS.watch_s + 600)
    assert world.orders(3) == CYCLE * 3
    assert world.words(1, 3).count("gave-up") == 1
    world.turn(3600)
    assert len(world.given) == 6, "nobody else begins anew"
    world.boot(3)
    world.turn(300)
    world.crash(3)
    world.nodes[3].comes_up = True
    world.turn(300)
    assert world.orders(3)[6:] == CYCLE, "once it was well, it is helped again"


def test_a_boot_loop_ends(world: World) -> None:
    """The node joins each time and is lost again within seconds."""
    world.crash(3)
    for _ in range(12):
        world.turn(200)
        if world.nodes[3].up:
            world.crash(3)
    assert world.orders(3) == CYCLE * 3
    assert "gave-up" in world.words(1, 3)


def test_the_next_node_goes_on_where_a_dead_actor_stood(world: World) -> None:
    world.crash(3)
    world.bmcs[3].seconds = 60
    world.turn(100)
    assert world.orders(3) == CYCLE[:1]
    world.kill_service(1)
    world.bmcs[3].seconds = 4
    world.turn(LEASE_S - 60)
    assert world.orders(3) == CYCLE[:1], "the dead actor's order may still act"
    world.turn(2 * LEASE_S)
    assert world.orders(3)[1:] == [(2, Order.OFF), (2, Order.ON)]
    assert world.nodes[3].up


def test_after_power_on_a_new_actor_waits_and_does_not_switch_off_again(world: World) -> None:
    world.boot_s = 1000.0
    world.crash(3)
    world.turn(110)
    assert world.orders(3) == CYCLE
    world.kill_service(1)
    world.turn(LEASE_S + 100)
    assert world.orders(3) == CYCLE


def test_another_node_acts_where_the_lowest_cannot(world: World) -> None:
    world.kill_service(1)
    world.crash(3)
    world.turn(LIMITS.wait_s + LEASE_S - 10)
    assert world.given == []
    world.turn(60)
    assert world.orders(3) == [(2, Order.OFF), (2, Order.ON)]


def test_what_proxmox_does_not_say_is_not_guessed(world: World) -> None:
    world.crash(3)
    members = world.mount / ".members"
    for text in ("", "{", json.dumps({"nodelist": {"node3": {"id": 7, "online": 0}}})):
        members.write_text(text)
        world.turn(300)
        assert world.given == []
    members.write_text(json.dumps({"nodelist": {"node3": {"id": 3, "online": 1}}}))
    world.turn(300)
    assert world.given == [], "the cluster file system still hears of it"
    world.members()
    world.turn(100)
    assert world.orders(3) == CYCLE


def test_a_broken_record_stops_everything_and_is_named(world: World) -> None:
    place = world.mount / "rackproof/fencing/node3.4"
    place.mkdir(parents=True)
    (place / "state").write_text("{")
    world.crash(3)
    world.turn(600)
    assert world.given == []
    assert any(f"remove {place}" in s.reason for _, _, _, s in world.said)
