"""The files of /etc/pve that are made when read: .members, .version, .vmlist, .clusterlog, .rrd."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from . import rules
from .clusterconf import ClusterConf, parse
from .replica import Replica
from .store import Store

# Files whose changes pmxcfs counts in .version, as far as the rack has a use for them.
TRACKED = (
    "corosync.conf",
    "corosync.conf.new",
    "storage.cfg",
    "user.cfg",
    "domains.cfg",
    "notifications.cfg",
    "priv/notifications.cfg",
    "priv/shadow.cfg",
    "priv/acme/plugins.cfg",
    "priv/tfa.cfg",
    "priv/token.cfg",
    "priv/ipam.db",
    "datacenter.cfg",
    "vzdump.cron",
    "vzdump.conf",
    "jobs.cfg",
    "ha/crm_commands",
    "ha/manager_status",
    "ha/resources.cfg",
    "ha/rules.cfg",
    "ha/groups.cfg",
    "ha/fence.cfg",
    "replication.cfg",
    "ceph.conf",
    "sdn/zones.cfg",
    "sdn/vnets.cfg",
    "firewall/cluster.fw",
)


class Views:
    """Made anew at each read; the counters rise when what they count changes."""

    def __init__(self, store: Store, replica: Replica, node: str) -> None:
        self._store = store
        self._replica = replica
        self._node = node
        self.started = int(time.time())
        self._counts = dict.fromkeys(TRACKED, 0)
        self._guests: dict[int, tuple[str, str, int]] = {}
        self._guests_version = 1
        self._cluster_seen = ""
        self._cluster_version = 0
        self.files: dict[str, Callable[[], str]] = {
            ".members": self.members,
            ".version": self.version,
            ".vmlist": self.guests,
            ".clusterlog": self.log,
            ".rrd": str,
        }
        store.listeners.append(self._count)
        self._count_guests()

    @property
    def conf(self) -> ClusterConf:
        with self._store.lock:
            entry = self._store.tree.find(rules.COROSYNC_CONF)
        return parse(entry.data.decode(errors="replace")) if entry else ClusterConf()

    def _count(self, paths: frozenset[str]) -> None:
        for path in paths & self._counts.keys():
            self._counts[path] += 1
        if any(rules.guest(path) for path in paths):
            self._count_guests()

    def _count_guests(self) -> None:
        with self._store.lock:
            now = dict(self._store.tree.guests)
        fresh: dict[int, tuple[str, str, int]] = {}
        for vmid, (node, kind) in now.items():
            old = self._guests.get(vmid)
            same = old is not None and old[:2] == (node, kind)
            fresh[vmid] = old if old is not None and same else (node, kind, (old[2] if old else 0) + 1)
        if fresh != self._guests:
            self._guests_version += 1
        self._guests = fresh

    def _members(self) -> dict[str, object]:
        if self._replica.mode.value == "standalone":
            return {"nodename": self._node}
        conf = self.conf
        online = {member[0] for member in self._replica.members}
        nodes: dict[str, dict[str, object]] = {}
        for name, nodeid, address in conf.nodes:
            peer = self._replica.peers.get(nodeid)
            ip = peer.address if peer and peer.address else address
            nodes[name] = {"id": nodeid, "online": int(nodeid in online), "ip": ip}
        cluster = {
            "name": conf.name,
            "version": conf.version,
            "nodes": len(nodes),
            "quorate": int(self._replica.quorate),
        }
        return {"nodename": self._node, "cluster": cluster, "nodelist": nodes}

    def _clusterinfo(self) -> tuple[dict[str, object], int]:
        found = self._members()
        text = json.dumps(found)
        if text != self._cluster_seen:
            self._cluster_seen = text
            self._cluster_version += 1
        return found, self._cluster_version

    def members(self) -> str:
        found, version = self._clusterinfo()
        ordered = {"nodename": found.pop("nodename"), "version": version, **found}
        return json.dumps(ordered, indent=1) + "\n"

    def version(self) -> str:
        _, cluster = self._clusterinfo()
        counts: dict[str, object] = {
            "starttime": self.started,
            "clinfo": cluster,
            "vmlist": self._guests_version,
            **self._counts,
            "kvstore": {},
        }
        return json.dumps(counts, separators=(",\n", ":")) + "\n"

    def guests(self) -> str:
        ids = {
            str(vmid): {"node": node, "type": kind, "version": version}
            for vmid, (node, kind, version) in sorted(self._guests.items())
        }
        return json.dumps({"version": self._guests_version, "ids": ids}, indent=1) + "\n"

    def log(self) -> str:
        return json.dumps({"data": []}) + "\n"
