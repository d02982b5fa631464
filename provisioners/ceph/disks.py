"""The guard of the data drives: what stands on a drive, and whether it may be taken. Pure.

A drive is `blank` (nothing was recognised and every sampled byte is zero), `ours` (an OSD of this cluster),
`unfinished` (the making of an OSD of ours, or an empty volume group that ceph-volume made, was broken off),
`occupied` (anything else; `what` says it) or `absent`. Only a blank drive is taken. What is read to find
raw data is said in inspect_drives.py; data that lies between the samples alone is not seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["blank", "ours", "unfinished", "occupied", "absent"]
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_GROUP = re.compile(rf"^ceph-{_UUID}$")
_VOLUME = re.compile(rf"^osd-block-{_UUID}$")
NAMES: Mapping[str, str] = {
    "gpt": "a GPT partition table",
    "PMBR": "a protective MBR",
    "dos": "an MBR partition table",
    "LVM2_member": "an LVM physical volume",
    "zfs_member": "a ZFS label",
    "bcache": "a bcache superblock",
    "linux_raid_member": "a member of an md array",
    "ceph_bluestore": "a BlueStore label",
    "crypto_LUKS": "a LUKS container",
    "swap": "swap space",
}


@dataclass(frozen=True)
class Volume:
    """A logical volume on a drive, with the tags that ceph-volume gave it (`ceph.` left off)."""

    group: str
    name: str
    path: str
    tags: Mapping[str, str]

    @property
    def osd(self) -> int | None:
        """The id of the OSD that stands on it, or None."""
        text = self.tags.get("osd_id", "")
        return int(text) if text.isdigit() else None


@dataclass(frozen=True)
class Drive:
    """A drive as inspected. `size` and `read` (sampled) in bytes; `data_at`: offset of the first byte found
    that is not zero, None where none was; `bluestore`: the cluster's id in a BlueStore label on the drive
    itself, "" where the label names none, None where there is no label.
    """

    path: str
    serial: str
    size: int
    signatures: tuple[str, ...] = ()
    bluestore: str | None = None
    children: tuple[str, ...] = ()
    hollow: bool = False  # its volumes hold nothing but zeros, or a BlueStore whose making never ended
    labels: tuple[Mapping[str, Any], ...] = ()  # BlueStore labels of its volumes
    mounted: tuple[str, ...] = ()
    read: int = 0
    data_at: int | None = None
    group: str | None = None  # volume group; "" where it is a physical volume of none
    volumes: tuple[Volume, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a drive may be taken; `osd` and `osd_fsid` where it is ours or unfinished."""

    kind: Kind
    what: str
    osd: int | None = None
    osd_fsid: str = ""


def read_drives(
    text: str, volumes: Sequence[Volume] = (), groups: Mapping[str, str] | None = None
) -> list[Drive]:
    """What inspect_drives.py printed. `groups`: volume group by path of the physical volume."""
    try:
        rows: list[dict[str, Any]] = json.loads(text)["drives"]
    except (ValueError, KeyError, TypeError):
        return []
    return [_drive(row, volumes, groups or {}) for row in rows]


def _drive(row: Mapping[str, Any], volumes: Sequence[Volume], groups: Mapping[str, str]) -> Drive:
    path = str(row["path"])
    group = groups.get(path)
    label = row.get("bluestore")
    return Drive(
        path=path,
        serial=str(row.get("serial") or ""),
        size=int(row.get("size") or 0),
        signatures=tuple(dict.fromkeys(str(s.get("type")) for s in row.get("signatures", []))),
        bluestore=None if label is None else str(label.get("ceph_fsid") or ""),
        children=tuple(str(c["name"]) for c in row.get("children", [])),
        hollow=bool(row.get("children")) and all(map(_hollow, row["children"])),
        labels=tuple(c["bluestore"] for c in row.get("children", []) if c.get("bluestore")),
        mounted=tuple(row.get("mounted", [])),
        read=int(row.get("read") or 0),
        data_at=row.get("data_at"),
        group=group,
        volumes=tuple(v for v in volumes if group and v.group == group),
        error=str(row.get("error") or ""),
    )


def _hollow(child: Mapping[str, Any]) -> bool:
    label = child.get("bluestore")
    return not label["made"] if label else child.get("data_at", 0) is None


