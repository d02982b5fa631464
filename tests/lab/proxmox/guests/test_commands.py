"""`pct` and `qm` on a node's command line."""

from __future__ import annotations

import os

import pytest

from lab.standins.proxmox.daemon.cli import local, pct, qm
from lab.standins.proxmox.daemon.guests import files
from lab.standins.proxmox.daemon.guests.files import Guest

from ..conftest import NODE, Rig
from ..hypervisor import CT, ISO, QEMU, TEMPLATE, VM, Hypervisor, with_container, with_machine


@pytest.fixture(autouse=True)
def _on_the_node(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "this_node", lambda: rig.machine)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_a_list_of_containers_looks_like_pves(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert pct.main(["list"]) == 0
    assert capsys.readouterr().out == ""
    with_container(rig, lock="backup")
    assert pct.main(["list"]) == 0
    assert capsys.readouterr().out == (
        "VMID       Status     Lock         Name                \n"
        "101        stopped    backup       beat-ct             \n"
    )


def test_a_list_of_machines_looks_like_pves(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    node = with_machine(rig)
    node.run_machine(VM, QEMU)
    assert qm.main(["list"]) == 0
    assert capsys.readouterr().out == (
        "      VMID NAME                 STATUS     MEM(MB)    BOOTDISK(GB) PID       \n"
        "       102 beat-vm              running    64                 1.00 4242      \n"
    )


def test_a_container_from_making_to_destroying(
    rig: Rig, node: Hypervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["create", "101", TEMPLATE, "--rootfs", "rbd-containers:1", "--hostname", "beat-ct"]
    assert pct.main(order) == 0
    assert "extracting archive" in capsys.readouterr().out
    assert pct.main(["set", "101", "--memory", "128"]) == pct.main(["start", "101"]) == 0
    assert node.containers == {CT}
    capsys.readouterr()
    assert pct.main(["status", "101"]) == 0
    assert capsys.readouterr().out == "status: running\n"
    assert pct.main(["shutdown", "101", "--timeout", "3"]) == 0
    assert pct.main(["config", "101"]) == 0
    assert "memory: 128\n" in capsys.readouterr().out
    assert pct.main(["destroy", "101", "--purge"]) == 0
    assert node.images == {} and files.everywhere(rig.machine) == {}


def test_a_machine_from_making_to_destroying(
    rig: Rig, node: Hypervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["create", "102", "--scsi0", "rbd-vms:1", "--ide2", f"{ISO},media=cdrom", "--memory", "64"]
    assert qm.main(order) == qm.main(["start", "102"]) == 0
    capsys.readouterr()
    assert qm.main(["status", "102"]) == 0
    assert capsys.readouterr().out == "status: running\n"
    assert qm.main(["stop", "102"]) == qm.main(["destroy", "102"]) == 0
    assert node.images == {} and files.everywhere(rig.machine) == {}


def test_a_lock_is_taken_off(rig: Rig) -> None:
    with_container(rig, lock="migrate")
    assert pct.main(["unlock", "101"]) == 0
    assert "lock" not in files.load(rig.machine, Guest(CT, "lxc", NODE)).values


def test_a_command_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, words: ran.append(words))
    pct.main(["exec", "101", "--", "ls", "-l"])
    pct.main(["exec", "101", "true"])
    assert ran == [
        ["lxc-attach", "--clear-env", "-n", "101", "--", "ls", "-l"],
        ["lxc-attach", "--clear-env", "-n", "101", "--", "true"],
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no command specified"),
        (["fly", "101"], "unknown command 'fly'"),
        (["start"], "not enough arguments"),
        (["start", "101", "102"], "too many arguments"),
        (["start", "x"], "vmid: type check"),
        (["migrate", "101"], "not enough arguments"),
        (["start", "101"], "Configuration file 'nodes/pve-a/lxc/101.conf' does not exist"),
        (["exec", "101", "--"], "not enough arguments"),
        (["set", "101", "--colour", "red"], "colour: property is not defined in schema"),
    ],
)
def test_refusals_are_one_sentence_and_255(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pct.main(words) == 255
    assert said in capsys.readouterr().err
