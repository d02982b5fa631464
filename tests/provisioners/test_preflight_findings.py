"""Preflight's pure part: nothing found on a rack as ordered, and each thing found under its own check."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.bmc import BmcInventory, Drive, Nic
from cluster.comware import PortState
from cluster.site import Site
from cluster.ssm_lint import Finding as LintFinding
from provisioners.base_install.medium import ImageState
from provisioners.preflight import PHASE, findings
from provisioners.preflight.findings import CHECKS
from provisioners.preflight.observation import Controller, Observation, SwitchPorts
from provisioners.preflight.rights import Attempt
from provisioners.preflight.services import Answer, read_time


def inventory(site: Site, name: str) -> BmcInventory:
    node = site.node(name)
    assert node.ring is not None
    drives = [Drive(s, None, 8 * 2**30) for s in node.boot_drives]
    drives += [Drive(s, None, 12 * 2**30) for s in node.data_drives]
    macs = [*(link.mac for link in node.links), node.ring.mac]
    return BmcInventory(
        manufacturer=None,
        model=None,
        serial=node.serial,
        sku=None,
        bios_version=None,
        cpu_count=1,
        cpu_model=None,
        memory_gib=3.0,
        drives=tuple(drives),
        nics=tuple(Nic(mac, None) for mac in macs),
        power_state="Off",
        health="OK",
        firmware_version=None,
    )


TRUNK = PortState(True, True, 200e9, frozenset(range(1, 7)), 4094, 9416, "Trunk", frozenset())


@pytest.fixture
def ready(site: Site) -> Observation:
    ports = {link.switch: {} for node in site.nodes for link in node.links}
    for node in site.nodes:
        for link in node.links:
            ports[link.switch][link.port] = TRUNK
    return Observation(
        controllers={
            n.name: Controller(n.name, inventory=inventory(site, n.name), clock_offset=0.5, log_lines=0)
            for n in site.nodes
        },
        switches={name: SwitchPorts(name, found) for name, found in ports.items()},
        parameters=(),
        parameters_problem="",
        attempts=(
            Attempt("role-reads", "read", True, "allowed"),
            Attempt("role-outside", "read", False, "denied"),
            Attempt("role-changes", "delete", False, "denied"),
            Attempt("bucket", "object", True, "allowed"),
            Attempt("key", "bytes", True, "allowed"),
        ),
        medium=ImageState("a.iso", "abc", "abc"),
        names=(Answer("10.6.0.1", "node1.rack.example", "10.6.0.11"),),
        times=(Answer("10.6.0.1", "time", "stratum 3"),),
        directory=(),
    )


def with_controller(seen: Observation, **changes: Any) -> Observation:
    changed = replace(seen.controllers["node2"], **changes)
    return replace(seen, controllers={**seen.controllers, "node2": changed})


def with_inventory(seen: Observation, **changes: Any) -> Observation:
    have = seen.controllers["node2"].inventory
    assert have is not None
    return with_controller(seen, inventory=replace(have, **changes))


def with_port(seen: Observation, **changes: Any) -> Observation:
    ports = {**seen.switches["sw2"].ports, "TwoHundredGigE1/0/3": replace(TRUNK, **changes)}
    return replace(seen, switches={**seen.switches, "sw2": SwitchPorts("sw2", ports)})


def checks(site: Site, seen: Observation) -> list[str]:
    return [finding.check for finding in findings(site, seen)]


def test_nothing_is_found_on_a_rack_as_ordered(site: Site, ready: Observation) -> None:
    assert findings(site, ready) == []
    assert PHASE.missing(site, ready) == []


def test_a_controller_that_refuses_or_is_silent(site: Site, ready: Observation) -> None:
    dead = with_controller(ready, inventory=None, problem="no answer", refused=False)
    assert [str(f) for f in findings(site, dead)] == [
        "node2 (10.9.0.12): expected an answer, found no answer"
    ]
    refused = with_controller(ready, inventory=None, problem="401", refused=True)
    (finding,) = findings(site, refused)
    assert finding.check == "bmc-login" and "credentials" in finding.expected


def test_swapped_controllers_are_told_and_nothing_else_is(site: Site, ready: Observation) -> None:
    swapped = replace(
        ready,
        controllers={
            **ready.controllers,
            "node1": Controller("node1", inventory=inventory(site, "node2"), clock_offset=0.0, log_lines=1),
            "node2": Controller("node2", inventory=inventory(site, "node1"), clock_offset=0.0, log_lines=1),
        },
    )
    assert checks(site, swapped) == ["bmc-identity", "bmc-identity"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"cpu_count": 2}, "1 processors"),
        ({"memory_gib": 1.5}, "3 GiB of memory"),
        (
            {"nics": (Nic("52:54:00:02:00:00", None), Nic("52:54:00:02:00:01", None))},
            "a network port 52:54:00:02:00:10",
        ),
        ({"drives": (Drive("BOOT21", None, 8 * 2**30),)}, "drive BOOT22"),
    ],
)
def test_what_the_controller_tells_of_its_server(
    site: Site, ready: Observation, change: dict[str, Any], part: str
) -> None:
    found = findings(site, with_inventory(ready, **change))
    assert {f.check for f in found} == {"bmc-inventory"} and part in found[0].expected


def test_a_drive_of_another_size(site: Site, ready: Observation) -> None:
    have = ready.controllers["node2"].inventory
    assert have is not None
    small = (replace(have.drives[0], capacity_bytes=4 * 2**30), *have.drives[1:])
    assert checks(site, with_inventory(ready, drives=small)) == ["bmc-inventory"]


def test_what_a_controller_does_not_tell_is_no_finding(site: Site, ready: Observation) -> None:
    dumb = with_inventory(ready, cpu_count=None, memory_gib=None, drives=(), nics=())
    assert findings(site, dumb) == []
    nameless = tuple(Drive(None, None, 1) for _ in range(4))
    assert findings(site, with_inventory(ready, drives=nameless)) == []


def test_clock_and_log(site: Site, ready: Observation) -> None:
    assert checks(site, with_controller(ready, clock_offset=119.0)) == []
    assert checks(site, with_controller(ready, clock_offset=-121.0)) == ["bmc-clock"]
    assert checks(site, with_controller(ready, clock_offset=None)) == ["bmc-clock"]
    assert checks(site, with_controller(ready, log_lines=None, log_problem="500")) == ["bmc-log"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"admin_up": False}, "an enabled port"),
        ({"permit_vlans": frozenset({1, 2, 3, 4, 5})}, "VLAN 1, 2, 3, 4, 5, 6"),
        ({"permit_vlans": frozenset(range(1, 8))}, "and no other"),
        ({"untagged_vlans": frozenset({6})}, "every ordered network tagged"),
        ({"pvid": 1}, "every ordered network tagged"),
        ({"mtu": 1500}, "frames of 1500 bytes and their tag"),
    ],
)
def test_switch_ports(site: Site, ready: Observation, change: dict[str, Any], part: str) -> None:
    (finding,) = findings(site, with_port(ready, **change))
    assert finding.check == "switch-ports" and part in finding.expected
    assert finding.where == "sw2 TwoHundredGigE1/0/3 (node3)"


def test_a_link_that_is_down_is_no_finding_before_the_servers_run(site: Site, ready: Observation) -> None:
    assert findings(site, with_port(ready, up=False, speed=None, mtu=None)) == []


def test_switches_that_cannot_be_asked_or_lack_a_port(site: Site, ready: Observation) -> None:
    dead = replace(ready, switches={**ready.switches, "sw1": SwitchPorts("sw1", {}, "no answer")})
    assert checks(site, dead) == ["switch-ports"] * 3
    empty = replace(ready, switches={**ready.switches, "sw1": SwitchPorts("sw1", {})})
    assert [f.seen for f in findings(site, empty)] == ["no such port"] * 3


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("missing", "parameters-present"),
        ("plain secret", "parameters-encrypted"),
        ("address", "parameters-form"),
        ("form", "parameters-form"),
    ],
)
def test_the_parameter_tree(site: Site, ready: Observation, kind: Any, check: str) -> None:
    seen = replace(ready, parameters=(LintFinding(kind, "/pve1/x", "expected y"),))
    assert checks(site, seen) == [check]
    assert checks(site, replace(ready, parameters=(LintFinding("advice", "/pve1/x", "better y"),))) == []
    assert checks(site, replace(ready, parameters_problem="denied")) == ["parameters-present"]


@pytest.mark.parametrize("index", range(5))
def test_rights_fail_when_turned_around_and_when_nothing_was_shown(
    site: Site, ready: Observation, index: int
) -> None:
    attempt = ready.attempts[index]
    for seen in ("denied" if attempt.allowed else "allowed", "no answer within 5 s", ""):
        attempts = tuple(replace(a, seen=seen) if a is attempt else a for a in ready.attempts)
        assert checks(site, replace(ready, attempts=attempts)) == [attempt.check]


@pytest.mark.parametrize(
    ("medium", "part"),
    [
        (ImageState("a.iso", "abc", ""), "the installer image"),
        (ImageState("a.iso", "", "abc"), "a published checksum"),
        (ImageState("a.iso", "abc", "abd"), "SHA-256 abc"),
    ],
)
def test_the_medium(site: Site, ready: Observation, medium: ImageState, part: str) -> None:
    (finding,) = findings(site, replace(ready, medium=medium))
    assert finding.check == "medium" and part in finding.expected


def test_services(site: Site, ready: Observation) -> None:
    bad = Answer("10.6.0.1", "x", "", "no answer")
    assert checks(site, replace(ready, names=(bad,))) == ["names"]
    assert checks(site, replace(ready, times=(bad,))) == ["time"]
    assert checks(site, replace(ready, directory=(bad,))) == ["directory"]
    assert findings(site, replace(ready, names=(bad,)), "time") == []


def test_every_check_has_a_name_of_its_own() -> None:
    assert len(set(CHECKS)) == len(CHECKS)


def packet(leap: int, stratum: int, seconds: float) -> bytes:
    whole = int(seconds) + 2208988800
    return bytes([leap << 6 | 0x24, stratum]) + bytes(38) + whole.to_bytes(4, "big") + bytes(4)


def test_a_time_server_must_be_synchronised_itself() -> None:
    good = read_time("s", packet(0, 3, 1000.0), 1000.0, 1000.2)
    assert good.problem == "" and good.got == "stratum 3, -0.100 s from our clock"
    assert read_time("s", packet(3, 3, 1000.0), 1000.0, 1000.0).problem
    assert read_time("s", packet(0, 0, 1000.0), 1000.0, 1000.0).problem
    assert read_time("s", packet(0, 16, 1000.0), 1000.0, 1000.0).problem
    assert read_time("s", b"short", 0.0, 0.0).problem
