"""The guard's part for Ceph: whole before a fault, whole after it, and nothing left that only time mends.

A storage fault needs Ceph whole and its victims dispensable by Ceph's own word (`ok-to-stop`). Any other
fault asks for Ceph only where Ceph runs: what was whole before it must be whole after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaos import ceph_state
from chaos.ceph_state import CephState, answer, ceph_of
from chaos.fault import Fault
from chaos.faults.storage import StorageFault
from chaos.ports import ClusterPort
from cluster.ceph import CephError
from cluster.errors import NotApplicableError, RackproofError, UnknownError

RESTORED_S = 600.0
"""The plan's bound: rebalanced within 10 minutes."""
_SHORT_ASK_S = 20.0

ALLOWED = frozenset(
    {
        "MGR_MODULE_DEPENDENCY", "RECENT_MGR_MODULE_CRASH", "POOL_TOO_FEW_PGS", "POOL_TOO_MANY_PGS",
        "PG_NOT_SCRUBBED", "PG_NOT_DEEP_SCRUBBED", "LARGE_OMAP_OBJECTS", "TELEMETRY_CHANGED",
        "OSD_SLOW_PING_TIME_FRONT", "OSD_SLOW_PING_TIME_BACK",
    }
)  # fmt: skip
"""Warnings that take nothing from the redundancy that a drill relies on."""
LATCHED = frozenset({"BLUESTORE_SLOW_OP_ALERT", "BLOCK_DEVICE_STALLED_READ_ALERT", "RECENT_CRASH"})
"""What Ceph goes on saying for a day to two weeks after it was so once: no reason to refuse a fault, and
cleared after one, since a drill that leaves a warning behind has not healed everything.
"""
_LIFETIMES = {
    "BLUESTORE_SLOW_OP_ALERT": "bluestore_slow_ops_warn_lifetime",
    "BLOCK_DEVICE_STALLED_READ_ALERT": "bdev_stalled_read_warn_lifetime",
}


class CephWhole:
    """Health, flags, quorum, OSDs up and in, placement groups clean, standbys of MGR and MDS as before.

    One object serves one drill after the other: what it saw when it admitted a fault is what it asks for
    afterwards.
    """

    name = "Ceph is whole"
    before_only = False

    def __init__(self) -> None:
        self._before: CephState | None = None
        self._admitted: Fault | None = None
        self._short: set[int] = set()

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        """What is wrong, each as a sentence; asked of a fault for the first time, it is before the break."""
        before = self._admitted is not fault
        if before:
            self._admitted, self._before = None, None
        state = self._look(cluster, fault, needed=isinstance(fault, StorageFault) or not before)
        if state is None:
            self._admitted = fault
            return []
        found = lacking(state, LATCHED | ALLOWED if before else ALLOWED)
        if before:
            if isinstance(fault, StorageFault) and not found:
                found = indispensable(cluster, fault.osd_ids, fault.mon)
            if not found:
                self._admitted, self._before = fault, state
            return found
        found += fewer(self._before, state)
        latched = LATCHED & set(state.checks)
        if latched and set(found) <= {_said(code, state.checks[code]) for code in latched}:
            self._clear(cluster, latched)
        elif not found:
            self._lengthen(cluster)
        return found

    def _look(self, cluster: ClusterPort, fault: Fault, *, needed: bool) -> CephState | None:
        """Ceph now; None where there is none to ask about."""
        if isinstance(fault, StorageFault) or (needed and self._before is not None):
            return ceph_state.read(cluster)
        if needed or cluster.site.ceph is None or not _configured(cluster):
            return None
        try:
            return ceph_state.read(cluster, _SHORT_ASK_S)
        except (RackproofError, NotApplicableError):
            return None  # ordered and not running: not what a fault of the network is about

    def _clear(self, cluster: ClusterPort, latched: set[str] | frozenset[str]) -> None:
        """Archive crashes; have OSDs forget slow operations, by shortening how long they remember."""
        asked: dict[str, dict[str, Any]] = {}
        if "RECENT_CRASH" in latched:
            asked["crashes"] = {"prefix": "crash archive-all", "target": "mgr"}
        detail = ceph_of(cluster).ask({"detail": {"prefix": "health", "detail": "detail"}})
        for osd in _named(answer(detail, "detail"), latched):
            self._short.add(osd)
            for code in latched & _LIFETIMES.keys():
                asked[f"{osd} {code}"] = {
                    "prefix": "config set", "target": f"osd.{osd}", "var": _LIFETIMES[code], "val": ["1"],
                }  # fmt: skip
        ceph_of(cluster).ask(asked)

    def _lengthen(self, cluster: ClusterPort) -> None:
        """OSDs remember as long as they are configured to again."""
        if self._short:
            ceph_of(cluster).ask(
                {
                    f"{osd} {key}": {"prefix": "config unset", "target": f"osd.{osd}", "var": key}
                    for osd in self._short
                    for key in _LIFETIMES.values()
                }
            )
            self._short.clear()


