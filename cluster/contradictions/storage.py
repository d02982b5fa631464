"""Ceph: releases, capacity and recovery that cannot be had.

Sources: pve-manager PVE/Ceph/Releases.pm (which release is packaged), Ceph's defaults by `ceph config help`
(nearfull 0.85, osd_heartbeat_grace 20 s, mon_osd_down_out_interval 600 s, mon_max_pg_per_osd 250),
measurements on three hosts (a dead host's data is placed nowhere; a frozen OSD stalls writes 22.6-23 s).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.contradictions.rule import Found, rule
from cluster.units import format_seconds

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Ceph

_PACKAGED = {
    "7": ("octopus", "pacific", "quincy"),
    "8": ("quincy", "reef", "squid"),
    "9": ("squid", "tentacle"),
}
_MOST_PGS = 250
_STALL = 24.0


def _size(ceph: Ceph) -> int:
    return max((pool.size for pool in ceph.pools.values()), default=3)


def _terabytes(size: float) -> str:
    return f"{size / 1e12:.1f} TB"


def _raw(site: Site) -> int:
    drives = site.hardware.data_drives
    return len(site.nodes) * drives.count * drives.size


@rule("PF-CEPH-REL")
def release(site: Site) -> Iterator[Found]:
    """A release that Proxmox VE does not ship (C05)."""
    packaged = _PACKAGED.get(site.install.release.split(".")[0])
    if site.ceph is not None and packaged is not None and site.ceph.release.lower() not in packaged:
        foreign = site.ceph.repository == "manual"
        yield Found(
            "warning" if foreign else "error",
            "ceph.release",
            f"Ceph {site.ceph.release} on Proxmox VE {site.install.release}",
            f"that release is packaged with {' and '.join(packaged)} alone"
            + (", and nobody supports packages from elsewhere" if foreign else ""),
            f"{packaged[-2]} or later"
            + (
                ", from a repository of Proxmox"
                if foreign
                else ", or repository = manual and packages of your own"
            ),
        )


@rule("PF-CEPH-CAPACITY")
def capacity(site: Site) -> Iterator[Found]:
    """Usable capacity against replicas, nearfull and the loss of a drive (C10)."""
    ceph, drives = site.ceph, site.hardware.data_drives
    if ceph is None or ceph.usable is None:
        return
    end = _raw(site) / _size(ceph)
    warned = end * ceph.nearfull_ratio
    safe = warned * (drives.count - 1) / drives.count
    if ceph.usable > safe:
        yield Found(
            "error" if ceph.usable > end else "warning",
            "ceph.usable",
            f"{_terabytes(ceph.usable)} usable",
            f"{_terabytes(_raw(site))} raw in {_size(ceph)} replicas end at {_terabytes(end)}, Ceph warns"
            f" from {_terabytes(warned)}, room for one lost drive leaves {_terabytes(safe)}",
            f"plan with {_terabytes(safe)}",
        )


@rule("PF-CEPH-REBUILD")
def rebuild(site: Site) -> Iterator[Found]:
    """Data of a dead host that has nowhere to go (C11)."""
    ceph = site.ceph
    if ceph is None or ceph.failure_domain != "host":
        return
    size, hosts = _size(ceph), len(site.nodes)
    if size > hosts:
        yield Found(
            "error",
            "ceph.pools",
            f"{size} replicas on different hosts",
            f"there are {hosts} hosts, so no placement group ever becomes clean",
            f"size {hosts}",
        )
    elif size == hosts and ceph.rebuild_after_host_loss:
        yield Found(
            "warning",
            "ceph.rebuild_after_host_loss",
            "the loss of a node is rebalanced",
            f"{size} replicas on {hosts} hosts: without a further host nothing is placed, HEALTH_WARN stays"
            " until the node is back, and a second loss stops input and output",
            "a fourth node, or expect availability and not recovery",
        )


@rule("PF-CEPH-RTO")
def osd_recovery(site: Site) -> Iterator[Found]:
    """A rebalance that ends before Ceph starts it (C12)."""
    ceph = site.ceph
    if ceph is None or ceph.osd_recovery is None:
        return
    fill = 0.6 * site.hardware.data_drives.size
    hours = fill / 500e6 / 3600
    if ceph.osd_recovery <= ceph.down_out_interval or ceph.osd_recovery < hours * 3600:
        yield Found(
            "warning",
            "ceph.osd_recovery",
            f"a lost OSD is rebalanced in {format_seconds(ceph.osd_recovery)}",
            f"input and output resume within {_STALL:.0f} s, but data is placed elsewhere only after"
            f" {format_seconds(ceph.down_out_interval)}, and {_terabytes(fill)} then take about {hours:.1f} h"
            " at 500 MB/s",
            "three figures: detection, longest gap of a client, end of the rebalance",
        )


@rule("PF-CEPH-LATENCY")
def latency(site: Site) -> Iterator[Found]:
    """A percentile that cannot see a stall (C27)."""
    if site.ceph is not None and site.ceph.latency_p95 is not None:
        yield Found(
            "warning",
            "ceph.latency_p95",
            f"p95 latency below {format_seconds(site.ceph.latency_p95)}, faults included",
            "a stall of 23 s leaves a run's p95 at 5 ms: the percentile hides the outage",
            "p95 in steady state, and the longest gap between completions during a fault",
        )


@rule("PF-CEPH-POOLS")
def pools(site: Site) -> Iterator[Found]:
    """Pools whose sizes do not fit, that reserve nothing, or that lose data (C14, F-4.5)."""
    ceph = site.ceph
    if ceph is None or not ceph.pools:
        return
    written = sum(pool.capacity or 0 for pool in ceph.pools.values())
    end = _raw(site) / _size(ceph)
    if written > end:
        yield Found(
            "warning",
            "ceph.pools",
            f"pools of {_terabytes(written)} together",
            f"the cluster ends at {_terabytes(end)}, and shares are weights for the autoscaler that reserve"
            " nothing",
            "target_size_ratio for each pool, and a quota where a limit is meant",
        )
    placed = sum((pool.pg_num or 0) * pool.size for pool in ceph.pools.values())
    osds = len(site.nodes) * site.hardware.data_drives.count
    if placed / osds > _MOST_PGS:
        yield Found(
            "error",
            "ceph.pools",
            f"{placed / osds:.0f} placement groups on each OSD",
            f"Ceph refuses more than {_MOST_PGS}",
            "leave pg_num out: the autoscaler decides",
        )
    for name, pool in ceph.pools.items():
        if pool.size == 1 or (pool.min_size == 1 and pool.size > 1):
            what = "one replica" if pool.size == 1 else "writes with one replica left (min_size 1)"
            yield Found(
                "error",
                f"ceph.pools.{name}",
                what,
                "one more failure loses acknowledged writes",
                "size 3 and min_size 2",
            )
        elif pool.size == 2:
            yield Found(
                "warning",
                f"ceph.pools.{name}",
                "two replicas",
                "with min_size 2 one failure stops input and output, with min_size 1 two lose data",
                "size 3 and min_size 2",
            )
