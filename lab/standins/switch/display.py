"""Commands that look: `display ...`, and those that only concern the terminal."""

from __future__ import annotations

import datetime

from lab.standins.switch import names, render
from lab.standins.switch.ports import PortError, PortState
from lab.standins.switch.session import Session, command


@command(
    "user", "screen-length disable", "undo screen-length disable", "terminal monitor", "undo terminal monitor"
)
def _terminal(_session: Session) -> str:
    return ""


@command("user", "system-view")
def _system_view(session: Session) -> str:
    session.enter("system")
    return "System View: return to User View with Ctrl+Z."


@command("any", "quit")
def _quit(session: Session) -> str:
    session.leave()
    return ""


@command("any", "return")
def _return(session: Session) -> str:
    session.enter("user")
    return ""


@command("any", "save", "save force", "save <word>")
def _save(_session: Session, *_: str) -> str:
    return (
        "Validating file. Please wait...\nSaved the current configuration to mainboard device successfully."
    )


@command("any", "display version")
def _version(session: Session) -> str:
    return render.version(session.name, session.uptime_s())


@command("any", "display clock")
def _clock(_session: Session) -> str:
    return render.clock(datetime.datetime.now(datetime.UTC))


@command("any", "display interface")
def _interfaces(session: Session) -> str:
    existing = session.fabric.vlans()
    return "\n\n".join(render.interface(port, existing) for port in session.fabric.ports())


@command("any", "display interface <if>")
def _interface(session: Session, name: str) -> str:
    return render.interface(session.port(name), session.fabric.vlans())


@command("any", "display interface brief")
def _brief(session: Session) -> str:
    return render.interface_brief(session.fabric.ports())


@command("any", "display interface <if> brief")
def _interface_brief(session: Session, name: str) -> str:
    return render.interface_brief([session.port(name)])


@command("any", "display interface brief down")
def _brief_down(session: Session) -> str:
    rows = [
        f"{names.short(port.name):<20} {'DOWN' if port.admin_up else 'ADM':<4} "
        f"{'Not connected' if port.admin_up else 'Administratively'}"
        for port in session.fabric.ports()
        if not port.up
    ]
    return "\n".join(
        [
            "Brief information on interfaces in bridge mode:",
            "Link: ADM - administratively down; Stby - standby",
            f"{'Interface':<20} {'Link':<4} Cause",
            *rows,
        ]
    )


@command("any", "display link-aggregation summary")
def _summary(session: Session) -> str:
    return render.aggregation_summary(session.fabric.aggregations())


@command("any", "display link-aggregation verbose")
def _verbose(session: Session) -> str:
    return render.aggregation_verbose(session.fabric.aggregations())


@command(
    "any",
    "display link-aggregation verbose <word>",
    "display link-aggregation verbose bridge-aggregation <n>",
)
def _verbose_one(session: Session, which: str | int) -> str:
    number = str(which) if isinstance(which, int) else names.split(which)[1]
    chosen = [group for group in session.fabric.aggregations() if str(group.number) == number]
    if not chosen:
        raise PortError(" The aggregate interface does not exist.")
    return render.aggregation_verbose(chosen)


@command("any", "display link-aggregation member-port")
def _members(session: Session) -> str:
    return render.member_ports(session.fabric.aggregations())


@command("any", "display vlan")
def _vlans(session: Session) -> str:
    return render.vlan_list(session.fabric.vlans())


@command("any", "display vlan brief")
def _vlan_brief(session: Session) -> str:
    return render.vlan_brief(session.fabric.vlans(), session.fabric.ports())


@command("any", "display vlan all")
def _vlan_all(session: Session) -> str:
    ports = session.fabric.ports()
    return "\n".join(
        render.vlan(number, name, ports) for number, name in sorted(session.fabric.vlans().items())
    )


@command("any", "display vlan <n>")
def _vlan(session: Session, number: int) -> str:
    known = session.fabric.vlans()
    if number not in known:
        raise PortError(" This VLAN does not exist.")
    return render.vlan(number, known[number], session.fabric.ports())


@command("any", "display port trunk")
def _trunks(session: Session) -> str:
    return render.port_trunk(session.fabric.ports(), session.fabric.vlans())


@command("any", "display lldp neighbor-information list")
def _neighbours(session: Session) -> str:
    return render.lldp_list(session.fabric.neighbours())


@command("any", "display mac-address")
def _macs(session: Session) -> str:
    return render.mac_table(session.fabric.macs())


@command("any", "display scheduler schedule")
def _schedules(session: Session) -> str:
    return session.scheduler.describe_schedules(None)


@command("any", "display scheduler schedule <word>")
def _schedule(session: Session, name: str) -> str:
    return session.scheduler.describe_schedules(name)


@command("any", "display scheduler job")
def _jobs(session: Session) -> str:
    return session.scheduler.describe_jobs(None)


@command("any", "display scheduler job <word>")
def _job(session: Session, name: str) -> str:
    return session.scheduler.describe_jobs(name)


@command("any", "display current-configuration")
def _configuration(session: Session) -> str:
    vlans = [f"vlan {number}" for number in sorted(session.fabric.vlans())]
    blocks = [
        f"sysname {session.name}",
        "lldp global enable",
        *vlans,
        *(_interface_configuration(port) for port in session.fabric.ports()),
    ]
    return "#\n" + "\n#\n".join(blocks) + "\n#\nreturn"


@command("any", "display current-configuration interface <if>")
def _configuration_one(session: Session, name: str) -> str:
    return f"#\n{_interface_configuration(session.port(name))}\n#\nreturn"


@command("interface", "display this")
def _this(session: Session) -> str:
    return f"#\n{_interface_configuration(session.port(session.subject))}\n#\nreturn"


def _interface_configuration(port: PortState) -> str:
    lines = [f"interface {port.name}", " port link-mode bridge"]
    if port.description:
        lines.append(f" description {port.description}")
    if port.trunk:
        lines.append(" port link-type trunk")
        if 1 not in port.permitted:
            lines.append(" undo port trunk permit vlan 1")
        ranges = " ".join(text.replace("-", " to ") for text in names.vlan_ranges(port.permitted))
        lines += [f" port trunk permit vlan {ranges}"] if ranges else []
        lines += [f" port trunk pvid vlan {port.pvid}"] if port.pvid != 1 else []
    elif port.pvid != 1:
        lines.append(f" port access vlan {port.pvid}")
    if not port.admin_up:
        lines.append(" shutdown")
    if port.aggregation is not None:
        lines.append(f" port link-aggregation group {port.aggregation}")
    return "\n".join(lines)
