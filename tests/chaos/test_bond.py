"""Reading bonds, what their redundancy lacks, and the outage their configuration implies."""

from __future__ import annotations

import json

import pytest

from chaos.bond_state import flaps, parse
from chaos.predict import alone, link_loss
from cluster.errors import UnknownError
from tests.chaos.breakable import bond, leg

LACP = {
    "mode": "802.3ad",
    "active": None,
    "ad_ports": 2,
    "ad_partner": "5a:30:ee:68:7f:ba",
    "lacp_rate": "fast",
}
SYNCED = {"actor": 63, "partner": 63}


def link_json(mode: str = "802.3ad") -> str:
    """As iproute2 6.15 prints it, cut down to what is read."""
    slave = {
        "state": "ACTIVE", "mii_status": "UP", "link_failure_count": 3, "perm_hwaddr": "52:54:00:01:00:01",
        "ad_aggregator_id": 1, "ad_actor_oper_port_state": 63, "ad_partner_oper_port_state": 61,
    }  # fmt: skip
    info = {
        "mode": mode, "miimon": 100, "updelay": 200, "downdelay": 0, "arp_interval": 0, "arp_missed_max": 2,
        "ad_lacp_rate": "fast",
        "ad_info": {"aggregator": 1, "num_ports": 2, "partner_mac": "5a:30:ee:68:7f:ba"},
    }  # fmt: skip
    if mode == "active-backup":
        del info["ad_info"]
        info["active_slave"] = "eth1"
    return json.dumps(
        [
            {"ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "address": "00:00:00:00:00:00"},
            {
                "ifname": "eth1", "flags": ["SLAVE", "UP", "LOWER_UP"], "master": "bond0",
                "address": "52:54:00:01:00:00",
                "linkinfo": {"info_slave_kind": "bond", "info_slave_data": slave},
            },
            {"ifname": "bond0", "flags": ["UP"], "linkinfo": {"info_kind": "bond", "info_data": info}},
            {"ifname": "bond0.6", "flags": ["UP"], "linkinfo": {"info_kind": "vlan", "info_data": {"id": 6}}},
        ]
    )  # fmt: skip


def test_a_bond_is_read() -> None:
    (found,) = parse(link_json()).values()
    assert (found.name, found.mode, found.miimon, found.lacp_rate) == ("bond0", "802.3ad", 100, "fast")
    assert (found.ad_ports, found.ad_partner, found.active) == (2, "5a:30:ee:68:7f:ba", None)
    (member,) = found.members
    assert member.mac == "52:54:00:01:00:01"
    assert (member.failures, member.actor, member.partner) == (3, 63, 61)
    assert member.carrier
    assert member.mii_up


def test_the_active_leg_is_read() -> None:
    found = parse(link_json("active-backup"))["bond0"]
    assert found.active == "eth1"
    assert found.lacp_rate is None
    assert found.leg("active").interface == "eth1"
    with pytest.raises(UnknownError, match="no second leg"):
        found.leg("other")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"linkinfo": {"info_kind": "bond"}}]'])
def test_what_cannot_be_read_is_unknown(text: str) -> None:
    with pytest.raises(UnknownError):
        parse(text)


def test_a_whole_bond_lacks_nothing() -> None:
    assert bond().missing() == []
    assert bond(leg("eth0", **SYNCED), leg("eth1", **SYNCED), **LACP).missing() == []
    slow = {"actor": 61, "partner": 61}
    assert bond(leg("eth0", **slow), leg("eth1", **slow), **LACP).missing() == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (bond(leg("eth0")), "has 1 of 2 legs"),
        (bond(leg("eth0"), leg("eth1", carrier=False)), "eth1 is down"),
        (bond(leg("eth0"), leg("eth1", admin_up=False)), "eth1 is down"),
        (bond(leg("eth0"), leg("eth1", mii_up=False)), "eth1 is down"),
        (bond(active=None), "no active leg"),
        (bond(leg("eth0", **SYNCED), leg("eth1", **SYNCED), **{**LACP, "ad_ports": 1}), "1 of 2 ports"),
        (
            bond(leg("eth0", **SYNCED), leg("eth1", **SYNCED), **{**LACP, "ad_partner": "00:00:00:00:00:00"}),
            "no LACP partner",
        ),
        (bond(leg("eth0", **SYNCED), leg("eth1", actor=71, partner=63), **LACP), "actor state 71"),
        (bond(leg("eth0", **SYNCED), leg("eth1", actor=63, partner=143), **LACP), "partner state 143"),
        (bond(leg("eth0", **SYNCED), leg("eth1"), **LACP), "actor state None"),
    ],
)
def test_each_lack_is_told_alone(broken: object, told: str) -> None:
    found = broken.missing()  # type: ignore[attr-defined]
    assert any(told in text for text in found), found


def test_flaps_are_failures_that_the_fault_does_not_explain() -> None:
    before = {"node1": bond()}
    after = {"node1": bond(leg("eth0", failures=1), leg("eth1"))}
    assert flaps(before, before) == []
    assert flaps(before, after) == ["node1: eth0 failed 1 times, 0 explained"]
    assert flaps(before, after, frozenset({("node1", "eth0")})) == []
    assert flaps(
        before, {"node1": bond(leg("eth0", failures=2), leg("eth1"))}, frozenset({("node1", "eth0")})
    )
    assert flaps(before, after, frozenset({("node1", "eth1")}))


@pytest.mark.parametrize(
    ("state", "loss", "least", "most"),
    [
        (bond(), "carrier", 0.0, 0.1),
        (bond(downdelay=200), "carrier", 0.2, 0.3),
        (bond(downdelay=250), "carrier", 0.2, 0.3),
        (bond(downdelay=99), "carrier", 0.0, 0.1),
        (bond(miimon=500), "carrier", 0.0, 0.5),
        (bond(), "silent", 0.0, None),
        (bond(miimon=0), "carrier", 0.0, None),
        (bond(miimon=0, arp_interval=200), "silent", 0.3, 0.7),
        (bond(miimon=0, arp_interval=200), "carrier", 0.3, 0.7),
        (bond(**LACP), "silent", 2.0, 3.0),
        (bond(**{**LACP, "lacp_rate": "slow"}), "silent", 60.0, 90.0),
        (bond(**LACP), "carrier", 0.0, 0.1),
    ],
)
def test_the_outage_that_a_configuration_implies(
    state: object, loss: str, least: float, most: float | None
) -> None:
    prediction = link_loss(state, loss)  # type: ignore[arg-type]
    assert prediction.least_s == pytest.approx(least)
    assert prediction.most_s == (None if most is None else pytest.approx(most))
    assert prediction.detected == (most is not None)
    assert prediction.why


def test_what_was_measured_lies_in_what_is_predicted() -> None:
    """Measured on kernel 6.12: ARP monitor of 200 ms about 0.6 s; downdelay 200 ms 0.2 to 0.26 s."""
    arp = link_loss(bond(miimon=0, arp_interval=200), "silent")
    assert arp.most_s is not None
    assert arp.least_s <= 0.6 <= arp.most_s
    delayed = link_loss(bond(downdelay=200), "carrier")
    assert delayed.most_s is not None
    assert delayed.least_s <= 0.26 <= delayed.most_s


def test_the_standby_leg_interrupts_nothing() -> None:
    assert link_loss(bond(), "silent", carries_traffic=False).most_s == 0.0


def test_a_node_alone_is_away_for_as_long_as_its_switch_waits() -> None:
    found = alone(20.0, bond())
    assert found.most_s is not None
    assert found.least_s == 10.0
    assert 20.0 < found.most_s < 25.0
