"""Phase 2 as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioners.change import Action, Change
from provisioners.network.apply import Network
from provisioners.network.missing import missing
from provisioners.network.observation import Observation, observe

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site


def _actions() -> dict[str, Action]:
    return {"network": Network()}


@dataclass(frozen=True)
class NetworkPhase:
    """Phase 2: bond, guest bridge, host network."""

    actions: Mapping[str, Action] = field(default_factory=_actions)
    number: int = 2
    name: str = "network"

    def observe(self, cluster: Cluster) -> Observation:
        return observe(cluster)

    def missing(self, site: Site, observation: Observation) -> list[Change]:
        return missing(site, observation)


PHASE = NetworkPhase()
