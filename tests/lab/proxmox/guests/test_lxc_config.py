"""LXC's configuration of a container."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.standins.proxmox.daemon.guests import lxc_config

from ..hypervisor import CT_CONF

WHOLE = """lxc.arch = amd64
lxc.include = /usr/share/lxc/config/common.conf
lxc.apparmor.profile = unconfined
lxc.monitor.unshare = 1
lxc.tty.max = 2
lxc.environment = TERM=linux
lxc.uts.name = beat-ct
lxc.cgroup.dir.container = lxc/101
lxc.cgroup.dir.container.inner = ns
lxc.cgroup.dir.monitor = lxc.monitor/101
lxc.cgroup2.memory.max = 67108864
lxc.cgroup2.memory.swap.max = 0
lxc.rootfs.path = dir:/var/lib/lxc/101/rootfs
lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.net.0.veth.pair = veth101i0
lxc.net.0.name = eth0
lxc.net.0.hwaddr = BC:24:11:00:00:01
lxc.net.0.script.up = /var/lib/lxc/101/net0.up
"""


def test_the_whole_file() -> None:
    assert lxc_config.render(101, CT_CONF, cpus=1) == WHOLE


def test_the_address_is_the_nodes_matter_only_where_it_is_host_managed() -> None:
    net = f"{CT_CONF['net0']},gw=10.1.0.1"
    assert "ipv4" not in lxc_config.render(101, {**CT_CONF, "net0": net}, 1)
    found = lxc_config.render(101, {**CT_CONF, "net0": f"{net},host-managed=1"}, 1)
    assert found.endswith("lxc.net.0.ipv4.address = 10.1.0.201/24\nlxc.net.0.ipv4.gateway = 10.1.0.1\n")
    dhcp = {**CT_CONF, "net0": "name=eth0,bridge=vmbr0,ip=dhcp,host-managed=1"}
    assert "ipv4" not in lxc_config.render(101, dhcp, 1)


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_container_has_its_cores_and_no_more_than_there_are(cores: int, cpus: int) -> None:
    found = lxc_config.render(101, {**CT_CONF, "cores": str(cores)}, cpus)
    limit = f"lxc.cgroup2.cpuset.cpus = 0-{cores - 1}\n"
    assert (limit in found) == (cores < cpus)
    assert ("cpuset" in found) == (cores < cpus)


def test_an_unprivileged_container_has_ids_of_its_own() -> None:
    found = lxc_config.render(101, {**CT_CONF, "unprivileged": "1"}, 1)
    after = found.split("common.conf\n")[1]
    wanted = "lxc.include = /usr/share/lxc/config/userns.conf\nlxc.idmap = u 0 100000 65536\n"
    assert after.startswith(f"{wanted}lxc.idmap = g 0 100000 65536\n"), "what it takes back comes after"
    assert "idmap" not in lxc_config.render(101, {**CT_CONF, "unprivileged": "0"}, 1)


def test_defaults_are_pves() -> None:
    found = lxc_config.render(101, {"rootfs": CT_CONF["rootfs"]}, 1)
    assert f"memory.max = {512 << 20}\n" in found and f"swap.max = {512 << 20}\n" in found
    assert "lxc.uts.name = CT101\n" in found and "lxc.net" not in found


def test_a_port_without_a_bridge_is_not_plugged() -> None:
    values = {**CT_CONF, "net1": "name=eth1"}
    assert list(lxc_config.scripts(101, values)) == ["/var/lib/lxc/101/net0.up"]
    assert "lxc.net.1.script" not in lxc_config.render(101, values, 1)
