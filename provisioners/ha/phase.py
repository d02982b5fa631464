"""Phase 7 as the loop sees it: the golden guests, and what keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioners.change import Action, Change
from provisioners.guests.actions import Guests, Images, Retire, Start, Wait
from provisioners.ha.actions import Policy, Resources, Revive, Rules, Services, Settle, Watchdog
from provisioners.ha.fencing import Fencing
from provisioners.ha.missing import missing
from provisioners.ha.observation import Observation, observe

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site


def _actions() -> dict[str, Action]:
    return {
        "watchdog": Watchdog(),
        "services": Services(),
        "policy": Policy(),
        "fencing": Fencing(),
        "wait": Wait(),
        "retire": Retire(),
        "images": Images(),
        "guests": Guests(),
        "start": Start(),
        "resources": Resources(),
        "rules": Rules(),
        "revive": Revive(),
        "settle": Settle(),
    }


@dataclass(frozen=True)
class HaPhase:
    """Phase 7: high availability."""

    actions: Mapping[str, Action] = field(default_factory=_actions)
    number: int = 7
    name: str = "high availability"

    def observe(self, cluster: Cluster) -> Observation:
        return observe(cluster)

    def missing(self, site: Site, observation: Observation) -> list[Change]:
        return missing(site, observation)


PHASE = HaPhase()
