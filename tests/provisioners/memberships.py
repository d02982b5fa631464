"""A cluster in which phase 3 lacks nothing: each test takes one thing away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cluster.site import Site
from provisioners.membership.corosync_conf import Configuration, parse, read, render
from provisioners.membership.observation import (
    SERVICES,
    Clock,
    Link,
    NodeMembership,
    Observation,
    Service,
    Stored,
    digest,
)
from provisioners.membership.ordered import addresses, migration_network, revise

KEY = digest("the cluster's key")
AUTHORITY = digest("the cluster's authority")
FILES = {"datacenter.cfg": "1" * 64, "storage.cfg": "2" * 64}

_EMPTY = """\
quorum {
  provider: corosync_votequorum
}
totem {
  config_version: 1
  secauth: on
  token_coefficient: 125
  version: 2
  link_mode: passive
}
"""


def conf_text(site: Site, version: int = 4) -> str:
    """corosync.conf as ordered."""
    root = parse(_EMPTY)
    root.one("totem").keys["cluster_name"] = site.cluster
    nodes = root.one("nodelist")
    for number, node in enumerate(site.nodes, start=1):
        keys = {"name": node.name, "nodeid": str(number), "quorum_votes": "1"}
        keys |= {f"ring{link}_addr": text for link, text in addresses(site, node).items()}
        nodes.sections.append(("node", type(root)(keys)))
    for link in addresses(site, site.nodes[0]):
        root.one("totem").sections.append(("interface", type(root)({"linknumber": str(link)})))
    return revise(site, conf(render(root)), version)


def conf(text: str) -> Configuration:
    """A text that is a configuration."""
    found = read(text)
    assert found is not None
    return found


def changed(text: str, *pairs: tuple[str, str]) -> Configuration:
    """A configuration with some words replaced; each must be there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return conf(text)


def good_member(site: Site, name: str) -> NodeMembership:
    """One node's view of the cluster as ordered."""
    have = conf(conf_text(site))
    peers = [entry.nodeid for entry in have.entries if entry.name != name]
    return NodeMembership(
        name=name,
        conf=have,
        local=have,
        problem="",
        key=KEY,
        key_mode="400",
        quorate=True,
        expected_votes=len(site.nodes),
        votes={entry.nodeid: 1 for entry in have.entries},
        version=have.version,
        token=have.token + (len(site.nodes) - 2) * 0.125,
        name_in_force=site.cluster,
        links=tuple(Link(peer, link, True, 0.0005) for peer in peers for link in have.links),
        online={node.name: True for node in site.nodes},
        writable=True,
        files=dict(FILES, **{"corosync.conf": digest(have.text)}),
        folders={node.name: () for node in site.nodes},
        services={service: Service(service, True, True) for service in SERVICES},
        migration=("secure", migration_network(site)),
        authority=AUTHORITY,
        clock=Clock(True, 0.0001),
    )


def lonely(site: Site, name: str) -> NodeMembership:
    """A node that holds nothing of any cluster."""
    stopped = {service: Service(service, service != "corosync", True) for service in SERVICES}
    return replace(
        good_member(site, name),
        conf=None, local=None, key="", key_mode="", quorate=False, expected_votes=0, votes={}, version=0,
        token=0.0, name_in_force="", links=(), online={}, folders={name: ()}, services=stopped,
        migration=("secure", ""),
    )  # fmt: skip


def good_store(site: Site) -> dict[str, Stored]:
    """The parameter store as it should be."""
    names = ",".join(node.name for node in site.nodes)
    return {
        "corosync_conf": Stored("corosync_conf", True, digest(conf_text(site)), ""),
        "corosync_key": Stored("corosync_key", True, KEY, ""),
        "cluster_id": Stored("cluster_id", False, digest(AUTHORITY), AUTHORITY),
        "nodes": Stored("nodes", False, digest(names), names),
    }


def all_joined(site: Site) -> Observation:
    """Three nodes and a store in which phase 3 lacks nothing."""
    return Observation({n.name: good_member(site, n.name) for n in site.nodes}, good_store(site))


def with_node(seen: Observation, name: str, **changes: object) -> Observation:
    """The same observation with some values of one node changed."""
    node = replace(seen.node(name), **changes)  # type: ignore[arg-type]
    return replace(seen, nodes={**seen.nodes, name: node})


def with_all(seen: Observation, **changes: object) -> Observation:
    """The same observation with some values of every node changed."""
    for name in seen.nodes:
        seen = with_node(seen, name, **changes)
    return seen


def with_conf(seen: Observation, have: Configuration) -> Observation:
    """Every node has another configuration, in force, saved."""
    version = {"conf": have, "local": have, "version": have.version, "token": have.token + 0.125}
    store: Mapping[str, Stored] = {
        **seen.stored,
        "corosync_conf": Stored("corosync_conf", True, digest(have.text), ""),
    }
    return replace(with_all(seen, **version), stored=store)
