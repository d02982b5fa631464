"""Action `common`: what nodes that answer have to be set to, by the Ansible role of that name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioners.ansible import play
from provisioners.base_install.files import COMMUNITY_PATH, ENTERPRISE_PATH, PACKAGES, Material, managed
from provisioners.base_install.missing import foreign_dropins, logins_as_ordered
from provisioners.base_install.observation import Observation, observe
from provisioners.base_install.system import System
from provisioners.change import Change, Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site
    from cluster.site_models import NodeSpec


@dataclass
class Common:
    """Writes only what differs from `seen`, the last observation; looks by itself where it is None."""

    seen: Observation | None = None

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = list(dict.fromkeys(change.node for change in changes))
        seen = self.seen or observe(cluster)
        self.seen = None  # it is about to be outdated
        each = {
            name: variables(cluster.site, cluster.site.node(name), seen.material, seen.system(name))
            for name in names
        }
        play(cluster, "common", names, {}, progress, host_variables=each)

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = list(dict.fromkeys(change.node for change in changes))
        play(cluster, "common", names, {}, progress, tasks_from="undo")


def variables(site: Site, node: NodeSpec, material: Material, system: System | None) -> dict[str, Any]:
    """The role's variables for one node; with its `system`, files as ordered are left out."""
    files = [
        {"path": f.path, "content": f.content, "mode": f"{f.mode:04o}", "service": f.service}
        for f in managed(site, node, material)
        if system is None or system.files.get(f.path) != f.digest
    ]
    repositories = system.repositories if system is not None else ()
    foreign = {
        r.file
        for r in repositories
        if r.enabled
        and r.file not in {ENTERPRISE_PATH, COMMUNITY_PATH, "/etc/apt/sources.list"}
        and any(c.startswith("pve-") or c == "pvetest" for c in r.components)
    }
    return {
        "node_files": files,
        "node_packages": list(PACKAGES),
        "node_packages_absent": [] if system is None else [p for p in PACKAGES if p not in system.packages],
        "node_repositories_removed": sorted(foreign),
        "node_clock_deaf": system is not None and not system.clock.sources,
        "node_sshd_removed": foreign_dropins(system)
        if system is not None and not logins_as_ordered(system)
        else [],
        "node_name": node.name,
        "node_timezone": site.timezone,
        "node_rename": system is None or system.hostname != node.name,
        "node_rezone": system is None or system.timezone != site.timezone.removeprefix("Etc/"),
        # Runs and follows nobody: it has read another configuration than the one on file.
        "node_restart": ["chrony"] if system is not None and not system.clock.sources else [],
    }
