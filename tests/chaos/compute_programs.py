"""Stands in, on a fake node, for its kernel's crash, guests, the HA manager's command and fencing.

Programs are plain sh, as each call costs; the state is files under $WORLD and, for what the whole cluster
shares, beside the nodes' folders. A process is a folder in $WORLD/proc.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.chaos import traffic_programs

FENCING = "rackproof-fencing.service"
KILL = """\
#!/bin/sh
[ "$1" = -KILL ] && rmdir "$WORLD/proc/$2"
"""
LXC_INFO = """\
#!/bin/sh
read -r pid < "$WORLD/guests/$2.pid" && [ -e "$WORLD/proc/$pid" ] || pid=
case "$*" in
  *-p*) [ -z "$pid" ] || echo "$pid" ;;
  *-s*) if [ -n "$pid" ]; then echo RUNNING; else echo STOPPED; fi ;;
esac
"""
LXC_ATTACH = """\
#!/bin/sh
[ "$1 $3 $4 $5 $6" = "-n --clear-env -- /bin/sh -c" ] || exit 1
read -r pid < "$WORLD/guests/$2.pid" && [ -e "$WORLD/proc/$pid" ] || exit 1
case $7 in
  "kill -STOP -1") : > "$WORLD/guests/$2.stopped" ;;
  "kill -CONT -1") rm -f "$WORLD/guests/$2.stopped" ;;
  stopped=*) if [ -e "$WORLD/guests/$2.stopped" ]; then echo 3 0; else echo 0 3; fi ;;
  *) exit 1 ;;
esac
"""
TOOL = """\
#!/bin/sh
read -r pid < "$WORLD/guests/$2.pid" && [ -e "$WORLD/proc/$pid" ] || pid=
case $1 in
  status) if [ -n "$pid" ]; then echo "status: running"; else echo "status: stopped"; fi ;;
  start)
    [ -z "$pid" ] || exit 255
    read -r last < "$WORLD/guests/last"
    echo $((last + 1)) > "$WORLD/guests/last"
    mkdir "$WORLD/proc/$((last + 1))"
    echo $((last + 1)) > "$WORLD/guests/$2.pid" ;;
  *) exit 255 ;;
esac
"""
HA_MANAGER = """\
#!/bin/sh
[ "$1 $2" = "crm-command node-maintenance" ] || exit 255
case $3 in
  enable) : > "$WORLD/../ha/$4" ;;
  disable) rm -f "$WORLD/../ha/$4" ;;
  *) exit 255 ;;
esac
"""
# Asks each BMC when it starts, with what its configuration names; a drop-in puts another one before it.
SAYS = """\
import json, sys
from pathlib import Path
world, units, unit = map(Path, sys.argv[1:4])
told = units / f"{unit}.d" / "rackproof-wrong.conf"
read = world / "fencing/fencing.json"
if told.exists():
    source, _, target = told.read_text().split("BindReadOnlyPaths=")[1].strip().partition(":")
    assert target == "$WORLD/fencing/fencing.json", target
    read = Path(source)
with (world / "fencing/record").open("a") as record:
    for peer in json.loads(read.read_text())["peers"]:
        right = peer["password"].endswith("ipmi_password")
        said = ("armed", "it answers") if right else ("refused", "the BMC refuses user and password")
        line = {"at": "2026", "peer": peer["name"], "decision": said[0], "reason": said[1]}
        record.write(json.dumps(line) + "\\n")
"""
ROUTE = """\
#!/bin/sh
case "$*" in *"route get"*) echo '[{"dst":"10.9.0.11","dev":"bond0.6"}]' ;; *) exec @OTHER@ "$@" ;; esac
"""
CURL = """\
#!/bin/sh
case "$*" in
  *:8006/*) exec @OTHER@ "$@" ;;
  *//*:*/redfish/v1/*)
    door=${*##*//}
    ! grep -q "dst ${door%%:*}/32" "$WORLD/traffic/bond0.6/egress" 2>/dev/null ;;
  *) exit 1 ;;
