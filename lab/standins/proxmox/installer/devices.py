"""Disks and network ports of the live system, found by their udev properties, never by name order."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import InstallError

Properties = Mapping[str, str]
NOT_DISKS = ("ram", "loop", "md", "dm-", "fd", "sr", "zram")


@dataclass(frozen=True)
class Disk:
    """A whole disk. `size` in bytes."""

    name: str
    size: int
    properties: Properties

    @property
    def device(self) -> str:
        return f"/dev/{self.name}"

    @property
    def serial(self) -> str:
        return self.properties.get("ID_SERIAL_SHORT") or self.properties.get("ID_SERIAL") or "no serial"

    def partition(self, number: int) -> str:
        """Device of a partition: nvme0n1p2, but sda2."""
        return f"{self.device}{'p' if self.name[-1].isdigit() else ''}{number}"


@dataclass(frozen=True)
class Port:
    """A physical network port; `index` is the kernel's, which gives the order of `ip link`."""

    name: str
    mac: str
    index: int
    properties: Properties


def parse_export(text: str) -> list[Properties]:
    """Properties of every device in the output of `udevadm info --export-db`."""
    result: list[Properties] = []
    for block in text.split("\n\n"):
        pairs = (line[3:].partition("=") for line in block.splitlines() if line.startswith("E: "))
        properties = {key: value for key, _, value in pairs}
        if properties:
            result.append(properties)
    return result


def disks(database: Iterable[Properties], sys: Path = Path("/sys")) -> list[Disk]:
    """Whole disks that could carry a system; media that hold an ISO image are none."""
    result = []
    for properties in database:
        name = properties.get("DEVNAME", "").rpartition("/")[2]
        if (
            properties.get("SUBSYSTEM") != "block"
            or properties.get("DEVTYPE") != "disk"
            or not name
            or name.startswith(NOT_DISKS)
            or "ID_CDROM" in properties
            or properties.get("ID_FS_TYPE") == "iso9660"
        ):
            continue
        sectors = int((sys / "block" / name / "size").read_text(encoding="ascii"))
        if sectors:
            result.append(Disk(name=name, size=sectors * 512, properties=properties))
    return sorted(result, key=lambda disk: disk.name)


def ports(database: Iterable[Properties], sys: Path = Path("/sys")) -> list[Port]:
    """Physical Ethernet ports in the order of their kernel index."""
    result = []
    for properties in database:
        name = properties.get("INTERFACE", "")
        folder = sys / "class" / "net" / name
        if properties.get("SUBSYSTEM") != "net" or not name or not (folder / "device").exists():
            continue
        result.append(
            Port(
                name=name,
                mac=(folder / "address").read_text(encoding="ascii").strip().lower(),
                index=int((folder / "ifindex").read_text(encoding="ascii")),
                properties=properties,
            )
        )
    return sorted(result, key=lambda port: port.index)


def matches(properties: Properties, wanted: Mapping[str, str], match_all: bool) -> bool:
    """Whether the globs fit: any one of them, or all of them."""
    fits = [key in properties and fnmatch.fnmatchcase(properties[key], glob) for key, glob in wanted.items()]
    return all(fits) if match_all else any(fits)


def choose_port(found: Iterable[Port], wanted: Mapping[str, str]) -> Port:
    """The first port by name that any glob fits. Raises InstallError when none does."""
    every = sorted(found, key=lambda port: port.name)
    for port in every:
        if matches(port.properties, wanted, match_all=False):
            return port
    seen = ", ".join(f"{port.name} ({port.mac})" for port in every) or "no port at all"
    raise InstallError(f"network filter {_pretty(wanted)} did not match any device; the server has {seen}")


def choose_disks(
    found: Iterable[Disk], names: Iterable[str], wanted: Mapping[str, str], match_all: bool, least: int
) -> list[Disk]:
    """The disks to install on, by name. Raises InstallError when one is missing or they are too few."""
    every = list(found)
    seen = ", ".join(f"{disk.name} ({disk.serial})" for disk in every) or "no disk at all"
    if wanted:
        chosen = [disk for disk in every if matches(disk.properties, wanted, match_all)]
        if not chosen:
            raise InstallError(
                f"disk filter {_pretty(wanted)} did not match any device; the server has {seen}"
            )
    else:
        chosen = []
        for name in names:
            fit = [disk for disk in every if disk.device.endswith("/" + name.removeprefix("/dev/"))]
            if not fit:
                raise InstallError(f"disk-list names {name!r}, which is not there; the server has {seen}")
            chosen += fit
    if len(chosen) < least:
        raise InstallError(
            f"found {len(chosen)} matching disk(s), at least {least} are needed; the server has {seen}"
        )
    return chosen


def check_sizes(chosen: list[Disk], mirrored: bool) -> None:
    """Refuse what pve-installer refuses: disks below 8 GiB, mirror legs that differ by more than a tenth."""
    for disk in chosen:
        if disk.size < 8 * 2**30:
            raise InstallError(
                f"{disk.name} ({disk.serial}) has {disk.size / 2**30:.1f} GiB, expected at least 8"
            )
        if mirrored and abs(disk.size - chosen[0].size) > chosen[0].size / 10:
            raise InstallError(
                f"{disk.name} and {chosen[0].name} differ in size by more than a tenth, "
                "mirrored disks must have the same size"
            )


def pinned_names(found: Iterable[Port], pins: Mapping[str, str] | None) -> dict[str, str]:
    """MAC -> name that the installed system gives a port: the pinned one, nicN for the rest, or its own."""
    result: dict[str, str] = {}
    for number, port in enumerate(found):
        name = port.name if pins is None else pins.get(port.mac, f"nic{number}")
        if name in result.values():
            raise InstallError(
                f"interface name {name!r} would go to two ports; name port {port.mac} in "
                "network.interface-name-pinning.mapping"
            )
        result[port.mac] = name
    return result


def _pretty(wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={glob}" for key, glob in wanted.items())
