"""What the API shows of OSDs and pools: trees and tables put together from the monitors' answers."""

from __future__ import annotations

from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from . import monitors

_TREE = ("status", "crush_weight", "reweight", "device_class")
_VERSIONS = ("ceph_version", "ceph_version_short")


def osd_tree(machine: Machine) -> dict[str, Any]:
    """GET .../ceph/osd: the CRUSH tree with state, use and device of each OSD."""
    listed = monitors.ask(machine, "osd tree")["nodes"]
    dump = monitors.ask(machine, "osd dump")
    states = {state["osd"]: state for state in dump["osds"]}
    usage = monitors.ask(machine, "pg dump", dumpcontents=["osds"])
    usage = usage.get("osd_stats", []) if isinstance(usage, dict) else usage
    stats = {stat["osd"]: stat for stat in usage}
    facts = {fact["id"]: fact for fact in monitors.ask(machine, "osd metadata")}
    rows = {node["id"]: _row(node, states, stats, facts) for node in listed}
    children: set[int] = set()
    for node in listed:
        row = rows[node["id"]]
        below = [rows[child] for child in node.get("children", []) if child in rows]
        children |= set(node.get("children", []))
        if below:
            row |= {"children": below, "leaf": 0}
        else:
            row["leaf"] = int(node["id"] >= 0)
        if node["type"] == "host":
            for child in below:
                child["host"] = node["name"]
                row.setdefault("version", child.get("ceph_version_short"))
    roots = [rows[node["id"]] for node in listed if node["id"] not in children]
    if not roots:
        raise ApiError(500, "no root node")
    return {"root": {"leaf": 0, "children": roots}, "flags": dump.get("flags", "")}


def _row(
    node: dict[str, Any], states: dict[int, Any], stats: dict[int, Any], facts: dict[int, Any]
) -> dict[str, Any]:
    number = node["id"]
    row: dict[str, Any] = {"id": str(number), "name": node["name"], "type": node["type"]}
    row |= {key: node[key] for key in _TREE if node.get(key) is not None}
    if number in states:
        row["in"] = states[number]["in"]
    if stat := stats.get(number):
        total = (stat.get("kb") or 1) * 1024
        used = (stat.get("kb_used") or 0) * 1024
        row |= {"total_space": total, "bytes_used": used, "percent_used": used * 100 / total}
        row["pgs"] = stat.get("num_pgs", 0)
        row |= {
            key: stat.get("perf_stat", {}).get(key, 0) for key in ("commit_latency_ms", "apply_latency_ms")
        }
    fact = facts.get(number, {})
    if node["type"] == "osd" and fact.get("osd_objectstore"):
        row |= {
            "osdtype": fact["osd_objectstore"],
            "blfsdev": fact.get("bluestore_bdev_dev_node"),
            "dbdev": fact.get("bluefs_db_dev_node"),
            "waldev": fact.get("bluefs_wal_dev_node"),
        }
        row |= {key: fact[key] for key in _VERSIONS if key in fact}
    return row


def pool_list(machine: Machine) -> list[dict[str, Any]]:
    """GET .../ceph/pool."""
    stats = {pool["id"]: pool["stats"] for pool in monitors.ask(machine, "df")["pools"]}
    rules = {rule["rule_id"]: rule["rule_name"] for rule in monitors.ask(machine, "osd crush rule dump")}
    scaled = autoscale(machine)
    wanted = ("pool", "pool_name", "size", "min_size", "pg_num", "crush_rule", "pg_autoscale_mode")
    rows = []
    for pool in monitors.ask(machine, "osd dump")["pools"]:
        row = {key: pool[key] for key in (*wanted, "application_metadata")}
        row["type"] = {1: "replicated", 3: "erasure"}.get(pool["type"], "unknown")
        row["crush_rule_name"] = rules.get(pool["crush_rule"])
        options = pool.get("options", {})
        stat = stats.get(pool["pool"], {})
        status = scaled.get(pool["pool_name"])
        optional = {
            "pg_num_min": options.get("pg_num_min"),
            "target_size": options.get("target_size_bytes"),
            "target_size_ratio": options.get("target_size_ratio"),
            "bytes_used": stat.get("bytes_used"),
            "percent_used": stat.get("percent_used"),
            "autoscale_status": status,
            "pg_num_final": status and status.get("pg_num_final"),
        }
        row |= {key: value for key, value in optional.items() if value is not None}
        rows.append(row)
    return rows


def autoscale(machine: Machine) -> dict[str, dict[str, Any]]:
    """The autoscaler's view by pool; empty while no manager serves it."""
    try:
        listed = monitors.ask(machine, "osd pool autoscale-status") or []
    except ApiError:
        return {}
    return {row["pool_name"]: row for row in listed}


def pool_status(machine: Machine, name: str, verbose: bool) -> dict[str, Any]:
    """GET .../ceph/pool/{name}/status."""
    answer = monitors.ask(machine, "osd pool get", pool=name, var="all")
    flags = (
        "fast_read", "hashpspool", "nodelete", "nopgchange", "nosizechange", "noscrub",
        "write_fadvise_dontneed", "use_gmt_hitset",
    )  # fmt: skip
    row = {key: answer[key] for key in ("size", "min_size", "pg_num", "pgp_num", "crush_rule")}
    row |= {"id": answer["pool_id"], "name": name}
    row |= {key: int(bool(answer.get(key))) for key in (*flags, "nodeep-scrub")}
    for theirs, ours in (
        ("pg_autoscale_mode", "pg_autoscale_mode"),
        ("pg_num_min", "pg_num_min"),
        ("target_size_bytes", "target_size"),
        ("target_size_ratio", "target_size_ratio"),
    ):
        if theirs in answer:
            row[ours] = answer[theirs]
    listed = monitors.ask(machine, "osd pool application get", pool=name) or {}
    row["application_list"] = sorted(listed)
    if listed:
        row["application"] = sorted(listed)[0]
    if verbose:
        row["statistics"] = next(
            (pool["stats"] for pool in monitors.ask(machine, "df")["pools"] if pool["name"] == name), {}
        )
        row["autoscale_status"] = autoscale(machine).get(name, {})
    return row
