"""Phase 3 as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioners.change import Action, Change
from provisioners.membership.joining import Create, Join
from provisioners.membership.missing import missing
from provisioners.membership.observation import Observation, observe
from provisioners.membership.saving import Save
from provisioners.membership.separating import Expel, Reset
from provisioners.membership.settings import ClockRight, ConfigurationChange, Migration, Services

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site


def _actions() -> dict[str, Action]:
    return {
        "expel": Expel(),
        "reset": Reset(),
        "create": Create(),
        "services": Services(),
        "join": Join(),
        "configuration": ConfigurationChange(),
        "clock": ClockRight(),
        "migration": Migration(),
        "save": Save(),
    }


@dataclass(frozen=True)
class MembershipPhase:
    """Phase 3: membership, quorum, rings."""

    actions: Mapping[str, Action] = field(default_factory=_actions)
    number: int = 3
    name: str = "cluster"

    def observe(self, cluster: Cluster) -> Observation:
        return observe(cluster)

    def missing(self, site: Site, observation: Observation) -> list[Change]:
        return missing(site, observation)


PHASE = MembershipPhase()
