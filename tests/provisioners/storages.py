"""Storage in which phase 4 lacks nothing: each test takes one thing away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster.site import Site
from provisioners.ceph.disks import Drive, Volume
from provisioners.ceph.missing_pools import autoscale
from provisioners.ceph.observation import NodeStorage, Observation, Saved, StorageEntry, digest
from provisioners.ceph.order import PACKAGES, drives, entries, file_pools, ordered, private, public, settings
from provisioners.ceph.state import AUTH, FileSystem, Osd, PoolState, Rule, State

FSID = "061a0543-dae8-4919-9da2-fcd85449b4e5"
GROUP = "ceph-3d2f3a0e-8f3b-4f6e-9a0f-1f1f1f1f1f%02d"
BLOCK = "osd-block-3d2f3a0e-8f3b-4f6e-9a0f-1f1f1f1f1f%02d"


def served(site: Site, osd: int, fsid: str = FSID) -> Drive:
    """A data drive with an OSD on it."""
    _, serial = drives(site)[osd]
    tags = {"cluster_fsid": fsid, "osd_id": str(osd), "osd_fsid": f"uuid-{osd}"}
    volume = Volume(GROUP % osd, BLOCK % osd, f"/dev/{GROUP % osd}/{BLOCK % osd}", tags)
    path = f"/dev/nvme{osd % site.hardware.data_drives.count + 2}n1"
    return Drive(
        path, serial, site.hardware.data_drives.size, ("LVM2_member",), None, ("lv",),
        group=volume.group, volumes=(volume,),
    )  # fmt: skip


def blank(site: Site, number: int) -> Drive:
    """A data drive fresh from its box."""
    _, serial = drives(site)[number]
    path = f"/dev/nvme{number % site.hardware.data_drives.count + 2}n1"
    return Drive(path, serial, site.hardware.data_drives.size, read=24 << 20)


def node_storage(site: Site, name: str, *, bare: bool = False) -> NodeStorage:
    """A node as ordered, or one on which nothing of Ceph is yet."""
    mine = [i for i, (node, _) in enumerate(drives(site)) if node == name]
    if bare:
        found = tuple(blank(site, i) for i in mine)
        return NodeStorage(name, {}, "", {}, False, frozenset(), {}, found, ())
    release = {"reef": "18.2.7+ds-1", "squid": "19.2.3-pve1"}[ordered(site).release]
    conf = {
        "global": {
            "fsid": FSID,
            "public_network": public(site),
            "cluster_network": private(site),
            **dict.fromkeys(AUTH, "cephx"),
        },
        **{f"mon.{node.name}": {} for node in site.nodes},
    }
    units = {f"ceph-{kind}@{name}": "active" for kind in ("mon", "mgr", "mds")}
    units |= {f"ceph-osd@{i}": "active" for i in mine}
    return NodeStorage(
        name=name,
        packages=dict.fromkeys(PACKAGES, release),
        repository="" if ordered(site).repository == "manual" else ordered(site).repository,
        conf=conf,
        linked=True,
        daemons=frozenset(f"{kind}/ceph-{name}" for kind in ("mon", "mgr", "mds")),
        units=units,
        drives=tuple(served(site, i) for i in mine),
        storages=tuple(
            StorageEntry(n, v["type"], {k: x for k, x in v.items() if k != "type"})
            for n, v in entries(site).items()
        ),
        key=digest("the key"),
    )


def whole_state(site: Site) -> State:
    """Monitors' words in which nothing is amiss."""
    names = [node.name for node in site.nodes]
    table = ordered(site)
    size = site.hardware.data_drives.size
    osds = tuple(
        Osd(i, f"uuid-{i}", True, True, False, node, table.device_class, size / 2**40, size, 0,
            str(site.node(node).address), str(site.node(node).address))
        for i, (node, _) in enumerate(drives(site))
    )  # fmt: skip
    free = int(len(osds) * size / 3 * 0.95)
    pools = tuple(
        PoolState(n, p.size, p.min_size, (p.application,), p.share, p.pg_num or 128, autoscale(p), 0, 0, free)
        for n, p in table.pools.items()
    )
    metadata, data = file_pools(site)
    return State(
        fsid=FSID, health="HEALTH_OK", checks={}, muted=(), quorum=tuple(names),
        mons={n: str(site.node(n).address) for n in names}, mgr=names[0], mgr_standbys=tuple(names[1:]),
        mds_standbys=tuple(names[1:]),
        filesystems=(FileSystem(table.filesystem or "", metadata, data, (names[0],)),),
        osds=osds, pools=pools, rules=(Rule(0, "replicated_rule", "host"),), flags=(),
        nearfull=table.nearfull_ratio, raw=len(osds) * size, raw_used=0, pgs={"active+clean": 64},
        versions={"overall": {f"ceph version 18.2.7 (x) {table.release} (stable)": 15}},
        options={key.partition("/")[2]: value for key, value in settings(site).items()},
        configured={}, auth={n: dict.fromkeys(AUTH, "cephx") for n in names},
        skews=dict.fromkeys(names, 0.0),
    )  # fmt: skip


def all_stored(site: Site) -> Observation:
    """Nodes and monitors of which phase 4 wants nothing."""
    saved = {
        "fsid": Saved(digest(FSID), False),
        "mon_ips": Saved(digest(",".join(str(n.address) for n in site.nodes)), False),
        "admin_key": Saved(digest("the key"), True),
    }
    nodes = {n.name: node_storage(site, n.name) for n in site.nodes}
    return Observation(nodes, whole_state(site), "", saved)


def nothing_stored(site: Site) -> Observation:
    """Nodes fresh from phase 3."""
    return Observation({n.name: node_storage(site, n.name, bare=True) for n in site.nodes}, None)


def with_storage(seen: Observation, name: str, **changes: Any) -> Observation:
    """The same observation with some values of one node changed."""
    return replace(seen, nodes={**seen.nodes, name: replace(seen.node(name), **changes)})


def with_drive(seen: Observation, name: str, drive: Drive) -> Observation:
    """The same observation with one drive in the place of that of the same serial number."""
    others = tuple(d for d in seen.node(name).drives if d.serial != drive.serial)
    return with_storage(seen, name, drives=(*others, drive))


def with_state(seen: Observation, **changes: Any) -> Observation:
    """The same observation with some of the monitors' words changed."""
    return replace(seen, state=replace(seen.cluster(), **changes))


def with_osd(seen: Observation, number: int, **changes: Any) -> Observation:
    """The same observation with one OSD changed."""
    osds = tuple(replace(o, **changes) if o.id == number else o for o in seen.cluster().osds)
    return with_state(seen, osds=osds)


def with_pool(seen: Observation, name: str, **changes: Any) -> Observation:
    """The same observation with one pool changed."""
    pools = tuple(replace(p, **changes) if p.name == name else p for p in seen.cluster().pools)
    return with_state(seen, pools=pools)
