"""The answer file: what the official installer takes is taken, what it refuses is refused in one sentence."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from lab.standins.proxmox.installer import answer
from lab.standins.proxmox.installer.errors import InstallError
from tests.lab.image.conftest import Edit

SECRET = "$6$salt$hash"


def test_a_whole_file_is_read(edited: Edit) -> None:
    read = answer.read(edited())
    assert (read.globals.host, read.globals.domain) == ("node1", "rack.example")
    assert read.globals.password_hash == SECRET
    assert read.globals.password is None
    assert read.globals.power_off
    assert not read.globals.reboot_on_error
    assert read.globals.keys == ("ssh-ed25519 AAAA harness",)
    assert read.network.cidr == ipaddress.ip_interface("10.6.0.11/24")
    assert read.network.pins == {"52:54:00:01:00:00": "nic0", "52:54:00:01:00:01": "nic1"}
    assert read.disks == answer.Disks(
        raid="raid1",
        compress="off",
        hdsize_gib=None,
        names=(),
        filter={"ID_SERIAL_SHORT": "BOOT1?", "DEVNAME": "/dev/nvme*"},
        match_all=True,
    )
    assert read.first_boot == "before-network"


GOOD = {
    "plain password": (('root-password-hashed = "$6$salt$hash"', 'root-password = "eight888"'),),
    "snake case": (("reboot-mode", "reboot_mode"), ("root-ssh-keys", "root_ssh_keys")),
    "disk list": (
        (
            'filter.ID_SERIAL_SHORT = "BOOT1?"\nfilter.DEVNAME = "/dev/nvme*"',
            'disk-list = ["nvme0n1", "nvme1n1"]',
        ),
    ),
    "one disk in raid0": (
        (
            'filter.ID_SERIAL_SHORT = "BOOT1?"\nfilter.DEVNAME = "/dev/nvme*"',
            'disk-list = ["nvme0n1"]',
        ),
        ('"raid1"', '"raid0"'),
    ),
    "compression and size": (('btrfs.raid = "raid1"', 'btrfs = {raid="raid1", compress="zstd", hdsize=8}'),),
    "IPv6": (
        ('"10.6.0.11/24"', '"fd00::11/64"'),
        ('gateway = "10.6.0.1"', 'gateway = "fd00::1"'),
    ),
    "pinning off": (("enabled = true", "enabled = false"),),
    "no hook": (('[first-boot]\nsource = "from-iso"\nordering = "before-network"\n', ""),),
    "hook without ordering": (('ordering = "before-network"', ""),),
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD.keys())
def test_good_variants(edited: Edit, changes: tuple[tuple[str, str], ...]) -> None:
    answer.read(edited(*changes))


def test_defaults(edited: Edit) -> None:
    read = answer.read(
        edited(
            ('reboot-mode = "power-off"', ""),
            ('ordering = "before-network"', ""),
            ('filter-match = "all"', ""),
            ("enabled = true", "enabled = false"),
        )
    )
    assert not read.globals.power_off
    assert read.first_boot == "fully-up"
    assert not read.disks.match_all
    assert read.network.pins is None


FILTERS = 'filter.ID_SERIAL_SHORT = "BOOT1?"\nfilter.DEVNAME = "/dev/nvme*"'
BAD = {
    "unknown key": ('country = "us"', 'country = "us"\ncolour = "red"', "global.colour is not a known key"),
    "misspelt key": ('mailto = "', 'mail-to = "', "global.mailto is missing"),
    "unknown table": ("[first-boot]", "[first-boots]", "first-boots is not a known key"),
    "unknown pinning key": ("enabled = true", "enabled = true\nfoo = 1", "foo is not a known key"),
    "unknown btrfs key": ('btrfs.raid = "raid1"', 'btrfs = {raid="raid1", ashift=12}', "ashift"),
    "both passwords": (
        "reboot-mode",
        'root-password = "secretpw"\nreboot-mode',
        "exactly one of root-password and root-password-hashed, found both",
    ),
    "no password": ('root-password-hashed = "$6$salt$hash"', "", "found none"),
    "short password": ('root-password-hashed = "$6$salt$hash"', 'root-password = "short"', "8 characters"),
    "hash that is none": ("$6$salt$hash", "plain", "not a password hash"),
    "bare host name": ("node1.rack.example", "node1", "expected a host name and a domain"),
    "numeric host name": ("node1.rack", "11.rack", "purely numeric"),
    "underscore in a name": ("node1.rack", "node_1.rack", "letters, digits and dashes"),
    "name from DHCP": (
        'fqdn = "node1.rack.example"',
        'fqdn.source = "from-dhcp"',
        "DHCP, which is not in the rack",
    ),
    "keyboard": ('"en-us"', '"klingon"', "global.keyboard is 'klingon', expected one of"),
    "country": ('country = "us"', 'country = "USA"', "two lower-case letters"),
    "mail": ("ops@rack.example", "ops", "expected an e-mail address"),
    "time zone": ('"UTC"', '"Mars/Olympus"', "expected UTC or a zone"),
    "reboot mode": ('"power-off"', '"halt"', "expected one of reboot, power-off"),
    "number for a string": ('country = "us"', "country = 49", "global.country is 49, expected a string"),
    "keys not a list": ('["ssh-ed25519 AAAA harness"]', '"key"', "expected a list of strings"),
    "subscription": ("reboot-mode", 'subscription-key = "x"\nreboot-mode', "release 9.2"),
    "DHCP": ('"from-answer"', '"from-dhcp"', "from-dhcp is not in the rack"),
    "address without prefix": ("10.6.0.11/24", "10.6.0.11", "an address with its prefix"),
    "impossible address": ("10.6.0.11/24", "10.6.0.311/24", "an address with its prefix"),
    "two name servers": ('dns = "10.6.0.1"', 'dns = "10.6.0.1,10.6.0.2"', "expected one IP address"),
    "gateway of another family": ('gateway = "10.6.0.1"', 'gateway = "fd00::1"', "expected an IPv4 address"),
    "no filter": ('filter.ID_NET_NAME_MAC = "*525400010000"', "", "no filter defined"),
    "one name twice": ('01:00:01" = "nic1"', '01:00:01" = "nic0"', "'nic0' to two ports"),
    "name too long": ('= "nic1"', '= "abcdefghijklmnop"', "2 to 15 letters"),
    "digit first": ('= "nic1"', '= "1nic"', "a letter first"),
    "no MAC": ('"52:54:00:01:00:01"', '"nic9"', "expected a MAC address"),
    "zfs": ('"btrfs"\nbtrfs.raid = "raid1"', '"zfs"\nzfs.raid = "raid1"', "'zfs' is not in the rack"),
    "ext4": ('"btrfs"\nbtrfs.raid = "raid1"', '"ext4"', "'ext4' is not in the rack"),
    "unknown zfs key": (
        '"btrfs"\nbtrfs.raid = "raid1"',
        '"zfs"\nzfs.blocks = 1',
        "zfs.blocks is not a known key",
    ),
    "foreign options": ('btrfs.raid = "raid1"', 'btrfs.raid = "raid1"\nzfs.ashift = 12', "does not fit"),
    "no raid": ('btrfs.raid = "raid1"', "", "btrfs.raid is missing"),
    "raid5": ('"raid1"', '"raid5"', "expected one of raid0, raid1, raid10"),
    "raid1 on one disk": (FILTERS, 'disk-list = ["nvme0n1"]', "raid1 needs at least 2"),
    "disk twice": (FILTERS, 'disk-list = ["sda", "sda"]', "names a disk twice"),
    "no disks": (FILTERS, "", "exactly one of disk-list and filter, found none"),
    "list and filter": (FILTERS, 'disk-list = ["a", "b"]\n' + FILTERS, "found both"),
    "filter match": ('"all"', '"some"', "expected one of any, all"),
    "tiny": ('btrfs.raid = "raid1"', 'btrfs = {raid="raid1", hdsize=1}', "at least 2 GiB"),
    "hook from a URL": ('"from-iso"', '"from-url"', "from-url is not in the rack"),
    "ordering": ('"before-network"', '"early"', "first-boot.ordering is 'early'"),
    "webhook": ("[first-boot]", '[post-installation-webhook]\nurl = "u"\n[first-boot]', "not in the rack"),
    "no global": ("[global]", "[globals]", "global is missing"),
    "not TOML": ("[global]", "[global", "is not TOML"),
    "one key twice": ("reboot-mode", 'reboot_mode = "reboot"\nreboot-mode', "one key twice"),
}


@pytest.mark.parametrize(("old", "new", "said"), BAD.values(), ids=BAD.keys())
def test_mistakes_get_one_sentence(edited: Edit, old: str, new: str, said: str) -> None:
    path = edited((old, new))
    with pytest.raises(InstallError) as caught:
        answer.read(path)
    sentence = str(caught.value)
    assert said in sentence
    assert "answer.toml" in sentence
    assert "\n" not in sentence or said == "is not TOML"
    assert SECRET not in sentence
    assert "secretpw" not in sentence


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"answer\.toml cannot be read from the medium"):
        answer.read(tmp_path / "answer.toml")


def mode_file(folder: Path, text: str) -> Path:
    path = folder / "auto-installer-mode.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_mode_that_prepare_iso_writes(tmp_path: Path) -> None:
    assert answer.fetch_mode(mode_file(tmp_path, 'mode = "iso"\npartition_label = "proxmox-ais"\n\n[http]\n'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('mode = "http"', "mode 'http' is not in the rack"),
        ('mode = "usb"', "expected one of iso, http, partition"),
        ('mode = "iso"\nlabel = "x"', "label is not a known key"),
        ("", "mode is missing"),
    ],
)
def test_other_modes_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InstallError, match=said):
        answer.fetch_mode(mode_file(tmp_path, text))
