"""The pure parts of the switch: names, VLAN lists, OVS readings, LLDP frames, grammar."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.standins.switch import lldp, names, ovs_read, render
from lab.standins.switch.configure import vlan_set
from lab.standins.switch.ovs_fabric import EVERY_VLAN, _member, vlan_settings
from lab.standins.switch.ports import PVID_NONE, PortError
from lab.standins.switch.scheduler import delay_minutes
from lab.standins.switch.terminal import Terminal

KNOWN = ["TwoHundredGigE1/0/1", "TwoHundredGigE1/0/11", "FourHundredGigE1/0/49"]

LACP = """\
---- node1lag ----
  status: active negotiated
  sys_id: 5e:20:3d:9a:2f:4c
  sys_priority: 65534
  aggregation key: 1
  lacp_time: fast

member: node1p0: current attached
  port_id: 1
  port_priority: 65535
  may_enable: true

  actor sys_id: 5e:20:3d:9a:2f:4c
  actor sys_priority: 65534
  actor port_id: 1
  actor port_priority: 65535
  actor key: 1
  actor state: activity timeout aggregation synchronized collecting distributing

  partner sys_id: 52:54:00:01:00:00
  partner sys_priority: 65535
  partner port_id: 1
  partner port_priority: 255
  partner key: 15
  partner state: activity timeout aggregation synchronized collecting distributing

member: node1p1: defaulted detached
  port_id: 2
  port_priority: 65535
  may_enable: false

  actor sys_id: 5e:20:3d:9a:2f:4c
  actor sys_priority: 65534
  actor port_id: 2
  actor port_priority: 65535
  actor key: 1
  actor state: activity timeout aggregation defaulted

  partner sys_id: 00:00:00:00:00:00
  partner sys_priority: 0
  partner port_id: 0
  partner port_priority: 0
  partner key: 0
  partner state:
