"""Phase 3: the cluster as every node sees it for itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from pytest_bdd import parsers, then

from cluster.cluster import Cluster
from cluster.site import Site
from cluster.site_models import NodeSpec
from provisioners.membership import missing as judged
from provisioners.membership import ordered, probes
from provisioners.membership.observation import SERVICES, NodeMembership, Observation
from reports.evidence import Run
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold, all_met, measure


def _views(site: Site, phases: Phases) -> Iterator[tuple[NodeSpec, NodeMembership]]:
    seen: Observation = phases.require(3)
    for node in site.nodes:
        yield node, seen.node(node.name)


def _head(site: Site, phases: Phases) -> NodeMembership:
    """The view that the others are compared with."""
    head = judged.reference(site, phases.require(3))
    if head is None or head.conf is None:
        raise NotAsOrderedError(f"no node belongs to a cluster {site.cluster}")
    return head


@then("every node sees all ordered nodes as members of the ordered cluster, each with one vote")
def _members(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            if seen.name_in_force != site.cluster:
                yield f"{node.name}: is in {_cluster(seen.name_in_force)}, expected '{site.cluster}'"
                continue
            for other in site.nodes:
                entry = seen.conf.entry(other.name) if seen.conf else None
                votes = seen.votes.get(entry.nodeid) if entry else None
                if votes is None:
                    yield f"{node.name}: does not see {other.name} as a member"
                elif votes != 1:
                    yield f"{node.name}: {other.name} has {votes} votes, expected 1"
                elif not seen.online.get(other.name):
                    yield f"{node.name}: the cluster's file system does not see {other.name} online"

    all_hold(findings())


def _cluster(name: str) -> str:
    return f"the cluster '{name}'" if name else "no cluster"


@then("every node sees a quorum of all votes")
def _quorum(site: Site, phases: Phases) -> None:
    count = len(site.nodes)

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            if not seen.quorate:
                yield f"{node.name}: has no quorum"
            if (seen.expected_votes, sum(seen.votes.values())) != (count, count):
                have = f"{sum(seen.votes.values())} of {seen.expected_votes} votes"
                yield f"{node.name}: sees {have}, expected {count} of {count}"

    all_hold(findings())


@then("no node is listed that was not ordered, and nothing of a former node is left")
def _strays(site: Site, phases: Phases) -> None:
    names = {node.name for node in site.nodes}

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            listed = {entry.name for entry in seen.conf.entries} if seen.conf else set()
            yield from (
                f"{node.name}: lists {name}, which was not ordered" for name in sorted(listed - names)
            )
            left = sorted(set(seen.folders) - names - listed)
            yield from (f"{node.name}: holds what is left of {name}" for name in left)

    all_hold(findings())


@then("no node is half joined, and none belongs to another cluster")
def _half_joined(site: Site, phases: Phases) -> None:
    head = _head(site, phases)

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            found = judged.standing(site, head, seen)
            if found.kind != "member":
                yield f"{node.name}: does not belong to {site.cluster}: {found.why or 'it stands alone'}"

    all_hold(findings())


@then("every node has the same configuration, of the same version, on file and in force")
def _same_configuration(site: Site, phases: Phases) -> None:
    head = _head(site, phases)
    conf = head.conf

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            if conf is None or seen.conf is None or seen.local is None:
                yield f"{node.name}: has no configuration of the cluster"
                continue
            if seen.conf.text != conf.text:
                yield (
                    f"{node.name}: its copy is of version {seen.conf.version},"
                    f" {head.name}'s of version {conf.version}, or they differ"
                )
            if seen.local.text != conf.text:
                yield (
                    f"{node.name}: Corosync's own copy, version {seen.local.version}, is not the cluster's,"
                    f" version {conf.version}"
                )
            if seen.version != conf.version:
                yield f"{node.name}: version {seen.version} is in force, expected {conf.version}"

    all_hold(findings())


@then("the cluster's files are the same on every node and can be written")
def _same_files(site: Site, phases: Phases) -> None:
    head = _head(site, phases)

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            if not seen.writable:
                yield f"{node.name}: the cluster's files cannot be written"
            for name in judged.stale_files(seen, head):
                yield f"{node.name}: {name} is not the same as on {head.name}"

    all_hold(findings())


@then("every node holds the same key, and nobody but its administrator may read it")
def _key(site: Site, phases: Phases) -> None:
    head = _head(site, phases)

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            if not seen.key or seen.key != head.key:
                yield f"{node.name}: {'another key' if seen.key else 'no key'}, expected that of {head.name}"
            elif seen.key_mode != judged.KEY_MODE:
                yield f"{node.name}: the key has mode {seen.key_mode}, expected {judged.KEY_MODE}"

    all_hold(findings())


@then("each node has its ordered address on each ordered network of the cluster")
def _addresses(site: Site, phases: Phases) -> None:
    networks = ordered.corosync(site).links

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            for other in site.nodes:
                entry = seen.conf.entry(other.name) if seen.conf else None
                have = dict(entry.addresses) if entry else {}
                for link, address in ordered.addresses(site, other).items():
                    if have.get(link) != address:
                        text = f"{other.name} has {have.get(link, 'no address')} on {networks[link]}"
                        yield f"{node.name}: {text} (link {link}), expected {address}"
                surplus = sorted(set(have) - set(range(len(networks))))
                yield from (
                    f"{node.name}: {other.name} has a link {link} that was not ordered" for link in surplus
                )

    all_hold(findings())  # fmt: skip


@then("every pair of nodes is connected over each of them, as both of them see it")
def _connected(site: Site, phases: Phases) -> None:
    networks = ordered.corosync(site).links

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            state = {(link.peer, link.number): link.connected for link in seen.links}
            for other in site.nodes:
                entry = seen.conf.entry(other.name) if seen.conf else None
                if other.name == node.name or entry is None:
                    continue
                for link, network in enumerate(networks):
                    if not state.get((entry.nodeid, link)):
                        yield (
                            f"{node.name}: {other.name} is not connected over {network} (link {link}):"
                            " cable, switch port or interface; nothing that is configured"
                        )
            if not seen.links:
                yield f"{node.name}: Corosync tells of no link"

    all_hold(findings())


@then("the cluster's networks are preferred in the ordered sequence")
def _priorities(site: Site, phases: Phases) -> None:
    want = ordered.priorities(site)
    networks = ordered.corosync(site).links

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            have = seen.conf.priorities if seen.conf else {}
            for link, priority in want.items():
                if have.get(link, 1) != priority:
                    text = f"{networks[link]} (link {link}) has priority {have.get(link, 1)}"
                    yield f"{node.name}: {text}, expected {priority}"

    all_hold(findings())


@then("every node waits for a silent node as long as ordered")
def _token(site: Site, phases: Phases, evidence: Run) -> None:
    token = ordered.corosync(site).token

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            if seen.conf is None:
                yield f"{node.name}: has no configuration of the cluster"
                continue
            want = ordered.timeout(site, seen.conf)
            if abs(seen.token - want) > judged.TIMING_S:
                yield f"{node.name}: waits {seen.token:g} s for a token, expected {want:g} s"
            evidence.note(
                f"{node.name}: a token is missed after {seen.token:g} s (ordered {token:g} s and"
                f" {seen.conf.coefficient:g} s for each node beyond the second)"
            )

    all_hold(findings())


@then("the nodes speak with each other over the ordered transport, encrypted")
def _encrypted(site: Site, phases: Phases) -> None:
    want = ordered.corosync(site).transport

    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            if seen.local is None:
                yield f"{node.name}: has no configuration of the cluster"
                continue
            if seen.local.transport != want:
                yield f"{node.name}: speaks over {seen.local.transport}, expected {want}"
            if not seen.local.encrypted:
                yield f"{node.name}: what it says is not encrypted"

    all_hold(findings())


@pytest.fixture(scope="session")
def cluster_mesh(phases: Phases, cluster: Cluster) -> probes.Mesh:
    """Round trips between all nodes over all of the cluster's networks, and every clock, taken once."""
    phases.require(3)
    phases.ahead.quiet()
    return probes.mesh(cluster)


