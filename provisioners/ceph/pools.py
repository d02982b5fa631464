# ruff: noqa: ARG002  (an action takes what every action is given)
"""Pools, file system, storage entries, parameters, and waiting until all data is whole."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.ceph import CephUnreachableError
from cluster.errors import RackproofError
from provisioners.ceph import missing_pools
from provisioners.ceph.daemons import TASK_S, Kept, await_tasks
from provisioners.ceph.observation import Observation, parse, read_storages
from provisioners.ceph.order import entries, file_pools, first, ordered
from provisioners.ceph.state import PoolState, clean, questions, read
from provisioners.change import Change, Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site_services import Pool

SETTLE_S = 900.0
KEYRING = "/etc/pve/priv/ceph.client.admin.keyring"


@dataclass(frozen=True)
class Rules(Kept):
    """Action `rules`: the CRUSH rule of a failure domain other than Ceph's own first one."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        cluster.ceph.must(
            {
                "prefix": "osd crush rule create-replicated",
                "name": missing_pools.rule_name(cluster.site),
                "root": "default",
                "type": ordered(cluster.site).failure_domain,
            }
        )


@dataclass(frozen=True)
class Pools(Kept):
    """Action `pools`: makes pools that are not there, and sets right those that are."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site, node = cluster.site, first(cluster.site)
        await_tasks(cluster, node, "cephcreatepool", progress)
        state = read(
            cluster.ceph.ask({k: v for k, v in questions((), {}).items() if k in {"osd dump", "rules"}})
        )
        used = {rule.id: rule.name for rule in state.rules}
        rule = missing_pools.rule_name(site)
        for name, want in ordered(site).pools.items():
            have = state.pool(name)
            if have is None:
                progress(f"{node}: pool {name}")
                values: dict[str, Any] = _values(want) | {"crush_rule": rule, "name": name}
                cluster.pve[node].task("post", f"nodes/{node}/ceph/pool", TASK_S, None, **values)
                continue
            different = _different(want, have)
            if used.get(have.rule) != rule:
                different["crush_rule"] = rule
            if different:
                progress(f"{node}: pool {name}: {', '.join(different)}")
                cluster.pve[node].task("put", f"nodes/{node}/ceph/pool/{name}", TASK_S, None, **different)


def _values(want: Pool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "size": want.size,
        "min_size": want.min_size,
        "target_size_ratio": want.share,
        "application": want.application,
        "pg_autoscale_mode": missing_pools.autoscale(want),
    }
    return found | ({"pg_num": want.pg_num} if want.pg_num is not None else {})


def _different(want: Pool, have: PoolState) -> dict[str, Any]:
    """The values to be set. Proxmox VE sets size first, for Ceph then changes min_size by itself."""
    words = {text.split(" ")[0] for text in missing_pools.differences(want, have)}
    keys = {"share": "target_size_ratio", "autoscaler": "pg_autoscale_mode"}
    chosen = {keys.get(word, word) for word in words}
    if "size" in chosen:
        chosen.add("min_size")
    return {key: value for key, value in _values(want).items() if key in chosen}


@dataclass(frozen=True)
class Filesystem(Kept):
    """Action `filesystem`: on the ordered pools. Proxmox VE's own call would make pools of other names."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        metadata, data = file_pools(cluster.site)
        name = ordered(cluster.site).filesystem
        cluster.ceph.must({"prefix": "fs new", "fs_name": name, "metadata": metadata, "data": data[0]})
        for more in data[1:]:
            cluster.ceph.must({"prefix": "fs add_data_pool", "fs_name": name, "pool": more})
        until = time.monotonic() + 60
        while time.monotonic() < until:
            dump = cluster.ceph.must({"prefix": "fs dump", "pick": ["filesystems"]})
            maps = [f.get("mdsmap", {}) for f in dump.get("filesystems", [])]
            if any(i.get("state") == "up:active" for m in maps for i in m.get("info", {}).values()):
                return
            time.sleep(1)


