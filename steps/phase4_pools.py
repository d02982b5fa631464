"""Phase 4: pools, capacity and headroom, and what Proxmox VE knows of them."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_bdd import then

from cluster.site import Site
from cluster.units import format_size
from provisioners.ceph import missing_pools
from provisioners.ceph.observation import Observation
from provisioners.ceph.order import (
    after_node_loss,
    entries,
    image_pools,
    ordered,
    plannable,
    raw_capacity,
    replicas,
    usable_capacity,
)
from provisioners.ceph.state import State
from reports.evidence import Run
from steps.verdict import NotAsOrderedError, all_hold

FULL = 0.95  # Ceph's full ratio: max_avail leaves out what lies above it


@then("each ordered pool has its replicas, its minimum of replicas, its application and its share")
def _pools(site: Site, storage_state: State) -> None:
    def findings() -> Iterator[str]:
        for name, want in ordered(site).pools.items():
            have = storage_state.pool(name)
            if have is None:
                yield f"there is no pool {name}"
            else:
                yield from (f"pool {name}: {text}" for text in missing_pools.differences(want, have))

    all_hold(findings())


@then("no two replicas of a block stand on the same host")
def _domain(site: Site, storage_state: State) -> None:
    want = ordered(site).failure_domain

    def findings() -> Iterator[str]:
        for name in ordered(site).pools:
            pool = storage_state.pool(name)
            rule = storage_state.rule(pool.rule) if pool is not None else None
            if rule is None:
                yield f"pool {name} has no known rule"
            elif rule.domain != want:
                yield f"pool {name}: rule {rule.name} parts replicas by {rule.domain}, expected {want}"

    all_hold(findings())


@then("the raw capacity is that of the ordered drives within 1 percent")
def _raw(site: Site, storage_state: State, evidence: Run) -> None:
    want = raw_capacity(site)
    evidence.note(f"raw capacity {storage_state.raw / 1e12:.3f} TB, ordered {want / 1e12:.3f} TB")
    if abs(storage_state.raw - want) > want * 0.01:
        raise NotAsOrderedError(
            f"the raw capacity is {storage_state.raw / 1e12:.3f} TB, expected {want / 1e12:.3f} TB"
        )


@then("the usable capacity is the raw capacity divided by the replicas, within 10 percent")
def _usable(site: Site, storage_state: State, evidence: Run) -> None:
    pools = [pool for name in image_pools(site) if (pool := storage_state.pool(name)) is not None]
    if not pools:
        raise NotAsOrderedError("no ordered pool is there to ask")
    have = min(pool.free for pool in pools) + sum(pool.stored for pool in storage_state.pools)
    want = usable_capacity(site) * FULL
    evidence.note(
        f"usable {have / 1e12:.3f} TB up to the full ratio; by the arithmetic {want / 1e12:.3f} TB"
        f" ({raw_capacity(site) / 1e12:.3f} TB raw, {replicas(site)} replicas, full at {FULL:g});"
        f" plan with {plannable(site) / 1e12:.3f} TB: one drive may be lost below the warning level"
    )
    if abs(have - want) > want * 0.10:
        raise NotAsOrderedError(f"usable are {have / 1e12:.3f} TB, expected {want / 1e12:.3f} TB")


@then("what is stored stays below the warning level when a drive of each node, or a whole node, is lost")
def _headroom(site: Site, storage_state: State) -> None:
    stored = sum(pool.stored for pool in storage_state.pools)
    _, fill = after_node_loss(site, stored)

    def findings() -> Iterator[str]:
        if stored > plannable(site):
            yield f"{format_size(stored)} are stored; with a drive lost {plannable(site) / 1e12:.3f} TB fit"
        if fill > storage_state.nearfull:
            level = storage_state.nearfull
            yield f"without a node the others would be {fill:.0%} full, Ceph warns from {level:.0%}"

    all_hold(findings())


@then("the report says whether a lost node's data can be placed elsewhere")
def _honest(site: Site, storage_state: State, evidence: Run) -> None:
    elsewhere, fill = after_node_loss(site, sum(pool.stored for pool in storage_state.pools))
    hosts, size = len(site.nodes), replicas(site)
    evidence.note(
        f"a lost node's data is placed on the others, which are {fill:.1%} full then"
        if elsewhere
        else f"{size} replicas on {hosts} hosts: a lost node's data can be placed nowhere else. Input"
        f" and output go on with {size - 1} replicas, Ceph reports HEALTH_WARN until the node is back, and"
        f" a second loss stops them; the other nodes stay {fill:.1%} full"
    )


@then("every node lists the ordered storage entries, each for its own pool")
def _entries(site: Site, storage_seen: Observation) -> None:
    def findings() -> Iterator[str]:
        for node in site.nodes:
            have = {entry.name: entry for entry in storage_seen.node(node.name).storages}
            for name, want in entries(site).items():
                entry = have.get(name)
                if entry is None or entry.kind != want["type"]:
                    yield f"{node.name}: knows no storage {name} of type {want['type']}"
                else:
                    wrong = missing_pools.entry_differences(want, dict(entry.values))
                    yield from (f"{node.name}: storage {name}: {text}" for text in wrong)

    all_hold(findings())


@then("no storage entry points at a pool that is not there")
def _no_stale(site: Site, storage_seen: Observation, storage_state: State) -> None:
    known = {p.name for p in storage_state.pools}
    files = {f.name for f in storage_state.filesystems}

    def findings() -> Iterator[str]:
        for name in missing_pools.stale(site, storage_seen):
            yield f"storage {name} points at nothing"
        for name, want in entries(site).items():
            if want["type"] == "rbd" and want["pool"] not in known:
                yield f"storage {name} is for pool {want['pool']}, which is not there"
            if want["type"] == "cephfs" and want["fs-name"] not in files:
                yield f"storage {name} is for file system {want['fs-name']}, which is not there"

    all_hold(findings())