@then(parsers.parse("every node's clock is within {limit} of the time servers and of every other node's"))
def _clocks(limit: str, site: Site, phases: Phases, cluster_mesh: probes.Mesh, evidence: Run) -> None:
    findings = [
        f"{node.name}: its clock is not synchronised"
        for node, seen in _views(site, phases)
        if not seen.clock.synchronised
    ]
    method = "chronyd -Q: the time servers' answer against the clock, beside the daemon"
    resolution = probes.CLOCK_RESOLUTION_S
    taken = [
        measure(
            evidence, site, "clock_offset", f"{name}: clock against the time servers", abs(offset), limit,
            resolution=resolution, method=method,
        )
        for name, offset in cluster_mesh.clocks.items()
    ]  # fmt: skip
    taken += [
        measure(
            evidence, site, "clock_offset", f"{one} and {other}: clocks apart", abs(first - second), limit,
            resolution=2 * resolution, method=method,
        )
        for (one, first), (other, second) in itertools.combinations(cluster_mesh.clocks.items(), 2)
    ]  # fmt: skip
    all_hold(findings)
    all_met(taken)


@then("every node moves guests over the ordered network")
def _migration(site: Site, phases: Phases) -> None:
    want = ordered.migration_network(site)
    all_hold(
        f"{node.name}: moves guests over {seen.migration[1] or 'any network'}, expected {want}"
        for node, seen in _views(site, phases)
        if want and seen.migration[1] != want
    )