@dataclass(frozen=True)
class Storages(Kept):
    """Action `storages`: entries of storage.cfg. They describe storage; none of it is made or destroyed."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site, node = cluster.site, first(cluster.site)
        api = cluster.pve[node]
        text = cluster.nodes[node].run("cat /etc/pve/storage.cfg 2>/dev/null; true").stdout
        have = {entry.name: entry for entry in read_storages(text)}
        self._save(cluster, node, text)
        for name, want in entries(site).items():
            if name not in have:
                progress(f"{node}: storage {name}")
                api.call("post", "storage", storage=name, **want)
            elif have[name].kind == want["type"] and missing_pools.entry_differences(
                want, dict(have[name].values)
            ):
                fixed = {"type", "pool", "fs-name"}
                changed = {key: value for key, value in want.items() if key not in fixed}
                if have[name].values.get("pool", "") != want.get("pool", "") and want["type"] == "rbd":
                    changed["pool"] = want["pool"]
                api.call(
                    "put",
                    f"storage/{name}",
                    **changed,
                    **({"delete": "disable"} if "disable" in have[name].values else {}),
                )
        for name in self._stale(cluster, node, text):
            progress(f"{node}: storage {name} points at nothing and is taken out")
            api.call("delete", f"storage/{name}")

    def _save(self, cluster: Cluster, node: str, text: str) -> None:
        folder = "/var/lib/rackproof/saved/phase4"
        path = f"{folder}/storage.cfg"
        done = cluster.nodes[node].run(f"mkdir -p -m 700 {folder}; test -e {path}", check=False)
        if not done.ok:
            cluster.nodes[node].put(text, path, 0o600)

    def _stale(self, cluster: Cluster, node: str, text: str) -> list[str]:
        state = read(
            cluster.ceph.ask({k: v for k, v in questions((), {}).items() if k in {"osd dump", "fs dump"}})
        )
        seen = Observation({node: parse(node, {"storage": text})}, state)
        return missing_pools.stale(cluster.site, seen)


@dataclass(frozen=True)
class Parameters(Kept):
    """Action `parameters`: what is needed to reach the storage, kept in the parameter store."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site = cluster.site
        root = f"{site.aws.root}/ceph"
        fsid = str(cluster.ceph.must({"prefix": "status"})["fsid"])
        addresses = ",".join(str(node.address) for node in site.nodes)
        key = admin_key(cluster, first(site))
        cluster.aws.put_parameter(f"{root}/fsid", fsid)
        cluster.aws.put_parameter(f"{root}/mon_ips", addresses)
        cluster.aws.put_parameter(f"{root}/admin_key", key, secret=True)
        cluster.secrets.forget()


def admin_key(cluster: Cluster, node: str) -> str:
    """The administrator's key, read so that the transcript never shows it.

    The node answers with the key combined (exclusive or) with a pad that travels on standard input, which
    no transcript keeps; what the node prints is worth nothing without it.
    """
    pad = secrets.token_bytes(64)
    program = (
        "import re, sys\n"
        f"pad = bytes.fromhex({pad.hex()!r})\n"
        f"key = re.search(r'^\\s*key\\s*=\\s*(\\S+)', open({KEYRING!r}).read(), re.M)[1].encode()\n"
        "print('masked', bytes(a ^ b for a, b in zip(key, pad)).hex(), len(key))\n"
    )
    words = cluster.nodes[node].run("python3 -", data=program).stdout.split()
    if len(words) != 3 or words[0] != "masked" or int(words[2]) > len(pad):
        raise RackproofError(f"{node}: the administrator's key could not be read from {KEYRING}")
    return bytes(a ^ b for a, b in zip(bytes.fromhex(words[1]), pad, strict=False)).decode("ascii")


@dataclass(frozen=True)
class Settle(Kept):
    """Action `settle`: waits until every placement group is active and clean."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        began = time.monotonic()
        told: Mapping[str, int] = {}
        while (took := time.monotonic() - began) < SETTLE_S:
            try:
                status = cluster.ceph.must({"prefix": "status"})
            except CephUnreachableError:
                time.sleep(3)
                continue
            states = {
                s["state_name"]: int(s["count"]) for s in status.get("pgmap", {}).get("pgs_by_state", [])
            }
            left = {name: n for name, n in states.items() if not clean(name)}
            if states and not left:
                return
            if any("inconsistent" in name for name in left):
                return  # the next observation says what is to be done
            if left != told:
                told = left
                progress(f"not yet clean: {json.dumps(left)} of {sum(states.values())} ({took:.0f} s)")
            time.sleep(3)
