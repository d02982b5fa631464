"""Phase 2's pure part, both ways: nothing missing, and each property missing alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.site import Site
from provisioners.network.missing import missing
from provisioners.network.observation import Bond, Bridge, Observation, PortVlans
from provisioners.unreachable import Unreachable
from tests.provisioners.networks import all_networked, with_node


@pytest.fixture
def networked(site: Site) -> Observation:
    return all_networked(site)


def only(site: Site, seen: Observation) -> str:
    (change,) = missing(site, seen)
    assert (change.node, change.action, change.destroys) == ("node2", "network", "")
    return change.summary


def bond_with(seen: Observation, **changes: Any) -> Observation:
    bond = seen.node("node2").bond
    assert isinstance(bond, Bond)
    return with_node(seen, "node2", bond=replace(bond, **changes))


def bridge_with(seen: Observation, **changes: Any) -> Observation:
    (bridge,) = seen.node("node2").bridges
    return with_node(seen, "node2", bridges=(replace(bridge, **changes),))


def test_nothing_is_missing_as_ordered(site: Site, networked: Observation) -> None:
    assert missing(site, networked) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mode": "802.3ad"}, "set the mode of bond0 to active-backup (it is 802.3ad)"),
        ({"mtu": 9000}, "set the MTU of bond0 to 1500 (it is 9000)"),
        (
            {"mac": "b2:fc:c8:ad:a7:51"},
            "set the address of bond0 to 52:54:00:02:00:00 (it is b2:fc:c8:ad:a7:51)",
        ),
        ({"miimon": 1.0}, "set the miimon of bond0 to 100 ms (it is 1000 ms)"),
        ({"updelay": 0.0}, "set the updelay of bond0 to 200 ms (it is 0 ms)"),
        ({"downdelay": 0.2}, "set the downdelay of bond0 to 0 ms (it is 200 ms)"),
    ],
)
def test_each_property_of_the_bond(
    site: Site, networked: Observation, change: dict[str, Any], sentence: str
) -> None:
    assert only(site, bond_with(networked, **change)) == sentence


def test_lacp_properties_count_only_under_lacp(site: Site, networked: Observation) -> None:
    bond = site.bond.model_copy(
        update={"mode": "802.3ad", "lacp_rate": "fast", "xmit_hash_policy": "layer3+4"}
    )
    order = site.model_copy(update={"bond": bond})
    seen = bond_with(networked, mode="802.3ad", lacp_rate="slow", xmit_hash_policy="layer2")
    of_node2 = [c.summary for c in missing(order, seen) if c.node == "node2"]
    assert of_node2 == [
        "set the LACP rate of bond0 to fast (it is slow)",
        "set the hash policy of bond0 to layer3+4 (it is layer2)",
    ]


def test_members_of_the_bond(site: Site, networked: Observation) -> None:
    bond = networked.node("node2").bond
    assert bond is not None
    first, second = bond.members
    gone = only(site, bond_with(networked, members=(first,)))
    assert gone == "put nic1 (52:54:00:02:00:01) into bond0"
    stranger = replace(second, name="eno1", mac="52:54:00:99:00:00")
    assert "take eno1" in only(site, bond_with(networked, members=(first, second, stranger)))
    small = bond_with(networked, members=(first, replace(second, mtu=1400)))
    assert only(site, small) == "set the MTU of nic1 to 1500 (it is 1400)"
    # A port that the node does not have is no difference of configuration, nor is a link without carrier.
    names = {m: n for m, n in networked.node("node2").names.items() if n != "nic1"}
    assert missing(site, with_node(bond_with(networked, members=(first,)), "node2", names=names)) == []
    assert (
        missing(site, bond_with(networked, members=(first, replace(second, carrier=False, up=False)))) == []
    )


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"vlan_aware": False}, "make vmbr0 VLAN-aware"),
        ({"default_pvid": 1}, "take the default PVID 1 from vmbr0"),
        ({"own": PortVlans("vmbr0", (1,), (1,), 1)}, "take the host out of VLAN 1 of vmbr0"),
        ({"mtu": 9000}, "set the MTU of vmbr0 to 1500"),
        ({"ports": ()}, "put bond0 into vmbr0"),
        ({"ports": (PortVlans("bond0", (1, 2, 3, 5), (), None),)}, "let vmbr0 carry VLAN 4"),
        ({"ports": (PortVlans("bond0", (1, 2, 3, 4, 5, 6), (), None),)}, "let vmbr0 carry VLAN 6 no longer"),
        ({"ports": (PortVlans("bond0", (1, 2, 3, 4, 5), (1,), 1),)}, "tag everything on bond0"),
    ],
)
def test_each_property_of_the_bridge(
    site: Site, networked: Observation, change: dict[str, Any], part: str
) -> None:
    assert part in only(site, bridge_with(networked, **change))


def test_a_bond_or_bridge_that_is_not_there(site: Site, networked: Observation) -> None:
    assert "make bond0 (active-backup" in only(site, with_node(networked, "node2", bond=None))
    assert "make vmbr0, VLAN-aware" in only(site, with_node(networked, "node2", bridges=()))
    classic = Bridge("vmbr1", False, 1, 1500, (), PortVlans("vmbr1", (1,), (1,), 1))
    assert "make vmbr0" in only(site, with_node(networked, "node2", bridges=(classic,)))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            {"addresses": {"ring0": ("10.7.0.12/24",)}},
            "move the host address 10.6.0.12 to bond0.6 (it is on no",
        ),
        (
            {"addresses": {"vmbr0": ("10.6.0.12/24",), "ring0": ("10.7.0.12/24",)}},
            "move the host address 10.6.0.12 to bond0.6 (it is on vmbr0)",
        ),
        (
            {"addresses": {"bond0.6": ("10.6.0.12/16",), "ring0": ("10.7.0.12/24",)}},
            "move the host address",
        ),
        ({"addresses": {"bond0.6": ("10.6.0.12/24",)}}, "give ring0 the address 10.7.0.12"),
        ({"gateway": "10.6.0.254"}, "route everything else over 10.6.0.1 on bond0.6"),
        ({"gateway_device": "ring0"}, "route everything else over 10.6.0.1 on bond0.6"),
        ({"file": "0"}, "write /etc/network/interfaces as ordered"),
    ],
)
def test_each_address_and_route(
    site: Site, networked: Observation, change: dict[str, Any], part: str
) -> None:
    assert part in only(site, with_node(networked, "node2", **change))


def test_the_host_vlan_itself(site: Site, networked: Observation) -> None:
    (vlan,) = networked.node("node2").vlans
    wrong = with_node(networked, "node2", vlans=(replace(vlan, id=5),))
    assert only(site, wrong) == "make bond0.6 VLAN 6 of bond0"
    moved = with_node(networked, "node2", vlans=(replace(vlan, device="vmbr0"),))
    assert only(site, moved) == "make bond0.6 VLAN 6 of bond0"
    small = with_node(networked, "node2", vlans=(replace(vlan, mtu=1400),))
    assert only(site, small) == "set the MTU of bond0.6 to 1500 (it is 1400)"


def test_a_server_without_a_system_is_planned_whole(site: Site, networked: Observation) -> None:
    bare = Observation({**networked.nodes, "node2": Unreachable("node2", "it was never installed", False)})
    summaries = [c.summary for c in missing(site, bare)]
    assert len(summaries) == 4 and {c.node for c in missing(site, bare)} == {"node2"}
    assert any("10.6.0.12 to bond0.6" in s for s in summaries) and any(
        "1, 2, 3, 4, 5 only" in s for s in summaries
    )


def test_a_node_that_went_silent_is_never_passed_over(site: Site, networked: Observation) -> None:
    silent = Observation({**networked.nodes, "node2": Unreachable("node2", "no route to host", True)})
    assert "no route to host" in only(site, silent)