esac
"""
FOLDERS = ("guests", "fencing", "pve", "proc/sys/kernel/random", "sys/kernel", "sys/class/watchdog/watchdog0")


def install(node: Path, name: str, peers: tuple[str, ...]) -> None:
    """After `traffic_programs.install`. `peers`: all nodes of the cluster."""
    for folder in FOLDERS:
        (node / folder).mkdir(parents=True)
    for folder in ("ha", f"pve-nodes/{name}/lxc", f"pve-nodes/{name}/qemu-server"):
        (node.parent / folder).mkdir(parents=True, exist_ok=True)
    (node / "pve/nodes").symlink_to(node.parent / "pve-nodes")
    (node / "pve/local").symlink_to(f"nodes/{name}")
    (node / "guests/last").write_text("4000\n")
    for path, text in {
        "proc/sys/kernel/panic": "0", "proc/sysrq-trigger": "", "sys/kernel/kexec_crash_loaded": "0",
        "sys/class/watchdog/watchdog0/state": "active",
        "sys/class/watchdog/watchdog0/identity": "i6300ESB timer",
    }.items():  # fmt: skip
        (node / path).write_text(f"{text}\n")
    entries = [
        {
            "name": peer, "user": f"/pve1/nodes/{peer}/ipmi_user",
            "password": f"/pve1/nodes/{peer}/ipmi_password",
        }
        for peer in peers if peer != name
    ]  # fmt: skip
    (node / "fencing/fencing.json").write_text(json.dumps({"node": name, "peers": entries}))
    (node / "fencing/says.py").write_text(SAYS)
    for program, text in {
        "kill": KILL, "lxc-info": LXC_INFO, "lxc-attach": LXC_ATTACH, "pct": TOOL, "qm": TOOL,
        "ha-manager": HA_MANAGER,
    }.items():  # fmt: skip
        _program(node, program, text)
    for program, text in (("ip", ROUTE), ("curl", CURL)):
        other = node / "bin" / f"{program}-other"
        (node / "bin" / program).rename(other)
        _program(node, program, text.replace("@OTHER@", str(other)))
    _fencing(node)
    start(node)


def _fencing(node: Path) -> None:
    """A service of systemd that says something when it starts."""
    systemctl = node / "bin" / "systemctl"
    other = node / "bin" / "systemctl-other"
    systemctl.rename(other)
    says = f'{sys.executable} -S -I "$WORLD/fencing/says.py" "$WORLD" "$WORLD/ceph/units" {FENCING}'
    text = f"""\
#!/bin/sh
case "$*" in
  "restart {FENCING}" | "start {FENCING}")
    echo active > "$WORLD/ceph/services/{FENCING}"; exec {says} ;;
  *) exec {other} "$@" ;;
esac
"""
    _program(node, "systemctl", text)
    (node / "ceph/services" / FENCING).write_text("active\n")


def add_guest(node: Path, sid: str) -> None:
    """A guest that runs."""
    sort, _, vmid = sid.partition(":")
    folder = "lxc" if sort == "ct" else "qemu-server"
    (node / "pve/local" / folder / f"{vmid}.conf").write_text("cores: 1\n")
    pid = 1000 + int(vmid) % 1000
    (node / "proc" / str(pid)).mkdir()
    (node / "guests" / f"{vmid}.pid").write_text(f"{pid}\n")


def start(node: Path) -> None:
    """The node starts anew: what lay in memory is gone, the fencing service asks each BMC."""
    (node / "proc/sysrq-trigger").write_text("")
    (node / "proc/sys/kernel/panic").write_text("0\n")
    (node / "proc/sys/kernel/random/boot_id").write_text(f"{uuid.uuid4()}\n")
    for path in (node / "timers").iterdir():
        path.unlink()
    traffic_programs.clear(node)
    entries = json.loads((node / "fencing/fencing.json").read_text())["peers"]
    lines = [{"at": "2026", "peer": peer["name"], "decision": "armed", "reason": "-"} for peer in entries]
    (node / "fencing/record").write_text("".join(json.dumps(line) + "\n" for line in lines))


def crashed(node: Path) -> bool:
    """Whether the kernel was told to crash."""
    return (node / "proc/sysrq-trigger").read_text().strip() == "c"


def ha_status(folder: Path, names: tuple[str, ...], sids: tuple[str, ...]) -> list[dict[str, Any]]:
    """GET /cluster/ha/status/current: all well, but for nodes in maintenance."""
    entries: list[dict[str, Any]] = [
        {"id": "quorum", "type": "quorum", "node": names[0], "status": "OK", "quorate": 1},
        {"id": "master", "type": "master", "node": names[0], "status": f"{names[0]} (active, Sat Aug 29)"},
    ]
    for name in names:
        mode = "maintenance mode" if (folder / "ha" / name).exists() else "active"
        text = f"{name} ({mode}, watchdog active, Sat Aug 29 10:39:57 2026)"
        entries.append({"id": f"lrm:{name}", "type": "lrm", "node": name, "status": text})
    return entries + [
        {
            "id": f"service:{sid}", "type": "service", "sid": sid, "node": names[0], "state": "started",
            "request_state": "started", "status": f"{sid} ({names[0]}, started)",
        }
        for sid in sids
    ]  # fmt: skip


def seen(node: Path) -> dict[str, Any]:
    """The kernel, guests, the fencing service and what the HA manager was told."""
    files = [
        path for name in ("proc", "guests", "fencing") for path in (node / name).rglob("*") if path.is_file()
    ]
    found: dict[str, Any] = {str(path.relative_to(node)): path.read_text() for path in sorted(files)}
    found["processes"] = sorted(path.name for path in (node / "proc").iterdir())
    found["maintenance"] = sorted(path.name for path in (node.parent / "ha").iterdir())
    return found


def _program(node: Path, name: str, text: str) -> None:
    program = node / "bin" / name
    program.write_text(text)
    program.chmod(0o755)
