# ruff: noqa: ARG002  (an action takes what every action is given)
"""OSDs: each on an ordered drive that is blank, found by its serial number at the moment it is taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.ceph import CephError
from cluster.errors import DeadlineError, RackproofError, RefusedError
from provisioners.ceph.daemons import Kept, await_tasks, names
from provisioners.ceph.disks import Drive, Verdict, judge, read_drives, read_volumes
from provisioners.ceph.observation import drives_script
from provisioners.ceph.order import ordered
from provisioners.change import Change, Progress
from provisioners.each import raise_all

if TYPE_CHECKING:
    from cluster.cluster import Cluster

OSD_S = 900.0
WIPE_S = 600.0
BUSY_S = 900.0
LOOK_S = 90.0


def look(cluster: Cluster, node: str, serial: str) -> tuple[Drive, Verdict]:
    """One drive as it is now. Raises RefusedError when the node does not see it."""
    sections = cluster.nodes[node].gather(drives_script((serial,)), LOOK_S)
    volumes, groups = read_volumes(sections.get("lvs", ""), sections.get("pvs", ""))
    found = [d for d in read_drives(sections.get("drives", ""), volumes, groups) if d.serial == serial]
    if len(found) != 1:
        raise RefusedError(
            f"{node}: drive {serial} is seen {len(found)} times, expected once; nothing was touched"
        )
    fsid, booted, served = _known(cluster)
    return found[0], judge(found[0], fsid, booted, served)


def _known(cluster: Cluster) -> tuple[str, list[int], list[str]]:
    """The cluster's id, and the numbers and uuids of the OSDs that have served."""
    dump = cluster.ceph.must({"prefix": "osd dump", "pick": ["fsid", "osds"]})
    osds = [o for o in dump.get("osds", []) if int(o.get("up_from", 0)) or o.get("up")]
    return str(dump.get("fsid", "")), [int(o["osd"]) for o in osds], [str(o.get("uuid")) for o in osds]


@dataclass(frozen=True)
class Wait(Kept):
    """Action `wait`: an OSD is being made, by an earlier run that was killed or by somebody else."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        command = (
            f"for i in $(seq {BUSY_S / 2:.0f}); do"
            " pgrep -f 'ceph-volume|ceph-osd .*--mkfs' >/dev/null || exit 0; sleep 2; done; exit 1"
        )

        def one(name: str) -> None:
            await_tasks(cluster, name, "cephcreateosd", progress)
            if not cluster.nodes[name].run(command, timeout=BUSY_S + 60, check=False).ok:
                raise DeadlineError(f"{name}: an OSD is still being made after {BUSY_S:g} s")

        raise_all(cluster.each(one, names(changes)))


@dataclass
class _Count:
    """OSD n of m over all nodes together."""

    total: int
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = field(default_factory=time.monotonic)

    def next(self) -> int:
        with self.lock:
            self.done += 1
            return self.done


@dataclass(frozen=True)
class Osds(Kept):
    """Action `osds`: on all nodes at once, on each node one drive after another."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        table, count = ordered(cluster.site), _Count(len(changes))
        todo: dict[str, list[str]] = {}
        for change in changes:
            todo.setdefault(change.node, []).extend(change.serials)

        def one(name: str) -> None:
            await_tasks(cluster, name, "cephcreateosd", progress)
            for serial in todo[name]:
                drive, verdict = look(cluster, name, serial)
                if verdict.kind != "blank":
                    raise RefusedError(
                        f"{name}: drive {serial} ({drive.path}) is not blank any more: {verdict.what};"
                        " it was not touched"
                    )
                params: dict[str, Any] = {"dev": drive.path, "crush-device-class": table.device_class}
                if table.encrypted:
                    params["encrypted"] = True
                began = time.monotonic()
                cluster.pve[name].task("post", f"nodes/{name}/ceph/osd", OSD_S, None, **params)
                progress(
                    f"{name}: OSD {count.next()} of {count.total} on drive {serial} ({drive.path}) in"
                    f" {time.monotonic() - began:.0f} s, {time.monotonic() - count.began:.0f} s so far"
                )

        raise_all(cluster.each(one, list(todo)))


