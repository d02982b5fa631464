"""The storage cluster as its monitors tell it, read from one set of answers.

Keys of the answers: systems.md 5.1, measured on 18.2.7; they are the same in 19.2 and 20.2 as far as is
documented. An answer that failed leaves its part empty and its sentence in `unanswered`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.ceph import CephError

_EXTRA = frozenset({"scrubbing", "deep", "snaptrim", "snaptrim_wait"})
AUTH = ("auth_cluster_required", "auth_service_required", "auth_client_required")
RECLAIM = "auth_allow_insecure_global_id_reclaim"
DOWN_OUT = "mon_osd_down_out_interval"
MEMORY = "osd_memory_target"
OPTIONS: Mapping[str, str] = {
    RECLAIM: "mon",
    DOWN_OUT: "mon",
    MEMORY: "osd",
    "mon_clock_drift_allowed": "mon",
}
MODULE_FAILED = "MGR_MODULE_ERROR"
# Flags that keep Ceph from healing itself; those that every map bears are none of them.
HINDERING = frozenset(
    [
        "noout",
        "nodown",
        "noup",
        "noin",
        "nobackfill",
        "norebalance",
        "norecover",
        "noscrub",
        "nodeep-scrub",
        "pause",
        "pauserd",
        "pausewr",
    ]
)


@dataclass(frozen=True)
class Osd:
    """One OSD. `weight` as CRUSH has it (TiB), `size` and `used` in bytes; `new`: it has never served."""

    id: int
    uuid: str
    up: bool
    inside: bool
    new: bool
    host: str
    device_class: str
    weight: float
    size: int
    used: int
    public: str
    cluster: str
    destroyed: bool = False


@dataclass(frozen=True)
class PoolState:
    """One pool. `stored`, `free` in bytes of data, replicas not counted; `ratio`: target_size_ratio."""

    name: str
    size: int
    min_size: int
    applications: tuple[str, ...]
    ratio: float
    pg_num: int
    autoscale: str
    rule: int
    stored: int
    free: int
    quota: int = 0


@dataclass(frozen=True)
class Rule:
    """A CRUSH rule and what replicas of it never share."""

    id: int
    name: str
    domain: str


@dataclass(frozen=True)
class FileSystem:
    """A CephFS, with the names of its pools and of its active metadata servers."""

    name: str
    metadata_pool: str
    data_pools: tuple[str, ...]
    active: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """The storage cluster. `skews` in seconds by monitor; `pgs`: number of placement groups by state."""

    fsid: str
    health: str
    checks: Mapping[str, str]
    muted: tuple[str, ...]
    quorum: tuple[str, ...]
    mons: Mapping[str, str]
    mgr: str
    mgr_standbys: tuple[str, ...]
    mds_standbys: tuple[str, ...]
    filesystems: tuple[FileSystem, ...]
    osds: tuple[Osd, ...]
    pools: tuple[PoolState, ...]
    rules: tuple[Rule, ...]
    flags: tuple[str, ...]
    nearfull: float
    raw: int
    raw_used: int
    pgs: Mapping[str, int]
    versions: Mapping[str, Mapping[str, int]]
    options: Mapping[str, str]
    configured: Mapping[str, str]
    auth: Mapping[str, Mapping[str, str]]
    skews: Mapping[str, float]
    crashes: tuple[str, ...] = ()
    unanswered: Mapping[str, str] = field(default_factory=dict)

    def pool(self, name: str) -> PoolState | None:
        """The pool of that name."""
        return next((p for p in self.pools if p.name == name), None)

    def rule(self, number: int) -> Rule | None:
        """The CRUSH rule of that number."""
        return next((r for r in self.rules if r.id == number), None)

    @property
    def unclean(self) -> dict[str, int]:
        """Placement groups that are not active and clean, by state. Scrubbing and trimming do not count."""
        return {name: n for name, n in self.pgs.items() if n and not clean(name)}


def clean(state: str) -> bool:
    """Whether a placement group in this state is active and clean, perhaps being scrubbed or trimmed."""
    words = set(state.split("+"))
    return words >= {"active", "clean"} and words <= {"active", "clean", *_EXTRA}


CORE = ("status", "osd dump", "osd tree", "mon dump", "fs dump", "rules", "df", "config dump")


def questions(mons: tuple[str, ...], settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every command of an observation. `mons`: whose running configuration is asked for authentication;
    `settings`: "section/option" of the order.
    """
    asked: dict[str, dict[str, Any]] = {
        "status": {"prefix": "status"},
        "health": {"prefix": "health", "detail": "detail"},
        "osd dump": {
            "prefix": "osd dump",
            "pick": ["osds", "pools", "flags_set", "nearfull_ratio", "full_ratio", "backfillfull_ratio"],
        },
        "osd tree": {"prefix": "osd tree"},
        "osd df": {"prefix": "osd df", "target": "mgr"},
        "df": {"prefix": "df", "detail": "detail"},
        "mon dump": {"prefix": "mon dump", "pick": ["mons"]},
        "mgr dump": {"prefix": "mgr dump", "pick": ["active_name", "available", "standbys"]},
        "fs dump": {"prefix": "fs dump", "pick": ["filesystems", "standbys"]},
        "rules": {"prefix": "osd crush rule dump"},
        "versions": {"prefix": "versions"},
        "time": {"prefix": "time-sync-status"},
        "crashes": {"prefix": "crash ls-new", "target": "mgr"},
        "config dump": {"prefix": "config dump"},
    }
    for option, section in OPTIONS.items():
        asked[f"option {option}"] = {"prefix": "config get", "who": section, "key": option}
    for key in settings:
        section, _, option = key.partition("/")
        asked[f"option {key}"] = {"prefix": "config get", "who": section, "key": option}
    for mon in mons:
        for option in AUTH:
            asked[f"auth {mon} {option}"] = {
                "prefix": "config show", "who": f"mon.{mon}", "key": option, "target": "mgr",
            }  # fmt: skip
    return asked


