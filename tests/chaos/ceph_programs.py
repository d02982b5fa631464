"""Stands in, on a fake node, for systemd's handling of Ceph's daemons, for drives on a PCI bus and for LVM.

Programs are plain sh, for each call costs; their state is files under $WORLD/ceph. A daemon that is killed is
started again by systemd unless a drop-in holds it, and only once systemd has read its units again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SYSTEMCTL = """\
#!/bin/sh
s=$WORLD/ceph
verb=$1; shift
case "$verb $*" in
  daemon-reload*)
    for unit in "$s"/services/*; do
      name=${unit##*/}
      if [ -e "$s/units/$name.d/rackproof.conf" ]; then : > "$s/held/$name"; else rm -f "$s/held/$name"; fi
    done
    exit 0 ;;
  *ceph-*) ;;
  *) exec @PYTHON@ "$verb" "$@" ;;
esac
quiet= rc=0 limits=
for word in "$@"; do
  case $word in
    --quiet) quiet=1; continue ;;
    -*) continue ;;
    ControlGroup) continue ;;
    IO*IOPSMax=) limits=none; continue ;;
    IO*IOPSMax=*) limits=${word##* }; continue ;;
  esac
  unit=$word
  [ -e "$s/services/$unit" ] || { echo "Unit $unit not loaded." >&2; exit 5; }
  case $verb in
    is-active)
      read -r state < "$s/services/$unit"
      [ -n "$quiet" ] || echo "$state"
      [ "$state" = active ] || rc=3 ;;
    kill) if [ -e "$s/held/$unit" ]; then echo failed > "$s/services/$unit"; fi ;;
    stop) echo inactive > "$s/services/$unit" ;;
    reset-failed) ;;
    start)
      [ ! -e "$s/held/$unit" ] || continue
      if [ -e "$s/drive/$unit" ]; then
        read -r serial < "$s/drive/$unit"
        [ -e "$s/mapped/$serial" ] || { echo failed > "$s/services/$unit"; rc=1; continue; }
      fi
      echo active > "$s/services/$unit" ;;
    show) echo "/$unit" ;;
    set-property) ;;
    *) echo "systemctl $verb is not known here" >&2; exit 1 ;;
  esac
done
if [ "$verb" = set-property ]; then
  [ -n "$limits" ] || { echo "no limit was given" >&2; exit 1; }
  mkdir -p "$s/sys/fs/cgroup/$unit"
  if [ "$limits" = none ]; then : > "$s/sys/fs/cgroup/$unit/io.max"
  else echo "259:2 rbps=max wbps=max riops=$limits wiops=$limits" > "$s/sys/fs/cgroup/$unit/io.max"; fi
fi
exit $rc
"""
TEE = """\
#!/bin/sh
s=$WORLD/ceph
case $1 in
  */remove)
    device=${1%/remove}
    for ctl in "$s"/sys/class/nvme/*; do
      [ "$(readlink -f "$ctl/device")" = "$device" ] && exec "$WORLD/bin/unplug" "${ctl##*/}" off
    done
    exit 1 ;;
  */rescan) for ctl in "$s"/off/*; do [ -e "$ctl" ] && "$WORLD/bin/plug" "${ctl##*/}" off; done; exit 0 ;;
esac
exit 1
"""
# The OSD ends itself when its drive has gone; its volume lies on the old device until it is opened anew.
UNPLUG = """\
#!/bin/sh
s=$WORLD/ceph
read -r serial < "$s/sys/class/nvme/$1/serial"
mv "$s/sys/class/nvme/$1" "$s/$2/$1" && rm -f "$s/mapped/$serial"
for unit in "$s"/drive/*; do
  read -r its < "$unit"
  [ "$its" = "$serial" ] && echo failed > "$s/services/${unit##*/}"
