"""The isolation probe against sound and leaking networks, made of namespaces on one node of the rack.

Run with the rack up and its nodes installed (about three minutes):
    ip netns exec rackproof .venv/bin/python -m pytest tests/rack/test_isolation_leaks.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.node import Node
from cluster.site import Site, load
from provisioners.network.isolation import _REMOTE, Hosts, Isolation, orders, read_report, setup_script

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.rack, pytest.mark.timeout(600)]


class Room:
    """What stands for a node: a network of its own and a /run/netns of its own, on one real node."""

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index
        self.unit = f"rackproof-room-{index}"
        self.host = "bond0.6"
        self.close()
        node.run(
            f"systemd-run --quiet --collect --unit={self.unit} --property=RuntimeMaxSec=300"
            " --property=PrivateNetwork=yes --property=PrivateMounts=yes sleep 300"
        )
        self.pid = node.run(f"systemctl show -P MainPID {self.unit}").stdout.strip()
        self.run("mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns")

    def run(self, command: str, data: str | None = None) -> str:
        inside = f"nsenter -t {self.pid} -n -m sh -c %s"
        return self.node.run(inside, command, data=data, timeout=120).stdout

    def close(self) -> None:
        self.node.run(f"systemctl stop {self.unit} 2>/dev/null", check=False)


Rooms = tuple[Room, Room]


@pytest.fixture(scope="module")
def site() -> Site:
    return load(ROOT / "sites" / "lab.toml")


@pytest.fixture
def rooms(site: Site) -> Iterator[Rooms]:
    with Cluster(site) as cluster:
        node = cluster.nodes[site.nodes[-1].name]
        pair = (Room(node, 0), Room(node, 1))
        try:
            yield pair
        finally:
            for room in pair:
                room.close()


def wire(rooms: Rooms, site: Site, *, default_pvid: int = 0, vids: str = "1-5", pvid: str = "") -> None:
    """Two nodes as phase 2 leaves them, save for what the arguments break; a cable between their bonds."""
    first, second = rooms
    first.node.run(
        f"nsenter -t {first.pid} -n ip link add bond0 type veth peer name bond0 netns {second.pid}"
    )
    host = site.host_network.id
    for room in rooms:
        address = site.nodes[room.index].address
        room.run(
            f"set -e; ip link set lo up; ip link add link bond0 name bond0.{host} type vlan id {host}\n"
            f"ip addr add {address}/24 dev bond0.{host}\n"
            f"ip link add vmbr0 type bridge vlan_filtering 1 vlan_default_pvid {default_pvid}\n"
            "ip link set bond0 master vmbr0; ip link set vmbr0 up; ip link set bond0 up\n"
            f"ip link set bond0.{host} up\n"
            f"bridge vlan del dev bond0 vid 1 2>/dev/null || true; bridge vlan add dev bond0 vid {vids}\n"
            f"[ -z '{pvid}' ] || bridge vlan add dev bond0 vid {pvid or 1} pvid untagged"
        )


def attack(rooms: Rooms, site: Site) -> list[Isolation]:
    """Both probes set up; the first one attacks."""
    macs = {}
    for room in rooms:
        (link,) = json.loads(room.run(f"ip -j link show {room.host}"))
        macs[str(site.nodes[room.index].address)] = link["address"]
    for room in rooms:
        room.run(setup_script(site, room.index, macs))
    argument = json.dumps(orders(site, 0, Hosts((22, 8006), (5405,), macs)))
    return read_report(site, "node1", "node2", rooms[0].run(f"python3 - '{argument}'", data=_REMOTE))


def leaks(found: list[Isolation]) -> dict[str, set[str]]:
    """Devices through which a host was reached, by network."""
    return {f.network: {r.device for r in f.leaks} for f in found if f.leaks}


def test_a_sound_network_lets_nothing_through_and_the_probes_see_each_other(rooms: Rooms, site: Site) -> None:
    wire(rooms, site)
    found = attack(rooms, site)
    assert [f.network for f in found] == ["vlan1", "vlan2", "vlan3", "vlan4", "vlan5"]
    assert all(f.connected for f in found), found
    assert leaks(found) == {}
    assert all(f.attempts > 50 for f in found)


def test_a_bridge_with_a_default_pvid_puts_the_host_into_vlan_1(rooms: Rooms, site: Site) -> None:
    wire(rooms, site, default_pvid=1)
    found = leaks(attack(rooms, site))
    assert "acc" in found["vlan1"]
    assert {"vlan2", "vlan3", "vlan4", "vlan5"} & set(found) == set()


def test_a_bridge_that_carries_the_host_network_leaks_by_its_tag(rooms: Rooms, site: Site) -> None:
    wire(rooms, site, vids="1-6")
    for room in rooms:  # the plan's own layout: the host address on the guest bridge
        room.host = "vmbr0.6"
        room.run("ip link del bond0.6; bridge vlan add dev vmbr0 vid 6 self")
        room.run(
            "ip link add link vmbr0 name vmbr0.6 type vlan id 6; ip link set vmbr0.6 up;"
            f" ip addr add {site.nodes[room.index].address}/24 dev vmbr0.6"
        )
    found = leaks(attack(rooms, site))
    assert all("trk.6" in devices for devices in found.values()) and len(found) == 5


def test_a_trunk_with_a_pvid_is_hopped_by_double_tags(rooms: Rooms, site: Site) -> None:
    wire(rooms, site, vids="2-5", pvid="1")
    found = leaks(attack(rooms, site))
    assert "trk.1.6" in found["vlan1"] and "trk.2.6" not in found.get("vlan2", set())


def test_without_a_cable_the_positive_control_fails(rooms: Rooms, site: Site) -> None:
    wire(rooms, site)
    rooms[1].run("ip link set bond0 down")
    assert not any(f.connected for f in attack(rooms, site))
