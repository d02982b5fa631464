"""OSDs: the steps of `ceph-volume lvm create` in this process.

The tool itself starts `ceph` and LVM's commands two dozen times, which is minutes on an emulated node. What
is left behind is the same: group `ceph-<uuid>`, volume `osd-block-<uuid>` with its tags, a tmpfs with the
OSD's files, the units ceph-volume@lvm-<id>-<uuid> and ceph-osd@<id>.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log
from . import conf, drives, keys, monitors, units, volumes
from .drives import Drive

MKFS_DEADLINE_S = 300.0
LOCK = "/run/lock/pve-diskmanage.lck"
_DMCRYPT_KEY_BYTES = 96


@dataclass(frozen=True)
class Order:
    """What an OSD is asked to be. `beside` maps db and wal to a drive and a size in bytes."""

    drive: Drive
    device_class: str | None = None
    encrypted: bool = False
    count: int = 1
    beside: dict[str, tuple[Drive, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Identity:
    """Number and key of a new OSD; the lockbox holds the key of an encrypted one."""

    number: int
    fsid: str
    secret: str
    lockbox: str = ""
    dmcrypt: str = ""

    @property
    def folder(self) -> str:
        return units.folder("osd", str(self.number))


@contextlib.contextmanager
def _alone(machine: Machine) -> Iterator[None]:
    """One action on drives at a time on this node, also between daemon and command line."""
    path = machine.file(LOCK)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def create(machine: Machine, order: Order, log: Log) -> None:
    """Make the ordered OSDs on a drive and start them. What was made is taken back when a step fails."""
    with _alone(machine):
        drives.require_free(drives.inspect(machine, order.drive.path))
        keys.place_bootstrap_osd(machine)
        log(f"create OSD on {order.drive.path} (bluestore)")
        beside = {}
        for kind, (drive, size) in order.beside.items():
            log(f"creating block.{kind} on '{drive.path}'")
            beside[kind] = volumes.make_beside(machine, drives.inspect(machine, drive.path), kind, size)
            log(f"using '{'/'.join(beside[kind])}' for block.{kind}")
        log(f"wipe disk/partition: {order.drive.path}")
        drives.wipe(machine, order.drive)
        made = volumes.make(machine, order.drive, order.count)
        log(f"volume group {made[0][0]}")
        try:
            for place in made:
                _create_one(machine, order, place, beside, log)
        except ApiError:
            if not _serving(machine, made[0][0]):
                volumes.remove(machine, made[0][0])
            raise


def _serving(machine: Machine, group: str) -> bool:
    """Whether an OSD of this group was finished, so that the group must stay."""
    return any(volume.group == group for volume in volumes.listing(machine))


def _create_one(
    machine: Machine, order: Order, place: tuple[str, str], beside: dict[str, tuple[str, str]], log: Log
) -> None:
    osd = _register(machine, order)
    log(f"osd.{osd.number} {osd.fsid}")
    try:
        block = _prepare(machine, order, osd, place, beside, log)
    except ApiError:
        monitors.tell(machine, "osd purge-new", id=osd.number, yes_i_really_mean_it=True)
        machine.run(["umount", str(machine.file(osd.folder))], check=False)
        raise
    log(f"osd.{osd.number} prepared on {block}")
    unit = f"ceph-volume@lvm-{osd.number}-{osd.fsid}.service"
    machine.run(["systemctl", *units.QUICK, "enable", unit])
    machine.run(["systemctl", *units.QUICK, "enable", "--runtime", f"ceph-osd@{osd.number}.service"])
    units.control(machine, "start", f"osd.{osd.number}")
    log(f"ceph-volume lvm create successful for: {order.drive.path}")


def _register(machine: Machine, order: Order) -> Identity:
    """Have the monitors give a number, and keep the OSD's key (and an encrypted one's in their store)."""
    fsid, secret = str(uuid.uuid4()), keys.fresh()
    lockbox, dmcrypt = "", ""
    told = {"cephx_secret": secret}
    if order.encrypted:
        lockbox, dmcrypt = keys.fresh(), base64.b64encode(os.urandom(_DMCRYPT_KEY_BYTES)).decode("ascii")
        told |= {"cephx_lockbox_secret": lockbox, "dmcrypt_key": dmcrypt}
    if order.device_class:
        told["crush_device_class"] = order.device_class
    answer = monitors.ask(machine, "osd new", json.dumps(told).encode(), uuid=fsid)
    return Identity(int(answer["osdid"]), fsid, secret, lockbox, dmcrypt)


def _prepare(
    machine: Machine,
    order: Order,
    osd: Identity,
    place: tuple[str, str],
    beside: dict[str, tuple[str, str]],
    log: Log,
) -> str:
    """Volume, tags, key, file system of an OSD; returns the block device it uses."""
    identity = volumes.identity(machine, *place)
    path = f"/dev/{place[0]}/{place[1]}"
    block = _encrypt(machine, path, identity, osd) if order.encrypted else path
    folder = machine.file(osd.folder)
    folder.mkdir(parents=True, exist_ok=True)
    machine.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)])
    (folder / "block").symlink_to(block)
    extra = _link_beside(machine, osd, beside)
    (folder / "activate.monmap").write_bytes(monitors.raw(machine, "mon getmap"))
    (folder / "keyring").write_text(keys.ring(f"osd.{osd.number}", osd.secret), encoding="ascii")
    (folder / "keyring").chmod(0o600)
    units.own(machine, osd.folder)
    for device in (block, *beside_paths(beside)):
        machine.run(["chown", "ceph:ceph", os.path.realpath(machine.file(device))])
    log(f"ceph-osd --mkfs -i {osd.number}")
    machine.run(
        ["ceph-osd", "--cluster", "ceph", "--osd-objectstore", "bluestore", "--mkfs", "-i", str(osd.number),
         "--monmap", f"{osd.folder}/activate.monmap", "--keyfile", "-", "--osd-data", osd.folder,
         "--osd-uuid", osd.fsid, "--setuser", "ceph", "--setgroup", "ceph", *extra],
        input=osd.secret, timeout_s=MKFS_DEADLINE_S,
    )  # fmt: skip
    _tag(machine, order, osd, place, identity, beside)
    return block


def beside_paths(beside: dict[str, tuple[str, str]]) -> list[str]:
    return [f"/dev/{group}/{name}" for group, name in beside.values()]


def _link_beside(machine: Machine, osd: Identity, beside: dict[str, tuple[str, str]]) -> list[str]:
    words = []
    for kind, (group, name) in beside.items():
        (machine.file(osd.folder) / f"block.{kind}").symlink_to(f"/dev/{group}/{name}")
        words += [f"--bluestore-block-{kind}-path", f"/dev/{group}/{name}"]
    return words


def _tag(
    machine: Machine,
    order: Order,
    osd: Identity,
    place: tuple[str, str],
    identity: str,
    beside: dict[str, tuple[str, str]],
) -> None:
    """The tags come last: a volume that bears them is a whole OSD."""
    common = {
        "cluster_fsid": conf.load(machine)["global"]["fsid"],
        "cluster_name": "ceph",
        "osd_id": str(osd.number),
        "osd_fsid": osd.fsid,
        "osdspec_affinity": "",
        "crush_device_class": order.device_class or "",
        "encrypted": str(int(order.encrypted)),
        "cephx_lockbox_secret": osd.lockbox,
        "vdo": "0",
        "block_device": f"/dev/{place[0]}/{place[1]}",
        "block_uuid": identity,
    }
    for kind, other in beside.items():
        common |= {
            f"{kind}_device": f"/dev/{other[0]}/{other[1]}",
            f"{kind}_uuid": volumes.identity(machine, *other),
        }
    for kind, other in beside.items():
        volumes.tag(machine, *other, common | {"type": kind})
    volumes.tag(machine, *place, common | {"type": "block"})


def _encrypt(machine: Machine, path: str, identity: str, osd: Identity) -> str:
    """LUKS over the volume. The key is random, so stretching it a thousand times is as good as a million."""
    cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    machine.run(
        ["cryptsetup", "--batch-mode", "--key-size", "512", *cheap, "--key-file", "-", "luksFormat", path],
        input=osd.dmcrypt, timeout_s=120,
    )  # fmt: skip
    machine.run(
        ["cryptsetup", "--allow-discards", "--key-file", "-", "luksOpen", path, identity],
        input=osd.dmcrypt, timeout_s=120,
    )  # fmt: skip
    return f"/dev/mapper/{identity}"


def require_removable(machine: Machine, number: int) -> None:
    """ApiError in PVE's words unless the OSD is out and down."""
    state = find(machine, number)
    if state["in"]:
        raise ApiError(500, "osd is in use (in == 1)")
    if state["up"]:
        raise ApiError(500, "osd is still running (up == 1)")


