"""The lab site orders what is racked: the two files never read each other, so this test does."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from lab.paths import REPOSITORY
from lab.rack import Rack


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    with (REPOSITORY / "sites/lab.toml").open("rb") as file:
        return tomllib.load(file)


def test_servers(site: dict[str, Any], hardware: Rack) -> None:
    assert len(site["node"]) == len(hardware.server)
    for node, server in zip(site["node"], hardware.server, strict=True):
        assert (node["name"], node["serial"], node["address"]) == (server.name, server.serial, server.address)
        assert (node["bmc"]["address"], node["bmc"]["port"]) == (server.bmc, hardware.oob.bmc_port)
        assert [link["mac"] for link in node["links"]] == [server.p0, server.p1]
        assert node["ring"]["mac"] == server.m0
        drives = hardware.drives(server)
        assert node["boot_drives"] == [drive.serial for drive in drives if drive.boot]
        assert node["data_drives"] == [drive.serial for drive in drives if not drive.boot]


def test_switches(site: dict[str, Any], hardware: Rack) -> None:
    assert [(s["name"], s["address"]) for s in site["switch"]] == [
        (s.name, s.management) for s in hardware.switch
    ]
    for node in site["node"]:
        for link, switch in zip(node["links"], hardware.switch, strict=True):
            assert (link["switch"], link["port"]) == (switch.name, switch.ports[node["name"]])


def test_networks(site: dict[str, Any], hardware: Rack) -> None:
    for name, vlan in hardware.vlans.items():
        assert (site["networks"][name]["id"], site["networks"][name]["subnet"]) == (vlan.id, vlan.subnet)
    assert site["networks"]["mgmt"]["subnet"] == hardware.management.subnet
    assert site["networks"]["oob"]["subnet"] == hardware.oob.subnet
    assert site["bond"]["mtu"] <= hardware.fabric.mtu


def test_sizes(site: dict[str, Any], hardware: Rack) -> None:
    ordered = site["hardware"]
    assert ordered["memory"] == f"{hardware.servers.memory_mib // 1024}GiB"
    assert ordered["boot_drives"] == {"count": 2, "size": f"{hardware.servers.boot_disk_gib}GiB"}
    assert ordered["data_drives"] == {
        "count": hardware.servers.data_disks,
        "size": f"{hardware.servers.data_disk_gib}GiB",
    }


def test_ties(site: dict[str, Any], hardware: Rack) -> None:
    assert site["rack"]["enter"] == f"ip netns exec {hardware.namespace}"
    assert site["medium"]["image"] == f".rack/{hardware.medium.path}"
    assert hardware.oob.aws in site["aws"]["endpoint"]
    assert site["dns"] == [hardware.services.dns]
    assert site["ntp"] == [hardware.services.ntp]
