"""Reads what HPE/H3C Comware 7 prints. Pure functions; unknown lines are passed over, since each release adds
some.

Layout after real outputs of several releases (test data of ntc-templates 9.3; H3C command references R6715,
R932x).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Z][A-Za-z-]*[A-Za-z][0-9][0-9/:.]*")
_STATE = re.compile(r"^\s*(?:(?P<name>\S+)\s+)?[Cc]urrent\s+state\s*:\s*(?P<state>.+?)\s*$", re.M)
_SPEED = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kMG])bps-speed mode", re.M)
_BANDWIDTH = re.compile(r"^\s*Bandwidth:\s*(\d+)\s*kbps", re.M)
_FRAME = re.compile(r"^\s*(?:The\s+)?[Mm]aximum\s+[Ff]rame\s+[Ll]ength(?::|\s+is)\s*(\d+)", re.M)
_PVID = re.compile(r"^\s*PVID:\s*(\d+)", re.M)
_TYPE = re.compile(r"^\s*Port link-type:\s*(\w+)", re.M)
_ERROR = re.compile(r"^\s*% \S.*$|^\s*Permission denied.*$", re.M)
# Some releases print one number more (Index) in both tables.
_MEMBER = re.compile(
    r"^\s+(?P<port>[A-Z]\S*\d)(?:\([A-Z]\))?\s+(?P<status>[SUI])(?:\s+\d+){2,3}(?:\s+(?P<flags>\{[A-Z]*\}))?"
)
_PARTNER = re.compile(
    r"^\s+(?P<port>[A-Z]\S*\d)(?:\([A-Z]\))?(?:\s+\d+){3}\s+0x[0-9a-f]+\s*,"
    r"\s*(?P<system>[0-9a-f-]+)\s+(?P<flags>\{[A-Z]*\})"
)
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class PortState:
    """One port; speeds in bit/s, mtu = longest frame in bytes that it forwards, vlans by id.

    `speed` is what the link runs at (None while it is down), `bandwidth` what the port is set to.
    """

    admin_up: bool
    up: bool
    speed: float | None
    permit_vlans: frozenset[int]
    pvid: int | None
    mtu: int | None
    link_type: str = ""
    untagged_vlans: frozenset[int] = frozenset()
    bandwidth: float | None = None

    @property
    def tagged_vlans(self) -> frozenset[int]:
        """VLANs that leave the port with their tag."""
        return self.permit_vlans - self.untagged_vlans


@dataclass(frozen=True)
class LagMember:
    """A member port: selected by LACP or not; flags as printed, B = short timeout (fast)."""

    port: str
    selected: bool
    flags: str
    partner_system: str | None = None
    partner_flags: str = ""


@dataclass(frozen=True)
class Lag:
    """An aggregation with its LACP system id; mode "Dynamic" (LACP) or "Static"."""

    name: str
    mode: str
    system_id: str | None
    members: tuple[LagMember, ...] = field(default=())


@dataclass(frozen=True)
class Neighbour:
    """Who LLDP says is at the other end."""

    system: str
    chassis_id: str
    port_id: str


def error_in(output: str) -> str | None:
    """The switch's refusal in the output of a command, or None. (Log lines begin with % and no space.)"""
    found = _ERROR.search(output)
    return " ".join(found.group(0).split()) if found else None


def is_port_name(text: str) -> bool:
    """True for a full name such as TwoHundredGigE1/0/1: what may be put into a command."""
    return _NAME.fullmatch(text) is not None


def parse_vlans(text: str) -> frozenset[int]:
    """`1(default vlan), 2-6, 10` -> {1, 2, ..., 6, 10}; "None" is the empty set."""
    vlans: set[int] = set()
    for low, high in re.findall(r"(\d+)(?:\([^)]*\))?(?:\s*-\s*(\d+))?", text):
        vlans.update(range(int(low), int(high or low) + 1))
    return frozenset(vlans)


def parse_interfaces(text: str) -> dict[str, PortState]:
    """`display interface` [NAME] -> ports by full name. Interfaces that are no ports (Vlan-interface) come
    too.
    """
    marks = [(mark, name) for mark in _STATE.finditer(text) if (name := _header(text, mark)) is not None]
    ends = [*(mark.start() for mark, _ in marks[1:]), len(text)]
    return {
        name: _port(mark["state"], text[mark.end() : end])
        for (mark, name), end in zip(marks, ends, strict=False)
    }


