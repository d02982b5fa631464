# ruff: noqa: ARG002  (an action takes what every action is given)
"""Packages, the beginning of the cluster, and its monitors, managers and metadata servers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cluster.errors import RackproofError, RefusedError, UnreachableError
from cluster.pve import PveError
from provisioners.ceph.order import first, ordered, private, public
from provisioners.ceph.state import MODULE_FAILED
from provisioners.change import Change, Progress
from provisioners.each import raise_all

if TYPE_CHECKING:
    from cluster.cluster import Cluster

INSTALL_S = 1800.0
TASK_S = 600.0
MDS_S = 120.0
SETTLE_S = 60.0
ANSWER_S = 120.0
HANDOVER_S = 120.0
KEPT = "storage is kept: to take Ceph back would destroy what it stores; pveceph purge is for people"


def names(changes: Sequence[Change]) -> list[str]:
    """The nodes of changes, each once."""
    return list(dict.fromkeys(change.node for change in changes))


def await_tasks(cluster: Cluster, node: str, kind: str, progress: Progress) -> None:
    """Waits for tasks that an earlier run began before it was killed. How they ended is for the next look."""
    for upid in cluster.pve[node].running(kind):
        progress(f"{node}: waiting for {kind}, which an earlier run began")
        with contextlib.suppress(PveError):
            cluster.pve[node].wait(upid, TASK_S)


class Kept:
    """An action whose undoing would destroy data, and is refused."""

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Raises RefusedError: nothing that stores data is taken back by a program."""
        raise RefusedError(KEPT)


@dataclass(frozen=True)
class Packages(Kept):
    """Action `packages`: `pveceph install`, which the API does not offer; two runs change nothing more."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        table = ordered(cluster.site)

        def one(name: str) -> None:
            # pveceph asks y/N on standard input where apt would; its answer is given once for all.
            cluster.nodes[name].run(
                "yes | DEBIAN_FRONTEND=noninteractive pveceph install --version %s --repository %s",
                table.release, table.repository, timeout=INSTALL_S,
            )  # fmt: skip

        raise_all(cluster.each(one, names(changes)))


@dataclass(frozen=True)
class Init(Kept):
    """Action `init`: writes the cluster's configuration; called again it keeps the cluster's id."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site = cluster.site
        node = first(site)
        networks = {"network": public(site), "cluster-network": private(site)}
        if networks["network"] == networks["cluster-network"]:
            del networks["cluster-network"]
        cluster.pve[node].call("post", f"nodes/{node}/ceph/init", **networks)
        # pmxcfs shows the file on the other nodes within a moment; a monitor made there needs it.
        _await_configuration(cluster)


def _await_configuration(cluster: Cluster) -> None:
    command = f"for i in $(seq {SETTLE_S:.0f}); do [ -s /etc/pve/ceph.conf ] && exit 0; sleep 1; done; exit 1"
    raise_all(cluster.each(lambda name: cluster.nodes[name].run(command, timeout=SETTLE_S + 20)))


@dataclass(frozen=True)
class Daemons(Kept):
    """Actions `mons`, `mgrs`, `mdss`: one daemon on each node, one node after another: each joins those
    before it.
    """

    kind: Literal["mon", "mgr", "mds"]

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        todo = names(changes)
        for number, node in enumerate(todo, start=1):
            progress(f"{node}: {self.kind} {number} of {len(todo)}")
            await_tasks(cluster, node, f"cephcreate{self.kind}", progress)
            if _complete(cluster, node, self.kind) and (self.kind != "mon" or _in_map(cluster, node)):
                continue  # an earlier run began it, or the first monitor brought it
            self._create(cluster, node, progress)

    def _create(self, cluster: Cluster, node: str, progress: Progress) -> None:
        path = f"nodes/{node}/ceph/{self.kind}/{node}"
        extra = {"mon-address": str(cluster.site.node(node).address)} if self.kind == "mon" else {}
        if self.kind == "mon" and not _in(cluster, node):
            extra = {}  # the public network is not the host network: Proxmox VE finds the address
        try:
            cluster.pve[node].task("post", path, TASK_S, progress, **extra)
        except PveError:
            if not _made(cluster, node, self.kind):
                raise
            self._again(cluster, node, path, progress, extra)

    def _again(
        self, cluster: Cluster, node: str, path: str, progress: Progress, extra: dict[str, str]
    ) -> None:
        """A daemon was begun and broken off: what is there of it is taken away and it is made anew.

        Only a monitor that is not in the monitors' map, a manager or a metadata server: none holds data
        that the others lack.
        """
        if self.kind == "mon" and _in_map(cluster, node):
            raise RefusedError(f"{node}: its monitor is in the map and yet cannot be made; it is left alone")
        progress(f"{node}: what is left of a {self.kind} that was never finished is put aside")
        folder = f"/var/lib/ceph/{self.kind}/ceph-{node}"
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        cluster.nodes[node].run(
            f"systemctl stop ceph-{self.kind}@{node} 2>/dev/null;"
            " mkdir -p -m 700 /var/lib/rackproof/saved/phase4 &&"
            f" mv {folder} /var/lib/rackproof/saved/phase4/{self.kind}-{stamp}"
        )
        cluster.pve[node].task("post", path, TASK_S, progress, **extra)


