"""What the site's [ha] and [[guest]] tables come to, in the terms of Proxmox VE. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.errors import NotApplicableError

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Guest, GuestHa, Ha

RULE = "rackproof-"
"""Rules of ours are named so; others are somebody else's."""


def ordered(site: Site) -> Ha:
    """The site's high availability. Raises NotApplicableError where none is ordered."""
    if site.ha is None:
        raise NotApplicableError("PF-NO-HA", f"{site.name} orders no high availability.", "add [ha].")
    return site.ha


def power_cycle(site: Site) -> Ha:
    """The same, where a lost node is to be power-cycled. Raises NotApplicableError where it is not."""
    table = ordered(site)
    if not table.power_cycle:
        raise NotApplicableError(
            "PF-NO-POWER-CYCLE",
            f"{site.name} orders no power cycle of a lost node.",
            "set ha.power_cycle = true.",
        )
    return table


def managed(site: Site) -> list[tuple[Guest, GuestHa]]:
    """The guests that the HA manager keeps, each with its policy."""
    return [(guest, guest.ha) for guest in site.guests if guest.ha is not None]


def resource(policy: GuestHa) -> dict[str, str]:
    """What POST and PUT /cluster/ha/resources are given, beside the resource's name."""
    return {
        "state": policy.state,
        "max_restart": str(policy.max_restart),
        "max_relocate": str(policy.max_relocate),
        "failback": "1" if policy.failback else "0",
    }


def rule_name(guest: Guest) -> str:
    """The name of the guest's node-affinity rule."""
    return f"{RULE}{guest.name}"


def rules(site: Site) -> dict[str, dict[str, Any]]:
    """Node-affinity rules by name: the resource, its nodes with priority, and whether it is kept to them."""
    return {
        rule_name(guest): {"resource": guest.sid, "nodes": dict(policy.nodes), "strict": policy.strict}
        for guest, policy in managed(site)
        if policy.nodes
    }


def nodes_text(nodes: dict[str, int]) -> str:
    """Nodes as the API takes them: `node1:2,node2:1`."""
    return ",".join(f"{name}:{priority}" for name, priority in nodes.items())