@then(
    parsers.parse(
        "a round trip between every pair of nodes takes less than {limit} on each network of the cluster"
    )
)
def _round_trips(limit: str, site: Site, cluster_mesh: probes.Mesh, evidence: Run) -> None:
    networks = ordered.corosync(site).links
    lost = [
        f"{t.source} to {t.target} over {networks[t.link]}: {t.received} of {t.sent} packets came back"
        for t in cluster_mesh.trips
        if t.received < t.sent
    ]
    taken = [
        measure(
            evidence, site, "ring_round_trip", f"{t.source} to {t.target} on {networks[t.link]}: round trip",
            t.average, limit, resolution=1e-6,
            method=f"mean of {t.received} pings, {probes.INTERVAL_S * 1000:g} ms apart, nothing else running;"
            f" the slowest took {t.slowest * 1000:.3g} ms{f'; {t.earlier}' if t.earlier else ''}",
        )
        for t in cluster_mesh.trips
        if t.received
    ]  # fmt: skip
    all_hold(lost)
    all_met(taken)


@then("on each node the services of the cluster run and start at boot")
def _services(site: Site, phases: Phases) -> None:
    def findings() -> Iterator[str]:
        for node, seen in _views(site, phases):
            for name in SERVICES:
                service = seen.services.get(name)
                if service is None or not service.active:
                    yield f"{node.name}: {name} does not run"
                if service is None or not service.enabled:
                    yield f"{node.name}: {name} does not start at boot"

    all_hold(findings())


@then("the cluster's key and configuration are kept encrypted in the parameter store, as they are in force")
def _kept(site: Site, phases: Phases) -> None:
    _parameters(site, phases, ("corosync_key", "corosync_conf"))


@then("the parameter store names the cluster and its nodes")
def _named(site: Site, phases: Phases) -> None:
    _parameters(site, phases, ("cluster_id", "nodes"))


def _parameters(site: Site, phases: Phases, names: tuple[str, ...]) -> None:
    lacking = judged.unsaved(site, phases.require(3), _head(site, phases))
    all_hold(f"{site.aws.root}/cluster/{text}" for text in lacking if text.split(" ")[0] in names)