def lacking(state: CephState, allowed: frozenset[str] = ALLOWED) -> list[str]:
    """What keeps Ceph from being whole, each as a sentence. Pure."""
    found = [_said(code, text) for code, text in sorted(state.checks.items()) if code not in allowed]
    found += [f"Ceph's health code {code} is muted" for code in state.muted if code not in allowed]
    if state.flags:
        found.append(f"Ceph has {', '.join(state.flags)} set")
    absent = sorted(set(state.mons) - set(state.quorum))
    if absent:
        found.append(f"monitors {', '.join(absent)} are not in the quorum")
    down = [
        f"{osd.id} ({'out' if osd.up else 'down'})" for osd in state.osds.values() if not (osd.up and osd.in_)
    ]
    if down:
        found.append(f"OSDs {', '.join(down)} are not up and in")
    if state.unclean or not state.pgs:
        total = sum(state.pgs.values())
        found.append(f"{state.unclean} of {total} placement groups are not clean")
    if state.mgr is None:
        found.append("no manager is active")
    active = sum(how == "up:active" for how in state.mds.values())
    if active < state.mds_wanted:
        found.append(f"{active} of {state.mds_wanted} metadata servers are active")
    return found


def fewer(before: CephState | None, now: CephState) -> list[str]:
    """Daemons that stood by before a fault and do not now. Pure."""
    if before is None:
        return []
    found = []
    for what, was, has in (
        ("managers", before.mgr_standbys, now.mgr_standbys),
        ("metadata servers", before.mds_standbys, now.mds_standbys),
    ):
        if len(has) < len(was):
            found.append(f"{len(has)} {what} stand by, {len(was)} did before")
    if set(before.osds) - set(now.osds):
        gone = ", ".join(map(str, sorted(set(before.osds) - set(now.osds))))
        found.append(f"OSDs {gone} are no longer known")
    return found


def indispensable(cluster: ClusterPort, osds: tuple[int, ...], mon: str | None = None) -> list[str]:
    """Why Ceph cannot do without these OSDs and this monitor, by its own word; empty where it can."""
    asked: dict[str, Mapping[str, Any]] = {}
    if osds:
        asked["osds"] = {"prefix": "osd ok-to-stop", "ids": [str(osd) for osd in osds], "target": "mgr"}
    if mon:
        asked["mon"] = {"prefix": "mon ok-to-stop", "ids": [mon]}
    if not asked:
        return []
    found = []
    for key, got in ceph_of(cluster).ask(asked).items():
        if isinstance(got, CephError):
            if got.code != 16:
                raise UnknownError(f"Ceph does not tell whether {key} may stop: {got}")
            what = f"OSDs {', '.join(map(str, osds))}" if key == "osds" else f"monitor {mon}"
            found.append(f"Ceph cannot do without {what}: {got.message or _bad(got.output)}")
        elif isinstance(got, dict) and got.get("ok_to_stop") is False:
            found.append(f"Ceph cannot do without OSDs {', '.join(map(str, osds))}: {_bad(got)}")
    return found


def checks() -> tuple[CephWhole, ...]:
    """The checks to add to a guard: `Guard(extra=checks(), restored_s=RESTORED_S)`."""
    return (CephWhole(),)


def _said(code: str, text: str) -> str:
    return f"Ceph says {code}: {text}"


def _bad(output: object) -> str:
    stopped = output.get("bad_become_inactive") if isinstance(output, dict) else None
    return f"{len(stopped)} placement groups would be out of reach" if stopped else "it gives no reason"


def _named(detail: Mapping[str, Any], codes: set[str] | frozenset[str]) -> list[int]:
    """OSDs that the details of health codes name ("osd.3 observed slow operation ...")."""
    found = set()
    for code in codes & set(detail["checks"]):
        for line in detail["checks"][code].get("detail", ()):
            for word in line["message"].replace(",", " ").split():
                name, _, number = word.strip(":()[]").partition(".")
                if name == "osd" and number.isdigit():
                    found.add(int(number))
    return sorted(found)


def _configured(cluster: ClusterPort) -> bool:
    """Whether a node has a configuration of Ceph, which is there once Ceph was begun."""
    for node in cluster.nodes.values():
        try:
            return node.run("test -s /etc/ceph/ceph.conf", check=False, timeout=10).ok
        except RackproofError:
            continue
    return False
