"""Phase 4 as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioners.ceph.daemons import Answer, Daemons, Handover, Init, Packages, Start
from provisioners.ceph.missing import missing
from provisioners.ceph.observation import Observation, observe
from provisioners.ceph.osds import DeviceClass, Finish, In, Osds, Purge, Wait, Wipe
from provisioners.ceph.pools import Filesystem, Parameters, Pools, Rules, Settle, Storages
from provisioners.ceph.settings import Settings
from provisioners.change import Action, Change

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site


def _actions() -> dict[str, Action]:
    return {
        "wait": Wait(),
        "packages": Packages(),
        "init": Init(),
        "mons": Daemons("mon"),
        "start": Start(),
        "answer": Answer(),
        "mgrs": Daemons("mgr"),
        "handover": Handover(),
        "settings": Settings(),
        "purge": Purge(),
        "wipe": Wipe(),
        "finish": Finish(),
        "osds": Osds(),
        "in": In(),
        "class": DeviceClass(),
        "rules": Rules(),
        "pools": Pools(),
        "mdss": Daemons("mds"),
        "filesystem": Filesystem(),
        "storages": Storages(),
        "parameters": Parameters(),
        "settle": Settle(),
    }


@dataclass(frozen=True)
class CephPhase:
    """Phase 4: storage."""

    actions: Mapping[str, Action] = field(default_factory=_actions)
    number: int = 4
    name: str = "ceph"

    def observe(self, cluster: Cluster) -> Observation:
        return observe(cluster)

    def missing(self, site: Site, observation: Observation) -> list[Change]:
        return missing(site, observation)


PHASE = CephPhase()
