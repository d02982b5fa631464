"""Phase 1: what each node says of itself against the order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when

from chaos.schedule import order
from cluster.cluster import Cluster
from cluster.site import Site
from cluster.site_models import NodeSpec
from provisioners.base_install import drills, logins
from provisioners.base_install.observation import Observation
from provisioners.base_install.system import System
from provisioners.ceph.observation import Observation as StorageObservation
from reports.evidence import Run
from reports.terminal import say
from steps.modes import Mode
from steps.phases import Phases
from steps.verdict import all_hold, all_met, measure

Notes = dict[str, Any]


def _systems(site: Site, phases: Phases) -> Iterator[tuple[NodeSpec, System]]:
    seen: Observation = phases.require(1)
    for node in site.nodes:
        yield node, seen.system(node.name)


@then("each node has its ordered name and domain")
def _names(site: Site, phases: Phases) -> None:
    all_hold(
        f"{node.name}: calls itself {system.fqdn or system.hostname}, expected {site.fqdn(node)}"
        for node, system in _systems(site, phases)
        if system.hostname != node.name or system.fqdn != site.fqdn(node)
    )


@then("each node has its ordered address on the host network")
def _addresses(site: Site, phases: Phases) -> None:
    wanted = site.host_network.subnet.prefixlen
    all_hold(
        f"{node.name}: no interface holds {node.address}/{wanted}"
        for node, system in _systems(site, phases)
        if not any(f"{node.address}/{wanted}" in i.addresses for i in system.interfaces)
    )


@then("each node runs the ordered release on its matching kernel")
def _release(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, system in _systems(site, phases):
            release = system.pveversion.removeprefix("pve-manager/").split("/")[0]
            if not f"{release}.".startswith(f"{site.install.release}."):
                yield f"{node.name}: release {release or 'unknown'}, expected {site.install.release}"
            if f"running kernel: {system.kernel}" not in system.pveversion:
                yield f"{node.name}: kernel {system.kernel} is not the one its release names"

    all_hold(findings())


@then("all nodes run the same versions")
def _same_versions(site: Site, phases: Phases) -> None:
    seen = {
        node.name: (s.pveversion, s.kernel, s.os.get("VERSION_ID", "")) for node, s in _systems(site, phases)
    }
    if len(set(seen.values())) > 1:
        all_hold(f"{name}: {' '.join(versions)}" for name, versions in seen.items())


@then("each node's system is mirrored on both ordered boot drives and both legs are healthy")
def _mirror(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, system in _systems(site, phases):
            legs = {leg.serial for leg in system.mirror.legs}
            if system.mirror.filesystem != site.install.filesystem:
                yield f"{node.name}: / is {system.mirror.filesystem}, expected {site.install.filesystem}"
            if legs != set(node.boot_drives):
                yield f"{node.name}: mirrored on {sorted(legs)}, expected {sorted(node.boot_drives)}"
            if not system.mirror.healthy:
                yield f"{node.name}: the mirror is not healthy: {system.mirror}"

    all_hold(findings())


@then("each node can be booted from either of them")
def _both_bootable(site: Site, phases: Phases) -> None:
    all_hold(
        f"{node.name}: {problem}"
        for node, system in _systems(site, phases)
        for problem in drills.not_bootable(node, system)
    )


@then("each node sees exactly the ordered data drives, by serial number and size")
def _drives(site: Site, phases: Phases) -> None:
    size = site.hardware.data_drives.size

    def findings() -> Iterator[str]:
        for node, system in _systems(site, phases):
            seen = {d.serial: d for d in system.drives if d.serial not in node.boot_drives}
            for serial in node.data_drives:
                if serial not in seen:
                    yield f"{node.name}: data drive {serial} is not there"
                elif abs(seen[serial].size - size) > 0.02 * size:
                    yield f"{node.name}: drive {serial} has {seen[serial].size} bytes, expected about {size}"
            for serial in sorted(set(seen) - set(node.data_drives)):
                yield f"{node.name}: drive {serial or seen[serial].path} was not ordered"

    all_hold(findings())


@then("no data drive carries anything yet that this deployment did not put there")
def _blank(site: Site, phases: Phases) -> None:
    carrying = [
        (node, serial, drive)
        for node, system in _systems(site, phases)
        for serial in node.data_drives
        if (drive := system.drive(serial)) is not None and not drive.blank
    ]
    ours = _storage_of_ours(site, phases) if carrying and site.ceph is not None else frozenset()
    all_hold(
        f"{node.name}: data drive {serial} carries"
        f" {drive.found or drive.fstype or drive.pttype or 'partitions'}"
        for node, serial, drive in carrying
        if serial not in ours
    )


def _storage_of_ours(site: Site, phases: Phases) -> frozenset[str]:
    """Serial numbers of drives that an OSD of this very cluster stands on, or was begun on."""
    seen: StorageObservation = phases.glance(4)
    return frozenset(
        serial
        for name in seen.seen
        for serial, verdict in seen.verdicts(site, name).items()
        if verdict.kind in {"ours", "unfinished"}
    )


@then("each node uses exactly the ordered name servers and resolves the other nodes")
def _resolver(site: Site, phases: Phases) -> None:
    servers = tuple(str(address) for address in site.dns)

    def findings() -> Iterator[str]:
        for node, system in _systems(site, phases):
            if system.nameservers != servers:
                yield f"{node.name}: uses the name servers {system.nameservers}, expected {servers}"
            for other in site.nodes:
                got = system.resolves.get(site.fqdn(other), "")
                if got != str(other.address):
                    yield (
                        f"{node.name}: {site.fqdn(other)} resolves to {got or 'nothing'},"
                        f" expected {other.address}"
                    )

    all_hold(findings())


@then(parsers.parse("each node's clock is synchronised to the ordered time servers within {limit}"))
def _clock(limit: str, site: Site, phases: Phases, evidence: Run) -> None:
    ordered = {str(server) for server in site.ntp}
    findings, taken = [], []
    for node, system in _systems(site, phases):
        clock = system.clock
        used = {address for address, state in clock.sources if state == "*"}
        if not clock.synchronised or not used:
            findings.append(f"{node.name}: its clock is not synchronised")
            continue
        if not used <= ordered and all(server.replace(".", "").isdigit() for server in ordered):
            findings.append(f"{node.name}: follows {sorted(used)}, expected one of {sorted(ordered)}")
        taken.append(
            measure(
                evidence, site, "clock_offset", f"{node.name}: clock offset", abs(clock.offset_s), limit,
                resolution=1e-6, method="chronyc tracking, system time against the server's",
            )
        )  # fmt: skip
    all_hold(findings)
    all_met(taken)


@then("each node is set to the ordered time zone")
def _timezone(site: Site, phases: Phases) -> None:
    all_hold(
        f"{node.name}: time zone {system.timezone or 'unset'}, expected {site.timezone}"
        for node, system in _systems(site, phases)
        if system.timezone != site.timezone.removeprefix("Etc/")
    )


@then("each node uses the ordered package repository and no other of its kind")
def _repositories(site: Site, phases: Phases) -> None:
    wanted = f"pve-{site.install.repository}"

    def findings() -> Iterator[str]:
        for node, system in _systems(site, phases):
            enabled = {
                c for r in system.repositories if r.enabled for c in r.components if c.startswith("pve-")
            }
            if enabled != {wanted}:
                yield f"{node.name}: uses {sorted(enabled) or 'none'}, expected {wanted}"

    all_hold(findings())


@then("each node's effective configuration refuses passwords")
def _sshd(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, system in _systems(site, phases):
            for key in ("passwordauthentication", "kbdinteractiveauthentication"):
                if system.sshd.get(key) != "no":
                    yield f"{node.name}: {key} is {system.sshd.get(key, 'unknown')}, expected no"
            if system.sshd.get("permitrootlogin") not in {"without-password", "prohibit-password"}:
                yield f"{node.name}: permitrootlogin is {system.sshd.get('permitrootlogin', 'unknown')}"

    all_hold(findings())


@then("a real attempt to enter each node with a password is refused")
def _password_refused(cluster: Cluster) -> None:
    all_hold(logins.password_attempts(cluster))


@then("each node admits exactly the automation key and the administrators' key")
def _keys(site: Site, phases: Phases, cluster: Cluster) -> None:
    wanted = logins.ordered_keys(cluster)
    all_hold(
        f"{node.name}: {problem}"
        for node, system in _systems(site, phases)
        for problem in logins.key_findings(system.keys, wanted)
    )


@then("each node reads the cluster's name from the parameter store with short-lived credentials")
def _parameter(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, system in _systems(site, phases):
            access = system.parameter
            if access.value != site.cluster:
                yield (
                    f"{node.name}: read '{access.value}', expected '{site.cluster}'"
                    f" ({access.problem or 'no error'})"
                )
            elif not access.short_lived:
                yield f"{node.name}: its credentials do not expire"

    all_hold(findings())


@pytest.fixture
def boot_leg(notes: Notes) -> Iterator[None]:
    """Puts a pulled drive back whatever became of the scenario."""
    yield
    if "leg" in notes:
        notes["leg"].restore()


@given("one node, chosen by the seed, whose first boot drive is pulled")
def _pull_boot_drive(
    site: Site,
    cluster: Cluster,
    notes: Notes,
    mode: Mode,
    boot_leg: None,  # noqa: ARG001 - it puts back
) -> None:
    node = site.node(order(mode.seed, "boot leg", [n.name for n in site.nodes])[0])
    notes["leg"] = drills.BootLeg(cluster, node, say)
    notes["leg"].pull()


@when("that node is started")
def _start_without_leg(notes: Notes) -> None:
    notes["leg"].start()


@then("it comes up from its second boot drive")
def _second_leg(notes: Notes, evidence: Run) -> None:
    leg: drills.BootLeg = notes["leg"]
    evidence.note(leg.booted_from_second())


@then("after the first drive is back the mirror is whole again")
def _whole_again(notes: Notes, phases: Phases) -> None:
    leg: drills.BootLeg = notes["leg"]
    leg.restore()
    system = phases.look(1).system(leg.node.name)
    if not system.mirror.healthy:
        all_hold([f"{leg.node.name}: the mirror is not whole: {system.mirror}"])
