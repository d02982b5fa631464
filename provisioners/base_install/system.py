"""What a node that answers says of itself, as frozen values. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Interface:
    """A network interface: `mac` is the permanent one where the kernel tells it; `addresses` are CIDR texts
    (IPv4).
    """

    name: str
    mac: str
    up: bool
    mtu: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Drive:
    """A whole drive. `size` in bytes. `mounted`: whether anything on it is in use as a file system."""

    path: str
    serial: str
    model: str
    size: int
    fstype: str
    pttype: str
    partitions: tuple[str, ...]
    mounted: bool
    loaders: tuple[tuple[str, str], ...] = ()  # (path on its ESP, SHA-256)
    found: str = ""  # what stands on a drive that is not mounted: signatures, or "data"; empty: blank

    @property
    def blank(self) -> bool:
        """Neither a signature, nor a partition, nor a byte other than zero in the first MiB."""
        return not (self.found or self.fstype or self.pttype or self.partitions)


@dataclass(frozen=True)
class MirrorLeg:
    """One device of the boot mirror; `errors` counts read, write, checksum and generation errors."""

    device: str
    serial: str
    online: bool
    errors: int


@dataclass(frozen=True)
class Mirror:
    """The file system of /. `profiles` are the RAID levels in use; `absent` counts members that are gone."""

    filesystem: str
    legs: tuple[MirrorLeg, ...]
    profiles: tuple[str, ...]
    absent: int

    @property
    def healthy(self) -> bool:
        """Two legs or more, all online and without errors, and everything written twice."""
        whole = bool(self.profiles) and all(p.lower() in {"raid1", "mirror"} for p in self.profiles)
        return (
            len(self.legs) >= 2
            and not self.absent
            and whole
            and all(x.online and not x.errors for x in self.legs)
        )


@dataclass(frozen=True)
class BootEntry:
    """One entry of the firmware's boot menu."""

    number: str
    active: bool
    label: str
    path: str


@dataclass(frozen=True)
class Clock:
    """chrony's view. `offset_s`: system clock against the servers' time; `sources`: (address, state), `*` =
    in use.
    """

    synchronised: bool
    offset_s: float
    stratum: int
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Key:
    """One authorized key: type as ssh-keygen writes it (ED25519, RSA), bits, SHA-256 fingerprint."""

    kind: str
    bits: int
    fingerprint: str


@dataclass(frozen=True)
class Repository:
    """One package source: `kind` is its first component, such as `pve-no-subscription`."""

    file: str
    uri: str
    suite: str
    components: tuple[str, ...]
    enabled: bool


@dataclass(frozen=True)
class ParameterAccess:
    """Whether the node reads a parameter by itself. `until` is the UTC end of its credentials, "" where
    there is none.
    """

    value: str
    short_lived: bool
    until: str
    problem: str


@dataclass(frozen=True)
class System:
    """One node from inside. Sizes in bytes; `sshd` are the effective settings, lower case, as `sshd -T`
    prints them.
    """

    hostname: str
    fqdn: str
    os: Mapping[str, str]
    kernel: str
    pveversion: str
    timezone: str
    interfaces: tuple[Interface, ...]
    gateway: str
    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    memory: int
    threads: int
    sockets: int
    drives: tuple[Drive, ...]
    mirror: Mirror
    boot_current: str
    boot_order: tuple[str, ...]
    boot_entries: tuple[BootEntry, ...]
    clock: Clock
    sshd: Mapping[str, str]
    sshd_dropins: tuple[str, ...]  # files below sshd_config.d that say anything about who may log in, and how
    keys: tuple[Key, ...]
    host_key: str
    repositories: tuple[Repository, ...]
    packages: frozenset[str]
    resolves: Mapping[str, str]
    files: Mapping[str, str]  # path -> "SHA-256 mode"
    parameter: ParameterAccess

    def drive(self, serial: str) -> Drive | None:
        """The drive of that serial number."""
        return next((d for d in self.drives if d.serial == serial), None)

    def interface(self, mac: str) -> Interface | None:
        """The interface of that permanent MAC address."""
        return next((i for i in self.interfaces if i.mac == mac.lower()), None)

    def holds(self, address: str) -> tuple[str, ...]:
        """Names of the interfaces that hold an IPv4 address."""
        return tuple(i.name for i in self.interfaces if any(a.split("/")[0] == address for a in i.addresses))
