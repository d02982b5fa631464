"""Guests given to another node, two nodes speaking to each other by their APIs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.guests import files, overview
from lab.standins.proxmox.daemon.guests.conf import Config
from lab.standins.proxmox.daemon.guests.files import Guest

from ..conftest import NODE, Rig
from ..hypervisor import CT, CT_CONF, QEMU, VM, VM_CONF, Hypervisor, hypervisor
from .conftest import OTHER

HERE, THERE = f"/nodes/{NODE}/lxc/{CT}", f"/nodes/{OTHER}/lxc/{CT}"
Pair = tuple[Hypervisor, Hypervisor]


@pytest.fixture
def both(two: tuple[Rig, Rig]) -> Iterator[Pair]:
    """A container and a virtual machine on pve-a."""
    first, second = two
    there = hypervisor(second)
    here = hypervisor(first)
    here.images |= {"rbd-containers/vm-101-disk-0": 1, "rbd-vms/vm-102-disk-0": 1}
    there.images |= here.images
    for folder in files.FOLDERS.values():
        second.machine.file(f"/etc/pve/nodes/{OTHER}/{folder}").mkdir(parents=True)
    files.save(first.machine, Guest(CT, "lxc", NODE), Config(dict(CT_CONF)))
    files.save(first.machine, Guest(VM, "qemu", NODE), Config(dict(VM_CONF)))
    overview._told.clear()
    yield here, there
    overview._told.clear()


def where(rig: Rig) -> dict[int, str]:
    return {vmid: guest.node for vmid, guest in files.everywhere(rig.machine).items()}


def test_a_running_container_is_restarted_over_there(two: tuple[Rig, Rig], both: Pair) -> None:
    (rig, _), (here, there) = two, both
    rig.task(rig.call("POST", f"{HERE}/status/start"))
    status, log = rig.task(rig.call("POST", f"{HERE}/migrate", target=OTHER, restart=1))
    assert status == "OK", log
    assert (here.containers, there.containers, where(rig)[CT]) == (set(), {CT}, OTHER)
    assert "rbd" not in rig.machine.read("/proc/mounts"), "it is still mounted on the node it left"
    assert "lock" not in files.load(rig.machine, Guest(CT, "lxc", OTHER)).values
    assert log[0] == "shutdown CT 101" and "start container on target node" in log
    assert rig.call("GET", f"{THERE}/status/current")["status"] == "running"


def test_a_running_container_needs_the_word(two: tuple[Rig, Rig], both: Pair) -> None:
    (rig, _), (here, _) = two, both
    here.run_container(CT)
    with pytest.raises(
        ResourceException, match="can't migrate running container without --online or --restart"
    ):
        rig.call("POST", f"{HERE}/migrate", target=OTHER)
    status, _ = rig.task(rig.call("POST", f"{HERE}/migrate", target=OTHER, online=1))
    assert status == "lxc live migration is currently not implemented"
    assert (here.containers, where(rig)[CT]) == ({CT}, NODE)


def test_a_container_that_cannot_go_runs_on(
    two: tuple[Rig, Rig], both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rig, _), (here, _) = two, both
    rig.task(rig.call("POST", f"{HERE}/status/start"))

    def no_quorum(*_: object) -> Guest:
        raise files.ApiError(500, "Failed to move config to node 'pve-b' - rename failed: Permission denied")

    monkeypatch.setattr(files, "move", no_quorum)
    status, log = rig.task(rig.call("POST", f"{HERE}/migrate", target=OTHER, restart=1))
    assert "rename failed" in status and "start container on source node" in log
    assert (here.containers, where(rig)[CT]) == ({CT}, NODE)
    assert "lock" not in files.load(rig.machine, Guest(CT, "lxc", NODE)).values


def test_stopped_guests_just_change_hands(two: tuple[Rig, Rig], both: Pair) -> None:
    (rig, _), (here, there) = two, both
    assert rig.task(rig.call("POST", f"{HERE}/migrate", target=OTHER))[0] == "OK"
    assert rig.task(rig.call("POST", f"/nodes/{NODE}/qemu/{VM}/migrate", target=OTHER))[0] == "OK"
    assert where(rig) == {CT: OTHER, VM: OTHER}
    assert not here.containers | there.containers


def test_a_machine_with_a_cd_of_this_node_stays(two: tuple[Rig, Rig], both: Pair) -> None:
    rig = two[0]
    rig.machine.write("/var/lib/vz/template/iso/own.iso", "x")
    rig.call("PUT", f"/nodes/{NODE}/qemu/{VM}/config", ide2="local:iso/own.iso,media=cdrom")
    status, _ = rig.task(rig.call("POST", f"/nodes/{NODE}/qemu/{VM}/migrate", target=OTHER))
    assert status == "can't migrate local disk 'local:iso/own.iso': local cdrom image"
    assert where(rig)[VM] == NODE
    said = rig.call("GET", f"/nodes/{NODE}/qemu/{VM}/migrate")
    assert said["local_disks"] == [{"volid": "local:iso/own.iso", "cdrom": 1}]


def test_a_running_machine_needs_the_word(two: tuple[Rig, Rig], both: Pair) -> None:
    (rig, _), (here, _) = two, both
    here.run_machine(VM, QEMU)
    with pytest.raises(ResourceException, match="can't migrate running VM without --online"):
        rig.call("POST", f"/nodes/{NODE}/qemu/{VM}/migrate", target=OTHER)


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [(NODE, 400, "target is local node."), ("pve-z", 500, "no such cluster node 'pve-z'")],
)
def test_where_nothing_can_go(two: tuple[Rig, Rig], both: Pair, target: str, status: int, said: str) -> None:
    with pytest.raises(ResourceException) as error:
        two[0].call("POST", f"{HERE}/migrate", target=target)
    assert error.value.status_code == status and said in f"{error.value.content} {error.value.errors}"


def test_a_node_that_may_not_use_the_storage_is_no_target(two: tuple[Rig, Rig], both: Pair) -> None:
    rig = two[0]
    rig.call("PUT", "/storage/rbd-containers", nodes=NODE)
    status, _ = rig.task(rig.call("POST", f"{HERE}/migrate", target=OTHER))
    assert status == "storage 'rbd-containers' is not available on node 'pve-b'"
    assert where(rig)[CT] == NODE


def test_everybody_sees_every_guest(two: tuple[Rig, Rig], both: Pair) -> None:
    (first, second), (here, _) = two, both
    here.run_container(CT)
    for rig in (first, second):
        found = {entry["id"]: entry for entry in rig.call("GET", "/cluster/resources", type="vm")}
        assert {name: entry["node"] for name, entry in found.items()} == {"lxc/101": NODE, "qemu/102": NODE}
        assert (found["lxc/101"]["status"], found["qemu/102"]["status"]) == ("running", "stopped")
        assert (found["lxc/101"]["name"], found["lxc/101"]["maxcpu"]) == ("beat-ct", 1)


def test_guests_of_a_node_that_is_gone_are_unknown(two: tuple[Rig, Rig], both: Pair) -> None:
    first, second = two
    members = first.machine.read("/etc/pve/.members")
    first.machine.write("/etc/pve/.members", members.replace('"online": 1', '"online": 0', 1))
    found = second.call("GET", "/cluster/resources", type="vm")
    assert {(entry["node"], entry["status"]) for entry in found} == {(NODE, "unknown")}


def test_a_silent_node_is_asked_no_more_often_than_any(
    two: tuple[Rig, Rig], both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs would else hold up every look at the cluster."""
    _, second = two
    second.call("GET", "/cluster/resources", type="vm")
    asked = []

    def silent(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise files.ApiError(595, "Connection timed out")

    monkeypatch.setattr(overview.peers, "call", silent)
    monkeypatch.setattr(overview, "FRESH_S", 0.0)
    found = second.call("GET", "/cluster/resources", type="vm")
    assert {entry["status"] for entry in found} == {"stopped"} and len(asked) == 2
    monkeypatch.setattr(overview, "FRESH_S", 60.0)
    second.call("GET", "/cluster/resources", type="vm")
    assert len(asked) == 2