def read(answers: Mapping[str, Any]) -> State:
    """The state that the answers to `questions` tell."""
    failed = {name: str(value) for name, value in answers.items() if isinstance(value, CephError)}
    given = {name: value for name, value in answers.items() if not isinstance(value, CephError)}

    def part(name: str) -> dict[str, Any]:
        found = given.get(name)
        return found if isinstance(found, dict) else {}

    status, health, dump = (
        part("status"),
        part("health") or part("status").get("health", {}),
        part("osd dump"),
    )
    df = part("df").get("stats", {})
    checks = {
        code: str(check.get("summary", {}).get("message", ""))
        for code, check in health.get("checks", {}).items()
    }
    muted = {code for code, check in health.get("checks", {}).items() if check.get("muted")}
    muted |= {str(m.get("code")) for m in health.get("mutes", [])}
    mgr, fs = part("mgr dump"), part("fs dump")
    names = {int(p["pool"]): str(p["pool_name"]) for p in dump.get("pools", [])}
    return State(
        fsid=str(status.get("fsid", "")),
        health=str(health.get("status", "unknown")),
        checks=checks,
        muted=tuple(sorted(muted)),
        quorum=tuple(status.get("quorum_names", [])),
        mons={str(m["name"]): _address(m.get("public_addrs", {})) for m in part("mon dump").get("mons", [])},
        mgr=str(mgr.get("active_name", "")) if mgr.get("available") else "",
        mgr_standbys=tuple(str(s["name"]) for s in mgr.get("standbys", [])),
        mds_standbys=tuple(str(s["name"]) for s in fs.get("standbys", [])),
        filesystems=tuple(_filesystem(each.get("mdsmap", {}), names) for each in fs.get("filesystems", [])),
        osds=_osds(dump, part("osd tree"), part("osd df")),
        pools=_pools(dump, part("df")),
        rules=tuple(_rule(r) for r in given.get("rules", []) if isinstance(r, dict)),
        flags=tuple(sorted(set(dump.get("flags_set", [])) & HINDERING)),
        nearfull=float(dump.get("nearfull_ratio", 0.0)),
        raw=int(df.get("total_bytes", 0)),
        raw_used=int(df.get("total_used_raw_bytes", 0)),
        pgs={str(s["state_name"]): int(s["count"]) for s in status.get("pgmap", {}).get("pgs_by_state", [])},
        versions={k: v for k, v in part("versions").items() if isinstance(v, dict)},
        options={n.removeprefix("option "): _text(v) for n, v in given.items() if n.startswith("option ")},
        configured={f"{r['section']}/{r['name']}": str(r["value"]) for r in given.get("config dump") or []},
        auth=_auth(given),
        skews={
            name: float(row.get("skew", 0)) for name, row in part("time").get("time_skew_status", {}).items()
        },
        crashes=tuple(
            str(c.get("entity_name", c)) for c in given.get("crashes") or [] if isinstance(c, dict)
        ),
        unanswered=failed,
    )


