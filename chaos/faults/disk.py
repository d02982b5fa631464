"""Faults of an OSD's disk: it vanishes from the PCI bus, it is pulled out of its bay, it becomes slow.

The disk is found by Ceph's own word (`osd metadata`, `device_ids`) and addressed by its serial number: device
names change when a drive comes back. Only drives that the site names as data drives are touched.
"""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos import ceph_state
from chaos.ceph_state import Osd
from chaos.faults.storage import ACT_S, LOOK_S, OneOsd, osd_unit, sound, victims
from chaos.late_hands import hands_of
from chaos.ports import ClusterPort
from cluster import deadman
from cluster.errors import NotApplicableError, RefusedError, UnknownError

SYS = "/sys"
OSDS = "/var/lib/ceph/osd"
RETURN_S = 20
"""Seconds that a drive may take to be found again on the bus; 3 s were measured."""
LATER_S = 20.0
"""The node's own switch fires so much later than the hands', so that the drive is back by then."""

_FIND = """\
serial=%(serial)s osd=%(osd)s unit=%(unit)s sys="%(sys)s" block="%(osds)s/ceph-%(osd)s/block"
drive() {
  for ctl in "$sys"/class/nvme/nvme*; do
    [ -r "$ctl/serial" ] || continue
    read -r found < "$ctl/serial" || continue
    if [ "$found" = "$serial" ]; then echo "$ctl"; return 0; fi
  done
  return 1
}
"""
_REMOVE = """\
ctl=$(drive) || { echo "no NVMe drive has serial number $serial" >&2; exit 1; }
echo 1 | tee "$(readlink -f "$ctl/device")/remove" > /dev/null
"""
# The OSD's volume still lies on the device that has gone: it is closed and opened anew on the one that came.
_RESTORE = """\
mapped() { lsblk -s -n -o SERIAL "$block" 2>/dev/null | grep -q -w -e "$serial"; }
if drive > /dev/null && mapped && systemctl is-active --quiet "$unit"; then exit 0; fi
systemctl kill --signal=KILL "$unit" 2>/dev/null
systemctl stop "$unit" 2>/dev/null
n=0
until drive > /dev/null; do
  n=$((n + 1)); [ $n -le @TRIES@ ] || { echo "drive $serial did not come back" >&2; exit 1; }
  echo 1 | tee "$sys/bus/pci/rescan" > /dev/null
  sleep 1
done
udevadm settle --timeout=20
if ! mapped; then
  volume=$(lvs --noheadings -o lv_full_name -S "tags={ceph.osd_id=$osd}" 2>/dev/null | tr -d ' ')
  [ -n "$volume" ] || { echo "no logical volume bears the tag of OSD $osd" >&2; exit 1; }
  case $(readlink "$block") in /dev/mapper/*) cryptsetup close "$(readlink "$block")" ;; esac
  lvchange -an "$volume"; lvchange -ay "$volume" || exit 1
  udevadm settle --timeout=20
fi
systemctl reset-failed "$unit" 2>/dev/null
case $(readlink "$block") in
  /dev/mapper/*) fsid=$(cat "${block%/block}/fsid"); ceph-volume lvm activate --no-systemd "$osd" "$fsid" ;;
  *) chown ceph:ceph "$(readlink -f "$block")" ;;
esac
systemctl start "$unit"
"""
_LOOK = """\
drive > /dev/null && echo present || echo gone
lsblk -s -n -o SERIAL "$block" 2>/dev/null | grep -q -w -e "$serial" && echo mapped || echo stale
systemctl is-active "$unit"
"""


