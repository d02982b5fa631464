"""The default site orders exactly the hardware that stands in the virtual rack: order and delivery agree.

Neither room reads the other's file, so nothing but this test holds the two together.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.site import ROOT, NodeSpec, Site
from cluster.site import load as load_site
from lab.rack import Rack, Server
from lab.rack import load as load_rack
from lab.standins.aws import PORT as AWS_PORT

SITE: Site = load_site(Path(ROOT / "sites/lab.toml"))
RACK: Rack = load_rack()
PAIRS = list(zip(SITE.nodes, RACK.server, strict=False))


each_pair = pytest.mark.parametrize(("node", "server"), PAIRS, ids=[node.name for node, _ in PAIRS])


def test_the_same_servers_in_the_same_order() -> None:
    assert [node.name for node in SITE.nodes] == [server.name for server in RACK.server]


@each_pair
def test_identity_and_addresses(node: NodeSpec, server: Server) -> None:
    assert (node.serial, str(node.address)) == (server.serial, server.address)
    assert (str(node.bmc.address), node.bmc.port) == (server.bmc, RACK.oob.bmc_port)


@each_pair
def test_every_port_goes_where_the_order_says(node: NodeSpec, server: Server) -> None:
    cabled = [
        (server.mac(port), switch.name, switch.ports[server.name])
        for port, switch in zip(("p0", "p1"), RACK.switch, strict=True)
    ]
    assert [(link.mac, link.switch, link.port) for link in node.links] == cabled
    assert node.ring is not None and node.ring.mac == server.mac("m0")


@each_pair
def test_drives_by_serial(node: NodeSpec, server: Server) -> None:
    drives = RACK.drives(server)
    assert list(node.boot_drives) == [drive.serial for drive in drives if drive.boot]
    assert list(node.data_drives) == [drive.serial for drive in drives if not drive.boot]


def test_what_each_server_holds() -> None:
    ordered, racked = SITE.hardware, RACK.servers
    assert ordered.memory == racked.memory_mib << 20
    assert ordered.threads == racked.vcpus
    assert (ordered.boot_drives.count, ordered.boot_drives.size) == (2, racked.boot_disk_gib << 30)
    assert (ordered.data_drives.count, ordered.data_drives.size) == (
        racked.data_disks,
        racked.data_disk_gib << 30,
    )


def test_the_same_networks() -> None:
    tagged = {
        name: (network.id, str(network.subnet))
        for name, network in SITE.networks.items()
        if network.id is not None
    }
    assert tagged == {name: (vlan.id, vlan.subnet) for name, vlan in RACK.vlans.items()}
    host = SITE.host_network
    assert str(host.gateway) == next(v.controller for v in RACK.vlans.values() if v.id == host.id)
    assert SITE.ring_network is not None and str(SITE.ring_network.subnet) == RACK.management.subnet
    assert SITE.oob_network is not None and str(SITE.oob_network.subnet) == RACK.oob.subnet


def test_the_same_switches() -> None:
    assert [(s.name, str(s.address)) for s in SITE.switches] == [(s.name, s.management) for s in RACK.switch]
    lag = {"active-backup": "none", "lacp": "lacp"}[RACK.switch_mode]
    assert SITE.bond.switch_lag == lag
    assert SITE.bond.mtu <= RACK.fabric.mtu, "the switches would drop full-size packets"


def test_the_same_services() -> None:
    assert (SITE.cluster, SITE.domain) == ("pve1", RACK.domain)
    assert [str(address) for address in SITE.dns] == [RACK.services.dns]
    assert [str(address) for address in SITE.ntp] == [RACK.services.ntp]
    assert str(SITE.aws.endpoint).rstrip("/") == f"https://{RACK.oob.aws}:{AWS_PORT}"
    assert str(SITE.medium.serve_from) == RACK.oob.controller
    assert str(SITE.medium.image).endswith(f".rack/{RACK.medium.path}")
    assert SITE.install.release == RACK.medium.release


def test_the_tie_is_the_rack_s_own() -> None:
    assert SITE.rack is not None
    assert SITE.rack.up == "python -m lab up"
    assert SITE.rack.enter == f"ip netns exec {RACK.namespace}"
    assert SITE.name == RACK.site_name
