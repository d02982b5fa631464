"""The answer file of Proxmox VE's automated installer: parsed strictly into frozen dataclasses."""

from __future__ import annotations

import ipaddress
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import values
from .errors import InstallError
from .table import Table

ORDERINGS = ("before-network", "network-online", "fully-up")
RAIDS = ("raid0", "raid1", "raid10")
LEAST_DISKS = {"raid0": 1, "raid1": 2, "raid10": 4}
OTHER_OPTIONS = {  # filesystems of Proxmox VE that the rack lacks; their options are still checked by name
    "zfs": ("raid", "ashift", "arc-max", "checksum", "compress", "copies", "hdsize"),
    "lvm": ("hdsize", "swapsize", "maxroot", "maxvz", "minfree"),
}


@dataclass(frozen=True)
class Global:
    """[global]. Exactly one of `password` and `password_hash` is set; `keys` are OpenSSH public keys."""

    keyboard: str
    country: str
    host: str
    domain: str
    mailto: str
    timezone: str
    password: str | None
    password_hash: str | None
    keys: tuple[str, ...]
    power_off: bool
    reboot_on_error: bool


@dataclass(frozen=True)
class Network:
    """[network] with source = "from-answer". `pins` is None when pinning is off, else MAC -> name."""

    cidr: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    dns: ipaddress.IPv4Address | ipaddress.IPv6Address
    gateway: ipaddress.IPv4Address | ipaddress.IPv6Address
    filter: dict[str, str]
    pins: dict[str, str] | None


@dataclass(frozen=True)
class Disks:
    """[disk-setup] with filesystem = "btrfs". `hdsize_gib` limits the partitions, None does not."""

    raid: str
    compress: str
    hdsize_gib: float | None
    names: tuple[str, ...]
    filter: dict[str, str]
    match_all: bool


@dataclass(frozen=True)
class Answer:
    """A whole answer file; `first_boot` is the ordering of the hook, None without one."""

    globals: Global
    network: Network
    disks: Disks
    first_boot: str | None


def fetch_mode(path: Path) -> str:
    """The `mode` of auto-installer-mode.toml. Raises InstallError unless it is `iso`, the only one here."""
    table = _load(path)
    mode = table.choice("mode", ("iso", "http", "partition"))
    table.text("partition-label") if table.has("partition-label") else None
    http = table.optional_table("http")
    if http is not None:
        for key in ("url", "cert-fingerprint", "token"):
            http.optional_text(key)
        http.end()
    table.end()
    if mode != "iso":
        raise InstallError(f"{path.name}: mode {mode!r} is not in the rack, expected 'iso'")
    return mode


def read(path: Path) -> Answer:
    """Parse and check an answer file. Raises InstallError with one sentence about the first mistake."""
    top = _load(path)
    answer = Answer(
        globals=_global(top.table("global")),
        network=_network(top.table("network")),
        disks=_disks(top.table("disk-setup")),
        first_boot=_first_boot(top.optional_table("first-boot")),
    )
    if top.has("post-installation-webhook"):
        raise InstallError(
            f"{top.where('post-installation-webhook')} is not in the rack: the installer here has no network"
        )
    top.end()
    return answer


