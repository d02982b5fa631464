"""GET /nodes/{node}/network: the interfaces that are configured and what the kernel has of them."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any

from ..http.machine import Machine
from ..http.registry import Call, endpoint

TYPES = ["bridge", "bond", "eth", "alias", "vlan", "fabric", "OVSBridge", "OVSBond", "OVSPort", "OVSIntPort",
         "vnet", "any_bridge", "any_local_bridge", "include_sdn"]  # fmt: skip
_RENAMED = {"bridge-ports": "bridge_ports", "bridge-stp": "bridge_stp", "bridge-fd": "bridge_fd",
            "bridge-vids": "bridge_vids", "bridge-vlan-aware": "bridge_vlan_aware", "bond-slaves": "slaves",
            "bond-mode": "bond_mode", "bond-miimon": "bond_miimon", "bond-xmit-hash-policy":
            "bond_xmit_hash_policy", "mtu": "mtu", "gateway": "gateway", "bond-primary": "bond-primary",
            "vlan-raw-device": "vlan-raw-device", "vlan-id": "vlan-id"}  # fmt: skip


def stanzas(machine: Machine) -> dict[str, dict[str, str]]:
    """interfaces(5), with what it sources: interface -> its lines; `method` and `auto` among them."""
    texts = [machine.read("/etc/network/interfaces")]
    for pattern in re.findall(r"^source(?:-directory)?\s+(\S+)", texts[0], re.M):
        pattern = pattern if "*" in pattern else f"{pattern}/*"
        texts += [
            path.read_text() for path in sorted(machine.root.glob(pattern.lstrip("/"))) if path.is_file()
        ]
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in "\n".join(texts).splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("auto", "allow-hotplug"):
            for name in words[1:]:
                found.setdefault(name, {})["auto"] = "1"
        elif words[0] == "iface" and len(words) >= 2:
            current = found.setdefault(words[1], {})
            current.setdefault("method", words[3] if len(words) > 3 else "static")
        elif words[0] not in ("source", "source-directory", "mapping"):
            current[words[0].replace("_", "-")] = " ".join(words[1:])
    return found


def kind_of(name: str, lines: Mapping[str, str], device: Mapping[str, Any]) -> str:
    kernel = device.get("linkinfo", {}).get("info_kind", "")
    if kernel in ("bond", "vlan", "bridge"):
        return str(kernel)
    if "bond-slaves" in lines:
        return "bond"
    if "bridge-ports" in lines or re.fullmatch(r"vmbr\d+", name):
        return "bridge"
    if "vlan-raw-device" in lines or re.fullmatch(r"\S+\.\d+", name):
        return "vlan"
    return "eth"


def interface(name: str, lines: Mapping[str, str], device: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of the list."""
    kind = kind_of(name, lines, device)
    entry: dict[str, Any] = {
        "iface": name,
        "type": kind,
        "method": lines.get("method", "manual"),
        "method6": "manual",
        "families": ["inet"],
    }
    if device:
        entry |= {"exists": 1} if kind == "eth" else {}
        entry |= {"active": 1} if "UP" in device.get("flags", []) else {}
    entry |= {"autostart": 1} if lines.get("auto") else {}
    entry |= {new: lines[old] for old, new in _RENAMED.items() if old in lines}
    if entry.get("bridge_vlan_aware") in ("yes", "1"):
        entry["bridge_vlan_aware"] = 1
    if "address" in lines:
        spec = lines["address"] + (f"/{lines['netmask']}" if "netmask" in lines else "")
        address = ipaddress.ip_interface(spec)
        entry |= {"address": str(address.ip), "netmask": str(address.network.prefixlen), "cidr": str(address)}
    if kind == "vlan" and (match := re.fullmatch(r"(\S+)\.(\d+)", name)):
        entry = {"vlan-raw-device": match[1], "vlan-id": match[2], **entry}
    return entry


@endpoint(
    "GET",
    "/nodes/{node}/network",
    permissions="all",
    parameters={"type": {"type": "string", "enum": TYPES, "optional": 1}},
)
def network(call: Call) -> Any:
    said = json.loads(call.machine.run(["ip", "-j", "-d", "link", "show"]).out or "[]")
    devices = {device["ifname"]: device for device in said}
    configured = stanzas(call.machine)
    physical = {name for name, device in devices.items() if _is_port(device)}
    names = sorted({*configured, *physical} - {"lo"})
    entries = [interface(name, configured.get(name, {}), devices.get(name, {})) for name in names]
    for number, entry in enumerate(entries):
        entry["priority"] = number + 3
    wanted = call.params.get("type")
    bridges = wanted in ("any_bridge", "any_local_bridge")
    return [
        entry
        for entry in entries
        if wanted in (None, "include_sdn") or entry["type"] == ("bridge" if bridges else wanted)
    ]


def _is_port(device: Mapping[str, Any]) -> bool:
    return device.get("link_type") == "ether" and "linkinfo" not in device
