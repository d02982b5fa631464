"""What a switch knows of itself: the types between the command line and the fabric below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

VLAN_MAX = 4094
PVID_NONE = 4094
"""PVID of the rack's trunks: a VLAN that no trunk permits, so that untagged frames go nowhere."""
FRAME_OVERHEAD = 22
"""Bytes of a frame around its payload: header 14, one VLAN tag 4, checksum 4."""


class PortError(Exception):
    """The fabric cannot do what was typed; the message is shown as Comware shows errors."""


@dataclass(frozen=True)
class Counters:
    """Frames and bytes since the port exists; the switch's own view (received = from the server)."""

    rx_packets: int = 0
    rx_bytes: int = 0
    rx_errors: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_errors: int = 0


@dataclass(frozen=True)
class PortState:
    """One port as it is now. `speed_mbps` is its kind; `permitted` what a trunk is allowed to carry."""

    name: str
    mac: str
    admin_up: bool
    link_up: bool
    speed_mbps: int
    trunk: bool
    pvid: int
    permitted: frozenset[int]
    max_frame: int
    description: str = ""
    aggregation: int | None = None
    counters: Counters = field(default_factory=Counters)

    @property
    def up(self) -> bool:
        """Whether frames pass."""
        return self.admin_up and self.link_up


@dataclass(frozen=True)
class Member:
    """A port of an aggregation on this switch: LACP state bytes (bit 0 activity ...) and PDU counts."""

    port: str
    selected: bool
    actor_flags: int
    partner_flags: int
    partner_system: str
    partner_key: int
    partner_port: int
    actor_key: int = 1
    actor_port: int = 0
    received: int = 0
    illegal: int = 0
    sent: int = 0
    individual: bool = False
    """Up without a partner: it forwards on its own (the rack's LAGs behave as with `lacp edge-port`)."""


@dataclass(frozen=True)
class Aggregation:
    """Bridge-Aggregation `number`; `system` is what the servers see as partner, the same on both switches."""

    number: int
    dynamic: bool
    system: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class MacEntry:
    """A learned address."""

    mac: str
    vlan: int
    port: str


@dataclass(frozen=True)
class Neighbour:
    """What a neighbour said of itself over LLDP."""

    port: str
    chassis: str
    port_id: str
    system: str
    port_description: str = ""


class Fabric(Protocol):
    """One switch. Every method may take some ten milliseconds and raise PortError."""

    def ports(self) -> Sequence[PortState]: ...
    def aggregations(self) -> Sequence[Aggregation]: ...
    def macs(self) -> Sequence[MacEntry]: ...
    def neighbours(self) -> Sequence[Neighbour]: ...
    def vlans(self) -> Mapping[int, str]: ...
    def set_admin(self, port: str, up: bool) -> None: ...
    def set_trunk(self, port: str, permitted: frozenset[int], pvid: int) -> None: ...
    def set_access(self, port: str, vlan: int) -> None: ...
    def set_max_frame(self, port: str, length: int) -> None: ...
    def set_description(self, port: str, text: str) -> None: ...
    def set_lacp_fast(self, port: str, fast: bool) -> None: ...
