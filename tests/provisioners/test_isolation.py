"""Isolation of guests: what the probe is told and what its report means; tests/rack/ probes for real."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cluster.errors import UnknownError
from cluster.site import Site
from provisioners.network.isolation import (
    Hosts,
    guest_address,
    host_addresses,
    orders,
    read_report,
    setup_script,
)

MACS = {"10.6.0.11": "52:54:00:01:00:00", "10.6.0.12": "52:54:00:02:00:00"}


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


def reached(device: str, how: str, control: bool) -> dict[str, Any]:
    entry = {"namespace": "rackproof-v2", "device": device, "target": "10.6.0.11", "how": how}
    return {**entry, "control": control}


def test_a_report_by_network(site: Site) -> None:
    controls = [reached("acc", "icmp", True), reached("acc", "tcp/22", True), reached("trk.2", "arp", True)]
    report = {"attempts": 500, "reached": [*controls, reached("trk.2.6", "tcp/8006", False)]}
    found = {f.network: f for f in read_report(site, "node1", "node2", json.dumps(report))}
    assert found["vlan2"].connected and not found["vlan3"].connected
    (leak,) = found["vlan2"].leaks
    assert (leak.device, leak.target, leak.how) == ("trk.2.6", "10.6.0.11", "tcp/8006")
    assert found["vlan1"].leaks == () and found["vlan1"].attempts == 100
    for missing in range(3):  # each part of the positive control is needed
        some = [c for i, c in enumerate(controls) if i != missing]
        text = json.dumps({"attempts": 500, "reached": some})
        assert not {f.network: f for f in read_report(site, "node1", "node2", text)}["vlan2"].connected


def test_every_network_is_tried_in_every_way(site: Site) -> None:
    order = orders(site, 0, Hosts((22, 9999), (5405,), MACS))
    assert [p["namespace"] for p in order["probes"]] == [f"rackproof-v{vid}" for vid in range(1, 6)]
    for vid, probe in enumerate(order["probes"], start=1):
        names = [device["name"] for device in probe["devices"]]
        assert names == ["acc", f"trk.{vid}", "acc.6", "trk", "trk.6", f"trk.{vid}.6"]
        assert all(device["targets"] == list(MACS) for device in probe["devices"])
        assert all(device["tcp"] and device["udp"] for device in probe["devices"])
        assert probe["devices"][0]["tcp"] == (22, 9999), "a guest with its tag tries every port"
    script = setup_script(site, 0, MACS)
    assert script.count("ip netns add") == 1 and "vid 2 pvid untagged" in script
    assert "neigh add 10.6.0.12 lladdr 52:54:00:02:00:00 dev trk.5.6 nud permanent" in script
