"""`python3 -m pve_standin.guests`: what systemd and the stack of high availability do with guests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.standins.proxmox.daemon.guests import __main__ as program
from lab.standins.proxmox.daemon.guests import boot, files, ha_routing, machines, running
from lab.standins.proxmox.daemon.guests.conf import Config
from lab.standins.proxmox.daemon.guests.files import Guest

from ..conftest import NODE, Rig
from ..contract_guests import both_nodes
from ..hypervisor import CT, CT_CONF, QEMU, VM, with_container, with_machine

RUNNING, STOPPED, FAILED, ARGUMENTS = 0, 7, 1, 2


@pytest.fixture
def here(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The program runs on the rig's node."""
    monkeypatch.setattr(program, "Machine", lambda _name: rig.machine)
    return rig


@pytest.mark.parametrize("sid", ["ct:101", "vm:102"])
def test_asked_twice_is_done_once(here: Rig, sid: str) -> None:
    node = with_container(here) if sid == "ct:101" else with_machine(here)

    def starts() -> int:
        return sum("start" in words or words[0] == "systemd-run" for words in here.machine.ran)

    assert program.main(["status", sid]) == STOPPED
    assert program.main(["stop", sid]) == 0
    assert program.main(["start", sid]) == 0
    assert (program.main(["status", sid]), starts()) == (RUNNING, 1)
    assert program.main(["start", sid]) == 0
    assert starts() == 1
    assert program.main(["stop", sid]) == program.main(["stop", sid]) == 0
    assert program.main(["status", sid]) == STOPPED
    assert not node.containers and "rbd" not in here.machine.read("/proc/mounts")


def test_a_managed_guest_is_acted_on_all_the_same(here: Rig) -> None:
    """Else the stack would ask itself for ever."""
    node = with_container(here)
    here.machine.write(ha_routing.RESOURCES, "ct: 101\n\tstate started\n")
    assert program.main(["start", "ct:101"]) == 0
    assert node.containers == {CT}
    assert not [words for words in here.machine.ran if words[0] == "ha-manager"]


