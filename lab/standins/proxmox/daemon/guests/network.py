"""Network ports of guests: their properties, and how one becomes a port of the VLAN-aware guest bridge."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from typing import Any

from ..http.parameters import join_properties, properties

MAC_PREFIX = "BC:24:11"  # datacenter.cfg's default
_COMMON: dict[str, dict[str, Any]] = {
    "bridge": {"type": "string", "pattern": r"[-_.\w\d]+", "optional": 1},
    "tag": {"type": "integer", "minimum": 1, "maximum": 4094, "optional": 1},
    "trunks": {"type": "string", "pattern": r"\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*", "optional": 1},
    "mtu": {"type": "integer", "minimum": 64, "maximum": 65520, "optional": 1},
}
MODELS = ("e1000", "virtio")
LXC: dict[str, dict[str, Any]] = {
    **_COMMON,
    "name": {"type": "string", "pattern": r"[-_.\w\d]+"},
    "hwaddr": {"type": "string", "format": "mac-addr", "optional": 1},
    "ip": {"type": "string", "format": "pve-ipv4-config", "optional": 1},
    "gw": {"type": "string", "format": "ipv4", "optional": 1},
    "host-managed": {"type": "boolean", "optional": 1},
    "type": {"type": "string", "enum": ("veth",), "optional": 1},
}
QEMU: dict[str, dict[str, Any]] = {
    **_COMMON,
    "model": {"type": "string", "enum": MODELS, "default_key": 1},
    "macaddr": {"type": "string", "format": "mac-addr", "optional": 1},
}


def random_mac() -> str:
    """An address below the prefix that is Proxmox's own."""
    return ":".join([MAC_PREFIX, *(f"{byte:02X}" for byte in secrets.token_bytes(3))])


def parse_lxc(text: str) -> dict[str, Any]:
    """`name=eth0,bridge=vmbr0,tag=1,...` taken apart; ValueError with PVE's words."""
    return properties(text, LXC)


def print_lxc(values: Mapping[str, Any]) -> str:
    """As PVE writes it, with an address if it had none."""
    return join_properties({"type": "veth", "hwaddr": random_mac(), **values}, LXC)


def parse_qemu(text: str) -> dict[str, Any]:
    """`virtio=BC:24:11:..,bridge=vmbr0,tag=1` or `virtio,bridge=..`: model and address are one word there."""
    first, comma, rest = text.partition(",")
    model, equals, mac = first.partition("=")
    if equals and model in MODELS:
        text = f"{model},macaddr={mac}{comma}{rest}"
    return properties(text, QEMU)


def print_qemu(values: Mapping[str, Any]) -> str:
    """As PVE writes it, with an address if it had none."""
    more = {key: value for key, value in values.items() if key not in ("model", "macaddr")}
    head = f"{values['model']}={values.get('macaddr') or random_mac()}"
    return ",".join([head, join_properties(more, QEMU)] if more else [head])


def plug(port: str, values: Mapping[str, Any]) -> str:
    """Shell that makes an existing port a member of its bridge, as PVE::Network does on a VLAN-aware one.

    With a tag the guest is in that VLAN alone and sees no tag. Without one it is in VLAN 1 untagged, and in
    every other VLAN that the bridge's uplink carries (`trunks`: in these) with tags.
    """
    bridge = shlex.quote(str(values["bridge"]))
    tag = values.get("tag")
    trunks = str(values.get("trunks", "2-4094" if tag is None else "")).split(";")
    lines = [
        "#!/bin/sh",
        "set -e",
        f"port={shlex.quote(port)} bridge={bridge}",
        'read -r aware < "/sys/class/net/$bridge/bridge/vlan_filtering"',
        '[ "$aware" = 1 ] || { echo "bridge \'$bridge\' is not VLAN aware" >&2; exit 1; }',
        # A bridge takes the smallest MTU of its ports.
        'read -r mtu < "/sys/class/net/$bridge/mtu"',
        'ip link set dev "$port" mtu "$mtu" master "$bridge" up',
        'bridge vlan del dev "$port" vid 1-4094',
        f'bridge vlan add dev "$port" vid {tag or 1} pvid untagged',
        *(f'bridge vlan add dev "$port" vid {vids}' for vids in trunks if vids),
    ]
    return "\n".join(lines) + "\n"