@dataclass(frozen=True, kw_only=True)
class _DiskFault(OneOsd):
    """One data drive of a node, with the OSD that lives on it."""

    serial: str

    @property
    def target(self) -> str:
        return f"drive {self.serial} of osd.{self.osd} on {self.node}"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        osd = random.choice(victims(cluster)[1])
        return cls(node=osd.host, osd=str(osd.id), serial=serial_of(cluster, osd), **more)

    def check(self, cluster: ClusterPort) -> None:
        state = ceph_state.read(cluster)
        told = sound(state, self.node, int(self.osd))
        if not told and serial_of(cluster, state.osds[int(self.osd)]) != self.serial:
            told.append(f"osd.{self.osd} lives on another drive")
        seen = self._look(cluster)
        if seen != ("present", "mapped", "active"):
            told.append(f"drive and OSD are {', '.join(seen)}: expected present, mapped, active")
        shared = [osd.id for osd in state.osds.values() if osd.host == self.node and self._lives_here(osd)]
        told += [f"osd.{osd} lives on it too" for osd in shared if osd != int(self.osd)]
        if told:
            raise RefusedError(f"{self.target} is not broken: {'; '.join(told)}")

    def _lives_here(self, osd: Osd) -> bool:
        return any(bears(device, self.serial) for device in osd.devices)

    def _look(self, cluster: ClusterPort) -> tuple[str, ...]:
        """("present"|"gone", "mapped"|"stale", the unit's state)."""
        script = self._find() + _LOOK
        words = tuple(cluster.nodes[self.node].run(script, timeout=LOOK_S, check=False).stdout.split())
        if len(words) != 3:
            raise UnknownError(f"{self.node}: the state of drive {self.serial} could not be read")
        return words

    def _find(self) -> str:
        return _FIND % {
            "serial": shlex.quote(self.serial),
            "osd": int(self.osd),
            "unit": shlex.quote(osd_unit(self.osd)),
            "sys": SYS,
            "osds": OSDS,
        }


@dataclass(frozen=True, kw_only=True)
class OsdDiskRemoved(_DiskFault):
    """The drive of an OSD is removed from the PCI bus by the kernel, as if its slot had died."""

    kind = "osd-disk-removed"
    summary = "the NVMe drive of an OSD vanishes from the PCI bus"
    needs: ClassVar[tuple[str, ...]] = (
        "Ceph whole, as the guard sees it",
        "an OSD alone on an NVMe data drive of the site",
    )
    blast_radius = "one OSD and its drive"
    heals_by = "a rescan of the bus, the OSD's volume opened anew, the OSD started"
    effect = "disk"

    def break_script(self) -> str:
        return self._find() + _REMOVE

    def heal_script(self) -> str:
        return self._find() + _RESTORE.replace("@TRIES@", str(RETURN_S))

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return self._look(cluster)[0] == "gone"

    def healed(self, cluster: ClusterPort) -> bool:
        return self._look(cluster) == ("present", "mapped", "active")


