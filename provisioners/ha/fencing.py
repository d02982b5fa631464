"""The service that powers a lost node off and on: whether each node has it as ordered, and its role.

Proxmox VE itself never calls a BMC. The service acts after the lost node's own watchdog must have bitten, and
touches none of its locks: docs/fencing.md.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.secrets import parameter_name
from provisioners.ansible import ROLES, play
from provisioners.change import Change, Progress
from provisioners.ha.observation import FENCING, NodeHa
from provisioners.ha.order import ordered
from provisioners.membership.ordered import node_id

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site

_FILES = ROLES / "fencing" / "files"


def peers(site: Site) -> list[dict[str, Any]]:
    """Every node as the role takes it: who it is to Corosync, where its BMC is, which parameters open it."""
    return [
        {
            "name": node.name,
            "id": node_id(site, node),
            "serial": node.serial,
            "address": str(node.bmc.address),
            "port": node.bmc.port,
            "user": parameter_name(node.bmc.user, node=node.name),
            "password": parameter_name(node.bmc.password, node=node.name),
        }
        for node in site.nodes
    ]


def variables(site: Site, authorities_file: str) -> dict[str, Any]:
    """The role's variables; the name of each node is the inventory's."""
    return {
        "fencing_peers": peers(site),
        "fencing_parameters_root": site.aws.root,
        "fencing_ca_file": authorities_file,
        "fencing_wait_s": ordered(site).power_cycle_after,
    }


def authorities(site: Site) -> str:
    """The issuers of the BMCs' certificates as one text; "" where the system's own are meant."""
    files = dict.fromkeys(node.bmc.ca_file for node in site.nodes if node.bmc.ca_file is not None)
    return "".join(site.resolve(file).read_text(encoding="utf-8") for file in files)


def program() -> str:
    """SHA-256 of the service's program and unit, as gather.sh takes it of what is on a node."""
    files = [*sorted((_FILES / "rackproof_fencing").glob("*.py")), _FILES / f"{FENCING}.service"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def differences(site: Site, node: NodeHa) -> list[str]:
    """What of a node's fencing service is not as ordered."""
    told = node.fencing
    if not told:
        return ["it is not there"]
    found = []
    if told.get("node") != node.name:
        found.append(f"it takes itself for {told.get('node')}")
    have = {peer.get("name"): peer for peer in told.get("peers", []) if isinstance(peer, dict)}
    for peer in peers(site):
        seen = have.pop(peer["name"], None)
        if seen is None:
            found.append(f"it does not know {peer['name']}")
        elif wrong := sorted(key for key, value in peer.items() if seen.get(key) != value):
            found.append(f"of {peer['name']} it knows another {' and '.join(wrong)}")
    found += [f"it knows {name}, which was not ordered" for name in have]
    if told.get("wait_s") != ordered(site).power_cycle_after:
        found.append(f"it waits {told.get('wait_s')} s, expected {ordered(site).power_cycle_after:g} s")
    return found


def missing(site: Site, node: NodeHa) -> Iterator[Change]:
    """The changes that one node lacks."""
    service = node.service(FENCING)
    if not ordered(site).power_cycle:
        if node.fencing or service.active or service.enabled:
            yield Change(node.name, "take the fencing service away: it is not ordered", "fencing")
        return
    wrong = differences(site, node)
    if not wrong and node.program != program():
        wrong.append("it is of another release")
    if not wrong and node.authorities != _digest(authorities(site)):
        wrong.append("it trusts other issuers of BMC certificates")
    if not wrong and not service.active:
        wrong.append("it does not run")
    if not wrong and not service.enabled:
        wrong.append("it does not start at boot")
    if wrong:
        text = f"let a service power lost nodes off and on, once they are dead: {', '.join(wrong)}"
        yield Change(node.name, text, "fencing")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


@dataclass(frozen=True)
class Fencing:
    """Action `fencing`: the role of that name, or its undoing where no power cycle is ordered."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        if not ordered(cluster.site).power_cycle:
            self.undo(cluster, changes, progress)
            return
        with _written(authorities(cluster.site)) as file:
            play(cluster, "fencing", _names(changes), variables(cluster.site, file), progress)

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        play(cluster, "fencing", _names(changes), {}, progress, tasks_from="undo")


def _names(changes: Sequence[Change]) -> list[str]:
    return list(dict.fromkeys(change.node for change in changes))


@contextmanager
def _written(text: str) -> Iterator[str]:
    """The name of a file with this text; "" for no text."""
    if not text:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="rackproof-ca-") as folder:
        path = Path(folder) / "ca.pem"
        path.write_text(text, encoding="utf-8")
        yield str(path)
