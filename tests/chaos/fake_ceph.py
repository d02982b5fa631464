"""A Ceph of fake nodes: answers commands from the state of their daemons, in the shapes of Ceph 18.2.7."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.ceph import CephError

CONFIG = {
    "osd_heartbeat_interval": 6, "osd_heartbeat_grace": "20", "mon_osd_min_down_reporters": 2,
    "mon_osd_down_out_interval": 600, "mon_tick_interval": 5, "mon_lease": 5.0,
    "mon_lease_ack_timeout_factor": 2.0, "mon_lease_renew_interval_factor": 0.6, "mon_election_timeout": 5.0,
    "mon_mgr_beacon_grace": 30, "mgr_tick_period": 2, "mds_beacon_grace": 15.0, "mds_beacon_interval": 4.0,
    "osd_fast_fail_on_connection_refused": "true",
}  # fmt: skip


class FakeCeph:
    """`pgs`, `checks`, `flags`, `mutes` can be set by a test; `asked` holds every command's prefix."""

    def __init__(self, folder: Path, nodes: tuple[str, ...]) -> None:
        self._folder = folder
        self._nodes = nodes
        self.asked: list[str] = []
        self.checks: dict[str, str] = {}
        self.details: dict[str, list[str]] = {}
        self.flags = ["sortbitwise", "recovery_deletes", "purged_snapdirs", "pglog_hardlimit"]
        self.mutes: list[str] = []
        self.pgs: dict[str, int] | None = None
        self.commit_ms: dict[int, float] = {}
        self.scrubbed: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.size = 3
        self.min_size = 2
        self.told: list[Mapping[str, Any]] = []

    def ask(self, commands: Mapping[str, Mapping[str, Any]], timeout_s: float = 45) -> dict[str, Any]:
        self.told += commands.values()
        self.asked += [str(command["prefix"]) for command in commands.values()]
        return {key: self._answer(command) for key, command in commands.items()}

    def running(self, daemon: str) -> list[str]:
        """Names of daemons that run, in order."""
        found = []
        for node in self._nodes:
            for path in sorted((self._folder / node / "ceph/services").glob(f"ceph-{daemon}@*.service")):
                if path.read_text().strip() == "active":
                    found.append(path.name.partition("@")[2].removesuffix(".service"))
        return found

    def osds(self) -> dict[int, tuple[str, str]]:
        """OSD -> (node, serial)."""
        found = {}
        for node in self._nodes:
            for path in (self._folder / node / "ceph/drive").iterdir():
                osd = int(path.name.partition("@")[2].removesuffix(".service"))
                found[osd] = (node, path.read_text().strip())
        return dict(sorted(found.items()))

    def _answer(self, command: Mapping[str, Any]) -> Any:
        prefix = command["prefix"]
        if prefix == "config get":
            return CONFIG.get(command["key"], CephError(2, f"unrecognized key {command['key']}"))
        if prefix in ("osd ok-to-stop", "mon ok-to-stop"):
            return self._may_stop(prefix, command["ids"])
        made = getattr(self, "_" + prefix.replace(" ", "_").replace("-", "_"), None)
        return made(command) if made else CephError(22, f"command not known: {prefix}")

    def _states(self) -> dict[str, int]:
        if self.pgs is not None:
            return self.pgs
        down = len(self.osds()) - len(self.running("osd"))
        return (
            {"active+undersized+degraded": 64} if down else {"active+clean": 63, "active+clean+scrubbing": 1}
        )

    def _status(self, command: Mapping[str, Any]) -> Any:
        up = self.running("mon")
        checks = self._health(command)["checks"]
        states = self._states()
        return {
            "health": {"status": "HEALTH_WARN" if checks else "HEALTH_OK", "checks": checks,
                       "mutes": [{"code": code} for code in self.mutes]},
            "quorum_names": up,
            "pgmap": {"pgs_by_state": [{"state_name": name, "count": n} for name, n in states.items()]},
        }  # fmt: skip

    def _health(self, command: Mapping[str, Any]) -> Any:
        found = {
            code: {"severity": "HEALTH_WARN", "muted": False, "summary": {"message": text, "count": 1},
                   "detail": [{"message": line} for line in self.details.get(code, ())]}
            for code, text in self.checks.items()
        }  # fmt: skip
        return {"status": "HEALTH_WARN" if found else "HEALTH_OK", "checks": found}

    def _quorum_status(self, command: Mapping[str, Any]) -> Any:
        up = self.running("mon")
        return {
            "quorum_names": up,
            "quorum_leader_name": up[0] if up else "",
            "monmap": {"mons": [{"name": name} for name in self._nodes]},
        }

    def _osd_dump(self, command: Mapping[str, Any]) -> Any:
        up = set(self.running("osd"))
        out = {path.name for path in (self._folder / "out").iterdir()}
        pool = {"pool_name": "rbd-vms", "size": self.size, "min_size": self.min_size}
        return {
            "flags": ",".join(self.flags),
            "osds": [{"osd": n, "up": int(str(n) in up), "in": int(str(n) not in out)} for n in self.osds()],
            "osd_xinfo": [{"osd": n, "laggy_probability": 0, "laggy_interval": 0} for n in self.osds()],
            "pools": [pool],
        }

    def _osd_metadata(self, command: Mapping[str, Any]) -> Any:
        return [
            {"id": n, "hostname": node, "device_ids": f"nvme{n}n1=QEMU_NVMe_Ctrl_{serial}_1"}
            for n, (node, serial) in self.osds().items()
        ]

    def _mgr_dump(self, command: Mapping[str, Any]) -> Any:
        up = self.running("mgr")
        standbys = [{"name": name} for name in up[1:]]
        return {"available": bool(up), "active_name": up[0] if up else "", "standbys": standbys}

    def _fs_dump(self, command: Mapping[str, Any]) -> Any:
        up = self.running("mds")
        info = {f"gid_{n}": {"name": name, "rank": 0, "state": "up:active"} for n, name in enumerate(up[:1])}
        return {
            "filesystems": [{"mdsmap": {"max_mds": 1, "info": info}}],
            "standbys": [{"name": name} for name in up[1:]],
        }

    def _may_stop(self, prefix: str, ids: list[str]) -> Any:
        if prefix == "mon ok-to-stop":
            left = set(self.running("mon")) - set(ids)
            enough = len(left) > len(self._nodes) // 2
            return (
                "quorum should be preserved" if enough else CephError(16, "not enough monitors would be left")
            )
        known, up = self.osds(), set(self.running("osd"))
        hosts = {known[int(osd)][0] for osd in ids} | {
            n for osd, (n, _) in known.items() if str(osd) not in up
        }
        if self.size - len(hosts) >= self.min_size:
            return {"ok_to_stop": True, "osds": ids, "ok_become_degraded": ["1.0"]}
        said = {"ok_to_stop": False, "bad_become_inactive": ["1.0", "1.1"]}
        return CephError(16, "unsafe to stop osd(s) at this time (2 PGs are or would become offline)", said)

    def _osd_perf(self, command: Mapping[str, Any]) -> Any:
        infos = [
            {"id": n, "perf_stats": {"commit_latency_ms": self.commit_ms.get(n, 1.0)}} for n in self.osds()
        ]
        return {"osdstats": {"osd_perf_infos": infos}}

    def _pg_ls(self, command: Mapping[str, Any]) -> Any:
        known = sorted(self.osds())
        return {
            "pg_stats": [
                {
                    "pgid": pg,
                    "state": "active+clean+inconsistent" if pg in self.damaged else "active+clean",
                    "acting": acting,
                    "last_deep_scrub_stamp": f"stamp {self.scrubbed.get(pg, 0)}",
                }
                for pg, acting in (("1.0", known[:3]), ("1.1", known[2:5]))
            ]
        }

    def _pg_deep_scrub(self, command: Mapping[str, Any]) -> Any:
        self.scrubbed[command["pgid"]] = self.scrubbed.get(command["pgid"], 0) + 1
        return ""

    def _crash_archive_all(self, command: Mapping[str, Any]) -> Any:
        self.checks.pop("RECENT_CRASH", None)
        return ""

    def _config_set(self, command: Mapping[str, Any]) -> Any:
        if command["var"] == "bluestore_slow_ops_warn_lifetime" and command["val"] == ["1"]:
            self.checks.pop("BLUESTORE_SLOW_OP_ALERT", None)
        return ""

    def _config_unset(self, command: Mapping[str, Any]) -> Any:
        return ""


