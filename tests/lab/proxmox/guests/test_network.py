"""Network ports of guests: their property strings, and the script that plugs one."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.standins.proxmox.daemon.guests import network

MACS = st.integers(0, (1 << 24) - 1).map(lambda n: f"BC:24:11:{n >> 16:02X}:{n >> 8 & 255:02X}:{n & 255:02X}")
COMMON = {
    "bridge": st.sampled_from(["vmbr0", "vmbr1"]),
    "tag": st.integers(1, 4094),
    "mtu": st.integers(64, 65520),
}
LXC = st.fixed_dictionaries(
    {"name": st.sampled_from(["eth0", "eth1"]), "hwaddr": MACS, "type": st.just("veth")},
    optional={**COMMON, "ip": st.sampled_from(["dhcp", "10.1.0.201/24"]), "host-managed": st.booleans()},
)
QEMU = st.fixed_dictionaries(
    {"model": st.sampled_from(["virtio", "e1000"]), "macaddr": MACS}, optional=COMMON
)


@given(LXC)
def test_a_containers_port_there_and_back(values: dict[str, object]) -> None:
    assert network.parse_lxc(network.print_lxc(values)) == values


@given(QEMU)
def test_a_machines_port_there_and_back(values: dict[str, object]) -> None:
    assert network.parse_qemu(network.print_qemu(values)) == values


def test_pves_own_order() -> None:
    text = "tag=30,ip=dhcp,name=eth0,hwaddr=BC:24:11:0A:0B:0C,bridge=vmbr0,type=veth"
    wanted = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0A:0B:0C,ip=dhcp,tag=30,type=veth"
    assert network.print_lxc(network.parse_lxc(text)) == wanted


def test_who_has_no_address_gets_one() -> None:
    found = {network.print_qemu(network.parse_qemu("virtio,bridge=vmbr0")) for _ in range(3)}
    assert len(found) == 3
    assert all(re.fullmatch(r"virtio=BC:24:11(:[0-9A-F]{2}){3},bridge=vmbr0", one) for one in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name=eth0,tag=0", "tag: value must have a minimum value of 1"),
        ("name=eth0,tag=4095", "tag: value must have a maximum value of 4094"),
        ("name=eth0,hwaddr=01:24:11:00:00:01", "unicast MAC address"),
        ("name=eth0,ip=10.1.0.1", "invalid ipv4 network configuration"),
        ("bridge=vmbr0", "name: property is missing"),
        ("name=eth0,bridge=a b", "bridge: value does not match the regex pattern"),
        ("name=eth0,bridge=x;reboot", "bridge: value does not match the regex pattern"),
    ],
)
def test_what_a_port_cannot_be(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        network.parse_lxc(text)


@pytest.mark.parametrize(
    ("net", "vlans"),
    [
        ("name=eth0,bridge=vmbr0,tag=3", ["vid 3 pvid untagged"]),
        ("name=eth0,bridge=vmbr0", ["vid 1 pvid untagged", "vid 2-4094"]),
        ("name=eth0,bridge=vmbr0,tag=3,trunks=4;5", ["vid 3 pvid untagged", "vid 4", "vid 5"]),
    ],
)
def test_a_port_is_in_its_vlans_alone(net: str, vlans: list[str]) -> None:
    script = network.plug("veth101i0", network.parse_lxc(net))
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    bridged = [line.split('"$port" ')[1] for line in script.splitlines() if line.startswith("bridge vlan")]
    assert bridged == ["vid 1-4094", *vlans]
    assert "port=veth101i0 bridge=vmbr0" in script
    assert script.index("vlan_filtering") < script.index("ip link set") < script.index("bridge vlan add")


def test_a_bridge_that_knows_no_vlans_is_refused() -> None:
    """Nothing is plugged where a tag would mean nothing: no such bridge, or one without filtering."""
    script = network.plug("lo", {"bridge": "rackproof-none", "tag": 1})
    done = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode != 0
