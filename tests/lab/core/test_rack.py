"""The rack file: what it says, and one sentence for every way it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import rack
from lab.errors import LabError
from lab.rack import Rack

TEXT = rack.DEFAULT.read_text(encoding="utf-8")


def test_serials_and_bays(hardware: Rack) -> None:
    second = hardware.server[1]
    assert [(d.serial, d.bay, d.gib, d.boot) for d in hardware.drives(second)] == [
        ("BOOT21", 0, 8, True),
        ("BOOT22", 1, 8, True),
        ("DATA201", 2, 12, False),
        ("DATA202", 3, 12, False),
    ]
    assert second.tap("m0") == "node2m0"
    assert hardware.number(second) == 2


def test_twelve_data_drives_fit(tmp_path: Path) -> None:
    full = _load(tmp_path, ("data_disks = 2", "data_disks = 12"))
    assert [d.serial for d in full.drives(full.server[0])][-1] == "DATA112"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("vcpus = 1", "vcpu = 1", "servers.vcpu is not known, expected one of vcpus,"),
        ("vcpus = 1\n", "", "servers.vcpus is missing"),
        ("vcpus = 1", 'vcpus = "1"', "servers.vcpus = '1', expected int"),
        ("vcpus = 1", "vcpus = true", "servers.vcpus = True, expected int"),
        ("data_disks = 2", "data_disks = 13", "servers.data_disks = 13, expected 0 to 12"),
        ('"active-backup"', '"static"', "switch_mode = 'static', expected one of 'active-backup', 'lacp'"),
        ('p0 = "52:54:00:01:00:00"', 'p0 = "52:54:00:01:00"', "node1.p0 = '52:54:00:01:00', expected a MAC"),
        (
            'p0 = "52:54:00:02:00:00"',
            'p0 = "52:54:00:01:00:00"',
            "MAC '52:54:00:01:00:00' stands there twice",
        ),
        ('bmc = "10.9.0.12"', 'bmc = "10.9.0.11"', "address '10.9.0.11' stands there twice"),
        (
            'bmc = "10.9.0.12"',
            'bmc = "10.8.0.12"',
            "node2.bmc = '10.8.0.12', expected an address in 10.9.0.0/24",
        ),
        ('bmc = "10.9.0.12"', 'bmc = "ten"', "node2.bmc = 'ten' in '10.9.0.0/24'"),
        (
            'controller = "10.3.0.1"',
            'controller = "10.4.0.1"',
            "vlans.vlan3.controller = '10.4.0.1', expected",
        ),
        ("{ id = 2,", "{ id = 4095,", "vlans.vlan2.id = 4095, expected 1 to 4094"),
        ("{ id = 2,", "{ id = 1,", "VLAN id '1' stands there twice"),
        ('name = "node3"', 'name = "node1"', "server 'node1' stands there twice"),
        (
            'name = "node3"',
            'name = "a-rather-long-name"',
            "server name 'a-rather-long-name' is over 13 letters",
        ),
        ("[oob]", "oob = 3\n[other]", "oob"),
        ("[servers]", "[servers", "not valid TOML"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(LabError) as caught:
        _load(tmp_path, (old, new))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("rack.toml: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"rack\.toml: no such file"):
        rack.load(tmp_path / "rack.toml")


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda r: r.find("node9"), "no server 'node9' in the rack, expected one of node1, node2, node3"),
        (
            lambda r: r.drive(r.server[0], "BOOT21"),
            "node1 has no drive 'BOOT21', expected one of BOOT11, BOOT12",
        ),
        (lambda r: r.server[0].tap("eth0"), "node1 has no port 'eth0', expected one of p0, p1, m0"),
    ],
)
def test_what_is_not_there_is_named(hardware: Rack, ask: object, sentence: str) -> None:
    with pytest.raises(LabError) as caught:
        ask(hardware)  # type: ignore[operator]
    assert sentence in str(caught.value)


def _load(folder: Path, change: tuple[str, str]) -> Rack:
    old, new = change
    assert old in TEXT, f"the test changes {old!r}, which rack.toml lacks"
    file = folder / "rack.toml"
    file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    return rack.load(file)