def _text(value: Any) -> str:
    return str(value).strip().strip('"').lower() if isinstance(value, bool) else str(value).strip().strip('"')


def _auth(given: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in given.items():
        if name.startswith("auth "):
            _, mon, option = name.split(" ", 2)
            found.setdefault(mon, {})[option] = _text(value)
    return found


def _address(addresses: Mapping[str, Any] | str) -> str:
    """The first IP of an address vector, or of its text form `[v2:10.6.0.11:3300/0,v1:...]`."""
    if isinstance(addresses, str):
        found = re.search(r"(?:v[12]:)?(\d+\.\d+\.\d+\.\d+):", addresses)
        return found[1] if found else ""
    vector = addresses.get("addrvec", [])
    return str(vector[0]["addr"]).rsplit(":", 1)[0] if vector else ""


def _osds(dump: Mapping[str, Any], tree: Mapping[str, Any], df: Mapping[str, Any]) -> tuple[Osd, ...]:
    nodes = {int(n["id"]): n for n in tree.get("nodes", [])}
    hosts = {int(c): str(n["name"]) for n in nodes.values() if n.get("type") == "host" for c in n["children"]}
    fills = {int(n["id"]): n for n in df.get("nodes", [])}
    found = []
    for row in dump.get("osds", []):
        number = int(row["osd"])
        states = set(row.get("state", []))
        node, fill = nodes.get(number, {}), fills.get(number, {})
        found.append(
            Osd(
                id=number,
                uuid=str(row.get("uuid", "")),
                up=bool(row.get("up")),
                inside=bool(row.get("in")),
                new="new" in states or (not row.get("up") and not int(row.get("up_from", 1) or 0)),
                host=hosts.get(number, ""),
                device_class=str(node.get("device_class", "")),
                weight=float(node.get("crush_weight", 0.0)),
                size=int(fill.get("kb", 0)) * 1024,
                used=int(fill.get("kb_used", 0)) * 1024,
                public=_address(row.get("public_addrs") or str(row.get("public_addr", ""))),
                cluster=_address(row.get("cluster_addrs") or str(row.get("cluster_addr", ""))),
                destroyed="destroyed" in states,
            )
        )
    return tuple(sorted(found, key=lambda osd: osd.id))


def _pools(dump: Mapping[str, Any], df: Mapping[str, Any]) -> tuple[PoolState, ...]:
    stats = {str(p["name"]): p.get("stats", {}) for p in df.get("pools", [])}
    return tuple(
        PoolState(
            name=str(row["pool_name"]),
            size=int(row["size"]),
            min_size=int(row["min_size"]),
            applications=tuple(row.get("application_metadata", {})),
            ratio=float(row.get("options", {}).get("target_size_ratio", 0.0)),
            pg_num=int(row.get("pg_num_target") or row["pg_num"]),
            autoscale=str(row.get("pg_autoscale_mode", "")),
            rule=int(row.get("crush_rule", 0)),
            stored=int(stats.get(str(row["pool_name"]), {}).get("stored", 0)),
            free=int(stats.get(str(row["pool_name"]), {}).get("max_avail", 0)),
            quota=int(row.get("quota_max_bytes", 0)),
        )
        for row in dump.get("pools", [])
    )


def _rule(row: Mapping[str, Any]) -> Rule:
    choose: dict[str, Any] = next(
        (s for s in row.get("steps", []) if str(s.get("op", "")).startswith("choose")), {}
    )
    return Rule(int(row["rule_id"]), str(row["rule_name"]), str(choose.get("type", "")))


def _filesystem(row: Mapping[str, Any], pools: Mapping[int, str]) -> FileSystem:
    active = [str(i["name"]) for i in row.get("info", {}).values() if i.get("state") == "up:active"]
    metadata = row.get("metadata_pool", -1)
    return FileSystem(
        str(row.get("fs_name", "")),
        pools.get(int(metadata), str(metadata)),
        tuple(pools.get(int(p), str(p)) for p in row.get("data_pools", [])),
        tuple(active),
    )
