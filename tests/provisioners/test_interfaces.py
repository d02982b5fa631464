"""The rendered network configuration: its form, and what must never stand in it."""

from __future__ import annotations

import re

import pytest

from cluster.site import Site
from provisioners.network.interfaces import digest, guest_vids, render


def stanzas(text: str) -> dict[str, list[str]]:
    """Option lines by interface."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("iface "):
            current = found.setdefault(line.split()[1], [])
        elif line.startswith("\t"):
            current.append(line.strip())
    return found


@pytest.fixture
def text(site: Site) -> str:
    return render(site, site.node("node1"))


def with_bond(site: Site, **changes: object) -> Site:
    return site.model_copy(update={"bond": site.bond.model_copy(update=changes)})


def test_the_whole_file(text: str) -> None:
    found = stanzas(text)
    assert list(found) == ["lo", "nic0", "nic1", "bond0", "vmbr0", "bond0.6", "ring0"]
    assert found["bond0"][:3] == ["bond-slaves nic0 nic1", "bond-miimon 100", "bond-mode active-backup"]
    assert "bond-updelay 200" in found["bond0"] and "bond-downdelay 0" in found["bond0"]
    assert "address 10.6.0.11/24" in found["bond0.6"] and "gateway 10.6.0.1" in found["bond0.6"]
    assert found["ring0"] == ["address 10.7.0.11/24"]
    assert text.endswith("\nsource /etc/network/interfaces.d/*\n")


def test_no_comment_becomes_part_of_a_value(text: str) -> None:
    assert not [line for line in text.splitlines() if "#" in line and not line.startswith("#")]


def test_options_are_indented_by_one_tab(text: str) -> None:
    indented = [line for line in text.splitlines() if line[:1].isspace()]
    assert indented and all(re.match(r"\t\S", line) for line in indented)


def test_the_guest_bridge_never_carries_the_host_network(site: Site, text: str) -> None:
    bridge = stanzas(text)["vmbr0"]
    assert "bridge-vids 1 2 3 4 5" in bridge and not any(line.startswith("address") for line in bridge)
    greedy = site.model_copy(update={"bridge": site.bridge.model_copy(update={"vids": (1, 2, 6)})})
    assert guest_vids(greedy) == (1, 2)


def test_no_vlan_is_ever_untagged(text: str) -> None:
    found = stanzas(text)
    assert "bridge-allow-untagged no" in found["bond0"]
    assert any("vlan_default_pvid 0" in line for line in found["vmbr0"])
    assert not any(line.startswith("bridge-pvid") for lines in found.values() for line in lines)


def test_lacp(site: Site) -> None:
    found = stanzas(render(with_bond(site, mode="802.3ad", mtu=9000), site.node("node1")))
    for line in ("bond-mode 802.3ad", "bond-lacp-rate fast", "bond-xmit-hash-policy layer3+4", "mtu 9000"):
        assert line in found["bond0"]
    assert "mtu 9000" in found["nic0"] and "mtu 9000" in found["bond0.6"]
    assert not any(line.startswith("mtu") for line in found["vmbr0"]), "a bridge inherits it"
    assert "bond-lacp-rate fast" not in stanzas(render(site, site.node("node1")))["bond0"]


def test_every_link_of_a_bond_with_an_address_is_up_in_the_end(site: Site) -> None:
    """ifupdown2 3.0.0 on a busy node: nic1 of one server stayed down after a start."""
    bond = stanzas(render(site, site.node("node1")))["bond0"]
    assert "post-up ip link set nic0 up; ip link set nic1 up" in bond


def test_arp_monitoring_takes_the_place_of_miimon(site: Site) -> None:
    order = with_bond(site, arp_interval=0.2, arp_targets=("10.6.0.1",))
    bond = stanzas(render(order, site.node("node1")))["bond0"]
    assert not any(line.startswith(("bond-miimon", "bond-updelay")) for line in bond)
    assert "post-up ip link set bond0 type bond miimon 0 arp_interval 200 arp_ip_target 10.6.0.1" in bond


def test_nodes_differ_only_in_their_addresses(site: Site) -> None:
    first, second = render(site, site.node("node1")), render(site, site.node("node2"))
    for mine, other in (
        ("10.6.0.11", "10.6.0.12"),
        ("10.7.0.11", "10.7.0.12"),
        ("52:54:00:01:00:00", "52:54:00:02:00:00"),
    ):
        first = first.replace(mine, other)
    assert first == second
    assert digest(render(site, site.node("node1"))) != digest(second)
    assert "\thwaddress 52:54:00:02:00:00\n" in second, "udev would race ifupdown2 for the bond's address"
