"""GET /version and the indexes: what this node calls itself (data of the medium, as pveversion's)."""

from __future__ import annotations

import re
from typing import Any

from ..http.machine import Machine
from ..http.registry import Call, endpoint

RELEASE = "/usr/share/rack/pve-release"


def release(machine: Machine) -> dict[str, str]:
    """release, version, repoid."""
    said = dict(re.findall(r"^(\w+)=['\"]?([^'\"\n]*)['\"]?$", machine.read(RELEASE), re.M))
    version = said.get("PVE_MANAGER", "9.0.0")
    repoid = said.get("PVE_REPOID", "0" * 16)
    return {"release": ".".join(version.split(".")[:2]), "repoid": repoid, "version": version}


@endpoint("GET", "/version", permissions="all")
def version(call: Call) -> Any:
    return release(call.machine)


@endpoint("GET", "/nodes/{node}/version", permissions="all")
def node_version(call: Call) -> Any:
    return release(call.machine)
