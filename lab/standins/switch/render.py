"""Comware's answers as text. Pure: states in, lines out. Layouts follow Comware 7."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from lab.standins.switch import names
from lab.standins.switch.ports import Aggregation, MacEntry, Member, Neighbour, PortState

RULE = "-" * 80
_FLAGS = "ABCDEFGH"


def interface_brief(ports: Sequence[PortState]) -> str:
    """`display interface brief`."""
    lines = [
        "Brief information on interfaces in bridge mode:",
        "Link: ADM - administratively down; Stby - standby",
        "Speed: (a) - auto",
        "Duplex: (a)/A - auto; H - half; F - full",
        "Type: A - access; T - trunk; H - hybrid",
        f"{'Interface':<20} {'Link':<4} {'Speed':<9} {'Duplex':<6} {'Type':<4} {'PVID':<4} Description",
    ]
    for port in ports:
        link = "UP" if port.up else "DOWN" if port.admin_up else "ADM"
        speed = f"{port.speed_mbps // 1000}G" if port.up else "auto"
        duplex, kind = ("F" if port.up else "A"), ("T" if port.trunk else "A")
        row = f"{names.short(port.name):<20} {link:<4} {speed:<9} {duplex:<6} {kind:<4} {port.pvid:<4} "
        lines.append((row + port.description).rstrip())
    return "\n".join(lines)


def interface(port: PortState, existing: Iterable[int]) -> str:
    """`display interface X`."""
    state = "UP" if port.up else "DOWN" if port.admin_up else "Administratively DOWN"
    gigabit = port.speed_mbps // 1000
    mode = (
        f"{gigabit}Gbps-speed mode, full-duplex mode"
        if port.up
        else "Unknown-speed mode, unknown-duplex mode"
    )
    jumbo = "Allow jumbo frames to pass" if port.max_frame > 1536 else "Forbid jumbo frames to pass"
    return "\n".join(
        [
            port.name,
            f"Current state: {state}",
            f"Line protocol state: {'UP' if port.up else 'DOWN'}",
            f"IP packet frame type: Ethernet II, hardware address: {names.mac(port.mac)}",
            f"Description: {port.description or f'{port.name} Interface'}",
            f"Bandwidth: {port.speed_mbps * 1000} kbps",
            "Loopback is not set",
            mode,
            "Link speed type is autonegotiation, link duplex type is autonegotiation",
            "Flow-control is not enabled",
            f"Maximum frame length: {port.max_frame}",
            jumbo,
            "Broadcast max-ratio: 100%",
            "Multicast max-ratio: 100%",
            "Unicast max-ratio: 100%",
            f"PVID: {port.pvid}",
            *_link_type(port, existing),
            "Port priority: 0",
            "Last clearing of counters: Never",
            *_counters(port),
        ]
    )


def _link_type(port: PortState, existing: Iterable[int]) -> list[str]:
    if not port.trunk:
        return ["Port link-type: Access", " Tagged VLANs:   None", f" Untagged VLANs: {port.pvid}"]
    passing = port.permitted & frozenset(existing)
    return [
        "Port link-type: Trunk",
        *_wrapped(" VLAN Passing:   ", _marked(passing, port.pvid)),
        *_wrapped(" VLAN permitted: ", _marked(port.permitted, port.pvid)),
        " Trunk port encapsulation: IEEE 802.1q",
    ]


def _marked(vlans: frozenset[int], pvid: int) -> str:
    """Ranges with the default VLAN marked and standing alone."""
    below = names.vlan_ranges(vlan for vlan in vlans if vlan < pvid)
    above = names.vlan_ranges(vlan for vlan in vlans if vlan > pvid)
    default = [f"{pvid}(default vlan)"] if pvid in vlans else []
    return ", ".join([*below, *default, *above]) or "None"


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(label + text, width=78, subsequent_indent=" " * len(label), drop_whitespace=True)


def _counters(port: PortState) -> list[str]:
    counted = port.counters
    return [
        f"Input (total):  {counted.rx_packets} packets, {counted.rx_bytes} bytes",
        f"Input:  {counted.rx_errors} input errors, - runts, - giants, 0 throttles",
        f"Output (total): {counted.tx_packets} packets, {counted.tx_bytes} bytes",
        f"Output: {counted.tx_errors} output errors, - underruns, - buffer failures",
    ]


def port_trunk(ports: Sequence[PortState], existing: Iterable[int]) -> str:
    """`display port trunk`."""
    lines = [f"{'Interface':<20} {'PVID':<5} VLAN Passing"]
    known = frozenset(existing)
    for port in ports:
        if port.trunk:
            ranges = ", ".join(names.vlan_ranges(port.permitted & known)) or "None"
            lines += textwrap.wrap(
                f"{names.short(port.name):<20} {port.pvid:<5} {ranges}",
                78,
                subsequent_indent=" " * 27,
                drop_whitespace=True,
            )
    return "\n".join(lines)


# --- VLANs --------------------------------------------------------------------------------------------------


def _tagged(vlan: int, ports: Sequence[PortState]) -> list[str]:
    return [port.name for port in ports if port.trunk and vlan in port.permitted and port.pvid != vlan]


def _untagged(vlan: int, ports: Sequence[PortState]) -> list[str]:
    return [port.name for port in ports if port.pvid == vlan and (not port.trunk or vlan in port.permitted)]


def vlan_brief(vlans: Mapping[int, str], ports: Sequence[PortState]) -> str:
    """`display vlan brief`."""
    lines = [
        "Brief information about all VLANs:",
        "Supported Minimum VLAN ID: 1",
        "Supported Maximum VLAN ID: 4094",
        "Default VLAN ID: 1",
        f"{'VLAN ID':<9} {'Name':<32} Port",
    ]
    for vlan, name in sorted(vlans.items()):
        members = [names.short(port) for port in [*_tagged(vlan, ports), *_untagged(vlan, ports)]]
        rows = textwrap.wrap("  ".join(members), 36) or [""]
        lines.append(f"{vlan:<9} {name:<32} {rows[0]}".rstrip())
        lines += [" " * 43 + row for row in rows[1:]]
    return "\n".join(lines)


def vlan_list(vlans: Mapping[int, str]) -> str:
    """`display vlan` without more."""
    return "\n".join(
        [f" Total VLANs: {len(vlans)}", " The VLANs include:", f" {', '.join(map(str, sorted(vlans)))}"]
    )


def vlan(number: int, name: str, ports: Sequence[PortState]) -> str:
    """One VLAN of `display vlan N` and `display vlan all`."""
    return "\n".join(
        [
            f" VLAN ID: {number}",
            " VLAN type: Static",
            " Route interface: Not configured",
            f" Description: {name}",
            f" Name: {name}",
            *_port_block("Tagged ports:", _tagged(number, ports)),
            *_port_block("Untagged ports:", _untagged(number, ports)),
            "",
        ]
    )


def _port_block(label: str, ports: Sequence[str]) -> list[str]:
    if not ports:
        return [f" {label:<15} None"]
    pairs = [ports[start : start + 2] for start in range(0, len(ports), 2)]
    return [f" {label}", *("    " + "".join(f"{name:<30}" for name in pair).rstrip() for pair in pairs)]


# --- aggregation --------------------------------------------------------------------------------------------


def flags(state: int) -> str:
    """LACP state byte as letters: 0x3f -> {ABCDEF}, 0x3d -> {ACDEF}."""
    return "{" + "".join(letter for bit, letter in enumerate(_FLAGS) if state >> bit & 1) + "}"


def _system(mac: str) -> str:
    return f"0x8000, {names.mac(mac)}" if mac else "0x0, 0000-0000-0000"


def aggregation_summary(groups: Sequence[Aggregation]) -> str:
    """`display link-aggregation summary`."""
    lines = [
        "Aggregation Interface Type:",
        "BAGG -- Bridge-Aggregation, BLAGG -- Blade-Aggregation, RAGG -- Route-Aggregation, "
        "SCH-B -- Schannel-Bundle",
        "Aggregation Mode: S -- Static, D -- Dynamic",
        "Loadsharing Type: Shar -- Loadsharing, NonS -- Non-Loadsharing",
        f"Actor System ID: {_system(groups[0].system if groups else '')}",
        "",
        "AGG        AGG   Partner ID              Selected  Unselected  Individual  Share",
        "Interface  Mode                          Ports     Ports       Ports       Type",
        RULE,
    ]
    for group in groups:
        selected = sum(member.selected for member in group.members)
        individual = sum(member.individual for member in group.members)
        partner = _system(next((m.partner_system for m in group.members if m.partner_system), ""))
        mode = "D" if group.dynamic else "S"
        lines.append(
            f"BAGG{group.number:<6} {mode:<5} {partner if group.dynamic else 'None':<23} {selected:<9} "
            f"{len(group.members) - selected - individual:<11} {individual:<11} Shar"
        )
    return "\n".join(lines)


_LEGEND = [
    "Loadsharing Type: Shar -- Loadsharing, NonS -- Non-Loadsharing",
    "Port: A -- Auto",
    "Port Status: S -- Selected, U -- Unselected, I -- Individual",
    "Flags:  A -- LACP_Activity, B -- LACP_Timeout, C -- Aggregation,",
    "        D -- Synchronization, E -- Collecting, F -- Distributing,",
    "        G -- Defaulted, H -- Expired",
    "",
]


def aggregation_verbose(groups: Sequence[Aggregation]) -> str:
    """`display link-aggregation verbose`."""
    lines = list(_LEGEND)
    for group in groups:
        lines += [
            f"Aggregate Interface: Bridge-Aggregation{group.number}",
            f"Aggregation Mode: {'Dynamic' if group.dynamic else 'Static'}",
            "Loadsharing Type: Shar",
            f"System ID: {_system(group.system)}",
            "Local:",
            "  Port                Status  Priority Oper-Key  Flag",
            RULE,
            *map(_local, group.members),
            "Remote:",
            "  Actor               Priority Index    Oper-Key SystemID               Flag",
            RULE,
            *map(_remote, group.members),
        ]
    return "\n".join(lines)


def _local(member: Member) -> str:
    status = "S" if member.selected else "I" if member.individual else "U"
    return (
        f"  {names.short(member.port):<19} {status:<7} {32768:<8} {member.actor_key:<9} "
        f"{flags(member.actor_flags)}"
    )


def _remote(member: Member) -> str:
    priority = 32768 if member.partner_system else 0
    return (
        f"  {names.short(member.port):<19} {priority:<8} {member.partner_port:<8} "
        f"{member.partner_key:<8} {_system(member.partner_system):<22} {flags(member.partner_flags)}"
    )


def member_ports(groups: Sequence[Aggregation]) -> str:
    """`display link-aggregation member-port`."""
    lines = _LEGEND[3:]
    for group in groups:
        for member in group.members:
            lines += [
                f"{names.short(member.port)}:",
                f"Aggregate Interface: Bridge-Aggregation{group.number}",
                "Local:",
                f"    Port Number: {member.actor_port}",
                "    Port Priority: 32768",
                f"    Oper-Key: {member.actor_key}",
                f"    Flag: {flags(member.actor_flags)}",
                "Remote:",
                f"    System ID: {_system(member.partner_system)}",
                f"    Port Number: {member.partner_port}",
                f"    Port Priority: {32768 if member.partner_system else 0}",
                f"    Oper-Key: {member.partner_key}",
                f"    Flag: {flags(member.partner_flags)}",
                f"Received LACP Packets: {member.received} packet(s)",
                f"Illegal: {member.illegal} packet(s)",
                f"Sent LACP Packets: {member.sent} packet(s)",
                "",
            ]
    return "\n".join(lines)


# --- neighbours, addresses, device --------------------------------------------------------------------------


def lldp_list(neighbours: Sequence[Neighbour]) -> str:
    """`display lldp neighbor-information list`."""
    lines = [
        "Chassis ID : * -- -- Nearest nontpmr bridge neighbor",
        "             # -- -- Nearest customer bridge neighbor",
        "             Default -- -- Nearest bridge neighbor",
        f"{'Local Interface':<15} {'Chassis ID':<15} {'Port ID':<26} System Name",
    ]
    lines += [f"{names.short(n.port):<15} {n.chassis:<15} {n.port_id:<26} {n.system}" for n in neighbours]
    return "\n".join(lines)


def mac_table(entries: Sequence[MacEntry]) -> str:
    """`display mac-address`."""
    lines = [f"{'MAC Address':<16} {'VLAN ID':<10} {'State':<16} {'Port/Nickname':<24} Aging"]
    lines += [
        f"{names.mac(entry.mac):<16} {entry.vlan:<10} {'Learned':<16} {names.short(entry.port):<24} Y"
        for entry in entries
    ]
    return "\n".join(lines)


def version(name: str, uptime_s: float) -> str:
    """`display version`."""
    minutes, _ = divmod(int(uptime_s), 60)
    weeks, minutes = divmod(minutes, 7 * 24 * 60)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    uptime = f"{weeks} weeks, {days} days, {hours} hours, {minutes} minutes"
    return "\n".join(
        [
            "HPE Comware Software, Version 7.1.070, Release 6710",
            "Rack stand-in on Open vSwitch; answers as a 5960 would",
            f"HPE 5960 {name} uptime is {uptime}",
            "Last reboot reason : Power on",
        ]
    )


def clock(now: datetime.datetime) -> str:
    """`display clock`."""
    return now.strftime("%H:%M:%S.%f")[:-3] + now.strftime(" UTC %a %m/%d/%Y")
