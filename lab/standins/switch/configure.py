"""Commands that change: interfaces, VLAN membership, the scheduler."""

from __future__ import annotations

from collections.abc import Sequence

from lab.standins.switch.ports import VLAN_MAX, PortError, PortState
from lab.standins.switch.scheduler import delay_minutes
from lab.standins.switch.session import Session, command

FRAME_MIN, FRAME_MAX = 1536, 9416
"""`jumboframe enable` takes this range; without it a port passes no jumbo frames."""


@command("system interface vlan", "interface <if>")
def _enter_interface(session: Session, name: str) -> str:
    session.enter("interface", name)
    return ""


@command("system interface vlan", "vlan <n>")
def _enter_vlan(session: Session, number: int) -> str:
    if number not in session.fabric.vlans():
        raise PortError(" The rack's switches carry only the racked VLANs.")
    session.enter("vlan", str(number))
    return ""


@command("system", "lldp global enable")
def _lldp(_session: Session) -> str:
    return ""


# --- interface view -----------------------------------------------------------------------------------------


@command("interface", "shutdown")
def _shutdown(session: Session) -> str:
    session.fabric.set_admin(session.subject, False)
    return ""


@command("interface", "undo shutdown")
def _undo_shutdown(session: Session) -> str:
    session.fabric.set_admin(session.subject, True)
    return ""


@command("interface", "description <rest>")
def _description(session: Session, text: Sequence[str]) -> str:
    session.fabric.set_description(session.subject, " ".join(text))
    return ""


@command("interface", "undo description")
def _undo_description(session: Session) -> str:
    session.fabric.set_description(session.subject, "")
    return ""


@command("interface", "port link-type <word>")
def _link_type(session: Session, kind: str) -> str:
    port = session.port(session.subject)
    if "trunk".startswith(kind.lower()):
        if not port.trunk:
            session.fabric.set_trunk(port.name, frozenset({1}), 1)
    elif "access".startswith(kind.lower()):
        if port.trunk:
            session.fabric.set_access(port.name, 1)
    else:
        raise PortError(" Only access and trunk ports exist in the rack.")
    return ""


@command("interface", "undo port link-type")
def _undo_link_type(session: Session) -> str:
    session.fabric.set_access(session.subject, 1)
    return ""


@command("interface", "port access vlan <n>")
def _access_vlan(session: Session, number: int) -> str:
    if session.port(session.subject).trunk:
        raise PortError(" The port is not an access port.")
    session.fabric.set_access(session.subject, number)
    return ""


def _trunk(session: Session) -> PortState:
    port = session.port(session.subject)
    if not port.trunk:
        raise PortError(" The port is not a trunk port.")
    return port


def vlan_set(words: Sequence[str]) -> frozenset[int]:
    """`1 to 3 6`, `all`. Raises PortError for anything else."""
    if len(words) == 1 and "all".startswith(words[0].lower()):
        return frozenset(range(1, VLAN_MAX + 1))
    chosen: set[int] = set()
    numbers = list(words)
    while numbers:
        first = _vlan_id(numbers.pop(0))
        last = first
        if numbers and numbers[0].lower() == "to":
            if len(numbers) < 2:
                raise PortError(" % Incomplete command found at '^' position.")
            last = _vlan_id(numbers[1])
            numbers = numbers[2:]
        if last < first:
            raise PortError(" % Wrong parameter found at '^' position.")
        chosen.update(range(first, last + 1))
    return frozenset(chosen)


def _vlan_id(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= VLAN_MAX:
        raise PortError(" % Wrong parameter found at '^' position.")
    return int(text)


@command("interface", "port trunk permit vlan <rest>")
def _permit(session: Session, words: Sequence[str]) -> str:
    port = _trunk(session)
    session.fabric.set_trunk(port.name, port.permitted | vlan_set(words), port.pvid)
    return ""


@command("interface", "undo port trunk permit vlan <rest>")
def _undo_permit(session: Session, words: Sequence[str]) -> str:
    port = _trunk(session)
    session.fabric.set_trunk(port.name, port.permitted - vlan_set(words), port.pvid)
    return ""


@command("interface", "port trunk pvid vlan <n>")
def _pvid(session: Session, number: int) -> str:
    port = _trunk(session)
    session.fabric.set_trunk(port.name, port.permitted, _vlan_id(str(number)))
    return ""


@command("interface", "undo port trunk pvid")
def _undo_pvid(session: Session) -> str:
    port = _trunk(session)
    session.fabric.set_trunk(port.name, port.permitted, 1)
    return ""


@command("interface", "jumboframe enable <n>")
def _jumbo(session: Session, length: int) -> str:
    if not FRAME_MIN <= length <= FRAME_MAX:
        raise PortError(" % Wrong parameter found at '^' position.")
    session.fabric.set_max_frame(session.subject, length)
    return ""


@command("interface", "jumboframe enable")
def _jumbo_default(session: Session) -> str:
    session.fabric.set_max_frame(session.subject, FRAME_MAX)
    return ""


@command("interface", "undo jumboframe enable")
def _undo_jumbo(session: Session) -> str:
    session.fabric.set_max_frame(session.subject, FRAME_MIN)
    return ""


@command("interface", "lacp period short")
def _lacp_short(session: Session) -> str:
    session.fabric.set_lacp_fast(session.subject, True)
    return ""


@command("interface", "undo lacp period")
def _lacp_long(session: Session) -> str:
    session.fabric.set_lacp_fast(session.subject, False)
    return ""


# --- scheduler ----------------------------------------------------------------------------------------------


@command("system", "scheduler job <word>")
def _job(session: Session, name: str) -> str:
    session.scheduler.job(name)
    session.enter("job", name)
    return ""


@command("system", "undo scheduler job <word>")
def _undo_job(session: Session, name: str) -> str:
    session.scheduler.remove_job(name)
    return ""


@command("system", "scheduler schedule <word>")
def _schedule(session: Session, name: str) -> str:
    session.scheduler.schedule(name)
    session.enter("schedule", name)
    return ""


@command("system", "undo scheduler schedule <word>")
def _undo_schedule(session: Session, name: str) -> str:
    session.scheduler.remove_schedule(name)
    return ""


@command("job", "command <n> <rest>")
def _job_command(session: Session, number: int, text: Sequence[str]) -> str:
    session.scheduler.job(session.subject).commands[number] = " ".join(text)
    return ""


@command("job", "undo command <n>")
def _undo_job_command(session: Session, number: int) -> str:
    session.scheduler.job(session.subject).commands.pop(number, None)
    return ""


@command("schedule", "job <word>")
def _schedule_job(session: Session, name: str) -> str:
    jobs = session.scheduler.schedule(session.subject).jobs
    if name not in session.scheduler.jobs:
        raise PortError(" The job does not exist.")
    if name not in jobs:
        jobs.append(name)
    return ""


@command("schedule", "undo job <word>")
def _undo_schedule_job(session: Session, name: str) -> str:
    jobs = session.scheduler.schedule(session.subject).jobs
    if name in jobs:
        jobs.remove(name)
    return ""


@command("schedule", "user-role <word>")
def _role(session: Session, name: str) -> str:
    session.scheduler.schedule(session.subject).roles.append(name)
    return ""


@command("schedule", "time once delay <word>")
def _once(session: Session, delay: str) -> str:
    session.scheduler.once_after(session.subject, delay_minutes(delay))
    return ""