def find(machine: Machine, number: int) -> dict[str, int]:
    """The OSD's entry in the OSD map. ApiError when there is none."""
    for state in monitors.ask(machine, "osd dump")["osds"]:
        if state["osd"] == number:
            return dict(state)
    raise ApiError(500, f"no such OSD '{number}'")


def destroy(machine: Machine, number: int, cleanup: bool, log: Log) -> None:
    """Take an OSD out of the cluster; with `cleanup` its volumes are destroyed too."""
    log(f"destroy OSD osd.{number}")
    volume = volumes.of_osd(machine, number)
    for action in ("stop", "disable"):
        machine.run(["systemctl", action, f"ceph-osd@{number}.service"], check=False)
    if volume:
        unit = f"ceph-volume@lvm-{number}-{volume.tags['ceph.osd_fsid']}.service"
        machine.run(["systemctl", "disable", unit], check=False)
    log(f"Remove osd.{number} from the CRUSH map")
    monitors.tell(machine, "osd crush remove", name=f"osd.{number}")
    log(f"Remove the osd.{number} authentication key.")
    monitors.tell(machine, "auth del", entity=f"osd.{number}")
    log(f"Remove OSD osd.{number}")
    monitors.tell(machine, "osd rm", ids=[f"osd.{number}"])
    folder = units.folder("osd", str(number))
    log(f"Unmount OSD osd.{number} from  {folder}")
    if machine.run(["umount", str(machine.file(folder))], check=False).code:
        log.warn(f"{folder} was not mounted")
    if volume and volume.tags.get("ceph.encrypted") == "1":
        machine.run(["cryptsetup", "close", volume.uuid], check=False)
    if volume and cleanup:
        with _alone(machine):
            log(f"remove volume group {volume.group}")
            volumes.remove(machine, volume.group)
