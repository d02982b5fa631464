"""What is true of every server: what its node says, and, where no node answers, what its controller and
marker say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cluster.errors import RackproofError, UnreachableError
from provisioners.base_install.files import PACKAGES, Material, managed
from provisioners.base_install.gathered import parse
from provisioners.base_install.system import System
from provisioners.markers import Marker, read_markers

if TYPE_CHECKING:
    from cluster.cluster import Cluster

GATHER_S = 180.0  # 8 s on an idle emulated CPU, half a minute on a busy one
_SCRIPT = Path(__file__).with_name("gather.sh").read_text(encoding="utf-8")

Power = Literal["On", "Off", "unknown"]


@dataclass(frozen=True)
class Server:
    """One server. `system` is None where no node answers; then the other fields say what is known from
    outside.

    `power` as its controller tells; `marker` says how far we came with its installation, by the parameter
    store; `medium` whether an image is in its virtual CD; `silence` why nothing answered, `trouble` why its
    controller did not.
    """

    name: str
    system: System | None
    marker: Marker = ""
    power: Power = "unknown"
    medium: bool = False
    silence: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Observation:
    """Every server by its node's name, and the public material that its files are to hold."""

    servers: Mapping[str, Server]
    material: Material

    def system(self, name: str) -> System:
        """The node's own word. Raises UnreachableError for a node that does not answer."""
        server = self.servers[name]
        if server.system is None:
            raise UnreachableError(f"{name} did not answer: {server.silence or server.trouble}")
        return server.system


def observe(cluster: Cluster) -> Observation:
    """One round trip to each node, all at once; only silent servers are asked about over Redfish."""
    site = cluster.site
    found = material(cluster)
    markers = read_markers(cluster)
    answers: dict[str, object] = {}
    tried = [name for name in (n.name for n in site.nodes) if markers[name]]
    if tried:  # a server that was never installed has no host key yet, so nothing there can be spoken to
        answers.update(cluster.gather(_script(cluster, found), tried, GATHER_S))
    silent = [n.name for n in site.nodes if not isinstance(answers.get(n.name), dict)]
    outside = cluster.each(lambda name: _from_outside(cluster, name), silent) if silent else {}
    servers = {}
    for node in site.nodes:
        answer = answers.get(node.name)
        if isinstance(answer, dict):
            servers[node.name] = Server(node.name, parse(answer), markers[node.name], "On")
            continue
        why = str(answer) if isinstance(answer, RackproofError) else "it was never installed"
        seen = outside[node.name]
        if isinstance(seen, RackproofError):
            server = Server(node.name, None, markers[node.name], silence=why, trouble=str(seen))
        else:
            power, medium = seen
            server = Server(node.name, None, markers[node.name], power, medium, why)
        servers[node.name] = server
    return Observation(servers, found)


def _from_outside(cluster: Cluster, name: str) -> tuple[Power, bool]:
    bmc = cluster.bmcs[name]
    state = bmc.power_state()
    power: Power = "Off" if state == "Off" else "On"  # PoweringOn and PoweringOff count as running
    return power, bmc.media_image() is not None


def material(cluster: Cluster) -> Material:
    """Public keys from the parameters, certificate from the site's file. Raises SecretError, OSError is one
    sentence.
    """
    site = cluster.site
    ca = site.aws.ca_file
    try:
        pem = site.resolve(ca).read_text(encoding="utf-8") if ca else ""
    except OSError as error:
        raise RackproofError(f"aws.ca_file = {ca}: cannot be read: {error.strerror}") from None
    return Material(
        automation_key=cluster.secrets.resolve(site.ssh.public_key),
        admin_key=cluster.secrets.resolve(site.ssh.admin_public_key),
        ca_pem=pem,
    )


def _script(cluster: Cluster, found: Material) -> str:
    """gather.sh with what it is to look for: names to resolve, files to hash, the parameter to read."""
    site = cluster.site
    paths = " ".join(file.path for file in managed(site, site.nodes[0], found))
    names = " ".join(site.fqdn(node) for node in site.nodes)
    head = (
        f"RACKPROOF_NAMES='{names}'\nRACKPROOF_FILES='{paths}'\nRACKPROOF_PACKAGES='{' '.join(PACKAGES)}'\n"
    )
    return f"{head}RACKPROOF_PARAMETER='{site.aws.root}/cluster/name'\n{_SCRIPT}"