"""


@pytest.mark.parametrize(
    "typed", ["TwoHundredGigE1/0/1", "twohundredgige1/0/1", "TwoHundredGigE 1/0/1", "TwoHGE1/0/1", "two1/0/1"]
)
def test_an_interface_is_found_in_all_its_forms(typed: str) -> None:
    assert names.find(typed, KNOWN) == "TwoHundredGigE1/0/1"


@pytest.mark.parametrize("typed", ["1/0/1", "TwoHundredGigE1/0/2", "FourHGE1/0/1", "", "HGE1/0/1"])
def test_what_is_no_interface_is_not_found(typed: str) -> None:
    assert names.find(typed, KNOWN) is None


@given(st.frozensets(st.integers(1, 4094)))
def test_vlan_ranges_say_the_same_set(vlans: frozenset[int]) -> None:
    words = " ".join(text.replace("-", " to ") for text in names.vlan_ranges(vlans)).split()
    assert vlan_set(words) == vlans if words else not vlans


@pytest.mark.parametrize("text", ["0", "4095", "6 to 1", "1 to", "x"])
def test_vlan_lists_that_make_no_sense(text: str) -> None:
    with pytest.raises(PortError):
        vlan_set(text.split())


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"vlan_mode": "trunk", "trunks": [1, 6]}, (True, PVID_NONE, frozenset({1, 6}))),
        ({"vlan_mode": "trunk", "trunks": [4095]}, (True, PVID_NONE, frozenset())),
        ({"vlan_mode": "trunk", "trunks": None}, (True, PVID_NONE, EVERY_VLAN)),
        ({"vlan_mode": "native-untagged", "tag": 6, "trunks": [1]}, (True, 6, frozenset({1, 6}))),
        ({"vlan_mode": None, "tag": 5}, (False, 5, frozenset({5}))),
        ({"vlan_mode": "access", "tag": 3}, (False, 3, frozenset({3}))),
        ({"vlan_mode": "trunk", "trunks": [2], "external_ids": {"pvid": "9"}}, (True, 9, frozenset({2}))),
    ],
)
def test_vlan_settings_of_ovs_in_comware_words(
    record: dict[str, object], expected: tuple[bool, int, frozenset[int]]
) -> None:
    assert vlan_settings(record) == expected


def test_ovsdb_rows() -> None:
    text = (
        '{"headings":["name","tag","trunks","external_ids"],'
        '"data":[["n1p0",["set",[]],["set",[1,6]],["map",[["pvid","9"]]]],["n1p1",6,["set",[]],["map",[]]]]}'
    )
    assert ovs_read.rows(text) == {
        "n1p0": {"name": "n1p0", "tag": None, "trunks": [1, 6], "external_ids": {"pvid": "9"}},
        "n1p1": {"name": "n1p1", "tag": 6, "trunks": None, "external_ids": {}},
    }


def test_lacp_of_ovs() -> None:
    shown = ovs_read.parse_lacp(LACP)
    assert shown.system == "5e:20:3d:9a:2f:4c"
    good, bad = shown.members["node1p0"], shown.members["node1p1"]
    assert (good["selected"], render.flags(good["actor_flags"]), good["partner_system"]) == (
        True,
        "{ABCDEF}",
        "52:54:00:01:00:00",
    )
    assert (bad["selected"], render.flags(bad["actor_flags"]), bad["partner_system"]) == (False, "{ABCG}", "")


def test_a_member_without_partner_is_individual_and_without_link_unselected() -> None:
    text = LACP.replace("defaulted detached", "defaulted attached").replace(
        "may_enable: false", "may_enable: true"
    )
    found = ovs_read.parse_lacp(text).members["node1p1"]
    assert (found["selected"], found["individual"]) == (False, True)
    up = ovs_read.Link("", True, True, 1500)
    assert _member("port", found, up).individual is True
    for link in (None, dataclasses.replace(up, carrier=False), dataclasses.replace(up, up=False)):
        down = _member("port", found, link)
        assert (down.selected, down.individual, render.flags(down.actor_flags)) == (False, False, "{ABC}")


def test_lldp_frame_survives_the_way() -> None:
    frame = lldp.encode("52:54:00:aa:00:01", "02:0c:00:00:00:01", "TwoHundredGigE1/0/1", "sw1")
    assert len(frame) >= 60
    decoded = lldp.decode(frame, "here")
    assert decoded is not None
    neighbour, seconds = decoded
    assert seconds == lldp.HOLD_S
    assert (neighbour.port, neighbour.chassis, neighbour.port_id, neighbour.system) == (
        "here",
        "020c-0000-0001",
        "TwoHundredGigE1/0/1",
        "sw1",
    )


@given(st.binary(max_size=200))
def test_any_frame_is_read_without_a_fall(noise: bytes) -> None:
    lldp.decode(lldp.NEAREST_BRIDGE + bytes(6) + b"\x88\xcc" + noise, "port")


@pytest.mark.parametrize(("text", "minutes"), [("5", 5), ("0:05", 5), ("00:10", 10), ("1:30", 90)])
def test_delays(text: str, minutes: int) -> None:
    assert delay_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "1:60", "-1", "1:2:3", "soon"])
def test_delays_that_are_refused(text: str) -> None:
    with pytest.raises(PortError):
        delay_minutes(text)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("\n\n", "\r\n<p>\r\n<p>"),
        ("ab\r\ncd\n", "ab\r\n[ab]\r\n<p>cd\r\n[cd]\r\n<p>"),
        ("ax\x7fb\n", "ax\b \bb\r\n[ab]\r\n<p>"),
        ("junk\x03ab\n", "junk\r\n<p>ab\r\n[ab]\r\n<p>"),
        ("junk\x1a", "junk\r\n[return]\r\n<p>"),
        ("\x1b[Aab\n", "ab\r\n[ab]\r\n<p>"),
        ("\x7f\t", ""),
    ],
)
def test_terminal_shows_keys_and_answers_in_order(typed: str, shown: str) -> None:
    terminal = Terminal(lambda line: f"[{line}]" if line else "", lambda: "<p>")
    assert "".join(terminal.feed(typed)) == shown
    one_by_one = Terminal(lambda line: f"[{line}]" if line else "", lambda: "<p>")
    if "\x1b" not in typed:
        assert "".join(piece for key in typed for piece in one_by_one.feed(key)) == shown
