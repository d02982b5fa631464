"""What a node of the rack said, and what is made of it; silence is never taken for health."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioners.base_install.gathered import parse
from provisioners.base_install.system import System

SAMPLE = Path(__file__).parent / "samples" / "node1-system.txt"


def read(text: str) -> dict[str, str]:
    sections: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith("## "):
            current = line.removeprefix("## ")
        else:
            sections[current] = sections.get(current, "") + line + "\n"
    return sections


@pytest.fixture
def sections() -> dict[str, str]:
    return read(SAMPLE.read_text(encoding="utf-8"))


@pytest.fixture
def system(sections: dict[str, str]) -> System:
    return parse(sections)


def test_identity_and_place(system: System) -> None:
    assert (system.hostname, system.fqdn, system.timezone) == ("node1", "node1.rack.example", "UTC")
    assert system.pveversion.startswith("pve-manager/9.0.3/") and system.os["VERSION_CODENAME"] == "trixie"
    assert f"running kernel: {system.kernel}" in system.pveversion
    assert system.gateway == "10.6.0.1" and system.nameservers == ("10.6.0.1",)
    assert system.search == ("rack.example",) and system.holds("10.6.0.11") == ("bond0.6",)
    nic = system.interface("52:54:00:01:00:01")
    assert nic is not None and nic.name == "nic1"  # its permanent address, not the bond's
    assert (system.threads, system.sockets) == (1, 1) and 2.5 * 2**30 < system.memory < 3 * 2**30


def test_drives_by_serial_number(system: System) -> None:
    assert {d.serial for d in system.drives} == {"BOOT11", "BOOT12", "DATA101", "DATA102"}
    boot, data = system.drive("BOOT11"), system.drive("DATA102")
    assert boot is not None and data is not None
    assert boot.size == 8 * 2**30 and boot.pttype == "gpt" and not boot.blank
    assert data.size == 12 * 2**30 and data.blank and data.found == "" and not data.mounted
    assert [path for path, _ in boot.loaders] == ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"]


def test_the_mirror(system: System) -> None:
    assert system.mirror.filesystem == "btrfs" and system.mirror.profiles == ("raid1",)
    assert {leg.serial for leg in system.mirror.legs} == {"BOOT11", "BOOT12"} and system.mirror.healthy
    assert system.boot_current == "0004" and system.boot_order[:2] == ("0004", "0003")
    labels = {entry.number: entry.label for entry in system.boot_entries}
    assert labels["0004"] == "Linux Boot Manager" and "systemd-bootx64.efi" in system.boot_entries[4].path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" 2 0\n", " 2 1\n"),
        ("1 read_errs 0", "1 read_errs 3"),
        ("data raid1", "data single"),
        ("nvme1n1p3\n", "loop0\n"),
    ],
)
def test_each_way_in_which_a_mirror_is_not_whole(sections: dict[str, str], old: str, new: str) -> None:
    assert old in sections["btrfs"]
    broken = parse({**sections, "btrfs": sections["btrfs"].replace(old, new)})
    healthy = broken.mirror.healthy and all(leg.serial for leg in broken.mirror.legs)
    assert not healthy


def test_another_file_system_says_nothing_about_the_root(sections: dict[str, str]) -> None:
    other = sections["btrfs"].replace("6318f6d7", "ffffffff").replace("read_errs 0", "read_errs 9")
    assert parse({**sections, "btrfs": sections["btrfs"] + other}).mirror.healthy


def test_clock_logins_repositories_files_and_parameter(system: System) -> None:
    assert system.clock.synchronised and system.clock.sources == (("10.6.0.1", "*"),)
    assert abs(system.clock.offset_s) < 0.01 and system.clock.stratum == 6
    assert (
        system.sshd["passwordauthentication"] == "no" and system.sshd["permitrootlogin"] == "without-password"
    )
    assert [(k.kind, k.bits) for k in system.keys] == [("ED25519", 256), ("RSA", 4096)]
    assert system.host_key.startswith("ssh-ed25519 AAAA") and len(system.host_key.split()) == 2
    enabled = {c for r in system.repositories if r.enabled for c in r.components}
    assert "pve-no-subscription" in enabled and "pve-enterprise" not in enabled
    assert len([r for r in system.repositories if r.file.endswith("debian.sources")]) == 3
    assert "chrony" in system.packages and system.resolves["node3.rack.example"] == "10.6.0.13"
    assert system.files["/root/.aws/config"].endswith(" 600") and len(system.files["/etc/hosts"]) == 68
    assert system.parameter.value == "pve1" and system.parameter.short_lived and system.parameter.until


def test_signatures_on_a_data_drive(sections: dict[str, str]) -> None:
    found = '{"signatures":[{"type":"ext4"},{"type":"ext4"},{"type":"gpt"}]}'
    marked = sections["signatures"].replace("/dev/nvme3n1 blank", f"/dev/nvme3n1 data {found}")
    raw = sections["signatures"].replace("/dev/nvme3n1 blank", "/dev/nvme3n1 data ")
    assert marked != sections["signatures"]
    drives = {d.path: d for d in parse({**sections, "signatures": marked}).drives}
    assert drives["/dev/nvme3n1"].found == "ext4, gpt" and not drives["/dev/nvme3n1"].blank
    drives = {d.path: d for d in parse({**sections, "signatures": raw}).drives}
    assert drives["/dev/nvme3n1"].found == "data" and not drives["/dev/nvme3n1"].blank


def test_a_zfs_mirror() -> None:
    leaf = {
        "vdev_type": "disk",
        "state": "ONLINE",
        "read_errors": "0",
        "write_errors": "0",
        "checksum_errors": "0",
    }
    legs = {f"nvme{i}": {**leaf, "path": f"/dev/nvme{i}n1p3"} for i in (0, 1)}

    def status(changed: dict[str, str]) -> str:
        first = {"nvme0": legs["nvme0"], "nvme1": {**legs["nvme1"], **changed}}
        mirror = {"vdev_type": "mirror", "state": "ONLINE", "vdevs": first}
        root = {"vdev_type": "root", "vdevs": {"mirror-0": mirror}}
        return json.dumps({"pools": {"rpool": {"state": "ONLINE", "vdevs": {"rpool": root}}}})

    base = {
        "root": '{"filesystems": [{"source": "rpool/ROOT/pve-1", "fstype": "zfs"}]}',
        "disks": '{"blockdevices": [{"path": "/dev/nvme0n1", "type": "disk", "serial": "A", "children":'
        ' [{"path": "/dev/nvme0n1p3"}]}, {"path": "/dev/nvme1n1", "type": "disk", "serial": "B", "children":'
        ' [{"path": "/dev/nvme1n1p3"}]}]}',
    }
    whole = parse({**base, "zpool": status({})}).mirror
    assert (
        whole.healthy and {leg.serial for leg in whole.legs} == {"A", "B"} and whole.profiles == ("mirror",)
    )
    assert not parse({**base, "zpool": status({"state": "FAULTED"})}).mirror.healthy
    assert not parse({**base, "zpool": status({"checksum_errors": "2"})}).mirror.healthy


def test_a_node_that_says_nothing_is_healthy_in_nothing() -> None:
    empty = parse({})
    assert not empty.mirror.healthy and not empty.clock.synchronised and not empty.parameter.short_lived
    assert empty.drives == () and empty.keys == () and empty.parameter.problem
    denied = parse(
        {"parameter": "credentials short-lived\nproblem the parameter store refused: AccessDenied\n"}
    )
    assert denied.parameter.value == "" and "AccessDenied" in denied.parameter.problem


def test_one_line_sources() -> None:
    text = "### /etc/apt/sources.list\n# deb http://x y z\n"
    text += "deb [arch=amd64 signed-by=/k] http://d trixie pve-test # c\n"
    (found,) = parse({"repositories": text}).repositories
    assert (found.uri, found.suite, found.components, found.enabled) == (
        "http://d",
        "trixie",
        ("pve-test",),
        True,
    )
