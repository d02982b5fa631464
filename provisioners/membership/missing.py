"""What phase 3 lacks: a pure function of the site and the observation.

One node's view is the reference: of those that belong to the ordered cluster, the one that sees the most
votes with quorum. What only people can put right is a change whose action nothing provides: a node of another
cluster, a half-joined node with guests. A link that is down is no difference of configuration: scenarios find
that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provisioners.change import Change
from provisioners.membership.observation import SERVICES, NodeMembership, Observation, digest
from provisioners.membership.ordered import (
    clock_limit,
    corosync,
    differences,
    migration_network,
    timeout,
)
from provisioners.unreachable import Unreachable

if TYPE_CHECKING:
    from cluster.site import Site

ACTIONS = (*("expel", "reset", "create", "services", "join", "configuration", "clock", "migration", "save"),)
PEOPLE = "people"  # no action of this name exists: the loop says that no provisioning can put it right
TIMING_S = 0.002  # Corosync counts in whole milliseconds
KEY_MODE = "400"
_OWN = frozenset({"corosync.conf"})  # compared by itself

Kind = Literal["member", "alone", "listed", "remnant", "stranger", "foreign"]


@dataclass(frozen=True)
class Standing:
    """What a node is to the cluster, and why.

    member: belongs to it; alone: holds nothing of any cluster; listed: the cluster lists it, and it holds
    nothing; remnant: it holds parts of a cluster that does not list it, or not all parts; stranger: a cluster
    of the same name with another key; foreign: a cluster of another name.
    """

    kind: Kind
    why: str = ""


def reference(site: Site, observation: Observation) -> NodeMembership | None:
    """The node whose view stands for the cluster; None where there is no cluster of the ordered name."""
    have = [node for node in observation.seen if node.conf is not None and node.conf.cluster == site.cluster]
    return max(have, key=lambda node: (node.quorate, len(node.votes), node.running), default=None)


def standing(site: Site, head: NodeMembership | None, seen: NodeMembership) -> Standing:
    """What `seen` is to the cluster that `head` stands for."""
    conf = seen.local or seen.conf
    if conf is not None and conf.cluster != site.cluster:
        return Standing("foreign", f"it is a member of the cluster '{conf.cluster}'")
    if seen.problem:
        return Standing("remnant", seen.problem)
    listed = head is not None and head.conf is not None and head.conf.entry(seen.name) is not None
    if seen.alone:
        return Standing("listed", "it holds nothing of the cluster") if listed else Standing("alone")
    if head is None:
        return Standing("remnant", "it holds a key or a configuration, and there is no cluster")
    if seen.key and head.key and seen.key != head.key:
        return Standing("stranger", "its key is not the cluster's")
    if not listed:
        return Standing("remnant", "the cluster does not list it")
    parts = {"key": seen.key, "configuration": seen.local, "copy of the cluster's configuration": seen.conf}
    absent = [name for name, part in parts.items() if not part]
    return Standing("remnant", f"it has no {' and no '.join(absent)}") if absent else Standing("member")


def members(site: Site, observation: Observation) -> list[NodeMembership]:
    """The nodes that belong to the cluster, whether they run or not."""
    head = reference(site, observation)
    return [node for node in observation.seen if head and standing(site, head, node).kind == "member"]


def missing(site: Site, observation: Observation) -> list[Change]:
    """Every change that phase 3 lacks, in the order in which they are to be made."""
    if site.corosync is None:
        return []
    found: list[Change] = []
    for node in observation.nodes.values():
        if isinstance(node, Unreachable) and node.installed:
            text = f"see its view of the cluster, which does not answer ({node.reason})"
            found.append(Change(node.name, text, PEOPLE, blocks=True))
    head = reference(site, observation)
    if found and head is None:
        return found  # a node that does not answer may hold the cluster: none is created beside it
    found += _belonging(site, observation, head)
    if head is None:
        found += _all_that_follows(site)
    else:
        found += [*_strays(site, observation, head), *_configuration(site, observation, head)]
        for node in members(site, observation):
            found += _services(node, head)
        found += [*_options(site, head), *_saved(site, observation, head)]
    found += _clocks(site, observation)
    rank = {name: i for i, name in enumerate(ACTIONS)}
    return sorted(found, key=lambda change: rank.get(change.action, -1))


def _belonging(site: Site, observation: Observation, head: NodeMembership | None) -> Iterator[Change]:
    """Who is to create, to join, and to be freed of what a former join left."""
    first = head.name if head is not None else site.nodes[0].name
    for node in observation.nodes.values():
        if isinstance(node, Unreachable):
            if not node.installed:
                yield _admission(site, node.name, first, blocks=True)
            continue
        found = standing(site, head, node)
        if found.kind == "member":
            continue
        if found.kind == "foreign":
            text = f"be taken into {site.cluster}: {found.why}, which only people may dissolve"
            yield Change(node.name, text, PEOPLE)
            continue
        if found.kind in {"remnant", "stranger"}:
            others = [name for name, online in node.online.items() if online and name != node.name]
            if node.guests or (others and found.kind == "stranger"):
                held = f"guests {', '.join(node.guests)}" if node.guests else f"{', '.join(others)} beside it"
                text = f"be freed of a half-made membership ({found.why}): it has {held}, so people decide"
                yield Change(node.name, text, PEOPLE)
                continue
            yield Change(node.name, f"take off what a half-made membership left: {found.why}", "reset")
        if head is not None and head.conf is not None and head.conf.entry(node.name) is not None:
            yield Change(node.name, f"take the half-joined node off the list: {found.why}", "expel")
        if node.guests and node.name != first:
            text = f"join the cluster {site.cluster}: it has guests {', '.join(node.guests)} already"
            yield Change(node.name, f"{text}, and a node that joins must have none", PEOPLE)
        else:
            yield _admission(site, node.name, first, blocks=head is None)


def _admission(site: Site, name: str, first: str, *, blocks: bool) -> Change:
    if name == first:
        return Change(name, f"create the cluster {site.cluster}", "create", blocks=blocks)
    return Change(name, f"join the cluster {site.cluster}", "join", blocks=blocks)


def _all_that_follows(site: Site) -> Iterator[Change]:
    """What a cluster that is yet to be created will lack."""
    first = site.nodes[0].name
    if corosync(site).token != 3.0:
        yield Change(first, f"set the token to {corosync(site).token:g} s", "configuration")
    if migration_network(site):
        yield Change(first, f"move guests over {migration_network(site)}", "migration")
    yield Change(first, "save the cluster's key and configuration in the parameter store", "save")


def _strays(site: Site, observation: Observation, head: NodeMembership) -> Iterator[Change]:
    """Who is listed, or has a folder left, and was not ordered."""
    ordered = {node.name for node in site.nodes}
    listed = {entry.name: entry for entry in head.conf.entries} if head.conf else {}
    for name in sorted((set(listed) | set(head.folders)) - ordered):
        entry = listed.get(name)
        alive = any(
            node.online.get(name) or (entry is not None and node.votes.get(entry.nodeid))
            for node in members(site, observation)
        )
        guests = head.folders.get(name, ())
        what = "its entry in the list of nodes" if entry is not None else "its folder"
        if alive:
            yield Change(name, "leave the cluster: it lives and was not ordered, so people decide", PEOPLE)
        elif guests:
            text = f"be forgotten: {what} is left and guests {', '.join(guests)} are still its own"
            yield Change(name, f"{text}, so people decide", PEOPLE)
        else:
            yield Change(name, f"be forgotten: {what} is left, and it was not ordered", "expel")


def _configuration(site: Site, observation: Observation, head: NodeMembership) -> Iterator[Change]:
    conf = head.conf
    if conf is None:
        return
    if conf.transport != corosync(site).transport:
        text = f"speak over {corosync(site).transport} (it is {conf.transport}): for that the cluster has to"
        yield Change(head.name, f"{text} stand still, so people decide", PEOPLE)
    elif not conf.encrypted:
        yield Change(head.name, "encrypt what the nodes say to each other: people have to plan that", PEOPLE)
    lacking = differences(site, conf)
    yield from (Change(head.name, text, "configuration") for text in lacking)
    if lacking:
        return  # the version that comes of it reaches every node
    for node in members(site, observation):
        if node.local is not None and node.local.text != conf.text:
            text = f"its own is of version {node.local.version}, the cluster's of version {conf.version}"
            yield Change(node.name, f"take over the cluster's configuration: {text}", "configuration")
        elif node.running and (node.version != conf.version or node.name_in_force != conf.cluster):
            text = f"it runs with version {node.version}, on file is version {conf.version}"
            yield Change(node.name, f"put the configuration into force: {text}", "configuration")
        elif node.running and abs(node.token - timeout(site, conf)) > TIMING_S:
            text = f"it runs with {node.token:g} s, expected {timeout(site, conf):g} s"
            yield Change(node.name, f"put the token into force: {text}", "configuration")


def _services(node: NodeMembership, head: NodeMembership) -> Iterator[Change]:
    for name in SERVICES:
        service = node.services.get(name)
        if service is None or not service.active:
            yield Change(node.name, f"start {name}", "services")
        if service is None or not service.enabled:
            yield Change(node.name, f"let {name} start at boot", "services")
    if node.key_mode != KEY_MODE:
        text = f"let nobody else read the cluster's key (its mode is {node.key_mode}, expected {KEY_MODE})"
        yield Change(node.name, text, "services")
    running = all(service.active for service in node.services.values())
    if running and not node.quorate and head.quorate:
        yield Change(node.name, "come back to the quorum: it runs, and sees too few votes", PEOPLE)
    elif running and node.quorate and stale_files(node, head):
        names = ", ".join(stale_files(node, head))
        yield Change(node.name, f"take over the cluster's files anew: {names} differ", "services")
    elif running and not node.quorate:
        yield Change(node.name, "regain a quorum: it runs, and too few nodes see each other", PEOPLE)


def stale_files(node: NodeMembership, head: NodeMembership) -> list[str]:
    """Files of the cluster that differ between a node's view and the reference."""
    names = (set(node.files) | set(head.files)) - _OWN
    return sorted(name for name in names if node.files.get(name) != head.files.get(name))


