"""Pools, the file system and the storage entries: what of them is ordered and not true. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provisioners.ceph.observation import Observation
from provisioners.ceph.order import entries, file_pools, first, ordered
from provisioners.ceph.state import PoolState, State
from provisioners.change import Change

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Pool

RULE = "replicated_rule"  # Ceph's own first rule: replicas on different hosts
RATIO_TOLERANCE = 1e-4


def rule_name(site: Site) -> str:
    """The CRUSH rule that the order's pools use."""
    domain = ordered(site).failure_domain
    return RULE if domain == "host" else f"replicated_{domain}"


def pools(site: Site, state: State | None) -> Iterator[Change]:
    """The CRUSH rule and each pool."""
    where, table = first(site), ordered(site)
    name = rule_name(site)
    rules = {rule.name: rule for rule in state.rules} if state is not None else {}
    if name != RULE and name not in rules:
        yield Change(where, f"make the rule {name}: replicas never share a {table.failure_domain}", "rules")
    elif name in rules and rules[name].domain != table.failure_domain:
        yield Change(
            where, f"see to the rule {name}: it parts replicas by {rules[name].domain}, expected"
            f" {table.failure_domain}", "people",
        )  # fmt: skip
    for pool, want in table.pools.items():
        have = state.pool(pool) if state is not None else None
        if have is None:
            yield Change(where, f"make pool {pool} ({_says(want)})", "pools")
            continue
        wrong = differences(want, have)
        used = next((r.name for r in rules.values() if r.id == have.rule), "")
        if rules and used != name:
            wrong.append(f"rule {used or 'unknown'}, expected {name}")
        if wrong:
            yield Change(where, f"set pool {pool} right: {', '.join(wrong)}", "pools")


def _says(want: Pool) -> str:
    return f"{want.size}/{want.min_size} replicas, share {want.share:g}, {want.application}"


def differences(want: Pool, have: PoolState) -> list[str]:
    """Each property of a pool that is not as ordered, as `what have, expected want`."""
    found = []
    if have.size != want.size:
        found.append(f"size {have.size}, expected {want.size}")
    if have.min_size != want.min_size:
        found.append(f"min_size {have.min_size}, expected {want.min_size}")
    if abs(have.ratio - want.share) > RATIO_TOLERANCE:
        found.append(f"share {have.ratio:g}, expected {want.share:g}")
    if want.application not in have.applications:
        found.append(f"application {' '.join(have.applications) or 'none'}, expected {want.application}")
    if want.pg_num is not None and have.pg_num != want.pg_num:
        found.append(f"pg_num {have.pg_num}, expected {want.pg_num}")
    mode = autoscale(want)
    if have.autoscale and have.autoscale != mode:
        found.append(f"autoscaler {have.autoscale}, expected {mode}")
    return found


def autoscale(want: Pool) -> str:
    """The autoscaler's mode: off where the order says how many placement groups there are."""
    return "off" if want.pg_num is not None else "on"


def filesystem(site: Site, state: State | None) -> Iterator[Change]:
    """The ordered CephFS on the ordered pools."""
    name = ordered(site).filesystem
    metadata, data = file_pools(site)
    if not name or not data:
        return
    seen = next((f for f in state.filesystems if f.name == name), None) if state is not None else None
    if seen is None:
        yield Change(
            first(site), f"make the file system {name} on {', '.join(data)} and {metadata}", "filesystem"
        )
    elif (seen.metadata_pool, set(seen.data_pools)) != (metadata, set(data)):
        where = f"{', '.join(seen.data_pools)} and {seen.metadata_pool}"
        yield Change(
            first(site), f"move the file system {name} from {where} to the ordered pools: its files have to"
            " be copied, by people", "people",
        )  # fmt: skip


def storages(site: Site, seen: Observation) -> Iterator[Change]:
    """The entries that Proxmox VE needs, and those of ours whose pool or file system is not there."""
    node = next(iter(seen.seen.values()), None)
    if node is None:
        return
    have = {entry.name: entry for entry in node.storages}
    for name, want in entries(site).items():
        entry = have.get(name)
        if entry is None:
            yield Change(first(site), f"tell Proxmox VE of storage {name} ({want['type']})", "storages")
        elif entry.kind != want["type"]:
            yield Change(first(site), f"see to storage {name}: it is of type {entry.kind}", "people")
        elif wrong := entry_differences(want, entry.values):
            yield Change(first(site), f"set storage {name} right: {', '.join(wrong)}", "storages")
    for name in stale(site, seen):
        yield Change(
            first(site), f"take storage {name} from Proxmox VE: what it points at is not there", "storages"
        )


def entry_differences(want: dict[str, str], have: object) -> list[str]:
    """Each property of a storage entry that is not as ordered."""
    values = dict(have) if isinstance(have, dict) else {}
    found = []
    for key, value in want.items():
        if key == "type":
            continue
        default = {"krbd": "0", "pool": "rbd"}.get(key, "")
        true = values.get(key, default)
        if set(true.split(",")) != set(value.split(",")):  # contents are a set
            found.append(f"{key} {true or 'unset'}, expected {value}")
    if "disable" in values:
        found.append("it is disabled")
    return found


def stale(site: Site, seen: Observation) -> list[str]:
    """Storage entries of these nodes' own Ceph that point at a pool or file system which does not exist."""
    state = seen.state
    node = next(iter(seen.seen.values()), None)
    if state is None or node is None:
        return []
    known = {pool.name for pool in state.pools} | set(ordered(site).pools)
    files = {f.name for f in state.filesystems} | {ordered(site).filesystem or ""}
    found = []
    for entry in node.storages:
        if not entry.ours or entry.name in entries(site):
            continue
        if (entry.kind == "rbd" and entry.values.get("pool", "rbd") not in known) or (
            entry.kind == "cephfs" and entry.values.get("fs-name", next(iter(files))) not in files
        ):
            found.append(entry.name)
    return found