done
exit 0
"""
PLUG = """\
#!/bin/sh
mv "$WORLD/ceph/$2/$1" "$WORLD/ceph/sys/class/nvme/$1"
"""
LSBLK = """\
#!/bin/sh
for path in "$@"; do :; done
unit=${path%/block}; unit=ceph-osd@${unit##*ceph-}.service
read -r serial < "$WORLD/ceph/drive/$unit" || exit 1
[ -e "$WORLD/ceph/mapped/$serial" ] && echo "$serial"
"""
LVS = """\
#!/bin/sh
for tag in "$@"; do :; done
osd=${tag#*osd_id=}
echo "  vg/osd-block-${osd%\\}}"
"""
LVCHANGE = """\
#!/bin/sh
[ "$1" = -ay ] || exit 0
read -r serial < "$WORLD/ceph/drive/ceph-osd@${2##*-}.service" || exit 1
for ctl in "$WORLD"/ceph/sys/class/nvme/*; do
  [ -e "$ctl/serial" ] || continue
  read -r its < "$ctl/serial"
  if [ "$its" = "$serial" ]; then : > "$WORLD/ceph/mapped/$serial"; exit 0; fi
done
exit 5
"""
CEPH = """\
#!/bin/sh
[ "$1 $3" = "--connect-timeout osd" ] || exit 22
case $4 in
  out) : > "$WORLD/../out/$5" ;;
  in) rm -f "$WORLD/../out/$5" ;;
  *) exit 22 ;;
esac
"""
NOTHING = "#!/bin/sh\nexit 0\n"
PROGRAMS = {
    "tee": TEE, "unplug": UNPLUG, "plug": PLUG, "lsblk": LSBLK, "lvs": LVS, "lvchange": LVCHANGE,
    "ceph": CEPH, "chown": NOTHING, "udevadm": NOTHING,
}  # fmt: skip
FOLDERS = (
    "services", "held", "units", "drive", "mapped", "off", "pulled", "osd", "sys/class/nvme", "sys/bus/pci",
    "sys/fs/cgroup", "sys/pci",
)  # fmt: skip


def install(node: Path) -> None:
    """Put the programs into a node's folder; `systemctl` passes what is not about Ceph to the other one."""
    for name, text in PROGRAMS.items():
        program = node / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    systemctl = node / "bin" / "systemctl"
    line = systemctl.read_text().splitlines()[1].removeprefix("exec ").removesuffix(' "$@"')
    systemctl.write_text(SYSTEMCTL.replace("@PYTHON@", line))
    for name in FOLDERS:
        (node / "ceph" / name).mkdir(parents=True)
    (node / "ceph/sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (node.parent / "out").mkdir(exist_ok=True)


def add_daemon(node: Path, daemon: str, name: str) -> None:
    """A daemon that runs."""
    (node / "ceph/services" / f"ceph-{daemon}@{name}.service").write_text("active\n")


def add_osd(node: Path, osd: int, serial: str) -> None:
    """An OSD that runs, on an NVMe drive of its own."""
    add_daemon(node, "osd", str(osd))
    (node / "ceph/drive" / f"ceph-osd@{osd}.service").write_text(f"{serial}\n")
    (node / "ceph/mapped" / serial).touch()
    device = node / "ceph/sys/pci" / f"0000:0{osd}:00.0"
    device.mkdir()
    controller = node / "ceph/sys/class/nvme" / f"nvme{osd}"
    (controller / f"nvme{osd}n1").mkdir(parents=True)
    (controller / "serial").write_text(f"{serial}      \n")  # sysfs pads it
    (controller / "device").symlink_to(device)
    (node / "ceph/osd" / f"ceph-{osd}").mkdir()
    (node / "ceph/osd" / f"ceph-{osd}" / "block").symlink_to(f"/dev/vg/osd-block-{osd}")


def state(node: Path) -> dict[str, Any]:
    """Services, what is held, mapped and limited, and the drives on the bus."""
    folder = node / "ceph"
    found: dict[str, Any] = {path.name: path.read_text() for path in (folder / "services").iterdir()}
    for name in ("held", "units", "mapped", "off", "pulled", "sys/class/nvme"):
        found[name] = sorted(path.name for path in (folder / name).iterdir())
    found["limits"] = {str(p): p.read_text() for p in (folder / "sys/fs/cgroup").glob("*/io.max")}
    found["out"] = sorted(path.name for path in (node.parent / "out").iterdir())
    return found
