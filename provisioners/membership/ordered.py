"""What the site orders of the cluster, in the terms of corosync.conf. Pure."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from cluster.errors import NotApplicableError, SiteError
from cluster.targets import target
from provisioners.membership.corosync_conf import TOKEN_S, Configuration, parse, render

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec
    from cluster.site_services import Corosync

COEFFICIENT_S = 0.125  # what Proxmox VE writes when it creates a cluster
UNWANTED = ("expected_votes", "two_node")  # Proxmox VE derives both from the list of nodes


def corosync(site: Site) -> Corosync:
    """The ordered membership layer. Raises NotApplicableError where none is ordered."""
    if site.corosync is None:
        raise NotApplicableError(
            "PF-NO-CLUSTER", f"{site.name}: corosync: no cluster is ordered.", "add [corosync] and [pve]."
        )
    return site.corosync


def node_id(site: Site, node: NodeSpec) -> int:
    """1, 2, 3, ... in the order of the site."""
    return [known.name for known in site.nodes].index(node.name) + 1


def address(site: Site, node: NodeSpec, network: str) -> str:
    """A node's address on one of the cluster's networks. Raises SiteError where it has none."""
    role = site.networks[network].role
    if role == "host":
        return str(node.address)
    if role == "ring" and node.ring is not None:
        return str(node.ring.address)
    raise SiteError(
        f"{site.name}: corosync.links: {node.name} has no address in {network};"
        " expected the host network or the ring network"
    )


def addresses(site: Site, node: NodeSpec) -> dict[int, str]:
    """A node's address by the number of the link."""
    return {i: address(site, node, name) for i, name in enumerate(corosync(site).links)}


def priorities(site: Site) -> dict[int, int]:
    """Priority by the number of the link; 1 where none is ordered."""
    table = corosync(site)
    given = dict(enumerate(table.priorities))
    return {i: given.get(i, 1) for i in range(len(table.links))}


def timeout(site: Site, have: Configuration) -> float:
    """Seconds without a token after which it is lost, as Corosync computes it: the ordered time, and the
    coefficient for each listed node beyond the second (corosync.conf(5), token_coefficient).
    """
    return corosync(site).token + max(0, len(have.entries) - 2) * have.coefficient


def migration_network(site: Site) -> str:
    """Subnet that guests are moved over, "" where none is ordered."""
    name = corosync(site).migration
    return str(site.networks[name].subnet) if name else ""


def clock_limit(site: Site) -> float:
    """Seconds by which clocks may differ."""
    promised = target("clock_offset")
    relaxed = site.relax.get("clock_offset")
    return max(promised.value, promised.parse(relaxed)) if relaxed is not None else promised.value


def differences(site: Site, have: Configuration) -> list[str]:
    """What a configuration lacks, each as a sentence; nodes that are not listed yet lack nothing here."""
    found: list[str] = []
    want = priorities(site)
    for node in site.nodes:
        entry = have.entry(node.name)
        if entry is None:
            continue
        if entry.votes != 1:
            found.append(f"give {node.name} one vote (it has {entry.votes})")
        for link, ordered in addresses(site, node).items():
            seen = entry.addresses.get(link)
            if seen != ordered:
                found.append(
                    f"set the address of {node.name} on link {link} to {ordered} (it is {seen or 'none'})"
                )
    surplus = [link for link in have.links if link not in want]
    found += [f"take link {link} out of the configuration: it is not ordered" for link in surplus]
    for link, priority in want.items():
        if link in have.links and have.priorities.get(link, 1) != priority:
            found.append(
                f"set the priority of link {link} to {priority} (it is {have.priorities.get(link, 1)})"
            )
    if have.token != corosync(site).token:
        found.append(f"set the token to {corosync(site).token:g} s (it is {have.token:g} s)")
    for key in UNWANTED:
        if have.quorum.get(key, "0") != "0":
            found.append(
                f"take {key} = {have.quorum[key]} out of the configuration: the list of nodes decides"
            )
    return found  # fmt: skip


def revise(site: Site, have: Configuration, version: int) -> str:
    """The text of a configuration put right, as `version`; who is listed stays listed."""
    root = copy.deepcopy(parse(have.text))
    totem = root.one("totem")
    totem.keys["config_version"] = str(version)
    if corosync(site).token == TOKEN_S:
        totem.keys.pop("token", None)
    else:
        totem.keys["token"] = str(round(corosync(site).token * 1000))
    ordered = {node.name: addresses(site, node) for node in site.nodes}
    for node in (node for part in root.all("nodelist") for node in part.all("node")):
        name = node.keys.get("name", "")
        if name not in ordered:
            continue
        node.keys["quorum_votes"] = "1"
        for link in range(8):
            node.keys.pop(f"ring{link}_addr", None)
        node.keys.update({f"ring{link}_addr": text for link, text in ordered[name].items()})
    want = priorities(site)
    for interface in totem.all("interface"):
        if int(interface.keys.get("linknumber", "0")) not in want:
            totem.drop(interface)
    for link, priority in want.items():
        known = [i for i in totem.all("interface") if int(i.keys.get("linknumber", "0")) == link]
        if not known:
            totem.sections.append(("interface", type(totem)({"linknumber": str(link)})))
            known = [totem.sections[-1][1]]
        if priority != 1 or "knet_link_priority" in known[0].keys:
            known[0].keys["knet_link_priority"] = str(priority)
    for key in UNWANTED:
        root.one("quorum").keys.pop(key, None)
    return render(root)
