"""LXC's own configuration of a container, made from Proxmox's at each start. Pure.

Source: lxc.container.conf(5); the keys that PVE::LXC::update_lxc_config writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import network

FOLDER = "/var/lib/lxc"
_INCLUDED = "/usr/share/lxc/config"
#: ids of an unprivileged container begin here on the node, and are so many (for all of them the same)
SHIFT, IDS = 100000, 65536
_MIB = 1 << 20
MEMORY_MIB = 512  # PVE's defaults
SWAP_MIB = 512


def folder(vmid: int) -> str:
    return f"{FOLDER}/{vmid}"


def rootfs(vmid: int) -> str:
    return f"{folder(vmid)}/rootfs"


def port(vmid: int, index: int) -> str:
    """The node's end of a container's network interface."""
    return f"veth{vmid}i{index}"


def script(vmid: int, index: int) -> str:
    """What LXC runs when the node's end exists."""
    return f"{folder(vmid)}/net{index}.up"


def networks(values: Mapping[str, str]) -> dict[int, str]:
    """`net0`, `net1` ... by number."""
    found = {}
    for key, value in values.items():
        if match := re.fullmatch(r"net(\d+)", key):
            found[int(match[1])] = value
    return dict(sorted(found.items()))


def scripts(vmid: int, values: Mapping[str, str]) -> dict[str, str]:
    """The network scripts by path; an interface without a bridge has none."""
    return {
        script(vmid, index): network.plug(port(vmid, index), net)
        for index, text in networks(values).items()
        if "bridge" in (net := network.parse_lxc(text))
    }


def render(vmid: int, values: Mapping[str, str], cpus: int) -> str:
    """The text of /var/lib/lxc/<vmid>/config; `cpus` is how many the node has."""
    memory = int(values.get("memory", MEMORY_MIB)) * _MIB
    lines = [
        "lxc.arch = amd64",
        f"lxc.include = {_INCLUDED}/common.conf",
        *(_unprivileged() if is_unprivileged(values) else ()),
        # The medium has no AppArmor profiles.
        "lxc.apparmor.profile = unconfined",
        "lxc.monitor.unshare = 1",
        f"lxc.tty.max = {values.get('tty', '2')}",
        "lxc.environment = TERM=linux",
        f"lxc.uts.name = {values.get('hostname', f'CT{vmid}')}",
        # The limits stand above the cgroup that the container sees as its own.
        f"lxc.cgroup.dir.container = lxc/{vmid}",
        "lxc.cgroup.dir.container.inner = ns",
        f"lxc.cgroup.dir.monitor = lxc.monitor/{vmid}",
        f"lxc.cgroup2.memory.max = {memory}",
        f"lxc.cgroup2.memory.swap.max = {int(values.get('swap', SWAP_MIB)) * _MIB}",
    ]
    if (cores := int(values.get("cores", cpus))) < cpus:
        lines.append(f"lxc.cgroup2.cpuset.cpus = 0-{cores - 1}")
    lines.append(f"lxc.rootfs.path = dir:{rootfs(vmid)}")
    for index, text in networks(values).items():
        lines += _network(vmid, index, text)
    return "\n".join(lines) + "\n"


def is_unprivileged(values: Mapping[str, str]) -> bool:
    """Whether the container's root is nobody on the node."""
    return values.get("unprivileged") == "1"


def _unprivileged() -> list[str]:
    include = f"lxc.include = {_INCLUDED}/userns.conf"
    return [include, *(f"lxc.idmap = {kind} 0 {SHIFT} {IDS}" for kind in "ug")]


def _network(vmid: int, index: int, text: str) -> list[str]:
    """An address stands here only where the node is to set it: else it is the container's own matter."""
    net = network.parse_lxc(text)
    found = {"type": "veth", "flags": "up", "veth.pair": port(vmid, index), "name": net["name"]}
    if "hwaddr" in net:
        found["hwaddr"] = net["hwaddr"]
    if "mtu" in net:
        found["mtu"] = str(net["mtu"])
    if "bridge" in net:
        found["script.up"] = script(vmid, index)
    if net.get("host-managed"):
        if "/" in net.get("ip", ""):
            found["ipv4.address"] = net["ip"]
        if "gw" in net:
            found["ipv4.gateway"] = net["gw"]
    return [f"lxc.net.{index}.{key} = {value}" for key, value in found.items()]
