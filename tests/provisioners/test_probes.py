"""What the network probes make of the tools' words; what is no result is never a result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.errors import UnknownError
from cluster.node import Gathered
from cluster.site import load
from provisioners.network.observation import parse, port_vlans
from provisioners.network.probes import Doubled, failed_checks, mesh, read_arping, read_iperf, read_ping

PING = """PING 10.6.0.12 (10.6.0.12) from 10.6.0.11 : 1472(1500) bytes of data.

--- 10.6.0.12 ping statistics ---
3 packets transmitted, {received} received, {loss}% packet loss, time 402ms
"""


def test_pings() -> None:
    good = read_ping("node1", "node2", 1500, PING.format(received=3, loss=0))
    assert good.passes and (good.sent, good.received) == (3, 3)
    assert not read_ping("node1", "node2", 1500, PING.format(received=2, loss=33)).passes
    long = "ping: local error: message too long, mtu=1400\n" + PING.format(received=0, loss=100)
    assert read_ping("node1", "node2", 1500, long).reason == "message too long, mtu=1400"
    for text in ("", "ping: connect: Network is unreachable\n"):
        with pytest.raises(UnknownError, match="node1: ping to node2 gave no result"):
            read_ping("node1", "node2", 1500, text)


def test_doubled_addresses() -> None:
    text = (
        "ARPING 10.6.0.11 from 0.0.0.0 bond0.6\nUnicast reply from 10.6.0.11 [52:54:00:AA:BB:CC]  1.5ms\n" * 2
    )
    assert read_arping(text) == ["52:54:00:aa:bb:cc"]
    assert read_arping("ARPING 10.6.0.11 from 0.0.0.0 bond0.6\nReceived 0 response(s)\n") == []


class _Cluster:
    """Answers `each` with what one node hears for another's address."""

    def __init__(self, heard: dict[tuple[str, str], str]) -> None:
        self.site = load(Path("sites/lab.toml"))
        self.heard = heard

    def each(self, _: object) -> dict[str, Gathered]:
        answers = {}
        for node in self.site.nodes:
            answer = answers[node.name] = Gathered()
            answer["arp"], answer.rc["arp"] = "Received 0 response(s)", 0
            for other in self.site.nodes:
                if other is not node:
                    own = f"Unicast reply from {other.address} [{other.links[0].mac.upper()}]  1.5ms\n"
                    answer[other.name] = PING.format(received=3, loss=0)
                    key = f"arp-{other.name}"
                    answer[key], answer.rc[key] = own + self.heard.get((node.name, other.name), ""), 0
        return answers


def test_a_second_station_is_heard_by_whoever_can_hear_it() -> None:
    assert mesh(_Cluster({})).doubled == ()  # type: ignore[arg-type]
    second = "Unicast reply from 10.6.0.12 [02:00:00:00:00:99]  0.9ms\n"
    found = mesh(_Cluster({("node3", "node2"): second})).doubled  # type: ignore[arg-type]
    assert found == (Doubled("node2", "10.6.0.12", "02:00:00:00:00:99"),)


def test_throughput() -> None:
    report = {
        "end": {"sum_received": {"bits_per_second": 1.5e8, "seconds": 5.0}, "sum_sent": {"retransmits": 7}}
    }
    found = read_iperf("node1", "node2", 8, json.dumps(report))
    assert (found.bits_per_second, found.retransmits, found.seconds, found.streams) == (1.5e8, 7, 5.0, 8)
    for text, why in (('{"error": "unable to connect to server"}', "unable to connect"), ("", "no output")):
        with pytest.raises(UnknownError, match=why):
            read_iperf("node1", "node2", 8, text)


def test_vlan_ranges() -> None:
    rows = [{"vlan": 1, "flags": ["PVID", "Egress Untagged"]}, {"vlan": 2, "vlanEnd": 5}]
    found = port_vlans("bond0", rows)
    assert (found.vids, found.untagged, found.pvid) == ((1, 2, 3, 4, 5), (1,), 1)
    assert port_vlans("bond0", []).vids == ()


def link(name: str, **more: object) -> dict[str, object]:
    return {"ifname": name, "mtu": 1500, "flags": ["UP", "LOWER_UP"], "address": "aa:aa:aa:aa:aa:aa", **more}


