"""QEMU's command line of a virtual machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from lab.standins.proxmox.daemon.guests import drives, qemu_command
from lab.standins.proxmox.daemon.guests.qemu_command import Place

from ..hypervisor import VM_CONF

DISK = qemu_command.rbd("rbd-vms", "vm-102-disk-0", "admin", "/etc/pve/ceph.conf")
CD = {"driver": "file", "filename": "/mnt/pve/cephfs/template/iso/beat.iso"}
DATA: Mapping[str, Mapping[str, Any]] = {"scsi0": DISK, "ide2": CD}


def built(values: Mapping[str, str], kvm: bool = False, incoming: str = "") -> list[str]:
    return qemu_command.build(102, {**VM_CONF, **values}, Place(kvm, DATA, incoming))


def after(command: list[str], option: str) -> list[str]:
    """What follows each occurrence of an option."""
    return [command[at + 1] for at, word in enumerate(command) if word == option]


def test_an_emulated_machine() -> None:
    command = built({})
    assert command[0] == "/usr/bin/qemu-system-x86_64"
    assert after(command, "-accel") == ["tcg,thread=single"]
    assert (after(command, "-m"), after(command, "-smp")) == (["64"], ["1,sockets=1,cores=1,maxcpus=1"])
    assert after(command, "-pidfile") == ["/run/qemu-server/102.pid"]
    assert "socket,id=qmp,path=/run/qemu-server/102.qmp,server=on,wait=off" in after(command, "-chardev")
    assert after(command, "-boot") == ["strict=on,reboot-timeout=1000"]
    assert not {"-incoming", "-S"} & {*command}


def test_its_disk_is_read_by_librbd_past_the_nodes_cache() -> None:
    disk = next(json.loads(text) for text in after(built({}), "-blockdev") if "rbd" in text)
    assert disk["node-name"] == "drive-scsi0" and not disk["read-only"]
    assert disk["file"] == {**DISK, "cache": {"direct": True, "no-flush": False}, "read-only": False}
    assert "scsi-hd,bus=scsihw0.0,scsi-id=0,id=scsi0,drive=drive-scsi0,bootindex=101" in after(
        built({}), "-device"
    )


def test_its_cd_is_read_only_and_tried_first() -> None:
    command = built({})
    cd = next(json.loads(text) for text in after(command, "-blockdev") if "iso" in text)
    assert cd["read-only"] and cd["file"]["filename"] == CD["filename"]
    assert "ide-cd,bus=ide.1,unit=0,id=ide2,drive=drive-ide2,bootindex=100" in after(command, "-device")


def test_an_empty_cd_drive_has_no_medium() -> None:
    command = built({"ide2": "none,media=cdrom"})
    assert "ide-cd,bus=ide.1,unit=0,id=ide2,bootindex=100" in after(command, "-device")
    assert len(after(command, "-blockdev")) == 1


@pytest.mark.parametrize(
    ("hardware", "controller", "disk"),
    [
        ("lsi", "lsi,id=scsihw1,bus=pci.0,addr=0x6", "scsi-hd,bus=scsihw1.0,scsi-id=1"),
        (
            "virtio-scsi-pci",
            "virtio-scsi-pci,id=scsihw1,bus=pci.0,addr=0x6",
            "scsi-hd,bus=scsihw1.0,scsi-id=1",
        ),
        ("virtio-scsi-single", "virtio-scsi-pci,id=virtioscsi8", "scsi-hd,bus=virtioscsi8.0,scsi-id=0"),
    ],
)
def test_the_ninth_scsi_disk(hardware: str, controller: str, disk: str) -> None:
    values = {"scsi8": "rbd-vms:vm-102-disk-1", "scsihw": hardware}
    command = qemu_command.build(102, values, Place(False, {"scsi8": DISK}))
    first, second = [word for word in after(command, "-device") if "scsi" in word]
    assert first == controller
    assert second == f"{disk},id=scsi8,drive=drive-scsi8,bootindex=100"


def test_a_port_is_plugged_by_its_script() -> None:
    command = built({})
    assert after(command, "-netdev") == [
        "tap,id=net0,ifname=tap102i0,script=/run/qemu-server/102.net0.up,downscript=no"
    ]
    assert any("virtio-net-pci,netdev=net0" in word and "mac=BC:24:11:00:00:02" in word for word in command)
    script = qemu_command.scripts(102, VM_CONF)["/run/qemu-server/102.net0.up"]
    assert "port=tap102i0 bridge=vmbr0" in script and "vid 1 pvid untagged" in script


def test_what_is_asked_for_besides() -> None:
    more = {
        "args": "-global 'a.b=c d' -S",
        "serial0": "socket",
        "vga": "serial0",
        "cores": "2",
        "sockets": "2",
    }
    command = built({**more, "smbios1": "uuid=12345678-1234-1234-1234-123456789abc"})
    assert command[-3:] == ["-global", "a.b=c d", "-S"]
    assert after(command, "-vga") == ["none"]
    assert "isa-serial,chardev=serial0" in command
    assert after(command, "-smp") == ["4,sockets=2,cores=2,maxcpus=4"]
    assert after(command, "-accel") == ["tcg,thread=multi"]
    assert after(command, "-smbios") == ["type=1,uuid=12345678-1234-1234-1234-123456789abc"]


def test_a_processor_that_can_is_used() -> None:
    command = built({}, kvm=True)
    assert after(command, "-machine") == ["pc,accel=kvm"] and not after(command, "-accel")


def test_memory_that_comes_from_elsewhere() -> None:
    command = built({"args": "-no-reboot"}, incoming="unix:/run/qemu-server/102.migrate")
    assert command[-4:] == ["-incoming", "unix:/run/qemu-server/102.migrate", "-S", "-no-reboot"]


@pytest.mark.parametrize(
    ("cache", "direct", "flushed", "written_through"),
    [("none", True, True, False), ("writeback", False, True, False), ("writethrough", False, True, True),
     ("directsync", True, True, True), ("unsafe", False, False, False)],
)  # fmt: skip
def test_caches(cache: str, direct: bool, flushed: bool, written_through: bool) -> None:
    command = built({"scsi0": f"rbd-vms:vm-102-disk-0,cache={cache}"})
    disk = next(json.loads(text) for text in after(command, "-blockdev") if "rbd" in text)
    assert disk["cache"] == {"direct": direct, "no-flush": not flushed}
    device = next(word for word in after(command, "-device") if word.startswith("scsi-hd"))
    assert ("write-cache=off" in device) == written_through


def test_a_drive_without_data_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="scsi0: no data for 'rbd-vms:vm-102-disk-0'"):
        qemu_command.build(102, VM_CONF, Place(False, {"ide2": CD}))


def test_without_an_order_a_disk_is_tried_then_a_cd_then_the_network() -> None:
    assert drives.boot_order({**VM_CONF, "boot": "", "scsi1": "x:y"}) == ["scsi0", "ide2", "net0"]
    assert drives.boot_order(VM_CONF) == ["ide2", "scsi0"]
