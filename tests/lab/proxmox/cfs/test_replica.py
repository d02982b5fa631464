"""The same tree on all members, whatever happens to the group."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Any

import pytest

from lab.standins.proxmox.daemon.cfs import operations, rules
from lab.standins.proxmox.daemon.cfs.replica import Mode, Writable

Rack = Any


def test_a_write_is_on_every_member_when_it_is_acknowledged(rack: Rack) -> None:
    assert rack.put(2, "storage.cfg", b"rbd: rbd-vms\n") == 0
    assert [rack.content(n)["storage.cfg"] for n in (1, 2, 3)] == [b"rbd: rbd-vms\n"] * 3
    assert len(rack.digests()) == 1


def test_concurrent_writes_end_in_the_order_of_the_group(rack: Rack) -> None:
    rack.put(1, "f", b"")
    for number in range(30):
        rack.ask(number % 3 + 1, operations.WRITE, "f", offset=number, data=bytes([65 + number]) * 40)
    rack.run()
    assert len(rack.digests()) == 1
    assert rack.nodes[1].store.tree.version == 2 + 1 + 30


def test_one_of_many_wins_a_lock(rack: Rack) -> None:
    rack.do(1, operations.MKDIR, "priv")
    rack.do(1, operations.MKDIR, "priv/lock")
    asked = [(n, rack.ask(n, operations.MKDIR, "priv/lock/ceph")) for n in (1, 2, 3) for _ in range(4)]
    rack.run()
    results = [rack.nodes[n].results[number] for n, number in asked]
    assert sorted(results) == [0] + [errno.EEXIST] * 11


def test_the_minority_reads_on_and_cannot_write(rack: Rack) -> None:
    rack.put(1, "f", b"before")
    rack.split([1], [2, 3])
    rack.run()
    assert rack.do(1, operations.WRITE, "f", data=b"minority") == errno.EACCES
    assert rack.do(1, operations.MKDIR, "d") == errno.EACCES
    assert rack.content(1)["f"] == b"before"
    assert not rack.nodes[1].replica.quorate
    assert rack.do(2, operations.WRITE, "f", data=b"majority") == 0
    assert rack.content(3)["f"] == b"majority"


def test_who_rejoins_gets_the_tree_of_the_majority(rack: Rack) -> None:
    rack.put(1, "gone", b"x")
    rack.split([1], [2, 3])
    rack.run()
    rack.put(3, "nodes", b"y" * 400_000)
    rack.do(2, operations.DELETE, "gone")
    rack.split([1, 2, 3])
    rack.run()
    assert len(rack.digests()) == 1
    assert rack.content(1) == {"nodes": b"y" * 400_000}
    assert rack.do(1, operations.MKDIR, "d") == 0


def test_a_new_member_takes_over_everything_and_keeps_it_on_disk(make_rack: Callable[..., Rack]) -> None:
    rack = make_rack(joined=False)
    rack.split([1, 2], [3])
    rack.run()
    rack.put(1, "priv", b"secret")
    rack.split([1, 2, 3])
    rack.run()
    assert rack.content(3) == {"priv": b"secret"}
    again = rack.start(3)
    assert again.store.tree.digest() == rack.nodes[1].store.tree.digest()


def test_a_write_under_way_at_a_change_of_members_is_made_once(rack: Rack) -> None:
    rack.put(1, "f", b"")
    version = rack.nodes[2].store.tree.version
    number = rack.ask(2, operations.WRITE, "f", data=b"late")
    rack.split([2, 3], [1])
    rack.run()
    assert rack.nodes[2].results[number] == 0
    assert rack.nodes[2].finished.count(number) == 1
    assert rack.nodes[3].store.tree.version == version + 1


def test_a_message_of_a_former_epoch_changes_nothing(rack: Rack) -> None:
    rack.put(1, "f", b"")
    number = rack.ask(2, operations.WRITE, "f", data=b"once")
    stale = rack.nodes[2].outbox[0]
    rack.split([1, 2, 3])
    rack.queues[0].append((rack.nodes[2].member, stale))
    rack.run()
    rack.queues[0].append((rack.nodes[2].member, stale))
    rack.run()
    assert rack.nodes[2].finished.count(number) == 1
    assert rack.nodes[1].store.tree.version == 4


def test_a_write_waits_for_the_word_on_quorum_of_its_ring(rack: Rack) -> None:
    """The group learns of the cut before votequorum has counted: the minority must not write in between."""
    rack.put(1, "f", b"before")
    rack.split([1], [2, 3], quorum_word=False)
    rack.run()
    assert rack.nodes[1].replica.writable is Writable.WAIT
    lone = rack.ask(1, operations.WRITE, "f", data=b"minority")
    most = rack.ask(2, operations.WRITE, "f", data=b"majority")
    rack.run()
    assert lone not in rack.nodes[1].results
    assert most not in rack.nodes[2].results
    rack.quorum_word()
    rack.run()
    assert rack.nodes[1].results[lone] == errno.EACCES
    assert rack.nodes[2].results[most] == 0
    assert rack.content(1)["f"] == b"before"


def test_lost_corosync_refuses_what_waits_and_what_comes(rack: Rack) -> None:
    waiting = rack.ask(1, operations.MKDIR, "a")
    rack.nodes[1].replica.offline()
    assert rack.nodes[1].results[waiting] == errno.EACCES
    assert rack.ask(1, operations.MKDIR, "b") in rack.nodes[1].results
    assert rack.nodes[1].replica.mode is Mode.OFFLINE
    assert not rack.nodes[1].replica.quorate


def test_a_damaged_message_is_left_out_by_all(rack: Rack) -> None:
    for message in (b"", b"x" * 40, operations.pack({"type": "sync", "members": [1]})):
        rack.queues[0].append((rack.nodes[1].member, message))
    bad = operations.pack({"type": "change", "epoch": rack.nodes[1].replica._epoch, "change": {"kind": "rm"}})
    rack.queues[0].append((rack.nodes[1].member, bad))
    rack.run()
    assert rack.do(1, operations.MKDIR, "a") == 0
    assert len(rack.digests()) == 1


def lock(rack: Rack) -> None:
    rack.do(1, operations.MKDIR, "priv")
    rack.do(1, operations.MKDIR, "priv/lock")
    assert rack.do(2, operations.MKDIR, "priv/lock/x") == 0


def test_a_lock_lives_until_nobody_refreshed_it_for_its_lifetime(rack: Rack) -> None:
    lock(rack)
    rack.clock.now += rules.LOCK_LIFETIME_S - 1
    assert rack.do(3, operations.UNLOCK_REQUEST, "priv/lock/x") == 0
    assert "priv/lock/x" in rack.content(1)
    rack.clock.now += 1
    assert rack.do(3, operations.UNLOCK_REQUEST, "priv/lock/x") == 0
    assert all("priv/lock/x" not in rack.content(n) for n in (1, 2, 3))
    assert len(rack.digests()) == 1


def test_a_refreshed_lock_stays(rack: Rack) -> None:
    lock(rack)
    rack.clock.now += 100
    assert rack.do(2, operations.MTIME, "priv/lock/x") == 0
    rack.clock.now += 100
    rack.do(3, operations.UNLOCK_REQUEST, "priv/lock/x")
    assert "priv/lock/x" in rack.content(1)


def test_a_lock_taken_anew_is_not_opened_by_the_former_request(rack: Rack) -> None:
    lock(rack)
    version = rack.nodes[1].store.tree.get("priv/lock/x").version
    rack.do(2, operations.DELETE, "priv/lock/x")
    rack.do(3, operations.MKDIR, "priv/lock/x")
    assert rack.do(1, operations.UNLOCK, "priv/lock/x", version=version) == errno.EBUSY
    assert "priv/lock/x" in rack.content(2)


def test_members_know_each_other_after_the_talk(rack: Rack) -> None:
    assert {n: peer.address for n, peer in rack.nodes[3].replica.peers.items()} == {
        1: "10.0.0.1",
        2: "10.0.0.2",
        3: "10.0.0.3",
    }


@pytest.mark.parametrize("seed", range(25))
def test_any_history_ends_in_one_tree_that_holds_all_that_was_acknowledged(
    make_rack: Callable[..., Rack], seed: int
) -> None:
    """Random writes, cuts, merges and deaths; files are never overwritten, so none may be missing."""
    dice = random.Random(seed)
    rack = make_rack(dice.choice((2, 3, 5)))
    everyone = list(rack.nodes)
    asked: dict[tuple[int, int], str] = {}
    ended: dict[tuple[int, int], int] = {}

    def note(nodeid: int) -> None:
        ended.update({(nodeid, number): errno_ for number, errno_ in rack.nodes[nodeid].results.items()})

    for turn in range(120):
        what = dice.random()
        if what < 0.6:
            nodeid = dice.choice(everyone)
            name = f"file{turn}"
            asked[nodeid, rack.ask(nodeid, operations.CREATE, name)] = name
        elif what < 0.9:
            for _ in range(dice.randrange(8)):
                rack.step(dice.randrange(len(rack.parts)))
        elif what < 0.97:
            dice.shuffle(everyone)
            cut = dice.randrange(len(everyone) + 1)
            rack.split(*[part for part in (everyone[:cut], everyone[cut:]) if part])
        else:
            nodeid = dice.choice(everyone)
            note(nodeid)
            rack.start(nodeid)
            rack.split(list(rack.nodes))
    rack.split(list(rack.nodes))
    rack.run()
    for nodeid, node in rack.nodes.items():
        note(nodeid)
        assert len(node.finished) == len(set(node.finished))
    assert len(rack.digests()) == 1
    content = rack.content(1)
    acknowledged = {asked[key] for key, result in ended.items() if result == 0 and key in asked}
    assert acknowledged
    assert acknowledged <= content.keys()
    refused = {asked[key] for key, result in ended.items() if result and key in asked}
    assert not refused & content.keys()
