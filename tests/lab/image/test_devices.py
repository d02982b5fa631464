"""Disks and ports are chosen by what they are, whatever order the kernel found them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.standins.proxmox.installer import devices
from lab.standins.proxmox.installer.devices import Disk, Port
from lab.standins.proxmox.installer.errors import InstallError

GIB = 2**30


def disk(name: str, serial: str, gib: int = 8) -> Disk:
    return Disk(
        name,
        gib * GIB,
        {
            "DEVNAME": f"/dev/{name}",
            "ID_SERIAL_SHORT": serial,
            "ID_MODEL": "QEMU NVMe Ctrl",
            "ID_SERIAL": f"QEMU_NVMe_Ctrl_{serial}_1",
        },
    )


def port(name: str, mac: str, index: int) -> Port:
    return Port(name, mac, index, {"ID_NET_NAME_MAC": f"enx{mac.replace(':', '')}", "INTERFACE": name})


# As in a rack: the names do not follow the slots.
DISKS = [
    disk("nvme0n1", "DATA101", 12),
    disk("nvme1n1", "BOOT12"),
    disk("nvme2n1", "DATA102", 12),
    disk("nvme3n1", "BOOT11"),
]
PORTS = [
    port("enp2s0", "52:54:00:01:00:10", 2),
    port("enp3s0", "52:54:00:01:00:00", 3),
    port("enp4s0", "52:54:00:01:00:01", 4),
]


@pytest.mark.parametrize(
    ("wanted", "match_all", "names"),
    [
        ({"ID_SERIAL_SHORT": "BOOT1?"}, False, ["nvme1n1", "nvme3n1"]),
        ({"ID_SERIAL_SHORT": "BOOT1[!2]"}, False, ["nvme3n1"]),
        ({"ID_SERIAL": "*BOOT12*"}, True, ["nvme1n1"]),
        ({"ID_SERIAL_SHORT": "BOOT11", "DEVNAME": "/dev/nvme0n1"}, False, ["nvme0n1", "nvme3n1"]),
        ({"ID_MODEL": "QEMU*", "ID_SERIAL_SHORT": "DATA10[12]"}, True, ["nvme0n1", "nvme2n1"]),
    ],
)
def test_disks_by_filter(wanted: dict[str, str], match_all: bool, names: list[str]) -> None:
    assert [found.name for found in devices.choose_disks(DISKS, (), wanted, match_all, 1)] == names


@pytest.mark.parametrize(
    ("wanted", "match_all"),
    [
        ({"ID_SERIAL_SHORT": "boot11"}, False),
        ({"ID_WWN": "*"}, True),
        ({"ID_SERIAL_SHORT": "BOOT11", "ID_MODEL": "SAMSUNG*"}, True),
    ],
)
def test_a_filter_that_fits_nothing_is_refused(wanted: dict[str, str], match_all: bool) -> None:
    with pytest.raises(InstallError, match=r"did not match any device.*BOOT12"):
        devices.choose_disks(DISKS, (), wanted, match_all, 1)


def test_disks_by_name() -> None:
    chosen = devices.choose_disks(DISKS, ("nvme3n1", "/dev/nvme1n1"), {}, False, 2)
    assert [found.serial for found in chosen] == ["BOOT11", "BOOT12"]
    with pytest.raises(InstallError, match=r"'vme3n1', which is not there"):
        devices.choose_disks(DISKS, ("vme3n1",), {}, False, 1)


def test_a_mirror_needs_both_legs() -> None:
    with pytest.raises(InstallError, match=r"found 1 matching disk\(s\), at least 2"):
        devices.choose_disks(DISKS, (), {"ID_SERIAL_SHORT": "BOOT11"}, False, 2)


def test_sizes() -> None:
    devices.check_sizes([disk("a", "A"), disk("b", "B")], mirrored=True)
    devices.check_sizes([disk("a", "A", 8), disk("b", "B", 12)], mirrored=False)
    with pytest.raises(InstallError, match="differ in size"):
        devices.check_sizes([disk("a", "A", 8), disk("b", "B", 12)], mirrored=True)
    with pytest.raises(InstallError, match=r"4\.0 GiB, expected at least 8"):
        devices.check_sizes([disk("a", "A", 4)], mirrored=False)


def test_partitions_of_disks_that_end_in_a_digit() -> None:
    assert disk("nvme0n1", "A").partition(2) == "/dev/nvme0n1p2"
    assert disk("sda", "A").partition(2) == "/dev/sda2"


def test_the_management_port() -> None:
    assert devices.choose_port(PORTS, {"ID_NET_NAME_MAC": "*525400010000"}).name == "enp3s0"
    assert devices.choose_port(reversed(PORTS), {"ID_NET_NAME_MAC": "enx5254*"}).name == "enp2s0"
    with pytest.raises(InstallError, match=r"did not match any device.*52:54:00:01:00:10"):
        devices.choose_port(PORTS, {"ID_NET_NAME_MAC": "*b42e99acadb4"})


def test_pinned_names() -> None:
    own = {found.mac: found.name for found in PORTS}
    assert devices.pinned_names(PORTS, None) == own
    pins = {"52:54:00:01:00:00": "host0", "52:54:00:01:00:01": "host1"}
    assert devices.pinned_names(PORTS, pins) == {**pins, "52:54:00:01:00:10": "nic0"}
    with pytest.raises(InstallError, match="'nic0' would go to two ports"):
        devices.pinned_names(PORTS, {"52:54:00:01:00:00": "nic0"})


DATABASE = """\
P: /devices/pci0000:00/nvme/nvme0/nvme0n1
N: nvme0n1
E: DEVNAME=/dev/nvme0n1
E: DEVTYPE=disk
E: SUBSYSTEM=block
E: ID_SERIAL_SHORT=BOOT11

P: /devices/pci0000:00/nvme/nvme0/nvme0n1/nvme0n1p1
E: DEVNAME=/dev/nvme0n1p1
E: DEVTYPE=partition
E: SUBSYSTEM=block

P: /devices/ata/sr0
E: DEVNAME=/dev/sr0
E: DEVTYPE=disk
E: SUBSYSTEM=block
E: ID_CDROM=1

P: /devices/usb/sda
E: DEVNAME=/dev/sda
E: DEVTYPE=disk
E: SUBSYSTEM=block
E: ID_FS_TYPE=iso9660

P: /devices/virtio1/net/enp2s0
E: INTERFACE=enp2s0
E: SUBSYSTEM=net
E: ID_NET_NAME_MAC=enx525400010000

P: /devices/virtual/net/lo
E: INTERFACE=lo
E: SUBSYSTEM=net
"""


def test_the_udev_database(tmp_path: Path) -> None:
    (tmp_path / "block/nvme0n1").mkdir(parents=True)
    (tmp_path / "block/nvme0n1/size").write_text("16777216\n")
    folder = tmp_path / "class/net/enp2s0"
    (folder / "device").mkdir(parents=True)
    (folder / "address").write_text("52:54:00:01:00:00\n")
    (folder / "ifindex").write_text("2\n")
    (tmp_path / "class/net/lo").mkdir()
    database = devices.parse_export(DATABASE)
    (found,) = devices.disks(database, tmp_path)
    assert (found.name, found.size, found.serial) == ("nvme0n1", 8 * GIB, "BOOT11")
    (nic,) = devices.ports(database, tmp_path)
    assert (nic.name, nic.mac, nic.index) == ("enp2s0", "52:54:00:01:00:00", 2)
