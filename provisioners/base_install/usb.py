"""Installing by hand: the same medium on a USB stick, server after server, and which server to plug it
into.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.errors import RefusedError
from provisioners.base_install import medium
from provisioners.base_install.install import contents, new_host_key, wait_ssh
from provisioners.change import Change, Progress
from provisioners.markers import write_marker

if TYPE_CHECKING:
    from cluster.cluster import Cluster

HANDS_S = 3600.0  # people walk, and the server installs itself


@dataclass(frozen=True)
class Usb:
    """Action `install` where controllers offer no virtual media. One server a run: each needs its own
    stick.
    """

    device: Path
    undo_destroys = True

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Writes the first server's medium and waits for its node. Raises RefusedError while more are to
        follow.
        """
        names = list(dict.fromkeys(change.node for change in changes))
        name, *others = names
        write(cluster, name, self.device, progress)
        node = cluster.site.node(name)
        progress(
            f"{name}: plug {self.device} into the server with serial number {node.serial}, start it from USB;"
            " when it has switched itself off, take the stick out and switch it on"
            f" (waiting at most {HANDS_S:.0f} s for SSH)"
        )
        wait_ssh(cluster, name, progress, HANDS_S)
        write_marker(cluster, name, "installed")
        if others:
            raise RefusedError(
                f"{name} is installed; run again with a stick for {others[0]} ({len(others)} to go)"
            )

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Forgets that the servers were installed; they are switched off by hand."""
        for change in changes:
            write_marker(cluster, change.node, "")
            progress(f"{change.node}: switch it off by hand; it will be installed anew")


def write(cluster: Cluster, name: str, device: Path, progress: Progress) -> None:
    """Prepares the medium of one node and writes it to `device`. Raises MediumError."""
    image = medium.check(cluster.site)
    with tempfile.TemporaryDirectory(prefix="rackproof-media-") as folder:
        prepared = Path(folder) / f"{name}.iso"
        medium.prepare(image, contents(cluster, name, new_host_key(cluster, name)), prepared)
        write_marker(cluster, name, "installing")
        medium.write_out(prepared, device, progress)