def _load(path: Path) -> Table:
    try:
        return Table(path.name, "", tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InstallError(f"{path.name} cannot be read from the medium: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InstallError(f"{path.name} is not TOML: {error}") from error


def _global(table: Table) -> Global:
    password, hashed = table.optional_text("root-password"), table.optional_text("root-password-hashed")
    if (password is None) == (hashed is None):
        raise InstallError(
            f"{table.file}: [global] needs exactly one of root-password and root-password-hashed, "
            f"found {'none' if password is None else 'both'}"
        )
    if password is not None and len(password) < 8:
        raise InstallError(f"{table.where('root-password')} is shorter than 8 characters")
    if table.has("fqdn") and not isinstance(table.value("fqdn", object, "a name"), str):
        raise InstallError(
            f"{table.where('fqdn')} asks for DHCP, which is not in the rack, expected a string"
        )
    host, domain = values.fqdn(table.where("fqdn"), table.text("fqdn"))
    if table.has("subscription-key"):
        raise InstallError(f"{table.where('subscription-key')} needs an installer of release 9.2 or later")
    result = Global(
        keyboard=table.choice("keyboard", tuple(values.KEYBOARDS)),
        country=values.country(table.where("country"), table.text("country")),
        host=host,
        domain=domain,
        mailto=values.mail(table.where("mailto"), table.text("mailto")),
        timezone=values.timezone(table.where("timezone"), table.text("timezone")),
        password=password,
        password_hash=None if hashed is None else values.crypted(table.where("root-password-hashed"), hashed),
        keys=tuple(table.texts("root-ssh-keys")),
        power_off=table.choice("reboot-mode", ("reboot", "power-off"), "reboot") == "power-off",
        reboot_on_error=table.flag("reboot-on-error", default=False),
    )
    table.end()
    return result


def _network(table: Table) -> Network:
    if table.choice("source", ("from-dhcp", "from-answer")) == "from-dhcp":
        raise InstallError(f"{table.where('source')} from-dhcp is not in the rack, expected 'from-answer'")
    cidr = values.cidr(table.where("cidr"), table.text("cidr"))
    dns = values.address(table.where("dns"), table.text("dns"))
    gateway = values.address(table.where("gateway"), table.text("gateway"))
    if gateway.version != cidr.version:
        raise InstallError(
            f"{table.where('gateway')} is {gateway}, expected an IPv{cidr.version} address as cidr is"
        )
    wanted = table.mapping("filter")
    if not wanted:
        raise InstallError(
            f"{table.where('filter')}: no filter defined, expected as in "
            'filter.ID_NET_NAME_MAC = "*525400010000"'
        )
    pins: dict[str, str] | None = None
    pinning = table.optional_table("interface-name-pinning")
    if pinning is not None:
        mapping = values.pinning(pinning.where("mapping"), pinning.mapping("mapping"))
        pinning.value("enabled", bool, "true or false")
        pins = mapping if pinning.flag("enabled", default=False) else None
        pinning.end()
    table.end()
    return Network(cidr=cidr, dns=dns, gateway=gateway, filter=wanted, pins=pins)


def _disks(table: Table) -> Disks:
    filesystem = table.choice("filesystem", ("ext4", "xfs", "zfs", "btrfs"))
    options = {name: table.optional_table(name) for name in ("zfs", "lvm", "btrfs")}
    own = "lvm" if filesystem in ("ext4", "xfs") else filesystem
    for name, given in options.items():
        if given is not None and name != own:
            raise InstallError(
                f"{given.file}: [{given.path}] does not fit filesystem {filesystem!r}, "
                f"expected only {own!r} options"
            )
    if filesystem != "btrfs":
        _refuse_filesystem(table, filesystem, own, options[own])
    btrfs = options["btrfs"]
    if btrfs is None or not btrfs.has("raid"):
        raise InstallError(f"{table.where('btrfs.raid')} is missing, expected one of {', '.join(RAIDS)}")
    raid = btrfs.choice("raid", RAIDS)
    compress = btrfs.choice("compress", ("on", "off", "zlib", "lzo", "zstd"), "off")
    size = btrfs.value("hdsize", (int | float), "a size in GiB") if btrfs.has("hdsize") else None
    if size is not None and size < 2:
        raise InstallError(f"{btrfs.where('hdsize')} is {size}, expected at least 2 GiB")
    btrfs.end()
    names, wanted = tuple(table.texts("disk-list")), table.mapping("filter")
    match = table.choice("filter-match", ("any", "all"), "any")
    if bool(names) == bool(wanted):
        raise InstallError(
            f"{table.file}: [{table.path}] needs exactly one of disk-list and filter, "
            f"found {'both' if names else 'none'}"
        )
    if len(set(names)) != len(names):
        raise InstallError(f"{table.where('disk-list')} names a disk twice")
    if names and len(names) < LEAST_DISKS[raid]:
        raise InstallError(
            f"{table.where('disk-list')} names {len(names)} disk(s), {raid} needs at least "
            f"{LEAST_DISKS[raid]}"
        )
    table.end()
    return Disks(
        raid=raid,
        compress=compress,
        hdsize_gib=None if size is None else float(size),
        names=names,
        filter=wanted,
        match_all=match == "all",
    )


def _refuse_filesystem(table: Table, filesystem: str, own: str, options: Table | None) -> None:
    if options is not None:
        for key in OTHER_OPTIONS[own]:
            options.has(key)
        options.end()
    raise InstallError(f"{table.where('filesystem')} {filesystem!r} is not in the rack, expected 'btrfs'")


def _first_boot(table: Table | None) -> str | None:
    if table is None:
        return None
    source = table.choice("source", ("from-iso", "from-url"))
    ordering = table.choice("ordering", ORDERINGS, "fully-up")
    url = table.optional_text("url")
    table.optional_text("cert-fingerprint")
    table.end()
    if source == "from-url":
        raise InstallError(
            f"{table.where('source')} from-url is not in the rack"
            f"{'' if url else ' (and url is missing)'}, expected 'from-iso'"
        )
    return ordering
