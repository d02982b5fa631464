"""Dead-man's switch: a timer on the node itself that runs a healing script unless it is disarmed in time.

It needs neither the harness nor a network: the script lies in /run (gone after a reboot, as are the faults it
heals) and systemd's monotonic timer starts it. Source of the options: without AccuracySec a timer may be a
minute late.
"""

from __future__ import annotations

import re
import shlex
from typing import Protocol

from cluster.errors import RackproofError
from cluster.node import Result

PREFIX = "rackproof-heal-"
FOLDER = "/run/rackproof"
DEADLINE_S = 60
_UNIT = re.compile(r"rackproof-[a-z0-9][a-z0-9-]{0,60}")
_SPARE = "--b"  # a switch is extended by starting its spare timer before the first is stopped


class DeadmanError(RackproofError):
    """The switch could not be armed or disarmed as asked; what it protects must not be (or stay) broken."""


class Shell(Protocol):
    """What the switch needs of a node."""

    @property
    def name(self) -> str: ...

    def run(
        self, command: str, *args: str, timeout: float = ..., check: bool = ..., data: str | None = ...
    ) -> Result: ...


# Few processes: on an emulated node under load each of them takes up to a second.
_ARM = """\
unit=$1 milliseconds=$2 folder=$3
trap '' HUP PIPE
umask 077
[ -d "$folder" ] || mkdir -p "$folder" || exit 1
cat > "$folder/$unit.new" && mv -f "$folder/$unit.new" "$folder/$unit.sh" || exit 1
set -- $(systemctl is-active "$unit.timer" "$unit--b.timer")
old= new=$unit
if [ "$1" = active ]; then old=$unit new=$unit--b
elif [ "$2" = active ]; then old=$unit--b
else rm -f "$folder/$unit.fired"; fi
systemd-run --quiet --collect --unit="$new" --on-active="${milliseconds}ms" \\
  --timer-property=AccuracySec=100ms --timer-property=RemainAfterElapse=no \\
  /bin/sh -c "date -u +%s > $folder/$unit.fired; exec /bin/sh $folder/$unit.sh" || exit 1
[ -z "$old" ] || systemctl stop "$old.timer"
if [ -n "$old" ] && [ -e "$folder/$unit.fired" ]; then systemctl stop "$new.timer"; exit 3; fi
systemctl is-active --quiet "$new.timer" || { echo "the timer $new.timer is not active" >&2; exit 1; }
"""

_DISARM = """\
unit=$1 folder=$2
systemctl stop "$unit.timer" "$unit--b.timer" 2>/dev/null
n=0
while :; do
  set -- $(systemctl is-active "$unit.timer" "$unit--b.timer" "$unit.service" "$unit--b.service")
  [ $# -eq 4 ] || { echo "systemctl tells nothing about $unit" >&2; exit 1; }
  if [ "$1" = active ]; then echo "$unit.timer is still active" >&2; exit 1; fi
  if [ "$2" = active ]; then echo "$unit--b.timer is still active" >&2; exit 1; fi
  case "$3 $4" in "active "* | *" active" | *activating*) ;; *) break ;; esac
  n=$((n + 1)); [ $n -le 20 ] || { echo "its script still runs after 10 s" >&2; exit 1; }
  sleep 0.5
done
if [ -e "$folder/$unit.fired" ]; then echo fired; elif [ -e "$folder/$unit.sh" ]; then echo disarmed; fi
rm -f "$folder/$unit.sh"
"""


def arm(node: Shell, unit: str, seconds: float, script: str) -> None:
    """Run `script` (POSIX sh, as root) on the node after `seconds`, unless disarmed.

    Armed again under the same name, the switch is extended without a gap. Raises `DeadmanError` where it is
    not certain to be armed: do not break anything then.
    """
    name = _checked(unit)
    if not 0.5 <= seconds <= 86400:
        raise DeadmanError(
            f"{node.name}: a dead-man's switch of {seconds:g} s was asked for: expected 0.5 s to 1 day"
        )
    body = script if script.endswith("\n") else script + "\n"
    found = _sh(node, "arm", _ARM, name, str(round(seconds * 1000)), FOLDER, data=body)
    if found.rc == 3:
        raise DeadmanError(f"{node.name}: the dead-man's switch {name} fired before it could be extended")
    if not found.ok:
        raise DeadmanError(
            f"{node.name}: the dead-man's switch {name} could not be armed: {found.stderr.strip()}"
        )


def disarm(node: Shell, unit: str) -> bool:
    """Stop the switch and make sure that it is stopped: True if it was disarmed before it fired.

    False where it had fired (its script has then ended) or was not armed. Raises `DeadmanError` if it still
    runs.
    """
    name = _checked(unit)
    found = _sh(node, "disarm", _DISARM, name, FOLDER)
    if not found.ok:
        raise DeadmanError(
            f"{node.name}: the dead-man's switch {name} could not be disarmed: {found.stderr.strip()}"
        )
    return found.stdout.strip() == "disarmed"


def armed(node: Shell) -> list[str]:
    """Names of the switches whose time still runs on the node."""
    listed = node.run(
        f"systemctl list-units --plain --no-legend --type=timer --state=active '{PREFIX}*'"
    ).stdout
    names = {
        line.split()[0].removesuffix(".timer").removesuffix(_SPARE)
        for line in listed.splitlines()
        if line.strip()
    }
    return sorted(names)


def fired(node: Shell, unit: str) -> bool:
    """True if the switch has started its script since it was armed."""
    return node.run("test -e %s", f"{FOLDER}/{_checked(unit)}.fired", check=False).ok


def _sh(node: Shell, verb: str, script: str, *args: str, data: str | None = None) -> Result:
    """The script with its positional arguments; its standard input is `data`."""
    words = " ".join(shlex.quote(arg) for arg in args)
    line = f"# {verb} the dead-man's switch {args[0]}\nset -- {words}\n{script}"
    return node.run(line, timeout=DEADLINE_S, check=False, data=data)


def _checked(unit: str) -> str:
    name = unit.removesuffix(".timer").removesuffix(".service")
    if _UNIT.fullmatch(name) is None or "--" in name:
        raise DeadmanError(
            f"{unit!r} cannot name a dead-man's switch: expected {PREFIX}<id> of a-z, 0-9 and single '-'"
        )
    return name