def test_a_guest_of_another_node_is_not_started(here: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    with_container(here)
    here.machine.file("/etc/pve/nodes/pve-b/lxc").mkdir(parents=True)
    files.move(here.machine, Guest(CT, "lxc", NODE), "pve-b")
    assert program.main(["start", "ct:101"]) == FAILED
    assert "ct:101: Configuration file 'nodes/pve-a/lxc/101.conf' does not exist" in capsys.readouterr().err


def test_a_guest_that_was_given_away_still_ends_here(here: Rig) -> None:
    node = with_container(here)
    assert program.main(["start", "ct:101"]) == 0
    here.machine.file("/etc/pve/nodes/pve-b/lxc").mkdir(parents=True)
    files.move(here.machine, Guest(CT, "lxc", NODE), "pve-b")
    assert program.main(["stop", "ct:101"]) == 0
    assert not node.containers and "rbd" not in here.machine.read("/proc/mounts")


@pytest.mark.parametrize("sid", ["ct:101", "vm:102"])
def test_without_quorum_nothing_starts(here: Rig, sid: str, capsys: pytest.CaptureFixture[str]) -> None:
    node = with_container(here) if sid == "ct:101" else with_machine(here)
    here.cluster("pve-b")
    here.machine.answers["corosync-quorumtool"] = lambda _: "Quorate:          No\n"
    assert program.main(["start", sid]) == FAILED
    assert capsys.readouterr().err == f"{sid}: cluster not ready - no quorum?\n"
    assert not node.containers and program.main(["status", sid]) == STOPPED


def test_stopping_asks_first_and_then_insists(here: Rig) -> None:
    node = with_container(here)
    node.heeds_shutdown = False
    node.run_container(CT)
    assert program.main(["stop", "ct:101"]) == 0
    stops = [words[3:] for words in here.machine.ran if words[0] == "lxc-stop"]
    assert stops == [["--nokill", "--timeout", "60"], ["--kill"]]


def test_a_machine_that_does_not_heed_is_ended(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    node = with_machine(here)
    node.heeds_shutdown = False
    node.run_machine(VM, QEMU)
    pid = running.machine_pid
    monkeypatch.setattr(machines, "_ended", lambda machine, vmid, _: pid(machine, vmid) is None)
    assert program.main(["stop", "vm:102"]) == 0
    assert [word for word in node.qmp if word != "qmp_capabilities"] == ["system_powerdown", "quit"]


def test_what_a_crash_left_is_given_back(here: Rig) -> None:
    """The container is gone, its image still mounted: another node could not have it."""
    node = with_container(here)
    assert program.main(["start", "ct:101"]) == 0
    node.end_container(CT)
    assert "/dev/rbd0" in here.machine.read("/proc/mounts")
    assert program.main(["release", "ct:101"]) == 0
    assert "/dev/rbd0" not in here.machine.read("/proc/mounts")
    assert not list(here.machine.file("/sys/bus/rbd/devices").glob("*"))


def test_a_failure_is_one_sentence(here: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    node = with_container(here)
    node.refuses["rbd"] = "rbd: sysfs write failed"
    assert program.main(["start", "ct:101"]) == FAILED
    assert capsys.readouterr().err.strip().endswith("failed: rbd: sysfs write failed")


@pytest.mark.parametrize(
    "words",
    [[], ["start"], ["start", "101"], ["start", "lxc:101"], ["fly", "ct:101"], ["release", "vm:102"],
     ["migrate", "ct:101"], ["start", "ct:99"], ["start", "ct:101", "x"]],
)  # fmt: skip
def test_what_it_does_not_take(here: Rig, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with_container(here)
    assert program.main(words) == ARGUMENTS
    assert capsys.readouterr().err


def test_moving_needs_a_node(here: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    with_container(here)
    both_nodes(here)
    here.machine.file("/etc/pve/nodes/pve-b/lxc").mkdir(parents=True)
    assert program.main(["migrate", "ct:101", "pve-z"]) == FAILED
    assert "no such cluster node 'pve-z'" in capsys.readouterr().err
    here.machine.write("/etc/hosts", f"127.0.0.1 {NODE}\n127.0.0.2 pve-b\n")
    assert program.main(["migrate", "ct:101", "pve-b"]) == 0
    assert files.everywhere(here.machine)[CT].node == "pve-b"


def test_starting_with_the_node(here: Rig) -> None:
    """Guests with `onboot`, but for those that the stack starts."""
    node = with_container(here, onboot="1")
    for vmid, more in ((110, {}), (111, {"onboot": "1"})):
        files.save(here.machine, Guest(vmid, "lxc", NODE), Config({**CT_CONF, **more}))
    here.machine.write(ha_routing.RESOURCES, "ct: 111\n\tstate started\n")
    assert program.main(["start-all"]) == 0
    assert node.containers == {CT}


def test_without_quorum_nothing_starts_with_the_node(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    node = with_container(here, onboot="1")
    here.cluster("pve-b")
    here.machine.answers["corosync-quorumtool"] = lambda _: "Quorate:          No\n"
    monkeypatch.setattr(boot, "QUORUM_DEADLINE_S", 0.0)
    monkeypatch.setattr(boot, "_POLL_S", 0.01)
    assert program.main(["start-all"]) == FAILED
    assert node.containers == set()


def test_going_down_ends_every_guest(here: Rig) -> None:
    node = with_machine(here)
    node.run_machine(VM, QEMU)
    node.run_container(CT)
    here.machine.write(ha_routing.RESOURCES, "ct: 101\n\tstate started\n")
    assert program.main(["stop-all"]) == 0
    assert node.containers == set() and "system_powerdown" in node.qmp


def test_a_monitor_needs_no_more_than_the_kernel() -> None:
    """It runs every few seconds on an emulated processor: what it imports, it pays each time."""
    code = (
        "import sys; from lab.standins.proxmox.daemon.guests import __main__ as p; "
        "sys.exit(p.main(['status', 'ct:101']) != 7 or any(n.endswith(('.service', '.endpoints', '.conf', "
        "'json', 'ssl')) for n in sys.modules))"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
