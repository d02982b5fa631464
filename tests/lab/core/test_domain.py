"""The servers as libvirt is told of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab import domain
from lab.errors import LabError
from lab.paths import State
from lab.physical import Physical
from lab.rack import Rack

QEMU = f"{{{domain.QEMU}}}"


@pytest.fixture(autouse=True)
def _firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "firmware", lambda: ("/code.fd", "/vars.fd"))


def described(
    rack: Rack, state: State, physical: Physical, accelerator: str = "tcg", number: int = 0
) -> ET.Element:
    return ET.fromstring(domain.describe(rack, state, rack.server[number], physical, accelerator))


def arguments(tree: ET.Element) -> list[str]:
    return [argument.attrib["value"] for argument in tree.iter(f"{QEMU}arg")]


def test_emulated_processors_hide_what_corrupts_them(hardware: Rack, state: State) -> None:
    tree = described(hardware, state, Physical())
    assert tree.attrib["type"] == "qemu"
    cpu = tree.find("cpu")
    assert cpu is not None
    assert cpu.attrib["mode"] == "custom"
    policies = {f.get("name"): f.get("policy") for f in cpu.iter("feature")}
    assert policies.pop("cx16") == "disable"
    assert set(policies.values()) == {"require"} and {"aes", "sse4.2"} <= set(policies)


def test_kvm_uses_the_host_processor(hardware: Rack, state: State) -> None:
    tree = described(hardware, state, Physical(), "kvm")
    assert tree.attrib["type"] == "kvm"
    assert tree.find("cpu/feature") is None
    assert tree.find("features/tcg") is None


def test_nameplate_reaches_the_operating_system(hardware: Rack, state: State) -> None:
    tree = described(hardware, state, Physical(), number=2)
    entries = {entry.get("name"): entry.text for entry in tree.iter("entry")}
    assert entries["serial"] == "RACK-0003"
    assert entries["uuid"] == tree.findtext("uuid") == hardware.server[2].uuid
    smbios = tree.find("os/smbios")
    assert smbios is not None
    assert smbios.get("mode") == "sysinfo"


def test_every_bay_has_a_slot_of_its_own(hardware: Rack, state: State) -> None:
    full = dataclasses.replace(hardware, servers=dataclasses.replace(hardware.servers, data_disks=12))
    ports = [
        dict(item.split("=", 1) for item in argument.split(",")[1:])
        for argument in arguments(described(full, state, Physical()))
        if argument.startswith("pcie-root-port")
    ]
    assert len(ports) == 14
    for key in ("id", "addr", "chassis", "slot"):
        assert len({port[key] for port in ports}) == 14


def test_drives_stand_in_bay_order_and_leave_the_boot_order_to_the_firmware(
    hardware: Rack, state: State
) -> None:
    drives = [
        argument
        for argument in arguments(described(hardware, state, Physical()))
        if argument.startswith("nvme,")
    ]
    assert [drive.split("serial=")[1].split(",")[0] for drive in drives] == [
        "BOOT11",
        "BOOT12",
        "DATA101",
        "DATA102",
    ]
    # With a boot index the firmware deletes the boot entry of a leg that is missing, for good.
    assert not [drive for drive in drives if "bootindex" in drive]


def test_a_pulled_drive_leaves_slot_and_medium(hardware: Rack, state: State) -> None:
    text = arguments(described(hardware, state, Physical(pulled={"node1": {"BOOT12"}})))
    assert not [argument for argument in text if argument.startswith("nvme,id=nvme-BOOT12")]
    assert [argument for argument in text if "id=slot-BOOT12" in argument]
    assert [argument for argument in text if "id=drive-BOOT12" in argument]
    assert len([argument for argument in text if argument.startswith("nvme,")]) == 3


def test_a_pulled_cable_is_a_link_down(hardware: Rack, state: State) -> None:
    tree = described(hardware, state, Physical(down={"node1p1": {"cable"}}))
    links = {
        interface.find("target").get("dev"): interface.find("link").get("state")  # type: ignore[union-attr]
        for interface in tree.iter("interface")
    }
    assert links == {"node1p0": "up", "node1p1": "down", "node1m0": "up"}


def test_ports_tell_their_speed(hardware: Rack, state: State) -> None:
    """Without speed and duplex Linux bonding takes no part in LACP."""
    tree = described(hardware, state, Physical())
    speeds = {
        device.get("alias"): {p.get("name"): p.get("value") for p in device.iter(f"{QEMU}property")}
        for device in tree.iter(f"{QEMU}device")
    }
    assert speeds["ua-p0"] == speeds["ua-p1"] == {"speed": "200000", "duplex": "full"}
    assert speeds["ua-m0"]["speed"] == "1000"


def test_missing_firmware_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(domain, "FIRMWARE", ((str(tmp_path / "code"), str(tmp_path / "vars")),))
    with pytest.raises(LabError, match="install the package ovmf"):
        domain.firmware()
