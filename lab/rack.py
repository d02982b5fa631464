"""The hardware of the rack, read from rack.toml into frozen dataclasses; every mistake is one sentence."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.errors import LabError

DEFAULT = Path(__file__).with_name("rack.toml")
BAYS = 12  # data drive bays of a server
PORTS = ("p0", "p1", "m0")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class ServerSpec:
    """What all servers share. Sizes in MiB and GiB as their names say."""

    vcpus: int
    memory_mib: int
    watchdog: str
    boot_disk_gib: int
    data_disk_gib: int
    data_disks: int
    manufacturer: str
    model: str


@dataclass(frozen=True)
class Drive:
    """One NVMe drive bay: `bay` counts over the whole server, boot drives first."""

    serial: str
    bay: int
    gib: int
    boot: bool


@dataclass(frozen=True)
class Server:
    """One server: identity, BMC address, and the MAC of each port (p0 to sw1, p1 to sw2, m0 to swm)."""

    name: str
    serial: str
    address: str
    uuid: str
    bmc: str
    p0: str
    p1: str
    m0: str

    def mac(self, port: str) -> str:
        """MAC of port p0, p1 or m0. Raises LabError for any other name."""
        if port not in PORTS:
            raise LabError(f"{self.name} has no port {port!r}, expected one of {', '.join(PORTS)}")
        return str(getattr(self, port))

    def tap(self, port: str) -> str:
        """Name of the network device that is the switch's end of this port's cable."""
        self.mac(port)
        return f"{self.name}{port}"


@dataclass(frozen=True)
class Fabric:
    """MTUs in bytes of the switch ports and of the controller's legs."""

    mtu: int
    controller_mtu: int


@dataclass(frozen=True)
class Oob:
    """The out-of-band network: BMCs, switch consoles, cloud endpoints, media server."""

    subnet: str
    controller: str
    aws: str
    bmc_port: int
    bmc_user: str


@dataclass(frozen=True)
class Switch:
    """One switch: `ports` maps what is cabled (a server, `peer`, `controller`) to the port's name."""

    name: str
    management: str
    ports: dict[str, str]


@dataclass(frozen=True)
class Vlan:
    """One VLAN and the controller's address in it."""

    id: int
    subnet: str
    controller: str


@dataclass(frozen=True)
class Management:
    """The 1G management network."""

    subnet: str
    controller: str


@dataclass(frozen=True)
class Services:
    """Where the controller answers for names and time."""

    dns: str
    ntp: str


@dataclass(frozen=True)
class Medium:
    """The installer medium: its path below the state folder and the release it calls itself."""

    path: str
    release: str


@dataclass(frozen=True)
class Rack:
    """The whole rack."""

    namespace: str
    site_name: str
    domain: str
    switch_mode: Literal["active-backup", "lacp"]
    servers: ServerSpec
    fabric: Fabric
    server: tuple[Server, ...]
    oob: Oob
    switch: tuple[Switch, ...]
    vlans: dict[str, Vlan]
    management: Management
    services: Services
    medium: Medium

    def find(self, name: str) -> Server:
        """The server of that name. Raises LabError when there is none."""
        for server in self.server:
            if server.name == name:
                return server
        known = ", ".join(server.name for server in self.server)
        raise LabError(f"no server {name!r} in the rack, expected one of {known}")

    def number(self, server: Server) -> int:
        """Place of a server in the rack, counted from 1."""
        return self.server.index(server) + 1

    def drives(self, server: Server) -> list[Drive]:
        """All drives that belong to a server, whether in their bays or not, in bay order."""
        number, spec = self.number(server), self.servers
        boot = [Drive(f"BOOT{number}{leg}", leg - 1, spec.boot_disk_gib, True) for leg in (1, 2)]
        return boot + [
            Drive(f"DATA{number}{bay:02d}", bay + 1, spec.data_disk_gib, False)
            for bay in range(1, spec.data_disks + 1)
        ]

    def drive(self, server: Server, serial: str) -> Drive:
        """One drive by serial. Raises LabError when the server has no such drive."""
        for drive in self.drives(server):
            if drive.serial == serial:
                return drive
        known = ", ".join(drive.serial for drive in self.drives(server))
        raise LabError(f"{server.name} has no drive {serial!r}, expected one of {known}")


