"""What Comware prints, as releases differ in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.comware import (
    Neighbour,
    PortState,
    error_in,
    full_name,
    is_port_name,
    parse_interfaces,
    parse_lags,
    parse_neighbours,
    parse_vlans,
    renamed,
)

INTERFACES = """\
Bridge-Aggregation11
Current state: UP
Line protocol state: UP
Bandwidth: 400000000 kbps
400Gbps-speed mode, full-duplex mode
Link speed type is autonegotiation, link duplex type is autonegotiation
PVID: 4094
Port link-type: Trunk
 VLAN Passing:   2-6
 VLAN permitted: 2-6
 Trunk port encapsulation: IEEE 802.1q
Last clearing of counters: Never

TwoHundredGigE1/0/1
Current state: UP
Line protocol state: UP
IP packet frame type: Ethernet II, hardware address: 0200-0000-0101
Description: node1 p0, Current state of the cable is good
Bandwidth: 200000000 kbps
Loopback is not set
Media type is optical fiber, port hardware type is 200G_BASE_SR4_QSFP56
200Gbps-speed mode, full-duplex mode
Maximum frame length: 9416
Allow jumbo frames to pass
PVID: 1
MDI type: Automdix
Port link-type: Trunk
 VLAN Passing:   1(default vlan), 2-6
 VLAN permitted: 1(default vlan), 2-6, 101, 103, 105, 107, 109, 111, 113, 115,
                 117, 119-121
 Trunk port encapsulation: IEEE 802.1q
 Input (total):  0 packets, 0 bytes
         0 unicasts, 0 broadcasts, 0 multicasts, 0 pauses

TwoHundredGigE1/0/2
Current state: Administratively DOWN
Line protocol state: DOWN
Bandwidth: 200000000 kbps
Unknown-speed mode, unknown-duplex mode
Maximum frame length: 1536
PVID: 10
Port link-type: Access
 Tagged VLANs:   None
 Untagged VLANs: 10

TwoHundredGigE1/0/3
Current state: DOWN (Link-Aggregation interface down)
Line protocol state: DOWN
Unknown-speed mode, unknown-duplex mode
PVID: 6
Port link-type: Hybrid
 Tagged VLANs:   1-5
 Untagged VLANs: 6

TwoHundredGigE1/0/4:1
Current state: STP DOWN
Line protocol state: DOWN

M-GigabitEthernet0/0/0
Current state: UP
Line protocol state: UP
Maximum transmission unit: 1500
Internet address: 10.9.0.21/24 (Primary)
1000Mbps-speed mode, Full-duplex mode
"""


def test_ports_of_comware_7() -> None:
    found = parse_interfaces(INTERFACES)
    assert list(found) == [
        "Bridge-Aggregation11", "TwoHundredGigE1/0/1", "TwoHundredGigE1/0/2", "TwoHundredGigE1/0/3",
        "TwoHundredGigE1/0/4:1", "M-GigabitEthernet0/0/0",
    ]  # fmt: skip
    many = frozenset({1, 2, 3, 4, 5, 6, *range(101, 119, 2), 119, 120, 121})
    assert found["TwoHundredGigE1/0/1"] == PortState(
        True, True, 200e9, many, 1, 9416, "trunk", frozenset({1}), 200e9
    )
    assert found["TwoHundredGigE1/0/1"].tagged_vlans == many - {1}
    access = found["TwoHundredGigE1/0/2"]
    assert access == PortState(
        False, False, None, frozenset({10}), 10, 1536, "access", frozenset({10}), 200e9
    )
    hybrid = found["TwoHundredGigE1/0/3"]
    assert (hybrid.admin_up, hybrid.up, hybrid.untagged_vlans) == (True, False, {6})
    assert hybrid.permit_vlans == {1, 2, 3, 4, 5, 6}
    assert (found["TwoHundredGigE1/0/4:1"].admin_up, found["TwoHundredGigE1/0/4:1"].up) == (True, False)
    assert found["M-GigabitEthernet0/0/0"].speed == 1e9
    assert found["Bridge-Aggregation11"].tagged_vlans == {2, 3, 4, 5, 6}


def test_ports_of_comware_5() -> None:
    text = """\
 GigabitEthernet1/0/7 current state: DOWN ( Administratively )
 IP Packet Frame Type: PKTFMT_ETHNT_2, Hardware Address: 0200-0000-0107
 Unknown-speed mode, unknown-duplex mode
 The Maximum Frame Length is 1518
 PVID: 200
 Port link-type: access
  Tagged   VLAN ID : none
  Untagged VLAN ID : 200
"""
    state = parse_interfaces(text)["GigabitEthernet1/0/7"]
    assert (state.admin_up, state.pvid, state.mtu, state.permit_vlans) == (False, 200, 1518, {200})


def test_an_empty_answer_has_no_ports() -> None:
    assert parse_interfaces("") == {}
    assert parse_lags("") == {}
    assert parse_neighbours("LLDP is not configured.\n") == {}


LAGS = """\
Loadsharing Type: Shar -- Loadsharing, NonS -- Non-Loadsharing
Port Status: S -- Selected, U -- Unselected, I -- Individual
Flags:  A -- LACP_Activity, B -- LACP_Timeout, C -- Aggregation,
        D -- Synchronization, E -- Collecting, F -- Distributing,
        G -- Defaulted, H -- Expired