def _complete(cluster: Cluster, node: str, kind: str) -> bool:
    return cluster.nodes[node].run(f"test -e /var/lib/ceph/{kind}/ceph-{node}/keyring", check=False).ok


def _made(cluster: Cluster, node: str, kind: str) -> bool:
    return cluster.nodes[node].run(f"test -d /var/lib/ceph/{kind}/ceph-{node}", check=False).ok


def _in(cluster: Cluster, node: str) -> bool:
    network = cluster.site.networks[ordered(cluster.site).public_network].subnet
    return cluster.site.node(node).address in network


def _in_map(cluster: Cluster, node: str) -> bool:
    try:
        dump = cluster.ceph.must({"prefix": "mon dump"})
    except RackproofError:
        return False
    return any(mon.get("name") == node for mon in dump.get("mons", []))


@dataclass(frozen=True)
class Start(Kept):
    """Action `start`: daemons that were made and do not run."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """All failed or stopped daemons of the node; systemd's count of failures is cleared first."""

        def one(name: str) -> None:
            cluster.nodes[name].run("systemctl reset-failed 'ceph-*' 2>/dev/null; true")
            for service in _stopped(cluster, name):
                progress(f"{name}: start {service}")
                cluster.pve[name].task("post", f"nodes/{name}/ceph/start", TASK_S, None, service=service)

        raise_all(cluster.each(one, names(changes)))
        _await_up(cluster)


@dataclass(frozen=True)
class Answer(Kept):
    """Action `answer`: monitors that were made and are silent: those that do not run are started, and all
    are given time to agree.
    """

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        for node in cluster.site.nodes:
            await_tasks(cluster, node.name, "cephcreatemon", progress)
        until = time.monotonic() + ANSWER_S
        reason = ""
        while time.monotonic() < until:
            try:
                cluster.ceph.must({"prefix": "status"})
            except UnreachableError as error:
                reason = str(error)
                time.sleep(3)
                continue
            return
        progress(f"the monitors do not answer after {ANSWER_S:g} s: {reason}")


@dataclass(frozen=True)
class Handover(Kept):
    """Action `handover`: the active manager, a module of which failed, gives way to another one."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """`ceph mgr fail` of that one, then waits until a manager is active and no module has failed; the
        next observation judges. Raises CephCommandError where Ceph refuses.
        """
        cluster.ceph.must({"prefix": "mgr fail", "who": changes[0].node})
        began = time.monotonic()
        while (took := time.monotonic() - began) < HANDOVER_S:
            time.sleep(3)
            told = cluster.ceph.ask(
                {"health": {"prefix": "health"}, "mgr": {"prefix": "mgr dump", "pick": ["available"]}}
            )
            health, mgr = (told[name] if isinstance(told[name], dict) else {} for name in ("health", "mgr"))
            if mgr.get("available") and MODULE_FAILED not in health.get("checks", {MODULE_FAILED}):
                return
            progress(f"no manager without a failed module yet ({took:.0f} of {HANDOVER_S:g} s)")


def _stopped(cluster: Cluster, name: str) -> list[str]:
    """Daemons made on a node whose unit is not active, as the API names them: `osd.3`, `mon.node1`."""
    script = (
        "cd /var/lib/ceph; for d in mon/ceph-* mgr/ceph-* mds/ceph-* osd/ceph-*;"
        ' do [ -d "$d" ] || continue; k=${d%%/*}; i=${d##*/ceph-};'
        ' systemctl is-active -q "ceph-$k@$i" || echo "$k.$i"; done'
    )
    return cluster.nodes[name].run(script).stdout.split()


def _await_up(cluster: Cluster) -> None:
    """A moment for monitors to agree and OSDs to be marked up; the next observation judges."""
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        try:
            status = cluster.ceph.must({"prefix": "status"})
        except RackproofError:
            time.sleep(2)
            continue
        osds = status.get("osdmap", {})
        all_up = osds.get("num_up_osds") == osds.get("num_osds")
        if all_up and len(status.get("quorum", ())) == status.get("monmap", {}).get("num_mons"):
            return
        time.sleep(2)
