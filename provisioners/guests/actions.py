# ruff: noqa: ARG002  (an action takes what every action is given)
"""Making golden guests, and taking away those that we made."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.errors import RefusedError
from cluster.pve import PveError
from provisioners.change import Change, Progress
from provisioners.guests import images as recipes
from provisioners.guests.missing import differences
from provisioners.guests.observation import TASKS, GuestSeen, Observation, images, observe
from provisioners.guests.order import content, home, parameters, store, volume

if TYPE_CHECKING:
    from cluster.cluster import Cluster

UPLOAD_S = 600.0
MAKE_S = 900.0
START_S = 900.0
STOP_S = 300.0


class Made:
    """Undone by `Guests` alone, which takes away what all of these made."""

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Nothing of its own."""


@dataclass(frozen=True)
class Wait(Made):
    """Action `wait`: tasks of a run that was killed. How they ended is for the next look."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        for node in dict.fromkeys(change.node for change in changes):
            for kind in TASKS.values():
                for upid in cluster.pve[node].running(kind):
                    progress(f"{node}: waiting for {kind}, which an earlier run began")
                    with contextlib.suppress(PveError):
                        cluster.pve[node].wait(upid, MAKE_S, progress)


@dataclass(frozen=True)
class Retire(Made):
    """Action `retire`: a guest of ours that is not as ordered goes, with its disk, which holds a count."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        seen = _seen(cluster)
        for guest in cluster.site.guests:
            have = seen.guests.get(guest.vmid)
            if have is not None and have.ours and differences(cluster.site, have):
                take_away(cluster, have, progress)


@dataclass(frozen=True)
class Images(Made):
    """Action `images`: templates and media, built here and put into the storage that all nodes reach."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site = cluster.site
        node = changes[0].node
        have = images(cluster, node, site.guests)
        with tempfile.TemporaryDirectory(prefix="rackproof-images-") as folder:
            for guest in site.guests:
                if volume(site, guest) in have:
                    continue
                file = recipes.build(cluster, guest, Path(folder), progress)
                progress(f"{node}: takes {file.name} (at most {UPLOAD_S:.0f} s)")
                cluster.pve[node].upload(store(site), content(guest), file, UPLOAD_S, progress)


@dataclass(frozen=True)
class Guests(Made):
    """Action `guests`: each guest that is not there, on the node that it prefers."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site = cluster.site
        for guest in site.guests:
            if guest.vmid in _seen(cluster).guests:
                continue
            node = home(site, guest)
            kind = guest.path.partition("/")[0]
            progress(f"{node}: makes {guest.name} (at most {MAKE_S:.0f} s)")
            values = parameters(site, guest)
            cluster.pve[node].task("post", f"nodes/{node}/{kind}", MAKE_S, progress, **values)

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Takes away every ordered guest that we made; what it is made from stays in the storage."""
        seen = _seen(cluster)
        for guest in cluster.site.guests:
            have = seen.guests.get(guest.vmid)
            if have is not None and have.ours:
                take_away(cluster, have, progress)


@dataclass(frozen=True)
class Start(Made):
    """Action `start`: guests that the HA manager does not start."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        seen = _seen(cluster)
        for guest in cluster.site.guests:
            have = seen.guests.get(guest.vmid)
            if guest.ha is None and have is not None and have.ours and not have.running:
                path = f"nodes/{have.node}/{have.path}/status/start"
                cluster.pve[have.node].task("post", path, START_S, progress)


def _seen(cluster: Cluster) -> Observation:
    """What is true by now. Raises RefusedError where nobody tells: a guest might be made twice."""
    found = observe(cluster)
    if found.silent:
        raise RefusedError(f"guests are neither made nor taken away: {found.silent}")
    return found


def take_away(cluster: Cluster, have: GuestSeen, progress: Progress) -> None:
    """Stops and destroys a guest that we made, disk and all. Raises RefusedError for another's."""
    if not have.ours:
        raise RefusedError(f"{have.name} ({have.vmid}) is not taken away: it is not ours")
    api = cluster.pve[have.node]
    if have.sid in {row["sid"] for row in api.call("get", "cluster/ha/resources")}:
        api.call("delete", f"cluster/ha/resources/{have.sid}")
    path = f"nodes/{have.node}/{have.path}"
    if api.call("get", f"{path}/status/current").get("status") == "running":
        progress(f"{have.node}: stops {have.name}")
        api.task("post", f"{path}/status/stop", STOP_S, progress)
    progress(f"{have.node}: takes {have.name} away")
    api.task("delete", path, MAKE_S, progress, purge=True)