def parse_lags(text: str) -> dict[str, Lag]:
    """`display link-aggregation verbose` -> aggregations by name; member ports have short names."""
    lags: dict[str, Lag] = {}
    for block in re.split(r"(?m)^(?=Aggregat\w+ Interface:)", text)[1:]:
        name = block.split(":", 1)[1].split()[0]
        mode = re.search(r"(?m)^Aggregation Mode:\s*(\w+)", block)
        system = re.search(r"(?m)^System ID:\s*\S+\s*,\s*(\S+)", block)
        local, _, remote = block.partition("\nRemote:")
        partners = {m["port"]: m for m in map(_PARTNER.match, remote.splitlines()) if m}
        members = []
        for found in filter(None, map(_MEMBER.match, local.splitlines())):
            partner = partners.get(found["port"])
            members.append(
                LagMember(
                    found["port"],
                    found["status"] == "S",
                    found["flags"] or "",
                    partner["system"] if partner else None,
                    partner["flags"] if partner else "",
                )
            )
        lags[name] = Lag(name, mode[1] if mode else "", system[1] if system else None, tuple(members))
    return lags


def parse_neighbours(text: str) -> dict[str, Neighbour]:
    """`display lldp neighbor-information list` -> neighbour by local port (short name). The columns vary by
    release.
    """
    found: dict[str, Neighbour] = {}
    titles = re.search(r"^(System Name|Local Interface)\s.*$", text, re.M)
    if titles is None:
        return found
    name_first = titles[1] == "System Name"
    starts = [titles[0].index(t) for t in ("System Name", "Local Interface", "Chassis ID", "Port ID")]
    for line in text[titles.end() :].splitlines():
        if name_first:
            words = [line[starts[0] : starts[1]].strip(), *line[starts[1] :].split(maxsplit=2)]
            system, local, chassis, port = words if len(words) == 4 else ("", "", "", "")
        else:
            words = line.split(maxsplit=3)
            local, chassis, port, system = words if len(words) == 4 else ("", "", "", "")
        if re.search(r"\d$", local) and chassis:
            found[local.strip("*#")] = Neighbour(system.strip(), chassis, port.strip())
    return found


def full_name(short: str, names: Iterable[str]) -> str:
    """`XGE1/0/1` -> `Ten-GigabitEthernet1/0/1` among `names`: the numbers are unique on a switch,
    abbreviations vary.
    """
    number = re.sub(r"^\D+", "", short)
    same = [n for n in names if n == short or (re.sub(r"^\D+", "", n) == number and "/" in number)]
    return same[0] if len(same) == 1 else short


def renamed(lags: Mapping[str, Lag], names: Iterable[str]) -> dict[str, Lag]:
    """The aggregations with full member names."""
    known = list(names)
    return {
        name: Lag(
            lag.name,
            lag.mode,
            lag.system_id,
            tuple(
                LagMember(full_name(m.port, known), m.selected, m.flags, m.partner_system, m.partner_flags)
                for m in lag.members
            ),
        )
        for name, lag in lags.items()
    }


def _header(text: str, mark: re.Match[str]) -> str | None:
    """The interface's name: on the line of its state (Comware 5) or on the line before (Comware 7)."""
    if mark["name"] and mark["name"] not in ("protocol", "Line"):
        return mark["name"] if is_port_name(mark["name"]) else None
    before = text[: mark.start()].rstrip("\n").rsplit("\n", 1)[-1].strip()
    return before if is_port_name(before) else None


def _port(state: str, block: str) -> PortState:
    kind = found[1].lower() if (found := _TYPE.search(block)) else ""
    pvid = int(found[1]) if (found := _PVID.search(block)) else None
    permitted = _vlan_list(block, r"VLAN [Pp]ermitted")
    untagged = _vlan_list(block, r"Untagged\s+V(?:LAN|lan)(?:s| ID)?\s*")
    if kind == "trunk":
        untagged = permitted & ({pvid} if pvid is not None else set())
    else:
        permitted = untagged | _vlan_list(block, r"Tagged\s+V(?:LAN|lan)(?:s| ID)?\s*")
    speed = _SPEED.search(block)
    bandwidth = _BANDWIDTH.search(block)
    frame = _FRAME.search(block)
    return PortState(
        admin_up="administratively" not in state.lower(),
        up=state.upper().startswith("UP"),
        speed=float(speed[1]) * _UNITS[speed[2]] if speed else None,
        permit_vlans=permitted,
        pvid=pvid,
        mtu=int(frame[1]) if frame else None,
        link_type=kind,
        untagged_vlans=frozenset(untagged),
        bandwidth=float(bandwidth[1]) * 1e3 if bandwidth else None,
    )


def _vlan_list(block: str, title: str) -> frozenset[int]:
    """The list after `title:`, with the lines (indented by 14 or more) that continue it."""
    found = re.search(rf"(?m)^\s*{title}\s*:(.*(?:\n\s{{14,}}\d.*)*)", block)
    return parse_vlans(found[1]) if found else frozenset()
