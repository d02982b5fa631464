"""Phase 0 as the loop sees it: it has no changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioners.change import Action, Change
from provisioners.preflight.observation import Observation, observe

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site


@dataclass(frozen=True)
class Preflight:
    """Phase 0. What it finds is for its scenarios to judge: see `findings`."""

    actions: Mapping[str, Action] = field(default_factory=dict)
    number: int = 0
    name: str = "preflight"

    def observe(self, cluster: Cluster) -> Observation:
        return observe(cluster)

    def missing(self, site: Site, observation: Observation) -> list[Change]:  # noqa: ARG002 - part of the contract
        """Nothing: preflight changes nothing."""
        return []


PHASE = Preflight()
