"""The guard shown on the site itself: its plan with an occupied drive for an ordered one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cluster.errors import RefusedError
from provisioners.ceph.disks import Drive, Volume
from provisioners.ceph.missing import missing
from provisioners.ceph.observation import Observation
from provisioners.ceph.order import drives
from provisioners.converge import refuse_loss

if TYPE_CHECKING:
    from cluster.site import Site

OCCUPIED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("a GPT", {"signatures": ("gpt",)}, "GPT"),
    ("an MBR", {"signatures": ("dos",)}, "MBR"),
    ("an LVM physical volume", {"signatures": ("LVM2_member",), "group": "data"}, "LVM"),
    ("a ZFS label", {"signatures": ("zfs_member",)}, "ZFS"),
    ("bcache", {"signatures": ("bcache",)}, "bcache"),
    ("ext4", {"signatures": ("ext4",)}, "ext4"),
    ("XFS", {"signatures": ("xfs",)}, "xfs"),
    ("an md member", {"signatures": ("linux_raid_member",)}, "md array"),
    (
        "a foreign OSD",
        {
            "signatures": ("LVM2_member",),
            "group": "ceph-x",
            "volumes": (
                Volume("ceph-x", "osd-block-x", "/dev/x", {"cluster_fsid": "another", "osd_id": "0"}),
            ),
        },
        "another Ceph cluster",
    ),
    ("raw data", {"data_at": 4096}, "without a signature"),
)


def accepted(site: Site, seen: Observation) -> Iterator[str]:
    """Each kind of occupied drive that the plan would overwrite, or refuse without saying why."""
    node, serial = drives(site)[0]
    stood = seen.node(node)
    others = tuple(drive for drive in stood.drives if drive.serial != serial)
    for what, values, word in OCCUPIED:
        drive = Drive("/dev/rackproof", serial, 1 << 30, **values)
        changed = replace(seen, nodes={**seen.nodes, node: replace(stood, drives=(*others, drive))})
        plan = [change for change in missing(site, changed) if serial in change.serials]
        if not plan:
            yield f"{what} on a drive is not in the plan at all"
            continue
        try:
            refuse_loss(plan, frozenset())
        except RefusedError as refusal:
            if word not in str(refusal) or serial not in str(refusal):
                yield f"{what}: the refusal does not say so: {refusal}"
            continue
        yield f"{what} on a drive would be overwritten"
