"""The files of an installed node, in the shape in which Proxmox VE's installer writes them."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from lab.image import recipe
from lab.standins.proxmox.installer import answer, render, target
from lab.standins.proxmox.installer.errors import InstallError
from tests.lab.image.conftest import Edit

NAMES = {"52:54:00:01:00:01": "nic1", "52:54:00:01:00:00": "nic0", "52:54:00:01:00:10": "nic2"}
UUID = "6f9e4991-1677-41b5-8e5f-1798c27e7fdd"


@pytest.fixture
def files(edited: Edit) -> dict[str, str]:
    return render.files(answer.read(edited()), NAMES, "52:54:00:01:00:00", UUID)


def test_interfaces(files: dict[str, str]) -> None:
    assert files["etc/network/interfaces"] == (
        "auto lo\niface lo inet loopback\n\niface nic0 inet manual\n\n"
        "auto vmbr0\niface vmbr0 inet static\n\taddress 10.6.0.11/24\n\tgateway 10.6.0.1\n"
        "\tbridge-ports nic0\n\tbridge-stp off\n\tbridge-fd 0\n\n"
        "iface nic1 inet manual\n\niface nic2 inet manual\n\n\nsource /etc/network/interfaces.d/*\n"
    )


def test_interfaces_with_ipv6(edited: Edit) -> None:
    read = answer.read(
        edited(
            ("10.6.0.11/24", "fd00::11/64"),
            ('gateway = "10.6.0.1"', 'gateway = "fd00::1"'),
        )
    )
    text = render.interfaces(read.network, "nic0", ["nic1"])
    assert "iface vmbr0 inet6 static\n\taddress fd00::11/64\n" in text
    assert "iface nic1 inet6 manual" in text


def test_names_and_addresses(files: dict[str, str]) -> None:
    assert files["etc/hostname"] == "node1\n"
    assert "\n10.6.0.11 node1.rack.example node1\n" in files["etc/hosts"]
    assert files["etc/resolv.conf"] == "search rack.example\nnameserver 10.6.0.1\n"
    assert files["etc/pve/user.cfg"] == "user:root@pam:1:0:::ops@rack.example::\n"


def test_one_link_file_per_port(files: dict[str, str]) -> None:
    links = {path for path in files if path.endswith(".link")}
    assert links == {f"usr/local/lib/systemd/network/50-pmx-nic{number}.link" for number in range(3)}
    link = configparser.ConfigParser()
    link.optionxform = str  # type: ignore[assignment,method-assign]
    link.read_string(files["usr/local/lib/systemd/network/50-pmx-nic1.link"])
    assert dict(link["Match"]) == {"MACAddress": "52:54:00:01:00:01", "Type": "ether"}
    assert link["Link"]["Name"] == "nic1"


def test_no_link_file_without_pinning(edited: Edit) -> None:
    read = answer.read(edited(("enabled = true", "enabled = false")))
    assert not [path for path in render.files(read, NAMES, "52:54:00:01:00:00", UUID) if "link" in path]


@pytest.mark.parametrize(
    ("compress", "options"),
    [("off", "defaults"), ("on", "defaults,compress"), ("zstd", "defaults,compress=zstd")],
)
def test_fstab(compress: str, options: str) -> None:
    assert f"UUID={UUID} / btrfs {options} 0 1\n" in render.fstab(UUID, compress)


def test_the_consoles_of_the_medium_go_over() -> None:
    words = target.command_line(UUID, "console=tty0 console=ttyS0,115200 proxmox-start-auto-installer\n")
    assert words == f"root=UUID={UUID} console=tty0 console=ttyS0,115200\n"
    assert target.command_line(UUID, "quiet\n") == f"root=UUID={UUID}\n"
    entry = render.loader_entry("6.12.1", "0" * 32, words)
    assert f"options   {words.strip()}\n" in entry
    assert "linux    /EFI/proxmox/6.12.1/vmlinuz-6.12.1\n" in entry


@pytest.mark.parametrize(
    ("ordering", "unit", "wants"),
    [
        ("before-network", "proxmox-first-boot-network-pre.service", "network.target.wants"),
        ("network-online", "proxmox-first-boot-network-online.service", "multi-user.target.wants"),
        ("fully-up", "proxmox-first-boot-multi-user.service", "multi-user.target.wants"),
    ],
)
def test_the_first_boot_hook(tmp_path: Path, ordering: str, unit: str, wants: str) -> None:
    script = tmp_path / "proxmox-first-boot"
    script.write_text("#!/bin/sh\n")
    root = tmp_path / "root"
    target.add_hook(root, script, ordering)
    folder = root / "var/lib/proxmox-first-boot"
    assert (folder / "proxmox-first-boot").stat().st_mode & 0o777 == 0o700
    assert (folder / "pending-first-boot-setup").exists()
    shipped = recipe.NODE_FILES / "usr/lib/systemd/system" / unit
    text = shipped.read_text(encoding="utf-8")
    assert f"ExecStart=/var/lib/proxmox-first-boot/proxmox-first-boot {ordering}\n" in text
    assert f"WantedBy={wants.removesuffix('.wants')}\n" in text
    for link in (f"{wants}/{unit}", "proxmox-first-boot.service"):
        linked = (root / "etc/systemd/system" / link).readlink()
        assert linked == Path("/usr/lib/systemd/system") / unit


def test_a_hook_that_cannot_be(tmp_path: Path) -> None:
    script = tmp_path / "proxmox-first-boot"
    with pytest.raises(InstallError, match="the medium has no /proxmox-first-boot"):
        target.check_hook(script)
    script.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(InstallError, match="at most 1048576"):
        target.check_hook(script)