def read_volumes(lvs: str, pvs: str) -> tuple[list[Volume], dict[str, str]]:
    """`lvs` and `pvs` as JSON reports: the volumes, and the volume group by path of each physical volume."""
    volumes = [
        Volume(str(r["vg_name"]), str(r["lv_name"]), str(r["lv_path"]), _tags(str(r.get("lv_tags", ""))))
        for r in _rows(lvs, "lv")
    ]
    unique = {(v.group, v.name): v for v in volumes}  # a volume on two drives has two rows
    return list(unique.values()), {str(r["pv_name"]): str(r["vg_name"]) for r in _rows(pvs, "pv")}


def _rows(text: str, kind: str) -> list[dict[str, Any]]:
    try:
        report = json.loads(text)["report"]
    except (ValueError, KeyError, TypeError):
        return []
    return [row for part in report for row in part.get(kind, [])]


def _tags(text: str) -> dict[str, str]:
    pairs = (tag.partition("=") for tag in text.split(",") if tag.startswith("ceph."))
    return {key.removeprefix("ceph."): value for key, _, value in pairs}


def judge(drive: Drive | None, fsid: str, booted: Iterable[int] = (), served: Iterable[str] = ()) -> Verdict:
    """What a drive is to the cluster `fsid` ("" where there is none yet).

    `booted`: numbers, `served`: uuids of the OSDs that once served.
    """
    if drive is None:
        return Verdict("absent", "no drive of that serial number")
    if drive.error:
        return Verdict("occupied", f"something that could not be read ({drive.error})")
    if drive.mounted:
        return Verdict("occupied", f"file systems in use ({', '.join(drive.mounted)})")
    if drive.group is not None:
        return _grouped(drive, fsid, frozenset(booted), frozenset(served))
    if drive.bluestore is not None:
        return Verdict("occupied", _foreign(drive.bluestore, fsid))
    if drive.signatures or drive.children:
        return Verdict("occupied", _named(drive))
    if drive.data_at is not None:
        return Verdict("occupied", f"data without a signature (first seen at byte {drive.data_at})")
    if not drive.read:
        return Verdict("occupied", "nothing that could be read")
    return Verdict("blank", f"blank in {drive.read} bytes sampled")


def _grouped(drive: Drive, fsid: str, booted: frozenset[int], served: frozenset[str]) -> Verdict:
    """A physical volume of LVM: an OSD of ours, of others, a broken-off beginning, or no business of ours."""
    mine = [v for v in drive.volumes if fsid and v.tags.get("cluster_fsid") == fsid]
    if mine and len(drive.volumes) == len(mine):
        volume = mine[0]
        osd, own = volume.osd, volume.tags.get("osd_fsid", "")
        if osd in booted:
            return Verdict("ours", f"osd.{osd} of this cluster", osd, own)
        return Verdict("unfinished", f"an OSD of this cluster that never served (osd.{osd})", osd, own)
    others = sorted({v.tags["cluster_fsid"] for v in drive.volumes if v.tags.get("cluster_fsid")})
    if others:
        owner = others[0] if others[0] != fsid else others[-1]
        return Verdict("occupied", _foreign(owner, fsid))
    if drive.group and _GROUP.match(drive.group) and not drive.volumes:
        return Verdict("unfinished", f"the empty volume group {drive.group}, which ceph-volume began with")
    if drive.group and _GROUP.match(drive.group) and _plain(drive.volumes):
        name = drive.volumes[0].name
        if drive.hollow:
            return Verdict("unfinished", f"the volume {name} that an OSD was begun on, empty")
        label = drive.labels[0] if len(drive.labels) == 1 else {}
        own = str(label.get("osd_uuid", ""))
        if fsid and label.get("ceph_fsid") == fsid and own and own not in served:
            return Verdict("unfinished", f"an OSD of this cluster that never served ({name})", None, own)
    if drive.group and drive.volumes:
        names = ", ".join(f"{v.group}/{v.name}" for v in drive.volumes)
        return Verdict("occupied", f"an LVM physical volume with {names}")
    return Verdict("occupied", "an LVM physical volume" + (f" of {drive.group}" if drive.group else ""))


def _plain(volumes: Sequence[Volume]) -> bool:
    return len(volumes) == 1 and bool(_VOLUME.match(volumes[0].name)) and not volumes[0].tags


def _foreign(owner: str, fsid: str) -> str:
    if owner and owner == fsid:
        return "a BlueStore OSD of this cluster that LVM does not know"
    return f"an OSD of another Ceph cluster ({owner or 'its label names none'})"


def _named(drive: Drive) -> str:
    kinds = [k for k in drive.signatures if not (k == "PMBR" and "gpt" in drive.signatures)]
    named = [NAMES.get(kind, f"a signature of {kind}") for kind in kinds]
    if drive.children:
        named.append(f"partitions or holders ({', '.join(drive.children)})")
    return " and ".join(named)