@dataclass(frozen=True, kw_only=True)
class OsdDiskPulled(OsdDiskRemoved):
    """The drive of an OSD is pulled out of its bay, by whom the site names as its hands.

    A node cannot push its drive back: a process of its own on the controller asks the hands to when the
    harness has not, and then the node's switch brings the OSD back.
    """

    kind = "osd-disk-pulled"
    summary = "the drive of an OSD is pulled out of its bay"
    needs = ("hands beside the rack ([hands] in the site)", *OsdDiskRemoved.needs)
    heals_by = "the drive pushed back, the OSD's volume opened anew, the OSD started"
    deadman = "a process on the controller that asks the hands, then a systemd timer on the node"

    def check(self, cluster: ClusterPort) -> None:
        table = cluster.site.hands
        if table is None or not (table.pull_drive and table.push_drive):
            raise NotApplicableError(
                "PF-HANDS",
                f"nobody can be asked to move drive {self.serial} of {self.node}.",
                "name commands in [hands], or use osd-disk-removed.",
            )
        super().check(cluster)

    def arm(self, cluster: ClusterPort, drill: str) -> Mapping[str, str]:
        hands_of(cluster).arm_push(drill, self.node, self.serial, self.deadman_s)
        unit = f"{deadman.PREFIX}{drill}"
        deadman.arm(cluster.nodes[self.node], unit, self.deadman_s + LATER_S, self.heal_script())
        return {"unit": unit, "hands": drill}

    def armed(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return drill in hands_of(cluster).armed_pushes() and super().armed(cluster, drill, handles)

    def disarm(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        late = hands_of(cluster).disarm_push(drill)
        return super().disarm(cluster, drill, handles) and late

    def fired(self, cluster: ClusterPort, drill: str) -> bool:
        return hands_of(cluster).push_fired(drill) or super().fired(cluster, drill)

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        hands_of(cluster).pull_drive(self.node, self.serial)

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        if self._look(cluster)[0] == "gone":
            hands_of(cluster).push_drive(self.node, self.serial)
        super().heal(cluster, drill)


@dataclass(frozen=True, kw_only=True)
class SlowDisk(_DiskFault):
    """The OSD may do only a few operations a second on its drive: it is slow, and does not fail.

    The kernel holds back the OSD's own input and output (io.max of its control group); others on the drive
    are not touched.
    """

    kind = "slow-disk"
    summary = "the disk of an OSD serves only a few operations a second"
    needs = ("Ceph whole, as the guard sees it", "the io controller of control groups, version 2")
    blast_radius = "one OSD; writes that it takes part in are slow"
    heals_by = "the limit of the OSD's unit removed"
    effect = "slow"

    iops: float = 20.0
    """Reads and writes a second, each."""

    def check(self, cluster: ClusterPort) -> None:
        super().check(cluster)
        if not (self.iops >= 1):
            raise RefusedError(f"iops = {self.iops:g}: expected 1 or more, or the OSD would be dead")
        look = f'grep -q -w io "{SYS}/fs/cgroup/cgroup.controllers"'
        if not cluster.nodes[self.node].run(look, check=False).ok:
            raise NotApplicableError(
                "PF-IO-MAX",
                f"{self.node}: its kernel does not limit a unit's input and output.",
                "boot with control groups of version 2 and the io controller.",
            )
        if self._limit(cluster):
            raise RefusedError(f"{self.target} is not slowed down: it has a limit already")

    def break_script(self) -> str:
        return self._find() + (
            'ctl=$(drive) || { echo "no NVMe drive has serial number $serial" >&2; exit 1; }\n'
            'for name in "$ctl"/nvme*n*; do disk=/dev/${name##*/}; break; done\n'
            f'systemctl set-property --runtime "$unit" "IOReadIOPSMax=$disk {self.iops:g}"'
            f' "IOWriteIOPSMax=$disk {self.iops:g}"\n'
        )

    def heal_script(self) -> str:
        unit = shlex.quote(osd_unit(self.osd))
        return (
            f"systemctl set-property --runtime {unit} IOReadIOPSMax= IOWriteIOPSMax=\n"
            f"systemctl is-active --quiet {unit} ||"
            f" {{ systemctl reset-failed {unit} 2>/dev/null; systemctl start {unit}; }}\n"
        )

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return self._limit(cluster)

    def healed(self, cluster: ClusterPort) -> bool:
        return not self._limit(cluster) and self._look(cluster) == ("present", "mapped", "active")

    def _limit(self, cluster: ClusterPort) -> bool:
        """Whether the kernel holds the OSD back, by its own word."""
        look = (
            f"group=$(systemctl show -P ControlGroup {shlex.quote(osd_unit(self.osd))})\n"
            f'grep -q -E "[rw]iops=[0-9]" "{SYS}/fs/cgroup$group/io.max" 2>/dev/null'
            " && echo slow || echo free\n"
        )
        return cluster.nodes[self.node].run(look, timeout=ACT_S).stdout.strip() == "slow"


def bears(device_id: str, serial: str) -> bool:
    """Whether a device id of Ceph has the serial: "nvme2n1=MODEL_SERIAL", perhaps with "_1" behind."""
    return f"_{serial}_" in f"_{device_id.partition('=')[2]}_"


def serial_of(cluster: ClusterPort, osd: Osd) -> str:
    """The site's data drive that an OSD lives on. Raises `UnknownError` where it is none, or not one."""
    drives = cluster.site.node(osd.host).data_drives
    found = [serial for serial in drives if any(bears(device, serial) for device in osd.devices)]
    if len(found) != 1:
        told = ", ".join(osd.devices) or "nothing"
        raise UnknownError(
            f"osd.{osd.id} on {osd.host}: Ceph names {told} as its devices, of which {len(found)} are data"
            " drives of the site: expected one"
        )
    return found[0]