@dataclass(frozen=True)
class Wipe(Kept):
    """Action `wipe`: empties a drive that the operator named with --wipe. The next round makes its OSD."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        def one(name: str) -> None:
            for change in changes:
                if change.node == name:
                    for serial in change.serials:
                        self._empty(cluster, name, serial, progress)

        raise_all(cluster.each(one, names(changes)))

    def _empty(self, cluster: Cluster, name: str, serial: str, progress: Progress) -> None:
        drive, verdict = look(cluster, name, serial)
        if drive.mounted or verdict.kind == "ours":
            raise RefusedError(f"{name}: drive {serial} holds {verdict.what}; it was not touched")
        progress(f"{name}: emptying drive {serial} ({drive.path}), which held {verdict.what}")
        empty(cluster, name, drive)


def empty(cluster: Cluster, name: str, drive: Drive) -> None:
    """Leaves a drive blank: its volume group goes, then everything on it, by discarding or by zeros."""
    node = cluster.nodes[name]
    if drive.group:
        node.run("vgchange -an %s && vgremove -f -y %s", drive.group, drive.group, timeout=120)
    cluster.pve[name].task("put", f"nodes/{name}/disks/wipedisk", WIPE_S, None, disk=drive.path)
    # wipedisk clears signatures and the first 200 MiB. What it leaves would make the drive occupied again.
    node.run(
        "blkdiscard -f -z %s || dd if=/dev/zero of=%s bs=4M conv=fsync || true",
        drive.path,
        drive.path,
        timeout=3600,
    )


@dataclass(frozen=True)
class Finish(Kept):
    """Action `finish`: an OSD whose making was broken off is activated; where that fails, and it never
    served, what is left of it is taken away, and the next round begins anew.
    """

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        def one(name: str) -> None:
            for change in changes:
                if change.node == name:
                    for serial in change.serials:
                        self._drive(cluster, name, serial, progress)

        raise_all(cluster.each(one, names(changes)))

    def _drive(self, cluster: Cluster, name: str, serial: str, progress: Progress) -> None:
        drive, verdict = look(cluster, name, serial)
        if verdict.kind != "unfinished":
            return
        if verdict.osd is not None and verdict.osd_fsid and self._activate(cluster, name, verdict):
            progress(f"{name}: osd.{verdict.osd} on drive {serial} was finished")
            return
        progress(f"{name}: drive {serial}: {verdict.what}; it is emptied and begun anew")
        if verdict.osd is not None:
            cluster.nodes[name].run(f"systemctl disable --now ceph-osd@{verdict.osd} 2>/dev/null; true")
            purge_new(cluster, verdict.osd)
        empty(cluster, name, drive)

    def _activate(self, cluster: Cluster, name: str, verdict: Verdict) -> bool:
        """True where the OSD runs and is marked up within a minute."""
        node = cluster.nodes[name]
        done = node.run(
            "ceph-volume lvm activate %s %s", str(verdict.osd), verdict.osd_fsid, timeout=180, check=False
        )
        until = time.monotonic() + 60
        while done.ok and time.monotonic() < until:
            dump = cluster.ceph.must({"prefix": "osd dump", "pick": ["osds"]})
            if any(o["osd"] == verdict.osd and o.get("up") for o in dump.get("osds", [])):
                return True
            time.sleep(2)
        return False


def purge_new(cluster: Cluster, osd: int) -> None:
    """Takes back the id of an OSD that never served. Ceph itself refuses it for any other."""
    found = cluster.ceph.ask({"purge": {"prefix": "osd purge-new", "id": osd, "yes_i_really_mean_it": True}})[
        "purge"
    ]
    if isinstance(found, CephError) and found.code != 2:
        raise RackproofError(f"the id of osd.{osd} could not be taken back: {found}")


@dataclass(frozen=True)
class Purge(Kept):
    """Action `purge`: ids of OSDs whose making was broken off before they had a drive."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        for osd in _named(changes):
            purge_new(cluster, osd)


def _named(changes: Sequence[Change]) -> list[int]:
    """The OSDs that changes name as `osd.N`."""
    words = (word.strip(",:;()") for change in changes for word in change.summary.split())
    return sorted({int(w[4:]) for w in words if w.startswith("osd.") and w[4:].isdigit()})


@dataclass(frozen=True)
class In(Kept):
    """Action `in`: OSDs that were marked out."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        for change in changes:
            for osd in _named([change]):
                cluster.pve[change.node].call("post", f"nodes/{change.node}/ceph/osd/{osd}/in")


@dataclass(frozen=True)
class DeviceClass(Kept):
    """Action `class`: the ordered device class on OSDs that bear another."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        ids = [str(osd) for osd in _named(changes)]
        wanted = ordered(cluster.site).device_class
        cluster.ceph.must({"prefix": "osd crush rm-device-class", "ids": ids})
        cluster.ceph.must({"prefix": "osd crush set-device-class", "class": wanted, "ids": ids})
