# ruff: noqa: ARG002  (an action takes what every action is given)
"""Action `settings`: options in the monitors' own store, the warning level, flags and mutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.ceph import CephCommandError, CephError
from provisioners.ceph.daemons import Kept
from provisioners.ceph.order import first, ordered, settings
from provisioners.ceph.state import AUTH, HINDERING
from provisioners.change import Change, Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster


NEARFULL = frozenset({"OSD_NEARFULL", "POOL_NEARFULL"})
FULLNESS_S = 60.0


@dataclass(frozen=True)
class Settings(Kept):
    """Sets everything that is ordered, in one go: setting what is set changes nothing."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site = cluster.site
        seen = cluster.ceph.ask(
            {
                "dump": {"prefix": "config dump"},
                "health": {"prefix": "health", "detail": "detail"},
                "osd": {"prefix": "osd dump", "pick": ["flags_set"]},
            }
        )
        commands: dict[str, dict[str, Any]] = {}
        for key, value in settings(site).items():
            section, _, option = key.partition("/")
            commands[f"set {option}"] = {
                "prefix": "config set",
                "who": section,
                "name": option,
                "value": value,
            }
        commands["set the nearfull ratio"] = {
            "prefix": "osd set-nearfull-ratio", "ratio": ordered(site).nearfull_ratio,
        }  # fmt: skip
        for row in seen["dump"] if isinstance(seen["dump"], list) else []:
            if row.get("name") in AUTH:
                commands[f"take back {row['name']}"] = {
                    "prefix": "config rm", "who": row["section"], "name": row["name"],
                }  # fmt: skip
        health = seen["health"] if isinstance(seen["health"], dict) else {}
        for code in {str(m["code"]) for m in health.get("mutes", [])}:
            commands[f"unmute {code}"] = {"prefix": "health unmute", "code": code}
        for name, answer in cluster.ceph.ask(commands).items():
            if isinstance(answer, CephError):
                raise CephCommandError(f"{name}: {answer}")
        self._flags(cluster, seen["osd"])
        if NEARFULL & set(health.get("checks", {})):
            _await_fullness(cluster, progress)

    def _flags(self, cluster: Cluster, dump: Any) -> None:
        node = first(cluster.site)
        flags = set(dump.get("flags_set", [])) if isinstance(dump, dict) else set()
        if flags & {"pauserd", "pausewr"}:
            flags.add("pause")
        for flag in sorted(flags & (HINDERING - {"pauserd", "pausewr"})):
            cluster.pve[node].call("put", f"cluster/ceph/flags/{flag}", value=False)


def _await_fullness(cluster: Cluster, progress: Progress) -> None:
    """Until no OSD calls itself nearly full by the former ratio: each says so every few seconds. One that
    still does after FULLNESS_S is nearly full, and the next observation says so.
    """
    began = time.monotonic()
    while time.monotonic() - began < FULLNESS_S:
        health = cluster.ceph.must({"prefix": "health", "detail": "detail"})
        if not NEARFULL & set(health.get("checks", {})):
            return
        progress(f"OSDs still call themselves nearly full ({time.monotonic() - began:.0f} s)")
        time.sleep(3)
