"""Node networks in which phase 2 lacks nothing: each test takes one thing away."""

from __future__ import annotations

from dataclasses import replace

from cluster.site import Site
from provisioners.network.interfaces import digest, guest_vids, render
from provisioners.network.observation import (
    Bond,
    Bridge,
    Member,
    NodeNetwork,
    Observation,
    PortVlans,
    Vlan,
)


def good_network(site: Site, name: str) -> NodeNetwork:
    """A node's network as ordered."""
    node = site.node(name)
    want = site.bond
    links = [link.mac.lower() for link in node.links]
    members = tuple(
        Member(f"nic{i}", mac, True, True, "active" if i == 0 else "backup", 0, 200e9, want.mtu)
        for i, mac in enumerate(links)
    )
    assert node.ring is not None
    return NodeNetwork(
        name=name,
        bond=Bond(
            name=want.name,
            mode=want.mode,
            miimon=want.miimon,
            updelay=want.updelay,
            downdelay=want.downdelay,
            arp_interval=0.0,
            arp_targets=(),
            lacp_rate="slow",
            xmit_hash_policy="layer2",
            mtu=want.mtu,
            carrier=True,
            active="nic0",
            members=members,
            mac=links[0],
        ),
        bridges=(
            Bridge(
                site.bridge.name,
                True,
                0,
                want.mtu,
                (PortVlans(want.name, guest_vids(site), (), None),),
                PortVlans(site.bridge.name, (), (), None),
            ),
        ),
        vlans=(Vlan("bond0.6", want.name, 6, want.mtu, True),),
        addresses={"bond0.6": (f"{node.address}/24", "fe80::1/64"), "ring0": (f"{node.ring.address}/24",)},
        gateway="10.6.0.1",
        gateway_device="bond0.6",
        names={**{mac: f"nic{i}" for i, mac in enumerate(links)}, node.ring.mac.lower(): "ring0"},
        file=digest(render(site, node)),
        clustered=False,
    )


def all_networked(site: Site) -> Observation:
    """Three nodes in which phase 2 lacks nothing."""
    return Observation({n.name: good_network(site, n.name) for n in site.nodes})


def with_node(seen: Observation, name: str, **changes: object) -> Observation:
    """The same observation with some values of one node changed."""
    return Observation({**seen.nodes, name: replace(seen.node(name), **changes)})  # type: ignore[arg-type]
