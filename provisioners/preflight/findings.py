"""What is not as ordered, as a pure function of the site and the observation; each finding belongs to one
check.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioners.preflight.observation import Controller, Observation
from provisioners.preflight.rights import BUCKET, CHANGES, KEY, OUTSIDE, READS

if TYPE_CHECKING:
    from cluster.comware import PortState
    from cluster.site import Site
    from cluster.site_models import Link, NodeSpec

CLOCK_LIMIT_S = 120.0
SIZE_TOLERANCE = 0.02  # vendors count a terabyte each in his own way
MEMORY_TOLERANCE = 0.1  # firmware keeps some for itself

LOGIN, IDENTITY, INVENTORY, CLOCK, LOG = "bmc-login", "bmc-identity", "bmc-inventory", "bmc-clock", "bmc-log"
PRESENT, ENCRYPTED, WELL_FORMED = "parameters-present", "parameters-encrypted", "parameters-form"
PORTS, MEDIUM, NAMES, TIME, DIRECTORY = (
    "switch-ports",
    "medium",
    "names",
    "time",
    "directory",
)
CHECKS = (
    *(LOGIN, IDENTITY, INVENTORY, CLOCK, LOG, PORTS, PRESENT, ENCRYPTED, WELL_FORMED),
    *(READS, OUTSIDE, CHANGES, BUCKET, KEY, MEDIUM, NAMES, TIME, DIRECTORY),
)


@dataclass(frozen=True)
class Finding:
    """One difference. `check` is one of CHECKS; `where` the node, switch or server; texts for people."""

    check: str
    where: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.seen}"


def findings(site: Site, seen: Observation, check: str | None = None) -> list[Finding]:
    """Every finding, or those of one check."""
    found: list[Finding] = []
    for node in site.nodes:
        found += _controller(site, node, seen.controllers[node.name])
    for node in site.nodes:
        for link in node.links:
            found += _port(site, node, link, seen)
    found += _parameters(site, seen)
    for attempt in seen.attempts:
        if not attempt.as_ordered:
            wanted = "allowed" if attempt.allowed else "denied"
            found.append(Finding(attempt.check, attempt.what, wanted, attempt.seen))
    found += _medium(seen)
    for kind, answers in ((NAMES, seen.names), (TIME, seen.times), (DIRECTORY, seen.directory)):
        for answer in answers:
            if answer.problem:
                text = f"{answer.got} ({answer.problem})" if answer.got else answer.problem
                found.append(Finding(kind, answer.server, f"an answer to '{answer.asked}'", text))
    return [f for f in found if check is None or f.check == check]


def _controller(site: Site, node: NodeSpec, seen: Controller) -> Iterator[Finding]:
    where = f"{node.name} ({node.bmc.address})"
    if seen.inventory is None:
        wanted = "the credentials on file to be accepted" if seen.refused else "an answer"
        yield Finding(LOGIN, where, wanted, seen.problem)
        return
    if seen.inventory.serial != node.serial:
        yield Finding(IDENTITY, where, f"serial number {node.serial}", seen.inventory.serial or "none told")
    else:
        # What is in another server says nothing about this one.
        yield from _inventory(site, node, seen, where)
    if seen.clock_offset is None:
        yield Finding(CLOCK, where, "a clock", "none told")
    elif abs(seen.clock_offset) > CLOCK_LIMIT_S:
        yield Finding(
            CLOCK, where, f"a clock within {CLOCK_LIMIT_S:.0f} s of ours", f"{seen.clock_offset:+.0f} s"
        )
    if seen.log_lines is None:
        yield Finding(LOG, where, "an event log that can be read", seen.log_problem or "none offered")


def _inventory(site: Site, node: NodeSpec, seen: Controller, where: str) -> Iterator[Finding]:
    """As far as the controller tells: what it leaves out is no finding."""
    have, want = seen.inventory, site.hardware
    if have is None:
        return
    if have.cpu_count is not None and have.cpu_count not in {want.sockets, want.threads, want.cores}:
        yield Finding(INVENTORY, where, f"{want.sockets} processors", str(have.cpu_count))
    if want.processor and have.cpu_model and want.processor.lower() not in have.cpu_model.lower():
        yield Finding(INVENTORY, where, f"processor {want.processor}", have.cpu_model)
    if have.memory_gib is not None:
        gib = want.memory / 2**30
        if abs(have.memory_gib - gib) > MEMORY_TOLERANCE * gib:
            yield Finding(INVENTORY, where, f"{gib:g} GiB of memory", f"{have.memory_gib:g} GiB")
    yield from _drives(site, node, seen, where)
    macs = {nic.mac for nic in have.nics}
    if macs:
        ordered = [link.mac.lower() for link in node.links] + ([node.ring.mac.lower()] if node.ring else [])
        for mac in ordered:
            if mac not in macs:
                yield Finding(INVENTORY, where, f"a network port {mac}", "no such port")


def _drives(site: Site, node: NodeSpec, seen: Controller, where: str) -> Iterator[Finding]:
    have = seen.inventory
    if have is None or not any(drive.serial for drive in have.drives):
        return
    told = {drive.serial: drive for drive in have.drives}
    for serials, size in (
        (node.boot_drives, site.hardware.boot_drives.size),
        (node.data_drives, site.hardware.data_drives.size),
    ):
        for serial in serials:
            drive = told.get(serial)
            if drive is None:
                yield Finding(INVENTORY, where, f"drive {serial}", "no such drive")
            elif drive.capacity_bytes and abs(drive.capacity_bytes - size) > SIZE_TOLERANCE * size:
                yield Finding(
                    INVENTORY, where, f"drive {serial} of {size} bytes", f"{drive.capacity_bytes} bytes"
                )


def _port(site: Site, node: NodeSpec, link: Link, seen: Observation) -> Iterator[Finding]:
    switch = seen.switches[link.switch]
    where = f"{link.switch} {link.port} ({node.name})"
    if switch.problem:
        yield Finding(PORTS, where, "a switch that can be asked", switch.problem)
        return
    port = switch.ports.get(link.port)
    if port is None:
        yield Finding(PORTS, where, "the port", "no such port")
        return
    yield from _port_state(site, where, port)


def _port_state(site: Site, where: str, port: PortState) -> Iterator[Finding]:
    if not port.admin_up:
        yield Finding(PORTS, where, "an enabled port", "it is shut down")
    ordered = {n.id for n in site.networks.values() if n.role in {"host", "guest"} and n.id is not None}
    absent, surplus = ordered - port.permit_vlans, port.permit_vlans - ordered
    if absent:
        yield Finding(PORTS, where, f"VLAN {_list(ordered)}", f"{_list(absent)} is not let through")
    # A trunk's PVID is always let through; what counts is that no ordered network travels untagged.
    surplus -= {port.pvid} if port.pvid is not None else set()
    if surplus:
        yield Finding(
            PORTS, where, f"VLAN {_list(ordered)} and no other", f"{_list(surplus)} is let through as well"
        )
    native = {port.pvid} & port.permit_vlans if port.link_type.lower() != "hybrid" else set()
    bare = ordered & (port.untagged_vlans | native)
    if bare:
        yield Finding(PORTS, where, "every ordered network tagged", f"VLAN {_list(bare)} is untagged")
    if port.mtu is not None and port.mtu < site.bond.mtu + 4:
        yield Finding(
            PORTS, where, f"frames of {site.bond.mtu} bytes and their tag", f"at most {port.mtu} bytes"
        )


_KINDS = {"missing": PRESENT, "plain secret": ENCRYPTED, "address": WELL_FORMED, "form": WELL_FORMED}


def _parameters(site: Site, seen: Observation) -> Iterator[Finding]:
    """What lint found, each under its check; advice is no finding."""
    if seen.parameters_problem:
        yield Finding(PRESENT, site.aws.root, "a tree that can be read", seen.parameters_problem)
    for lint in seen.parameters:
        if lint.kind in _KINDS:
            yield Finding(_KINDS[lint.kind], lint.name, "a sound parameter", lint.expected)


def _medium(seen: Observation) -> Iterator[Finding]:
    medium = seen.medium
    if not medium.seen:
        yield Finding(MEDIUM, medium.path, "the installer image", "no such file")
    elif not medium.expected:
        yield Finding(MEDIUM, medium.path, "a published checksum beside it", "none")
    elif not medium.genuine:
        yield Finding(MEDIUM, medium.path, f"SHA-256 {medium.expected}", medium.seen)


def _list(vids: set[int] | frozenset[int] | set[int | None]) -> str:
    return ", ".join(str(vid) for vid in sorted(v for v in vids if v is not None))
