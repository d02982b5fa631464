"""Phase 2: the network as the kernel of each node tells it, and as traffic shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when

from chaos.schedule import order
from cluster.cluster import Cluster
from cluster.site import Site
from cluster.site_models import NodeSpec
from cluster.units import format_seconds, parse_seconds
from provisioners.network import isolation, probes
from provisioners.network.apply import LockoutAvertedError, push
from provisioners.network.interfaces import guest_vids, host_interface, render
from provisioners.network.observation import NodeNetwork, Observation
from reports.evidence import Run
from reports.terminal import say
from steps.modes import Mode
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold, all_met, measure

Notes = dict[str, Any]
Isolation = dict[str, list[isolation.Isolation]]
WRONG_VLAN = 4000  # a VLAN that no site orders: nobody answers there
REVERT_S = 45.0


def _networks(site: Site, phases: Phases) -> Iterator[tuple[NodeSpec, NodeNetwork]]:
    seen: Observation = phases.require(2)
    for node in site.nodes:
        yield node, seen.node(node.name)


@then("on each node both ordered links are members of the bond in the ordered mode")
def _members(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, seen in _networks(site, phases):
            if seen.bond is None:
                yield f"{node.name}: has no {site.bond.name}"
                continue
            if seen.bond.mode != site.bond.mode:
                yield f"{node.name}: {site.bond.name} runs as {seen.bond.mode}, expected {site.bond.mode}"
            have, want = {m.mac for m in seen.bond.members}, {link.mac.lower() for link in node.links}
            if have != want:
                yield f"{node.name}: members of {site.bond.name} are {sorted(have)}, expected {sorted(want)}"

    all_hold(findings())


@then("both members have carrier and the bond is fully redundant")
def _redundant(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, seen in _networks(site, phases):
            if seen.bond is None:
                continue
            for member in seen.bond.members:
                if not (member.carrier and member.up):
                    yield f"{node.name}: {member.name} has no carrier or is not in use"
            if not seen.bond.redundant:
                yield f"{node.name}: {seen.bond.name} is not redundant"
            if seen.bond.mode == "802.3ad" and seen.bond.lacp_rate != site.bond.lacp_rate:
                yield f"{node.name}: LACP rate {seen.bond.lacp_rate}, expected {site.bond.lacp_rate}"

    all_hold(findings())


@then("each node has its host address on the host network of the bond and nowhere else")
def _host_address(site: Site, phases: Phases) -> None:
    name = host_interface(site)
    all_hold(
        f"{node.name}: {node.address} is on {', '.join(where) or 'no interface'}, expected {name} alone"
        for node, seen in _networks(site, phases)
        if (where := seen.holding(str(node.address))) != (name,)
    )


@then("the configuration in force is the configuration on file")
def _in_force(phases: Phases) -> None:
    all_hold(f"{name}: {line}" for name, lines in phases.ask("in force").items() for line in lines)


@then("each node's guest bridge carries exactly the guest networks, all tagged")
def _bridge(site: Site, phases: Phases) -> None:
    want = guest_vids(site)

    def findings() -> Iterator[str]:
        for node, seen in _networks(site, phases):
            bridge = seen.bridge(site.bridge.name)
            trunk = next((p for p in bridge.ports if p.port == site.bond.name), None) if bridge else None
            if bridge is None or trunk is None:
                yield f"{node.name}: {site.bridge.name} does not stand on {site.bond.name}"
                continue
            if not bridge.vlan_aware:
                yield f"{node.name}: {bridge.name} is not VLAN-aware"
            if trunk.vids != want:
                yield f"{node.name}: {bridge.name} carries VLAN {trunk.vids}, expected {want}"
            if trunk.untagged or trunk.pvid is not None:
                yield f"{node.name}: VLAN {trunk.untagged or trunk.pvid} leaves {bridge.name} untagged"

    all_hold(findings())


@then("no port of the guest bridge is a member of the host network")
def _no_host_vlan(site: Site, phases: Phases) -> None:
    host = site.host_network.id
    all_hold(
        f"{node.name}: port {port.port} of {bridge.name} is a member of VLAN {host}"
        for node, seen in _networks(site, phases)
        for bridge in seen.bridges
        for port in (*bridge.ports, bridge.own)
        if host in port.vids
    )


@pytest.fixture(scope="session")
def mesh(phases: Phases, cluster: Cluster) -> probes.Mesh:
    """Full-size pings between all nodes and the search for doubled addresses, taken once."""
    phases.ahead.quiet()
    return probes.mesh(cluster)


@then("packets of full size pass between every pair of nodes over the host network without being fragmented")
def _full_size(mesh: probes.Mesh) -> None:
    if not mesh.paths:
        raise NotAsOrderedError("no pair of nodes was tried")
    all_hold(
        (
            f"{p.source} to {p.target}: {p.received} of {p.sent} packets of {p.size} bytes passed {p.reason}"
        ).rstrip()
        for p in mesh.paths
        if not p.passes
    )


@then("no other station answers for a node's address on the host network")
def _one_owner(mesh: probes.Mesh) -> None:
    all_hold(f"{d.address} of {d.node} is also answered for by {d.mac}" for d in mesh.doubled)


@then("every node resolves every other node's name to its ordered address")
def _resolves(site: Site, phases: Phases) -> None:
    seen = phases.require(1)
    all_hold(
        f"{node.name}: {site.fqdn(other)} resolves to {got or 'nothing'}, expected {other.address}"
        for node in site.nodes
        for other in site.nodes
        if (got := seen.system(node.name).resolves.get(site.fqdn(other), "")) != str(other.address)
    )


@pytest.fixture(scope="session")
def isolation_probes(phases: Phases) -> Isolation:
    """What guests in every network reach, tried once from two nodes for all networks together."""
    phases.require(2)
    found: Isolation = phases.ask("isolation")
    return found


@given(parsers.parse("a probe with an address on {network} on two nodes"))
def _probe(network: str, isolation_probes: Isolation, notes: Notes) -> None:
    notes["probes"] = isolation_probes.get(network, [])
    if len(notes["probes"]) != 2:
        raise NotAsOrderedError(f"{network} was probed from {len(notes['probes'])} nodes, expected 2")


@then("the two probes reach each other")
def _control(notes: Notes) -> None:
    found: list[isolation.Isolation] = notes["probes"]
    all_hold(
        f"{p.network}: the probe on {p.node} does not reach the one on {p.peer}"
        for p in found
        if not p.connected
    )


@then("the probe reaches no node's host address on any port, tagged, untagged or double-tagged")
def _isolated(notes: Notes, evidence: Run) -> None:
    found: list[isolation.Isolation] = notes["probes"]
    if not all(p.attempts for p in found):
        raise NotAsOrderedError("no host address was tried")
    evidence.note(f"{sum(p.attempts for p in found)} attempts from {len(found)} probes")
    all_hold(
        f"{p.network} on {p.node}: {leak.target} answered {leak.how} through {leak.device}"
        for p in found
        for leak in p.leaks
    )


@then(parsers.parse("the throughput between every pair of nodes is at least {asked}"))
def _throughput(asked: str, site: Site, cluster: Cluster, evidence: Run) -> None:
    taken = []
    for run in probes.throughput(cluster):
        say(f"{run.source} to {run.target}: {run.bits_per_second / 1e6:.0f} Mbit/s")
        taken.append(
            measure(
                evidence, site, "host_network_throughput", f"{run.source} to {run.target}: throughput",
                run.bits_per_second, asked, resolution=run.bits_per_second * 0.01,
                method=f"iperf3, {run.streams} TCP streams, {run.seconds:.0f} s, as received,"
                f" {run.retransmits} retransmits",
            )
        )  # fmt: skip
    all_met(taken)


@when("a configuration with a wrong host network is pushed to one node, chosen by the seed")
def _push_wrong(site: Site, phases: Phases, cluster: Cluster, notes: Notes, mode: Mode) -> None:
    phases.require(2)
    node = site.node(order(mode.seed, "wrong network", [n.name for n in site.nodes])[0])
    right = render(site, node)
    wrong = right.replace(host_interface(site), f"{site.bond.name}.{WRONG_VLAN}")
    if wrong == right:
        raise NotAsOrderedError("the wrong configuration does not differ from the right one")
    began = time.monotonic()
    notes["node"] = node.name
    try:
        push(cluster, node.name, wrong, say, revert_s=REVERT_S)
    except LockoutAvertedError as averted:
        notes["averted"] = str(averted)
    notes["seconds"] = time.monotonic() - began


@then(
    parsers.parse("the node loses its address and within {limit} the former configuration is back by itself")
)
def _averted(limit: str, phases: Phases, notes: Notes, evidence: Run) -> None:
    name, took = notes["node"], notes["seconds"]
    if "averted" not in notes:
        raise NotAsOrderedError(f"{name}: a configuration with a wrong host network was confirmed")
    evidence.note(notes["averted"])
    if took > parse_seconds(limit):
        raise NotAsOrderedError(f"{name}: it took {format_seconds(took)}, expected {limit}")
    phases.seen.pop(2, None)
    phases.require(2)
