"""What Ceph says of itself, read in one call: daemons, maps, placement groups, health. Parsing is pure.

Sources of the fields: outputs of Ceph 18.2.7. A placement group's state is a list of words joined by "+":
clean means that "active" and "clean" are among them and nothing besides scrubbing and snapshot trimming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from chaos.ports import ClusterPort
from cluster.ceph import CephError
from cluster.errors import NotApplicableError, UnknownError

ASK_S = 45.0
BLOCKING_FLAGS = frozenset(
    {
        "noup", "nodown", "noin", "noout", "nobackfill", "norebalance", "norecover", "noscrub",
        "nodeep-scrub", "pauserd", "pausewr", "full", "notieragent", "nosnaptrim",
    }
)  # fmt: skip
_HARMLESS = frozenset({"active", "clean", "scrubbing", "deep", "snaptrim", "snaptrim_wait"})

COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "status": {"prefix": "status"},
    "quorum": {"prefix": "quorum_status"},
    "osds": {"prefix": "osd dump", "pick": ["flags", "osds", "osd_xinfo", "pools"]},
    "metadata": {"prefix": "osd metadata"},
    "mgr": {"prefix": "mgr dump", "pick": ["available", "active_name", "standbys"]},
    "fs": {"prefix": "fs dump"},
}


class CephPort(Protocol):
    """Ceph as `cluster.ceph.Ceph` asks it: answers by name, parsed JSON or a `CephError`.

    Raises `CephUnreachableError` where no monitor answered in time.
    """

    def ask(self, commands: Mapping[str, Mapping[str, Any]], timeout_s: float = ...) -> dict[str, Any]: ...


@runtime_checkable
class HasCeph(Protocol):
    """A cluster that can speak to its Ceph."""

    @property
    def ceph(self) -> CephPort: ...


@dataclass(frozen=True)
class Osd:
    """One OSD. `host`: the node it runs on or ran on last; `devices`: its `device_ids` as udev names them."""

    id: int
    up: bool
    in_: bool
    host: str
    devices: tuple[str, ...]
    laggy_s: float = 0.0
    """Seconds by which its grace is lengthened, since it was late before (`osd_xinfo`)."""


@dataclass(frozen=True)
class Pool:
    """One pool's copies."""

    name: str
    size: int
    min_size: int


@dataclass(frozen=True)
class CephState:
    """Ceph at one moment. `checks`: health code -> message, those that are muted left out."""

    health: str
    checks: Mapping[str, str]
    muted: tuple[str, ...]
    mons: tuple[str, ...]
    quorum: tuple[str, ...]
    leader: str | None
    osds: Mapping[int, Osd]
    pools: tuple[Pool, ...]
    flags: tuple[str, ...]
    mgr: str | None
    mgr_standbys: tuple[str, ...]
    mds: Mapping[str, str]
    """Name -> state of each MDS that holds a rank, such as "up:active"."""
    mds_standbys: tuple[str, ...]
    mds_wanted: int
    """Ranks that should be held, over all file systems."""
    pgs: Mapping[str, int]

    @property
    def unclean(self) -> int:
        """Placement groups that are not clean."""
        return sum(count for state, count in self.pgs.items() if not clean(state))

    def of_host(self, host: str) -> tuple[Osd, ...]:
        """The OSDs of one node, by id."""
        return tuple(osd for _, osd in sorted(self.osds.items()) if osd.host == host)


def clean(state: str) -> bool:
    """Whether a placement group in this state has all copies where they belong."""
    words = set(state.split("+"))
    return {"active", "clean"} <= words <= _HARMLESS


def ceph_of(cluster: ClusterPort) -> CephPort:
    """The cluster's Ceph. Raises `NotApplicableError` where the site orders none."""
    if cluster.site.ceph is None or not isinstance(cluster, HasCeph):
        raise NotApplicableError("PF-CEPH-NONE", "the site orders no Ceph.", "add [ceph] to the site file.")
    return cluster.ceph


def answer(answers: Mapping[str, Any], key: str) -> Any:
    """One answer. Raises `UnknownError` where Ceph refused the command or did not answer it."""
    found = answers.get(key)
    if found is None or isinstance(found, CephError):
        raise UnknownError(f"Ceph does not tell its {key}: {found or 'no answer'}")
    return found


def read(cluster: ClusterPort, timeout_s: float = ASK_S) -> CephState:
    """Ceph now. Raises `UnknownError` where an answer is not understood, and what the port raises."""
    answers = ceph_of(cluster).ask(COMMANDS, timeout_s)
    try:
        return parse({key: answer(answers, key) for key in COMMANDS}, tuple(cluster.nodes))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnknownError(f"Ceph's answer is not understood: {type(error).__name__} {error}") from None


def parse(answers: Mapping[str, Any], nodes: tuple[str, ...] = ()) -> CephState:
    """The state that the answers to `COMMANDS` describe. Raises KeyError and the like on a foreign shape."""
    status, quorum, dump, mgr = (answers[key] for key in ("status", "quorum", "osds", "mgr"))
    checks = status["health"]["checks"]
    held, wanted = _ranks(answers["fs"])
    return CephState(
        health=status["health"]["status"],
        checks={code: found["summary"]["message"] for code, found in checks.items() if not found["muted"]},
        muted=tuple(sorted(mute["code"] for mute in status["health"].get("mutes", ()))),
        mons=tuple(mon["name"] for mon in quorum["monmap"]["mons"]),
        quorum=tuple(quorum["quorum_names"]),
        leader=quorum.get("quorum_leader_name") or None,
        osds=_osds(dump, answers["metadata"], nodes),
        pools=tuple(Pool(each["pool_name"], each["size"], each["min_size"]) for each in dump["pools"]),
        flags=tuple(sorted(BLOCKING_FLAGS & set(dump["flags"].split(",")))),
        mgr=(mgr["active_name"] or None) if mgr["available"] else None,
        mgr_standbys=tuple(each["name"] for each in mgr["standbys"]),
        mds=held,
        mds_standbys=tuple(each["name"] for each in answers["fs"]["standbys"]),
        mds_wanted=wanted,
        pgs={each["state_name"]: each["count"] for each in status["pgmap"]["pgs_by_state"]},
    )


def _ranks(dump: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    held: dict[str, str] = {}
    wanted = 0
    for each in dump["filesystems"]:
        wanted += each["mdsmap"]["max_mds"]
        held |= {info["name"]: info["state"] for info in each["mdsmap"]["info"].values() if info["rank"] >= 0}
    return held, wanted


def _osds(dump: Mapping[str, Any], metadata: Any, nodes: tuple[str, ...]) -> dict[int, Osd]:
    about = {each["id"]: each for each in metadata}
    late = {
        each["osd"]: each["laggy_probability"] * each["laggy_interval"] for each in dump.get("osd_xinfo", ())
    }
    found = {}
    for each in dump["osds"]:
        known = about.get(each["osd"], {})
        ids = tuple(part for part in known.get("device_ids", "").split(",") if part)
        host = _node(known.get("hostname", ""), nodes)
        found[each["osd"]] = Osd(
            each["osd"], bool(each["up"]), bool(each["in"]), host, ids, float(late.get(each["osd"], 0))
        )
    return found


def _node(hostname: str, nodes: tuple[str, ...]) -> str:
    """The site's name of a host: as it calls itself, with or without its domain."""
    short = hostname.partition(".")[0]
    return next((name for name in nodes if name in (hostname, short)), hostname)
