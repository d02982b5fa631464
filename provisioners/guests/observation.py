"""What is true of the ordered golden guests, as the API of Proxmox VE has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.errors import RackproofError, UnreachableError
from cluster.pve import PveError
from provisioners.guests.order import TAG, content, store

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site_services import Guest

KINDS = {"lxc": "container", "qemu": "vm"}
TASKS = {"lxc": "vzcreate", "qemu": "qmcreate"}


@dataclass(frozen=True)
class GuestSeen:
    """One guest by its number: where it belongs, whether it runs there, how it is configured.

    `config` as GET .../config gives it, empty where its node does not answer (`silent` says why). `making`: a
    task of its node is at work on guests of this kind.
    """

    vmid: int
    kind: str
    name: str
    node: str
    running: bool
    config: Mapping[str, str]
    silent: str = ""
    making: bool = False

    @property
    def path(self) -> str:
        """Where the API has it on its node: `lxc/9001`."""
        return f"{'lxc' if self.kind == 'container' else 'qemu'}/{self.vmid}"

    @property
    def sid(self) -> str:
        """Its name as an HA resource."""
        return f"{'ct' if self.kind == 'container' else 'vm'}:{self.vmid}"

    @property
    def unfinished(self) -> bool:
        """Whether its creation was begun and has not ended."""
        return self.config.get("lock") == "create"

    @property
    def tags(self) -> frozenset[str]:
        """Its tags; PVE writes them with semicolons, and takes commas and blanks too."""
        text = self.config.get("tags", "").replace(",", ";").replace(" ", ";")
        return frozenset(tag for tag in text.split(";") if tag)

    @property
    def ours(self) -> bool:
        """Whether we made it."""
        return TAG in self.tags

    @property
    def description(self) -> str:
        """Its notes."""
        return self.config.get("description", "").strip()


@dataclass(frozen=True)
class Observation:
    """`guests` by their number, of the ordered numbers alone; `images` as volume ids of the shared storage.

    `silent`: why nothing could be asked; then both are empty.
    """

    guests: Mapping[int, GuestSeen]
    images: frozenset[str]
    silent: str = ""


def observe(cluster: Cluster, names: Sequence[str] | None = None) -> Observation:
    """A few calls to the first of these nodes (or of all) whose API answers. Nothing is asked where no guest
    is ordered, or no node is there.
    """
    asked = [node.name for node in cluster.site.nodes] if names is None else names
    if not cluster.site.guests or not asked:
        return Observation({}, frozenset())
    silent: list[str] = []
    for name in asked:
        try:
            return look(cluster, name)
        except UnreachableError as error:
            silent.append(str(error))
    return Observation({}, frozenset(), "; ".join(silent))


def look(cluster: Cluster, node: str) -> Observation:
    """The same, asked of one node. Raises UnreachableError, PveError."""
    site, api = cluster.site, cluster.pve[node]
    wanted = {guest.vmid: guest for guest in site.guests}
    rows = [row for row in api.call("get", "cluster/resources", type="vm") if int(row["vmid"]) in wanted]
    found = {int(row["vmid"]): _seen(cluster, node, row) for row in rows}
    return Observation(found, images(cluster, node, site.guests))


def _seen(cluster: Cluster, node: str, row: Mapping[str, Any]) -> GuestSeen:
    where, vmid = str(row["node"]), int(row["vmid"])
    config: Mapping[str, Any] = {}
    silent, making = "", False
    try:
        config = cluster.pve[node].call("get", f"nodes/{where}/{row['type']}/{vmid}/config")
        if config.get("lock") == "create":
            making = bool(cluster.pve[where].running(TASKS[str(row["type"])]))
    except RackproofError as error:  # its node is lost: the guest is there, and nobody can say more
        if isinstance(error, PveError) and error.status < 500:
            raise
        silent = str(error)
    return GuestSeen(
        vmid,
        KINDS.get(str(row["type"]), str(row["type"])),
        str(row.get("name", "")),
        where,
        row.get("status") == "running",
        {str(key): str(value) for key, value in config.items()},
        silent,
        making,
    )


def images(cluster: Cluster, node: str, guests: tuple[Guest, ...]) -> frozenset[str]:
    """Volume ids of templates and media in the shared storage, as one node sees it."""
    found: set[str] = set()
    for kind in dict.fromkeys(content(guest) for guest in guests):
        rows = cluster.pve[node].call(
            "get", f"nodes/{node}/storage/{store(cluster.site)}/content", content=kind
        )
        found |= {str(row["volid"]) for row in rows}
    return frozenset(found)
