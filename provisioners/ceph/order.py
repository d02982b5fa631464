"""What the site's [ceph] table comes to: names, figures and arithmetic. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cluster.errors import NotApplicableError

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Ceph, Pool

# First number of a version by the release's name (docs.ceph.com/en/latest/releases).
MAJORS: Mapping[str, int] = {"quincy": 17, "reef": 18, "squid": 19, "tentacle": 20}
PACKAGES = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph-volume", "ceph-common")


def ordered(site: Site) -> Ceph:
    """The site's Ceph. Raises NotApplicableError where none is ordered."""
    if site.ceph is None:
        raise NotApplicableError("PF-NO-CEPH", f"{site.name} orders no storage cluster.", "add [ceph].")
    return site.ceph


def first(site: Site) -> str:
    """The node on which what concerns the whole cluster is done."""
    return site.nodes[0].name


def public(site: Site) -> str:
    """CIDR of the public network."""
    return str(site.networks[ordered(site).public_network].subnet)


def private(site: Site) -> str:
    """CIDR of the cluster network."""
    return str(site.networks[ordered(site).cluster_network].subnet)


def drives(site: Site) -> list[tuple[str, str]]:
    """Every data drive as (node, serial number), node by node."""
    return [(node.name, serial) for node in site.nodes for serial in node.data_drives]


def image_pools(site: Site) -> dict[str, Pool]:
    """The pools that hold images."""
    return {n: p for n, p in ordered(site).pools.items() if p.application == "rbd"}


def file_pools(site: Site) -> tuple[str, tuple[str, ...]]:
    """Metadata pool and data pools of the file system: the one with `meta` in its name, and the others."""
    names = [n for n, p in ordered(site).pools.items() if p.application == "cephfs"]
    meta = next((n for n in names if "meta" in n), names[0] if names else "")
    return meta, tuple(n for n in names if n != meta)


def entries(site: Site) -> dict[str, dict[str, str]]:
    """The storage entries of Proxmox VE: by name, the parameters of POST /storage."""
    table = ordered(site)
    found: dict[str, dict[str, str]] = {
        name: {"type": "rbd", "pool": name, "content": "images,rootdir", "krbd": "1" if pool.krbd else "0"}
        for name, pool in image_pools(site).items()
    }
    if table.filesystem and file_pools(site)[1]:
        found[table.filesystem] = {
            "type": "cephfs",
            "fs-name": table.filesystem,
            "content": "backup,iso,vztmpl",
        }
    return found


def settings(site: Site) -> dict[str, str]:
    """Options as `section/option` -> value that the order comes to; the site's own `settings` come last."""
    table = ordered(site)
    return {
        "mon/auth_allow_insecure_global_id_reclaim": "false",
        "mon/mon_osd_down_out_interval": str(int(table.down_out_interval)),
        "osd/osd_memory_target": str(table.osd_memory_target),
        **table.settings,
    }


def raw_capacity(site: Site) -> int:
    """Bytes of all ordered data drives."""
    return len(site.nodes) * site.hardware.data_drives.count * site.hardware.data_drives.size


def replicas(site: Site) -> int:
    """The most replicas that a pool keeps."""
    return max((pool.size for pool in ordered(site).pools.values()), default=3)


def usable_capacity(site: Site) -> float:
    """Bytes of data that the drives hold when full: raw capacity divided by the replicas."""
    return raw_capacity(site) / replicas(site)


def plannable(site: Site) -> float:
    """Bytes of data with which one drive of a node may be lost below the warning level.

    With as many hosts as replicas, a lost drive's data goes to the other drives of the same node.
    """
    count = site.hardware.data_drives.count
    spread = site.nodes if len(site.nodes) > replicas(site) else site.nodes[:1]
    total = count * len(spread)
    return usable_capacity(site) * ordered(site).nearfull_ratio * (total - 1) / total


def after_node_loss(site: Site, stored: float) -> tuple[bool, float]:
    """Whether a lost node's data can be placed elsewhere, and the fill (0 to 1) of what is left then.

    `stored`: bytes of data without replicas. With as many hosts as replicas it cannot: each block keeps one
    replica less on the hosts that are left, whose fill does not rise.
    """
    hosts, size = len(site.nodes), replicas(site)
    if hosts > size:
        return True, stored * size / (raw_capacity(site) * (hosts - 1) / hosts)
    return False, stored * size / raw_capacity(site)
