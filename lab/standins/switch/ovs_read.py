"""Readings of Open vSwitch and of network devices, from JSON where there is JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.processes import run

_PORT_COLUMNS = "name,vlan_mode,tag,trunks,external_ids"
_INTERFACE_COLUMNS = "name,ofport,statistics"
_STATE_BITS = (
    "activity",
    "timeout",
    "aggregation",
    "synchronized",
    "collecting",
    "distributing",
    "defaulted",
    "expired",
)
DEFAULTED = 1 << _STATE_BITS.index("defaulted")
UNCONNECTED = 0b111
"""What is left of a member's state without a link: activity, timeout, aggregation."""


@dataclass(frozen=True)
class Tables:
    """Rows of the tables Port and Interface by name."""

    ports: Mapping[str, Mapping[str, Any]]
    interfaces: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Link:
    """A network device: administratively up, carrier, MTU in bytes."""

    mac: str
    up: bool
    carrier: bool
    mtu: int


@dataclass(frozen=True)
class Lacp:
    """What `lacp/show` says of a bond; `members` by device, as keyword arguments of `ports.Member`."""

    system: str = ""
    members: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def tables() -> Tables:
    """Ports and interfaces in one call (about 10 ms)."""
    shown = run(
        [
            "ovs-vsctl",
            "--timeout=10",
            "--format=json",
            "--",
            f"--columns={_PORT_COLUMNS}",
            "list",
            "Port",
            "--",
            f"--columns={_INTERFACE_COLUMNS}",
            "list",
            "Interface",
        ]
    ).stdout
    first, second = (rows(line) for line in shown.strip().splitlines())
    return Tables(first, second)


def rows(text: str) -> dict[str, dict[str, Any]]:
    """OVSDB's JSON table by name; sets become lists (an empty one None), maps dictionaries."""
    table = json.loads(text)
    named = [dict(zip(table["headings"], map(_plain, row), strict=True)) for row in table["data"]]
    return {row["name"]: row for row in named}


def _plain(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2:
        kind, content = value
        if kind == "set":
            return [_plain(item) for item in content] or None
        if kind == "map":
            return {key: _plain(item) for key, item in content}
        if kind == "uuid":
            return content
    return value


def links() -> dict[str, Link]:
    """All network devices of the namespace."""
    return {
        entry["ifname"]: Link(
            entry.get("address", ""), "UP" in entry["flags"], "LOWER_UP" in entry["flags"], entry["mtu"]
        )
        for entry in json.loads(run(["ip", "-j", "link", "show"]).stdout)
    }


def set_mtu(device: str, mtu: int) -> None:
    """Change the MTU of a device."""
    run(["ip", "link", "set", device, "mtu", str(mtu)])


def quoted(text: str) -> str:
    """A string as ovs-vsctl reads it."""
    return json.dumps(text)


def learned(bridge: str) -> list[tuple[int, int, str]]:
    """(port number, VLAN, MAC) of `fdb/show` (no JSON form); the bridge's own entries are left out."""
    shown = run(["ovs-appctl", "-t", "ovs-vswitchd", "fdb/show", bridge]).stdout
    found = re.findall(r"^\s*(\d+)\s+(\d+)\s+([0-9a-f:]{17})\s+\S+$", shown, re.MULTILINE)
    return [(int(number), int(vlan), mac) for number, vlan, mac in found]


def dropping(bridge: str, cookie: int) -> set[int]:
    """Ports whose frames a flow with this cookie drops."""
    shown = run(["ovs-ofctl", "dump-flows", bridge, f"cookie={cookie:#x}/-1"]).stdout
    return {int(number) for number in re.findall(r"in_port=(\d+)", shown)}


def lacp(bond: str) -> Lacp:
    """LACP of one bond, from the text of `lacp/show`."""
    shown, counted = (
        run(["ovs-appctl", "-t", "ovs-vswitchd", command, bond]).stdout
        for command in ("lacp/show", "lacp/show-stats")
    )
    return parse_lacp(shown, counted)


_MEMBER = re.compile(r"^(?:member|slave): ", re.MULTILINE)


def parse_lacp(text: str, statistics: str = "") -> Lacp:
    """Texts of `lacp/show` and `lacp/show-stats` (OVS 2.15 to 3.x; the older one says `slave`)."""
    head, *blocks = _MEMBER.split(text)
    counted = {block.split(":", 1)[0].strip(): block for block in _MEMBER.split(statistics)[1:]}
    system = _field(head, "sys_id")
    members = {}
    for block in blocks:
        first = block.splitlines()[0]
        device, _, status = first.partition(":")
        partner = _field(block, "partner sys_id")
        pdus = counted.get(device.strip(), "")
        flags = _state(_field(block, "actor state"))
        forwards = " attached" in status and _field(block, "may_enable") == "true"
        members[device.strip()] = {
            "selected": forwards and not flags & DEFAULTED,
            "individual": forwards and bool(flags & DEFAULTED),
            "actor_flags": flags,
            "partner_flags": _state(_field(block, "partner state")),
            "partner_system": "" if set(partner) <= set("0:") else partner,
            "partner_key": int(_field(block, "partner key") or 0),
            "partner_port": int(_field(block, "partner port_id") or 0),
            "actor_key": int(_field(block, "actor key") or 0),
            "actor_port": int(_field(block, "actor port_id") or 0),
            "received": int(_field(pdus, "RX PDUs") or 0),
            "illegal": int(_field(pdus, "RX Bad PDUs") or 0),
            "sent": int(_field(pdus, "TX PDUs") or 0),
        }
    return Lacp(system, members)


def _field(text: str, name: str) -> str:
    found = re.search(rf"^\s*{re.escape(name)}:[ \t]*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _state(text: str) -> int:
    given = text.split()
    return sum(1 << bit for bit, name in enumerate(_STATE_BITS) if name in given)