def load(path: Path | None = None) -> Rack:
    """Read and check a rack file: `path`, else `RACKPROOF_RACK`, else the one beside this module.

    Raises LabError naming file, key, value and what was expected.
    """
    path = path or Path(os.environ.get("RACKPROOF_RACK") or DEFAULT)
    try:
        with path.open("rb") as source:
            table = tomllib.load(source)
    except FileNotFoundError as error:
        raise LabError(f"{path.name}: no such file in {path.parent}") from error
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{path.name}: not valid TOML: {error}") from error
    rack: Rack = _build(Rack, table, path.name, "")
    _check(rack, path.name)
    return rack


def _build(kind: Any, value: Any, file: str, key: str) -> Any:
    """Turn a TOML value into the annotated type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_table(kind, value, file, key)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(arguments[0], item, file, f"{key}[{place}]") for place, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {name: _build(arguments[1], item, file, f"{key}.{name}") for name, item in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise LabError(f"{file}: {key} = {value!r}, expected one of {', '.join(map(repr, arguments))}")
        return value
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and type(value) is kind:
        return value
    raise LabError(f"{file}: {key} = {value!r}, expected {getattr(kind, '__name__', kind)}")


def _build_table(kind: type, value: Any, file: str, key: str) -> Any:
    if not isinstance(value, dict):
        raise LabError(f"{file}: {key} = {value!r}, expected a table")
    hints = typing.get_type_hints(kind)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise LabError(f"{file}: {prefix}{name} is not known, expected one of {', '.join(hints)}")
    for name in hints:
        if name not in value:
            raise LabError(f"{file}: {prefix}{name} is missing")
    return kind(**{name: _build(hint, value[name], file, f"{prefix}{name}") for name, hint in hints.items()})


def _check(rack: Rack, file: str) -> None:
    """What types cannot say: ranges, address membership, no two things with one name or address."""
    if not 0 <= rack.servers.data_disks <= BAYS:
        raise LabError(f"{file}: servers.data_disks = {rack.servers.data_disks}, expected 0 to {BAYS}")
    if len(rack.switch) != 2:
        raise LabError(f"{file}: {len(rack.switch)} [[switch]] tables, expected 2")
    if not rack.server:
        raise LabError(f"{file}: no [[server]] table, expected at least 1")
    for server in rack.server:
        for port in PORTS:
            if not MAC.fullmatch(server.mac(port)):
                raise LabError(
                    f"{file}: {server.name}.{port} = {server.mac(port)!r}, expected a MAC in lower case"
                )
            if len(server.tap(port)) > 15:
                raise LabError(f"{file}: server name {server.name!r} is over 13 letters")
    for name, vlan in rack.vlans.items():
        _inside(file, f"vlans.{name}.controller", vlan.controller, vlan.subnet)
        if not 1 <= vlan.id <= 4094:
            raise LabError(f"{file}: vlans.{name}.id = {vlan.id}, expected 1 to 4094")
    _inside(file, "management.controller", rack.management.controller, rack.management.subnet)
    for key, address in _oob_addresses(rack).items():
        _inside(file, key, address, rack.oob.subnet)
    _unique(file, "address", list(_oob_addresses(rack).values()))
    _unique(file, "MAC", [server.mac(port) for server in rack.server for port in PORTS])
    _unique(
        file,
        "server",
        [value for server in rack.server for value in (server.name, server.uuid, server.serial)],
    )
    _unique(file, "VLAN id", [str(vlan.id) for vlan in rack.vlans.values()])


def _oob_addresses(rack: Rack) -> dict[str, str]:
    servers = {f"{server.name}.bmc": server.bmc for server in rack.server}
    switches = {f"{switch.name}.management": switch.management for switch in rack.switch}
    return {"oob.controller": rack.oob.controller, "oob.aws": rack.oob.aws, **servers, **switches}


def _inside(file: str, key: str, address: str, subnet: str) -> None:
    try:
        inside = ipaddress.ip_address(address) in ipaddress.ip_network(subnet)
    except ValueError as error:
        raise LabError(f"{file}: {key} = {address!r} in {subnet!r}: {error}") from error
    if not inside:
        raise LabError(f"{file}: {key} = {address!r}, expected an address in {subnet}")


def _unique(file: str, what: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise LabError(f"{file}: {what} {value!r} stands there twice")
