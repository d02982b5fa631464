"""Which of this node's addresses lie in a network."""

from __future__ import annotations

import ipaddress
import json
import re

from ..http.errors import ApiError
from ..http.machine import Machine


def split(text: str) -> list[str]:
    """A list as PVE takes it: separated by commas, semicolons, blanks or NUL."""
    return [word for word in re.split(r"[,;\s\0]+", text) if word]


def local(machine: Machine, network: str) -> list[str]:
    """This node's addresses in `network` (CIDR), loopback left out."""
    try:
        wanted = ipaddress.ip_network(network, strict=False)
    except ValueError as error:
        raise ApiError(500, f"value does not look like a valid CIDR network: {network}") from error
    shown = json.loads(machine.run(["ip", "-j", "address", "show", "up"]).out or "[]")
    found = []
    for port in shown:
        for address in port.get("addr_info", []):
            value = address.get("local", "")
            if (
                address.get("scope", "global") == "global"
                and ipaddress.ip_address(value) in wanted
                and value not in found
            ):
                found.append(value)
    return found


def bare(address: str) -> str:
    """`[v2:10.6.0.11:3300/0,...]`, `10.6.0.11:6789/0`, `10.6.0.11` -> `10.6.0.11`."""
    text = re.sub(r"^\[?v\d+:", "", address.strip()).split("/")[0]
    match = re.fullmatch(r"\[([0-9a-fA-F:]+)\](:\d+)?|([0-9.]+)(:\d+)?", text)
    return (match.group(1) or match.group(3)) if match else text