Aggregate Interface: Bridge-Aggregation1
Aggregation Mode: Dynamic
Loadsharing Type: Shar
System ID: 0x8000, 0200-0000-00ff
Local:
  Port                Status   Priority Index    Oper-Key               Flag
  TGE1/0/1(R)         S        32768    1        1                      {ABCDEF}
  TGE1/0/2            U        32768    2        1                      {ACG}
Remote:
  Actor               Priority Index    Oper-Key SystemID               Flag
  TGE1/0/1            255      1        15       0xffff, 5254-0001-0000 {ABCDEF}
  TGE1/0/2            0        0        0        0x8000, 0000-0000-0000 {EF}

Aggregation Interface: Bridge-Aggregation2
Aggregation Mode: Static
Loadsharing Type: NonS
  Port             Status  Priority Oper-Key
  TGE1/0/3         S       32768    2
"""


def test_lags_say_who_is_selected_how_fast_and_with_whom() -> None:
    found = renamed(parse_lags(LAGS), ["TwoHundredGigE1/0/1", "TwoHundredGigE1/0/2", "Bridge-Aggregation1"])
    first, second = found["Bridge-Aggregation1"].members
    assert (first.port, first.selected, first.flags, first.partner_system) == (
        "TwoHundredGigE1/0/1", True, "{ABCDEF}", "5254-0001-0000",
    )  # fmt: skip
    assert (second.port, second.selected, second.flags, second.partner_flags) == (
        "TwoHundredGigE1/0/2", False, "{ACG}", "{EF}",
    )  # fmt: skip
    assert (found["Bridge-Aggregation1"].mode, found["Bridge-Aggregation1"].system_id) == (
        "Dynamic",
        "0200-0000-00ff",
    )
    assert found["Bridge-Aggregation2"].mode == "Static"


@pytest.mark.parametrize(
    "text",
    [
        """\
Chassis ID : * -- -- Nearest nontpmr bridge neighbor
             # -- -- Nearest customer bridge neighbor
             Default -- -- Nearest bridge neighbor
System Name          Local Interface Chassis ID      Port ID
node1.rack.example   TGE1/0/1        5254-0001-0000  5254-0001-0000
-                    TGE1/0/2        5254-0002-0000  Port 1
a-very-long-name.rac TGE1/0/3        5254-0003-0000  p0
k.example
""",
        """\
Local Interface Chassis ID      Port ID                    System Name
TGE1/0/1        5254-0001-0000  5254-0001-0000             node1.rack.example
TGE1/0/2        5254-0002-0000  p1                         -
TGE1/0/3        5254-0003-0000  p0                         a-very-long-name.rack.example
""",
    ],
)
def test_neighbours_in_both_orders_of_columns(text: str) -> None:
    found = parse_neighbours(text)
    assert list(found) == ["TGE1/0/1", "TGE1/0/2", "TGE1/0/3"]
    assert found["TGE1/0/1"] == Neighbour("node1.rack.example", "5254-0001-0000", "5254-0001-0000")
    assert found["TGE1/0/3"].system.startswith("a-very-long-name.rac")


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (
            "     ^\n % Unrecognized command found at '^' position.",
            "% Unrecognized command found at '^' position.",
        ),
        ("Permission denied.\n", "Permission denied."),
        ("%Nov 20 12:00:00:000 2026 sw1 IFNET/3/PHY_UPDOWN: Physical state changed to down.", None),
        ("System View: return to User View with Ctrl+Z.", None),
    ],
)
def test_refusals_are_not_log_lines(output: str, error: str | None) -> None:
    assert error_in(output) == error


def test_only_full_names_of_ports_go_into_commands() -> None:
    assert is_port_name("TwoHundredGigE1/0/1")
    assert is_port_name("Ten-GigabitEthernet1/0/3:2")
    for bad in ("", "1/0/1", "range X", "TwoHundredGigE1/0/1\nreboot", "TwoHundredGigE1/0/1; save", "vlan"):
        assert not is_port_name(bad)


def test_short_names_are_matched_by_their_numbers() -> None:
    names = ["TwoHundredGigE1/0/1", "TwoHundredGigE1/0/11", "Bridge-Aggregation1", "Vlan-interface1"]
    assert full_name("TGE1/0/1", names) == "TwoHundredGigE1/0/1"
    assert full_name("THGE1/0/11", names) == "TwoHundredGigE1/0/11"
    assert full_name("TGE1/0/2", names) == "TGE1/0/2"
    assert full_name("Vlan-interface1", names) == "Vlan-interface1"


@given(st.frozensets(st.integers(1, 4094)))
def test_vlan_lists_are_read_as_they_are_written(vlans: frozenset[int]) -> None:
    ranges: list[list[int]] = []
    for vlan in sorted(vlans):
        if ranges and ranges[-1][1] == vlan - 1:
            ranges[-1][1] = vlan
        else:
            ranges.append([vlan, vlan])
    text = ", ".join(f"{a}-{b}" if a != b else f"{a}(default vlan)" for a, b in ranges) or "None"
    assert parse_vlans(text) == vlans