def slave(name: str, mac: str, state: str, **more: object) -> dict[str, object]:
    data = {"state": state, "mii_status": "UP", "link_failure_count": 1, "perm_hwaddr": mac, **more}
    return link(name, master="bond0", linkinfo={"info_slave_kind": "bond", "info_slave_data": data})


def sections(bond: dict[str, object]) -> dict[str, str]:
    links = [
        slave("nic0", "52:54:00:01:00:00", "ACTIVE", ad_aggregator_id=1, ad_actor_oper_port_state=63),
        slave("nic1", "52:54:00:01:00:01", "BACKUP", ad_aggregator_id=1, ad_actor_oper_port_state=63),
        link("bond0", master="vmbr0", linkinfo={"info_kind": "bond", "info_data": bond}),
        link(
            "vmbr0",
            linkinfo={"info_kind": "bridge", "info_data": {"vlan_filtering": 1, "vlan_default_pvid": 0}},
        ),
        link("bond0.6", link="bond0", linkinfo={"info_kind": "vlan", "info_data": {"id": 6}}),
        link("ring0", address="52:54:00:01:00:10"),
    ]
    return {
        "links": json.dumps(links),
        "addresses": json.dumps(
            [{"ifname": "bond0.6", "addr_info": [{"local": "10.6.0.11", "prefixlen": 24}]}]
        ),
        "routes": json.dumps([{"dst": "default", "gateway": "10.6.0.1", "dev": "bond0.6"}]),
        "vlans": json.dumps([{"ifname": "bond0", "vlans": [{"vlan": 1, "vlanEnd": 5}]}]),
        "file": "abc  -\n",
        "carriers": "nic0 1 200000\nnic1 0 0\nlo 1\n",
        "corosync": "inactive\n",
    }


def test_a_node_as_the_kernel_tells_it() -> None:
    bond = {"mode": "active-backup", "miimon": 100, "updelay": 200, "downdelay": 0, "active_slave": "nic0"}
    seen = parse("node1", sections(bond), "bond0")
    assert seen.bond is not None
    assert (seen.bond.miimon, seen.bond.updelay, seen.bond.active) == (0.1, 0.2, "nic0")
    first, second = seen.bond.members
    assert (first.mac, first.carrier, first.state, first.failures) == ("52:54:00:01:00:00", True, "active", 1)
    assert first.speed_bps == 200e9 and not second.carrier and not seen.bond.redundant
    bridge = seen.bridge("vmbr0")
    assert bridge is not None and bridge.vlan_aware and bridge.ports[0].vids == (1, 2, 3, 4, 5)
    assert bridge.own.vids == () and seen.holding("10.6.0.11") == ("bond0.6",)
    assert seen.names["52:54:00:01:00:10"] == "ring0" and seen.file == "abc" and not seen.clustered
    vlan = seen.vlan("bond0.6")
    assert vlan is not None and (vlan.device, vlan.id) == ("bond0", 6)


@pytest.mark.parametrize(
    ("ports", "partner", "redundant"),
    [(2, "02:00:00:00:00:01", True), (1, "02:00:00:00:00:01", False), (2, "00:00:00:00:00:00", False)],
)
def test_lacp_is_redundant_only_with_all_ports_and_a_partner(
    ports: int, partner: str, redundant: bool
) -> None:
    bond = {
        "mode": "802.3ad",
        "miimon": 100,
        "ad_lacp_rate": "fast",
        "ad_info": {"num_ports": ports, "partner_mac": partner},
    }
    found = {**sections(bond), "carriers": "nic0 1 200000\nnic1 1 200000\n"}
    seen = parse("node1", found, "bond0")
    assert seen.bond is not None and seen.bond.redundant is redundant


def test_a_node_without_any_of_our_network() -> None:
    seen = parse("node1", {"links": "[]"}, "bond0")
    assert seen.bond is None and seen.bridges == () and seen.file == ""


def test_what_ifquery_gets_wrong_itself_is_no_finding_and_the_rest_is() -> None:
    report = (
        "iface bond0 inet manual (bridge pvid error)                 [fail]\n"
        "\tbond-mode active-backup                                   [pass]\n"
        "iface bond0.6 inet static                                   [fail]\n"
        "\taddress 10.6.0.11/24                                      [fail]\n"
    )
    assert failed_checks(report) == ["iface bond0.6 inet static [fail]", "address 10.6.0.11/24 [fail]"]
