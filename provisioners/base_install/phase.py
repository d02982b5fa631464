"""Phase 1 as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioners.base_install.common import Common
from provisioners.base_install.credentials import Credentials
from provisioners.base_install.install import Install, Start
from provisioners.base_install.missing import missing
from provisioners.base_install.observation import Observation, observe
from provisioners.base_install.usb import Usb
from provisioners.change import Action, Change

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.cluster import Cluster
    from cluster.site import Site


def _actions() -> dict[str, Action]:
    return {"install": Install(), "start": Start(), "common": Common(), "credentials": Credentials()}


@dataclass(frozen=True)
class BaseInstall:
    """Phase 1; `by_usb` gives the same phase with media written to a stick instead of inserted by the
    controllers.
    """

    actions: Mapping[str, Action] = field(default_factory=_actions)
    number: int = 1
    name: str = "base install"

    def observe(self, cluster: Cluster) -> Observation:
        seen = observe(cluster)
        common = self.actions.get("common")
        if isinstance(common, Common):
            common.seen = seen
        return seen

    def missing(self, site: Site, observation: Observation) -> list[Change]:
        return missing(site, observation)

    @staticmethod
    def by_usb(device: Path) -> BaseInstall:
        """Phase 1 for servers without virtual media: `device` is the stick (or a file) that each medium is
        written to.
        """
        return BaseInstall({**_actions(), "install": Usb(device)})


PHASE = BaseInstall()
