"""Predicted recovery times against the ranges of the HA manager's own simulator."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from chaos import predict_ha
from chaos.predict import Prediction
from chaos.predict_ha import START_S, HaTimes
from cluster.errors import UnknownError

AT_ONCE = Prediction(0.0, 10.0, "it panics")
TIMES = HaTimes(token_s=3.65, consensus_s=4.38, watchdog_s=10.0, lowest="node1")
TOLD = """\
runtime.config.totem.consensus (u32) = 4380
runtime.config.totem.crypto_cipher (str) = aes256
runtime.config.totem.token (u32) = 3650
runtime.config.totem.token_retransmit (u32) = 869
nodelist.node.0.name (str) = node2
nodelist.node.0.nodeid (u32) = 10
nodelist.node.0.ring0_addr (str) = 10.7.0.12
nodelist.node.1.name (str) = node1
nodelist.node.1.nodeid (u32) = 2
watchdog = 10
"""


def test_what_a_node_tells_is_read() -> None:
    assert predict_ha.parse(TOLD) == TIMES
    assert predict_ha.parse(TOLD + "watchdog = 30\n").watchdog_s == 30, "the slowest watchdog counts"


@pytest.mark.parametrize("lacking", ["totem.token (", "totem.consensus (", "watchdog", "nodelist.node"])
def test_what_a_node_does_not_tell_is_unknown(lacking: str) -> None:
    text = "\n".join(line for line in TOLD.splitlines() if lacking not in line)
    with pytest.raises(UnknownError, match=lacking.rstrip(" (")):
        predict_ha.parse(text)


@pytest.mark.parametrize(("master", "least", "most"), [(False, 120, 135), (True, 165, 185)])
def test_guests_of_a_master_take_longer(master: bool, least: float, most: float) -> None:
    begun = predict_ha.restarted(TIMES, master=master)
    assert (begun.least_s, begun.most_s) == (least, most)
    answer = predict_ha.answering(TIMES, master=master)
    assert (answer.least_s, answer.most_s) == (least, most + START_S)
    assert ("it was not master" in begun.why) is not master


def test_the_patience_begins_with_a_look_before_the_loss_only_where_corosync_is_quick() -> None:
    assert predict_ha.fenced(TIMES, master=False).least_s == 3.65 + 60 - 10
    assert predict_ha.fenced(replace(TIMES, token_s=10), master=False).least_s == 70
    assert predict_ha.fenced(TIMES, master=True).least_s == 160, "another one counts from its own first look"


@pytest.mark.parametrize("master", [False, True])
def test_containers_take_as_much_longer_as_their_mount_looks_on(master: bool) -> None:
    machines = predict_ha.answering(TIMES, master=master)
    containers = predict_ha.answering(TIMES, master=master, containers=True)
    assert containers.least_s == machines.least_s, "one of them may be a virtual machine"
    assert containers.most_s == (machines.most_s or 0) + 42
    begun = predict_ha.restarted(TIMES, master=master, containers=True)
    assert begun.most_s == (predict_ha.restarted(TIMES, master=master).most_s or 0) + 42
    anew = predict_ha.started_anew(TIMES, master=master, dead=AT_ONCE, containers=True)
    assert anew.most_s == (containers.most_s or 0) + 10


@pytest.mark.parametrize("master", [False, True])
def test_each_step_of_a_recovery_comes_after_the_one_before(master: bool) -> None:
    seen = predict_ha.detected(TIMES, master=master)
    fenced = predict_ha.fenced(TIMES, master=master)
    begun = predict_ha.restarted(TIMES, master=master)
    answer = predict_ha.answering(TIMES, master=master)
    course = (predict_ha.membership(TIMES), seen, fenced, begun, answer)
    for one, other in pairwise(course):
        assert one.least_s <= other.least_s
    for each in course:
        assert each.most_s is not None and each.least_s <= each.most_s


def test_a_slow_corosync_makes_recovery_later_and_never_sooner() -> None:
    slow = predict_ha.restarted(replace(TIMES, token_s=90, consensus_s=108), master=False)
    assert slow.least_s == 150
    assert slow.most_s is not None and slow.most_s > 135


def test_a_node_without_quorum_is_dead_before_its_guests_begin() -> None:
    reset = predict_ha.self_reset(TIMES)
    assert reset.least_s == 50
    assert reset.most_s is not None and 70 <= reset.most_s < predict_ha.restarted(TIMES, master=False).least_s


def test_a_hang_lasts_as_long_as_the_watchdog_is_set_to() -> None:
    assert predict_ha.bite(replace(TIMES, watchdog_s=255)).most_s == 255
    quick = predict_ha.started_anew(TIMES, master=False, dead=AT_ONCE)
    assert (quick.least_s, quick.most_s) == (0, 135 + START_S + 10)
    reset = predict_ha.self_reset(TIMES)
    cut = predict_ha.started_anew(TIMES, master=False, dead=reset)
    assert (cut.least_s, cut.most_s) == (reset.least_s, 135 + START_S + (reset.most_s or 0))


@pytest.mark.parametrize("master", [False, True])
def test_who_says_when_a_lock_has_expired_counts_its_own_anew(master: bool) -> None:
    for predicted in (
        predict_ha.restarted,
        predict_ha.answering,
        partial(predict_ha.started_anew, dead=AT_ONCE),
    ):
        other, lowest = (predicted(TIMES, master=master, counts_anew=anew) for anew in (False, True))
        assert lowest.least_s == other.least_s, "where it comes back too late, it counts nothing"
        assert lowest.most_s == (other.most_s or 0) + 120
        assert "lowest id" in lowest.why and "lowest id" not in other.why


def test_who_led_is_told_by_the_nodes_that_were_lost() -> None:
    assert predict_ha.was_master("node1", ("node1", "node2"))
    assert not predict_ha.was_master("node3", ("node1", "node2"))
    assert not predict_ha.was_master(None, ("node1",))