def _options(site: Site, head: NodeMembership) -> Iterator[Change]:
    want = migration_network(site)
    if want and head.migration[1] != want:
        text = f"move guests over {want} (it is {head.migration[1] or 'not set'})"
        yield Change(head.name, text, "migration")


def _saved(site: Site, observation: Observation, head: NodeMembership) -> Iterator[Change]:
    lacking = unsaved(site, observation, head)
    if lacking:
        yield Change(head.name, f"save in the parameter store: {', '.join(lacking)}", "save")


def unsaved(site: Site, observation: Observation, head: NodeMembership) -> list[str]:
    """What the parameter store lacks of the cluster, each with what is wrong with it."""
    have = observation.stored
    found = []
    for leaf, want in (
        ("corosync_conf", digest(head.conf.text) if head.conf else ""),
        ("corosync_key", head.key),
    ):
        entry = have.get(leaf)
        if entry is None:
            found.append(f"{leaf} (it is not there)")
        elif not entry.encrypted:
            found.append(f"{leaf} (it is not encrypted)")
        elif entry.digest != want:
            found.append(f"{leaf} (it is not what is in force)")
    names = ",".join(node.name for node in site.nodes)
    for leaf, value in (("cluster_id", head.authority), ("nodes", names)):
        if leaf not in have:
            found.append(f"{leaf} (it is not there)")
        elif have[leaf].value != value:
            found.append(f"{leaf} (it is not what is in force)")
    return found  # fmt: skip


def _clocks(site: Site, observation: Observation) -> Iterator[Change]:
    limit = clock_limit(site)
    for node in observation.seen:
        if not node.clock.synchronised:
            yield Change(node.name, "follow the time servers again: its clock is not synchronised", "clock")
        elif abs(node.clock.offset) >= limit:
            text = f"set its clock right: it is {node.clock.offset * 1000:+.0f} ms off"
            yield Change(node.name, text, "clock")
