"""Isolation of guests, probed for real between two nodes made of network namespaces, sound and leaking."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.errors import UnknownError
from cluster.site import Site
from provisioners.network.isolation import (
    _REMOTE,
    Isolation,
    guest_address,
    host_addresses,
    orders,
    read_report,
    setup_script,
)


def bridges_can_be_made() -> bool:
    """Whether we may, and this kernel can, make VLAN-aware bridges."""
    if os.geteuid() != 0:
        return False
    command = ["unshare", "--net", "ip", "link", "add", "vmbr0", "type", "bridge", "vlan_filtering", "1"]
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0


needs_bridges = pytest.mark.skipif(
    not bridges_can_be_made(), reason="needs root, and a kernel with bridges and VLANs"
)

PORTS = ([22, 8006], [5405])


class Room:
    """A node of namespaces: its own network and its own /run/netns."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process = subprocess.Popen(["unshare", "--net", "--mount", "--fork", "sleep", "300"])
        until = time.monotonic() + 5
        self.pid = 0
        while not self.pid and time.monotonic() < until:
            children = subprocess.run(
                ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, timeout=5, check=False
            )
            self.pid = int(children.stdout.split()[0]) if children.stdout.split() else 0
            time.sleep(0.05)
        self.run("mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns")

    def run(self, command: str, data: str = "", timeout: float = 60) -> str:
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-n", "-m", "sh", "-c", command],
            input=data, text=True, capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        self.process.terminate()
        subprocess.run(["kill", str(self.pid)], timeout=5, check=False)
        self.process.wait(timeout=10)


@pytest.fixture
def rooms() -> Iterator[tuple[Room, Room]]:
    pair = (Room(0), Room(1))
    try:
        yield pair
    finally:
        for room in pair:
            room.close()


def wire(
    rooms: tuple[Room, Room], site: Site, *, default_pvid: int = 0, vids: str = "1-5", pvid: str = ""
) -> None:
    """Two nodes as phase 2 leaves them, save for what the arguments break; a cable between their bonds."""
    first, second = rooms
    first.run(f"ip link add bond0 type veth peer name bond0 netns {second.pid}")
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


def attack(rooms: tuple[Room, Room], site: Site) -> list[Isolation]:
    """Both probes set up; the first one attacks."""
    for room in rooms:
        room.run(setup_script(site, room.index))
    order = orders(site, 0, PORTS)
    argument = json.dumps({**order, "window_s": 2.0})
    found = rooms[0].run(f"python3 - '{argument}'", data=_REMOTE)
    return read_report(site, "node1", "node2", found)


def leaks(found: list[Isolation]) -> dict[str, set[str]]:
    """Devices through which a host was reached, by network."""
    return {f.network: {r.device for r in f.leaks} for f in found if f.leaks}


@pytest.mark.root
@needs_bridges
def test_a_sound_network_lets_nothing_through_and_the_probes_see_each_other(
    rooms: tuple[Room, Room], site: Site
) -> None:
    wire(rooms, site)
    found = attack(rooms, site)
    assert [f.network for f in found] == ["vlan1", "vlan2", "vlan3", "vlan4", "vlan5"]
    assert all(f.connected for f in found), found
    assert leaks(found) == {}
    assert all(f.attempts > 50 for f in found)


@pytest.mark.root
@needs_bridges
def test_a_bridge_with_a_default_pvid_puts_the_host_into_vlan_1(rooms: tuple[Room, Room], site: Site) -> None:
    wire(rooms, site, default_pvid=1)
    found = leaks(attack(rooms, site))
    assert "acc" in found["vlan1"]
    assert {"vlan2", "vlan3", "vlan4", "vlan5"} & set(found) == set()


@pytest.mark.root
@needs_bridges
def test_a_bridge_that_carries_the_host_network_leaks_by_its_tag(
    rooms: tuple[Room, Room], site: Site
) -> None:
    wire(rooms, site, vids="1-6")
    for room in rooms:  # the plan's own layout: the host address on the guest bridge
        room.run("ip link del bond0.6; bridge vlan add dev vmbr0 vid 6 self")
        room.run(
            "ip link add link vmbr0 name vmbr0.6 type vlan id 6; ip link set vmbr0.6 up;"
            f" ip addr add {site.nodes[room.index].address}/24 dev vmbr0.6"
        )
    found = leaks(attack(rooms, site))
    assert all("trk.6" in devices for devices in found.values()) and len(found) == 5


@pytest.mark.root
@needs_bridges
def test_a_trunk_with_a_pvid_is_hopped_by_double_tags(rooms: tuple[Room, Room], site: Site) -> None:
    wire(rooms, site, vids="2-5", pvid="1")
    found = leaks(attack(rooms, site))
    assert "trk.1.6" in found["vlan1"] and "trk.2.6" not in found.get("vlan2", set())


@pytest.mark.root
@needs_bridges
def test_without_a_cable_the_positive_control_fails(rooms: tuple[Room, Room], site: Site) -> None:
    wire(rooms, site)
    rooms[1].run("ip link set bond0 down")
    assert not any(f.connected for f in attack(rooms, site))


def test_a_program_that_dies_shows_nothing(site: Site) -> None:
    for text in ("", "Traceback (most recent call last):\n", '{"attempts": 3}', "[]"):
        with pytest.raises(UnknownError, match="node1: the isolation probe gave no report"):
            read_report(site, "node1", "node2", text)


def test_addresses_of_probes_collide_with_nobody(site: Site) -> None:
    used: list[Any] = [node.address for node in site.nodes] + [site.host_network.gateway]
    for index in (0, 1):
        mine = host_addresses(site, index)
        assert len(mine) == 4 and not set(mine) & set(used)
        used += mine
    guest = site.networks["vlan1"].subnet
    ends = {
        guest_address(guest, 0),
        guest_address(guest, 1),
        guest_address(guest, 0) - 2,
        guest_address(guest, 1) - 2,
    }
    assert len(ends) == 4 and guest.broadcast_address not in ends
