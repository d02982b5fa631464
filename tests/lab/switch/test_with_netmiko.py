"""The command line as netmiko and the templates that the field uses for Comware meet it."""

from __future__ import annotations

import time
from typing import Any

import netmiko
import pytest
from ntc_templates.parse import parse_output

from .conftest import MINUTE_S, PEER, PORT1, PORT2, Running


def parsed(connection: Any, command: str) -> list[dict[str, Any]]:
    answer = parse_output(platform="hp_comware", command=command, data=connection.send_command(command))
    assert isinstance(answer, list)
    return answer


def test_brief_shows_up_down_and_administratively_down(running: Running, connection: Any) -> None:
    running.fabric.set_admin(PEER, False)
    rows = {row["interface"]: row for row in parsed(connection, "display interface brief")}
    assert {name: row["link"] for name, row in rows.items()} == {
        "TwoHGE1/0/1": "UP",
        "TwoHGE1/0/2": "DOWN",
        "FourHGE1/0/49": "ADM",
    }
    assert rows["TwoHGE1/0/1"]["speed"] == "200G"
    assert rows["TwoHGE1/0/1"]["vlan_id"] == "4094"


def test_one_interface(connection: Any) -> None:
    (row,) = parsed(connection, f"display interface {PORT1}")
    assert row["line_status"] == "UP"
    assert row["l2mtu"] == "9238"
    assert row["vlan_native"] == "4094"
    assert row["vlan_permitted"] == ["1-6"]
    assert row["port_link_type"] == "Trunk"


def test_shutdown_and_undo_act_on_the_fabric(running: Running, connection: Any) -> None:
    connection.send_config_set([f"interface {PORT1}", "shutdown"])
    assert running.fabric.state[PORT1].admin_up is False
    (row,) = parsed(connection, f"display interface {PORT1}")
    assert row["line_status"] == "Administratively DOWN"
    connection.send_config_set([f"interface {PORT1}", "undo shutdown"])
    assert running.fabric.state[PORT1].admin_up is True
    assert connection.find_prompt() == "<sw1>"


def test_vlan_membership(running: Running, connection: Any) -> None:
    connection.send_config_set(
        [
            f"interface {PORT1}",
            "undo port trunk permit vlan 2 to 3",
            "port trunk pvid vlan 6",
            "port trunk permit vlan 20",
        ]
    )
    port = running.fabric.state[PORT1]
    assert port.permitted == {1, 4, 5, 6, 20}
    assert port.pvid == 6
    text = connection.send_command(f"display interface {PORT1}")
    assert " VLAN Passing:   1, 4-5, 6(default vlan)\n" in text
    assert " VLAN permitted: 1, 4-5, 6(default vlan), 20\n" in text
    trunks = connection.send_command("display port trunk")
    assert "TwoHGE1/0/1          6     1, 4-6" in trunks
    assert "TwoHGE1/0/2          4094  1-6" in trunks


def test_vlan_tables(connection: Any) -> None:
    numbers = [row["vlan_id"] for row in parsed(connection, "display vlan brief")]
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    assert [row["vlan_id"] for row in parsed(connection, "display vlan all")] == numbers
    assert "Tagged ports:\n    TwoHundredGigE1/0/1           TwoHundredGigE1/0/2" in connection.send_command(
        "display vlan 6"
    )


def test_aggregation_tells_selected_from_alone(running: Running, connection: Any) -> None:
    rows = parsed(connection, "display link-aggregation verbose")
    assert [row["interface"] for row in rows] == ["Bridge-Aggregation1", "Bridge-Aggregation2"]
    assert rows[0]["local_interfaces"] == ["TwoHGE1/0/1"]
    text = connection.send_command("display link-aggregation verbose")
    assert "TwoHGE1/0/1         S       32768    1         {ABCDEF}" in text
    assert "TwoHGE1/0/2         U       32768    1         {ABCG}" in text
    summary = connection.send_command("display link-aggregation summary")
    assert "BAGG1      D     0x8000, 5254-0001-0000  1         0           0           Shar" in summary
    connection.send_config_set([f"interface {PORT1}", "undo lacp period"])
    assert "{ACDEF}" in connection.send_command("display link-aggregation verbose")
    assert parsed(connection, "display link-aggregation member-port")[0]["local_flag"] == "{ACDEF}"


def test_neighbours_and_addresses(connection: Any) -> None:
    (neighbour,) = parsed(connection, "display lldp neighbor-information list")
    assert (neighbour["local_interface"], neighbour["neighbor_name"]) == ("TwoHGE1/0/1", "node1")
    (entry,) = parsed(connection, "display mac-address")
    assert (entry["mac_address"], entry["vlan_id"], entry["interface"]) == (
        "5254-0001-0000",
        "6",
        "TwoHGE1/0/1",
    )


def test_scheduler_brings_a_shut_port_back(running: Running, connection: Any) -> None:
    connection.send_config_set(
        [
            "scheduler job heal-1",
            "command 1 system-view",
            f"command 2 interface {PORT1}",
            "command 3 undo shutdown",
            "quit",
            "scheduler schedule heal-1",
            "user-role network-admin",
            "job heal-1",
            "time once delay 0:05",
            "quit",
            f"interface {PORT1}",
            "shutdown",
        ]
    )
    assert running.fabric.state[PORT1].admin_up is False
    assert "Run once after 0 hours 5 minutes" in connection.send_command("display scheduler schedule heal-1")
    deadline = time.monotonic() + 20 * MINUTE_S
    while not running.fabric.state[PORT1].admin_up and time.monotonic() < deadline:
        time.sleep(MINUTE_S / 10)
    assert running.fabric.state[PORT1].admin_up is True
    shown = connection.send_command("display scheduler schedule heal-1")
    assert "Execution counts     : 1" in shown
    assert "Successful" in shown


def test_removed_schedule_does_not_fire(running: Running, connection: Any) -> None:
    connection.send_config_set(
        [
            "scheduler job heal-2",
            "command 1 system-view",
            f"command 2 interface {PORT1}",
            "command 3 undo shutdown",
            "quit",
            "scheduler schedule heal-2",
            "job heal-2",
            "time once delay 4",
            "quit",
            f"interface {PORT1}",
            "shutdown",
            "quit",
            "undo scheduler schedule heal-2",
        ]
    )
    time.sleep(5 * MINUTE_S)
    assert running.fabric.state[PORT1].admin_up is False
    assert connection.send_command("display scheduler schedule heal-2").strip() == ""


def test_mistakes_are_pointed_at(connection: Any) -> None:
    text = connection.send_command("display nonsense")
    assert "% Unrecognized command found at '^' position." in text
    caret = next(line for line in text.splitlines() if line.strip() == "^")
    assert len(caret) - 1 == len("<sw1>display ")
    assert "% Incomplete command" in connection.send_command("display link-aggregation")
    assert "% Unrecognized command" in connection.send_command(f"display interface {PORT2}9")
    assert "% Unrecognized command" in connection.send_command("shutdown")


def test_abbreviations_and_filters(connection: Any) -> None:
    full = connection.send_command("display interface brief")
    assert connection.send_command("dis int br") == full
    assert connection.send_command("display int TwoHundredGigE 1/0/1 brief").count("TwoHGE") == 1
    assert connection.send_command("display interface brief | include FourHGE").count("\n") == 0


def test_wrong_password_is_refused(running: Running) -> None:
    with pytest.raises(netmiko.NetmikoAuthenticationException):
        netmiko.ConnectHandler(**{**running.login, "password": "wrong"})