class FakeHands:
    """Hands that move drives at once, and a switch for them; `fire` lets its time pass."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._armed: dict[str, tuple[str, str]] = {}
        self._fired: set[str] = set()

    def pull_drive(self, node: str, serial: str) -> None:
        self._move("unplug", node, serial, self._folder / node / "ceph/sys/class/nvme")

    def push_drive(self, node: str, serial: str) -> None:
        self._move("plug", node, serial, self._folder / node / "ceph/pulled")

    def arm_push(self, name: str, node: str, serial: str, seconds: float) -> None:
        self._armed[name] = (node, serial)

    def armed_pushes(self) -> list[str]:
        return sorted(self._armed)

    def disarm_push(self, name: str) -> bool:
        return self._armed.pop(name, None) is not None

    def push_fired(self, name: str) -> bool:
        return name in self._fired

    def fire(self) -> None:
        for name, (node, serial) in list(self._armed.items()):
            del self._armed[name]
            self._fired.add(name)
            self.push_drive(node, serial)

    def _move(self, program: str, node: str, serial: str, among: Path) -> None:
        world = self._folder / node
        for controller in among.iterdir():
            if (controller / "serial").read_text().strip() == serial:
                line = [str(world / "bin" / program), controller.name, "pulled"]
                subprocess.run(line, check=True, env={**os.environ, "WORLD": str(world)}, timeout=10)
