"""A node's bonds as `ip -d -j link show` tells them, and whether they are redundant. Pure, but for `read`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.ports import NodePort
from cluster.errors import UnknownError

LACP_MODE = "802.3ad"
_SYNCHRONISED = 8 | 16 | 32  # IEEE 802.1AX port state: in sync, collecting, distributing
_DEFAULTED = 64
_NOBODY = "00:00:00:00:00:00"


@dataclass(frozen=True)
class Member:
    """One leg of a bond. `failures`: link failure count. `actor`, `partner`: LACP port state, None where
    not LACP.
    """

    interface: str
    mac: str
    admin_up: bool
    carrier: bool
    mii_up: bool
    active: bool
    failures: int
    aggregator: int | None = None
    actor: int | None = None
    partner: int | None = None


@dataclass(frozen=True)
class BondState:
    """One bond. Times in ms, as the kernel holds them (delays are already rounded down to multiples of
    miimon).
    """

    name: str
    mode: str
    miimon: int
    updelay: int
    downdelay: int
    arp_interval: int
    arp_missed_max: int
    lacp_rate: str | None
    active: str | None
    ad_ports: int | None
    ad_partner: str | None
    members: tuple[Member, ...]

    def member(self, interface: str) -> Member:
        """The leg of that name. Raises `UnknownError` where the bond has none."""
        for member in self.members:
            if member.interface == interface:
                return member
        raise UnknownError(f"{self.name} has no member {interface}: {[m.interface for m in self.members]}")

    def leg(self, which: str) -> Member:
        """The `active` leg or the `other` one; under 802.3ad, where all carry traffic, the first or the
        second.
        """
        first = self.active or (self.members[0].interface if self.members else "")
        if which == "active":
            return self.member(first)
        others = [member for member in self.members if member.interface != first]
        if not others:
            raise UnknownError(f"{self.name} has no second leg")
        return others[0]

    def by_mac(self, mac: str) -> Member:
        """The leg whose own MAC address it is. Raises `UnknownError` where none is."""
        for member in self.members:
            if member.mac == mac.lower():
                return member
        raise UnknownError(f"{self.name} has no member with MAC address {mac}")

    def missing(self, legs: int = 2) -> list[str]:
        """What full redundancy lacks, each as a sentence; empty if it lacks nothing."""
        lacking = [f"{self.name} has {len(self.members)} of {legs} legs"] if len(self.members) < legs else []
        for member in self.members:
            if not (member.admin_up and member.carrier and member.mii_up):
                lacking.append(f"{self.name}: {member.interface} is down")
        if self.mode == LACP_MODE:
            return lacking + self._missing_lacp(legs)
        if self.active is None:
            lacking.append(f"{self.name} has no active leg")
        return lacking

    def _missing_lacp(self, legs: int) -> list[str]:
        lacking = []
        if (self.ad_ports or 0) < legs:
            lacking.append(f"{self.name} aggregates {self.ad_ports or 0} of {legs} ports")
        if self.ad_partner in (None, _NOBODY):
            lacking.append(f"{self.name} has no LACP partner")
        for member in self.members:
            for side, state in (("actor", member.actor), ("partner", member.partner)):
                if state is None or state & _SYNCHRONISED != _SYNCHRONISED or state & _DEFAULTED:
                    lacking.append(
                        f"{self.name}: {member.interface}: LACP {side} state {state} is not in sync"
                    )
        return lacking


def parse(text: str) -> dict[str, BondState]:
    """All bonds in the output of `ip -d -j link show`, by name. Raises `UnknownError` where it cannot be
    read.
    """
    try:
        links: list[dict[str, Any]] = _listed(json.loads(text))
        members: dict[str, list[Member]] = {}
        for link in links:
            if link.get("linkinfo", {}).get("info_slave_kind") == "bond":
                members.setdefault(link["master"], []).append(_member(link))
        return {
            link["ifname"]: _bond(link, members.get(link["ifname"], []))
            for link in links
            if link.get("linkinfo", {}).get("info_kind") == "bond"
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnknownError(f"the bonds could not be read from `ip -d -j link show`: {error!r}") from None


def read(node: NodePort, name: str) -> BondState:
    """The node's bond of that name now. Raises `UnknownError` where there is none."""
    bonds = parse(node.run("ip -d -j link show").stdout)
    if name not in bonds:
        raise UnknownError(f"{node.name} has no bond {name}")
    return bonds[name]


def flaps(
    before: Mapping[str, BondState],
    after: Mapping[str, BondState],
    may_fail: frozenset[tuple[str, str]] = frozenset(),
) -> list[str]:
    """Legs that failed more often than the fault explains (once each in `may_fail`), as sentences."""
    found = []
    for node, bond in after.items():
        for member in bond.members:
            old = {m.interface: m.failures for m in before[node].members}.get(member.interface, 0)
            allowed = 1 if (node, member.interface) in may_fail else 0
            if member.failures - old > allowed:
                found.append(
                    f"{node}: {member.interface} failed {member.failures - old} times, {allowed} explained"
                )
    return found


def _listed(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise TypeError("expected a list")
    return found


def _member(link: Mapping[str, Any]) -> Member:
    data = link["linkinfo"]["info_slave_data"]
    flags = link["flags"]
    return Member(
        interface=link["ifname"],
        mac=str(data.get("perm_hwaddr") or link.get("permaddr") or link.get("address")).lower(),
        admin_up="UP" in flags,
        carrier="LOWER_UP" in flags,
        mii_up=str(data["mii_status"]).upper() == "UP",
        active=str(data["state"]).upper() == "ACTIVE",
        failures=int(data["link_failure_count"]),
        aggregator=data.get("ad_aggregator_id"),
        actor=data.get("ad_actor_oper_port_state"),
        partner=data.get("ad_partner_oper_port_state"),
    )


def _bond(link: Mapping[str, Any], members: list[Member]) -> BondState:
    data = link["linkinfo"]["info_data"]
    lacp = data.get("ad_info", {})
    return BondState(
        name=link["ifname"],
        mode=data["mode"],
        miimon=int(data["miimon"]),
        updelay=int(data["updelay"]),
        downdelay=int(data["downdelay"]),
        arp_interval=int(data.get("arp_interval", 0)),
        arp_missed_max=int(data.get("arp_missed_max", 2)),
        lacp_rate=data.get("ad_lacp_rate") if data["mode"] == LACP_MODE else None,
        active=data.get("active_slave"),
        ad_ports=lacp.get("num_ports"),
        ad_partner=lacp.get("partner_mac"),
        members=tuple(sorted(members, key=lambda member: member.interface)),
    )
