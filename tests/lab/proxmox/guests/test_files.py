"""Whose guest it is: places, VMIDs once in the cluster, moving, and locks."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.standins.proxmox.daemon.guests import files, locks
from lab.standins.proxmox.daemon.guests.conf import Config
from lab.standins.proxmox.daemon.guests.files import Guest
from lab.standins.proxmox.daemon.http.errors import ApiError
from lab.standins.proxmox.daemon.http.machine import Machine

MINE, THEIRS = Guest(101, "lxc", "node1"), Guest(102, "qemu", "node2")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine("node1", tmp_path)
    for node in ("node1", "node2", "node3"):
        for folder in files.FOLDERS.values():
            made.file(f"/etc/pve/nodes/{node}/{folder}").mkdir(parents=True)
    for guest in (MINE, THEIRS):
        files.save(made, guest, Config({"memory": "64"}))
    return made


def test_a_place_says_whose_guest_it_is(machine: Machine) -> None:
    machine.write("/etc/pve/nodes/node1/lxc/99.conf", "")
    machine.write("/etc/pve/nodes/node1/priv/101.conf", "")
    assert files.everywhere(machine) == {101: MINE, 102: THEIRS}
    assert (files.here(machine, "lxc"), files.here(machine, "qemu")) == ([MINE], [])
    assert (MINE.sid, THEIRS.sid, str(MINE), str(THEIRS)) == ("ct:101", "vm:102", "CT 101", "VM 102")


@pytest.mark.parametrize("sid", ["ct:101", "vm:102"])
def test_service_ids(sid: str) -> None:
    assert files.of_sid(sid, "node1").sid == sid


@pytest.mark.parametrize("sid", ["lxc:101", "ct:99", "ct:", "101", "ct:101x", "ct:0101"])
def test_what_is_no_service_id(sid: str) -> None:
    with pytest.raises(ValueError, match="no service id, expected ct:<vmid> or vm:<vmid>"):
        files.of_sid(sid, "node1")


def test_a_vmid_is_taken_once_in_the_cluster(machine: Machine) -> None:
    for kind in ("lxc", "qemu"):
        guest = Guest(102, kind, "node1")
        with pytest.raises(ApiError) as error:
            files.reserve(machine, guest)
        assert str(error.value) == f"unable to create {guest} - VM 102 already exists on node 'node2'"
    files.reserve(machine, Guest(103, "lxc", "node1"))
    assert files.load(machine, Guest(103, "lxc", "node1")).values == {"lock": "create"}


def test_of_two_that_reserve_at_once_one_gets_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both looked before either had it."""
    guest, look = Guest(104, "lxc", "node1"), files.everywhere
    nothing: list[dict[int, Guest]] = [{}, {}]
    monkeypatch.setattr(files, "everywhere", lambda of: nothing.pop() if nothing else look(of))
    files.reserve(machine, guest)
    with pytest.raises(ApiError, match="CT 104 already exists on node 'node1'"):
        files.reserve(machine, guest)


def test_a_guest_that_is_not_here(machine: Machine) -> None:
    with pytest.raises(ApiError, match=r"^Configuration file 'nodes/node1/lxc/200\.conf' does not exist$"):
        files.load(machine, Guest(200, "lxc", "node1"))


def test_a_guest_that_moves_is_the_other_nodes_at_once(machine: Machine) -> None:
    moved = files.move(machine, THEIRS, "node1")
    assert files.everywhere(machine)[102] == moved == Guest(102, "qemu", "node1")
    assert not machine.file(THEIRS.path).exists()
    with pytest.raises(ApiError, match=r"^Failed to move config to node 'node3' - rename failed: No "):
        files.move(machine, THEIRS, "node3")


def test_one_at_a_time(machine: Machine) -> None:
    with locks.held(machine, MINE):
        with pytest.raises(ApiError) as error, locks.held(machine, MINE, timeout_s=0.2):
            pass
        assert str(error.value) == "can't lock file '/run/lock/lxc/pve-config-101.lock' - got timeout"
        with locks.held(machine, THEIRS, timeout_s=0.2):
            pass
    with locks.held(machine, MINE, timeout_s=0.2):
        pass


def test_a_lock_is_given_back_whatever_happens(machine: Machine) -> None:
    with pytest.raises(RuntimeError), locks.held(machine, MINE):
        raise RuntimeError
    with locks.held(machine, MINE, timeout_s=0.2):
        pass


def test_a_guest_with_which_something_is_done() -> None:
    locks.check(MINE, Config({}))
    for guest, said in ((MINE, r"^CT is locked \(migrate\)$"), (THEIRS, r"^VM is locked \(migrate\)$")):
        with pytest.raises(ApiError, match=said):
            locks.check(guest, Config({"lock": "migrate"}))
