"""Stands in, on a fake node, for tc on the interfaces that bear addresses, for the clock and for services.

Plain sh, as each call costs; the state is files under $WORLD/traffic; services are those of ceph_programs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.chaos import ceph_programs

SERVICES = ("corosync.service", "pveproxy.service", "chrony.service", "rackproof-fencing.service")
TC = """\
#!/bin/sh
s=$WORLD/traffic
one() {
  all="$*"; dev=${all##*dev }; dev=${dev%% *}; d=$s/$dev
  [ -d "$d" ] || { echo "Cannot find device \\"$dev\\"" >&2; return 1; }
  case "$all" in
    "qdisc add "*" clsact") [ ! -e "$d/clsact" ] && : > "$d/clsact" ;;
    "qdisc add "*" root handle 7a: prio "*) [ ! -e "$d/prio" ] && : > "$d/prio" ;;
    "qdisc add "*" parent 7a:4 handle 7b: netem "*) [ -e "$d/prio" ] && echo "${all##*netem}" > "$d/netem" ;;
    "filter add "*" parent 7a: "*" flowid 7a:4") [ -e "$d/prio" ] && echo "$all" >> "$d/sorted" ;;
    "filter add "*" egress "*" action trap") [ -e "$d/clsact" ] && echo "$all" >> "$d/egress" ;;
    "filter add "*" ingress "*" action drop") [ -e "$d/clsact" ] && echo "$all" >> "$d/ingress" ;;
    "qdisc del "*" clsact") [ -e "$d/clsact" ] && rm -f "$d/clsact" "$d/egress" "$d/ingress" ;;
    "qdisc del "*" root") [ -e "$d/prio" ] && rm -f "$d/prio" "$d/netem" "$d/sorted" ;;
    *) echo "tc does not know: $all" >&2; return 1 ;;
  esac
}
case "$*" in
  -batch*) while read -r line; do one $line || exit 2; done; exit 0 ;;
  *" show dev eth"* | *"dev eth"*) exec @OTHER@ "$@" ;;
  "qdisc del"*) one "$@" || exit 2; exit 0 ;;
esac
words="$*"; rest=${words##*dev }; dev=${rest%% *}; d=$s/$dev; found= text=
[ -d "$d" ] || { echo "Cannot find device \\"$dev\\"" >&2; exit 1; }
case "$words" in
  *"qdisc show"*)
    for kind in prio:7a: netem:7b: clsact:ffff:; do
      [ -e "$d/${kind%%:*}" ] || continue
      found="$found,{\\"kind\\":\\"${kind%%:*}\\",\\"handle\\":\\"${kind#*:}\\"}"
      text="${text}qdisc ${kind%%:*} ${kind#*:}
"
    done
    [ -n "$found" ] || { found=',{"kind":"noqueue","handle":"0:"}'; text="qdisc noqueue 0: root"; } ;;
  *"filter show"*) [ -e "$d/${words##* }" ] && found=',{"kind":"u32"}' ;;
  *) exit 1 ;;
esac
case "$words" in -j*) echo "[${found#,}]" ;; *) printf '%s\\n' "$text" ;; esac
"""
IP = """\
#!/bin/sh
case "$*" in *address*) cat "$WORLD/traffic/addresses.json" ;; *) exec @OTHER@ "$@" ;; esac
"""
# Never the machine's own for what would step its clock.
PYTHON3 = """\
#!/bin/sh
[ "$1 $2 $3" = "-I -S -c" ] || exit 1
[ "$5" != wrong ] || exec @PYTHON@ "$@"
shift 4
case $1 in
  step) [ ! -e "$2" ] || exit 1; : > "$2"; echo "$3" > "$WORLD/traffic/clock" ;;
  restore) [ -e "$2" ] || exit 1; echo 0 > "$WORLD/traffic/clock" ;;
  off) cat "$WORLD/traffic/clock" ;;
  *) exit 1 ;;
esac
"""
CHRONYC = """\
#!/bin/sh
case "$*" in
  *tracking*)
    read -r state < "$WORLD/ceph/services/chrony.service"; [ "$state" = active ] || exit 1
    echo "0A060001,10.6.0.1,4,1795220000.0,0.000012,0.00001,0.00002,1.5,0,0.02,0.001,0.0005,64.2,Normal" ;;
  *offline*) echo offline > "$WORLD/traffic/chrony" ;;
  *online*) echo online > "$WORLD/traffic/chrony" ;;
  *burst* | *makestep*) grep -q online "$WORLD/traffic/chrony" ;;
  *) exit 1 ;;
esac
"""
ANSWER = """\
#!/bin/sh
read -r state < "$WORLD/ceph/services/@UNIT@"; [ "$state" = active ]
"""


def install(node: Path, addresses: dict[str, str]) -> None:
    """After `ceph_programs.install`; `addresses`: interface -> the address that it bears."""
    state = node / "traffic"
    for interface in addresses:
        (state / interface).mkdir(parents=True)
    shown = [
        {"ifname": name, "addr_info": [{"family": "inet", "local": text}]} for name, text in addresses.items()
    ]
    (state / "addresses.json").write_text(json.dumps(shown))
    (state / "clock").write_text("0\n")
    (state / "chrony").write_text("online\n")
    for name, text in (("tc", TC), ("ip", IP)):
        other = (node / "bin" / name).read_text().splitlines()[1].removeprefix("exec ").removesuffix(' "$@"')
        _program(node, name, text.replace("@OTHER@", other))
    _program(node, "python3", PYTHON3.replace("@PYTHON@", sys.executable))
    _program(node, "chronyc", CHRONYC)
    _program(node, "curl", ANSWER.replace("@UNIT@", "pveproxy.service"))
    _program(node, "corosync-cmapctl", ANSWER.replace("@UNIT@", "corosync.service"))
    systemctl = node / "bin" / "systemctl"
    ours = " | ".join(["*ceph-*", *(f"*{unit}*" for unit in SERVICES)])
    assert "*ceph-*) ;;" in ceph_programs.SYSTEMCTL
    systemctl.write_text(systemctl.read_text().replace("*ceph-*) ;;", f"{ours}) ;;"))
    for unit in SERVICES:
        (node / "ceph/services" / unit).write_text("active\n")


def clear(node: Path) -> None:
    """The node starts anew: no queue and no filter is left."""
    for path in (node / "traffic").glob("*/*"):
        path.unlink()


def seen(node: Path) -> dict[str, Any]:
    """Queues and filters of each interface, the clock, whether chrony is online."""
    files = [path for path in (node / "traffic").rglob("*") if path.is_file()]
    return {str(path.relative_to(node)): path.read_text() for path in sorted(files)}


def _program(node: Path, name: str, text: str) -> None:
    program = node / "bin" / name
    program.write_text(text)
    program.chmod(0o755)
