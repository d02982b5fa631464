"""What golden guests are made from, built on the controller: a template, or a medium to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provisioners.change import Progress
from provisioners.guests import archives, busybox, kernel, medium, root
from provisioners.guests.order import image

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site_services import Guest

LABEL = "BEAT"


def build(cluster: Cluster, guest: Guest, folder: Path, progress: Progress) -> Path:
    """Makes the guest's image in `folder` under its ordered name. Raises RackproofError."""
    target = folder / image(cluster.site, guest)
    program = busybox.find()
    if guest.kind == "container":
        target.write_bytes(archives.tar_gz(root.container(cluster.site, guest, program)))
    else:
        found = _kernel(cluster, guest, progress)
        members = root.machine(cluster.site, guest, program, found.modules)
        medium.build(found.image, archives.cpio_gz(members), LABEL, target)
    progress(f"{guest.name}: made {target.name}, {target.stat().st_size / 2**20:.1f} MiB")
    return target


def _kernel(cluster: Cluster, guest: Guest, progress: Progress) -> kernel.Kernel:
    if guest.kernel is not None:
        return kernel.of_file(cluster.site.resolve(guest.kernel), f"guest.{guest.name}.kernel")
    return kernel.of_node(cluster, [node.name for node in cluster.site.nodes], progress)
