"""The manager's word on each node, second by second."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lab.standins.proxmox.daemon.ha.nodestates import FENCE_DELAY_S, FORGET_AFTER_S, NodeStates
from lab.standins.proxmox.daemon.ha.pacemaker import Node, Seen

UP, LOST, LEFT = Node(True, False), Node(False, True), Node(False, False)


def seen(**nodes: Node) -> Seen:
    return Seen({"node1": UP, "node2": UP, **nodes}, {})


class World:
    """Two nodes and a clock."""

    def __init__(self, states: Mapping[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self.nodes = NodeStates(states or {}, self.lines.append)
        self.now = 0.0

    def look(self, after_s: float, node2: bool, pacemaker: Seen | None, mode: str = "active") -> str:
        """node2's state after a look."""
        self.now += after_s
        self.nodes.update(self.now, {"node1": True, "node2": node2}, {"node2": mode}, pacemaker)
        return self.nodes.states["node2"]


@pytest.fixture
def world() -> World:
    one = World()
    assert one.look(0, True, seen()) == "online"
    return one


def test_a_lost_node_is_to_be_fenced_after_a_minute_and_not_before(world: World) -> None:
    assert world.look(10, False, seen(node2=LOST)) == "unknown"
    assert world.look(FENCE_DELAY_S - 11, False, seen(node2=LOST)) == "unknown"
    assert world.look(1, False, seen(node2=LOST)) == "fence"
    assert world.look(600, False, seen(node2=LOST)) == "fence"


def test_fencing_is_acknowledged_when_pacemaker_holds_it_for_clean(world: World) -> None:
    world.look(100, False, seen(node2=LOST))
    assert world.look(50, False, seen(node2=LEFT)) == "unknown"
    assert world.nodes.acknowledged == {"node2"}
    assert world.lines[-2:] == [
        "fencing: acknowledged - got agent lock for node 'node2'",
        "node 'node2': state changed from 'fence' => 'unknown'",
    ]
    assert world.look(10, True, seen(node2=LEFT)) == "online"
    assert not world.nodes.acknowledged


def test_a_node_started_anew_stays_to_be_fenced_until_its_old_self_is_dead(world: World) -> None:
    world.look(100, False, seen(node2=LOST))
    assert world.look(10, True, seen(node2=LOST)) == "fence"
    assert world.look(10, True, seen(node2=LEFT)) == "online"
    assert world.nodes.acknowledged == {"node2"}


def test_a_node_that_came_back_alive_was_not_fenced(world: World) -> None:
    world.look(100, False, seen(node2=LOST))
    assert world.look(10, True, seen()) == "online"
    assert not world.nodes.acknowledged


def test_back_before_a_minute_is_nothing(world: World) -> None:
    world.look(50, False, seen(node2=LOST))
    assert world.look(9, True, seen()) == "online"
    assert not any("fence" in line for line in world.lines)


def test_a_node_that_left_in_order_is_not_fenced(world: World) -> None:
    assert world.look(3000, False, seen(node2=LEFT)) == "unknown"


def test_without_pacemakers_word_nobody_is_fenced(world: World) -> None:
    assert world.look(3000, False, None) == "unknown"
    assert world.look(0, False, seen(node2=LOST)) == "fence"
    assert world.look(10, False, None) == "fence"


def test_a_new_manager_counts_the_minute_anew() -> None:
    world = World({"node1": "online", "node2": "unknown"})
    assert world.look(5000, False, seen(node2=LOST)) == "unknown"
    assert world.look(FENCE_DELAY_S, False, seen(node2=LOST)) == "fence"


def test_maintenance_lasts_while_the_node_is_away_in_order(world: World) -> None:
    assert world.look(10, True, seen(), "maintenance") == "maintenance"
    assert world.look(500, False, seen(node2=LEFT), "maintenance") == "maintenance"
    assert world.look(10, True, seen(), "active") == "online"


def test_a_node_that_dies_in_maintenance_is_fenced(world: World) -> None:
    world.look(10, True, seen(), "maintenance")
    assert world.look(100, False, seen(node2=LOST), "maintenance") == "fence"


def test_a_node_taken_from_the_cluster_is_forgotten(world: World) -> None:
    world.now = 10
    world.nodes.update(world.now, {"node1": True}, {}, seen(node2=LEFT))
    assert world.nodes.states["node2"] == "gone"
    world.nodes.update(world.now + FORGET_AFTER_S, {"node1": True}, {}, seen(node2=LEFT))
    assert "node2" not in world.nodes.states
