"""The dead-man's switch, on a shell with stand-ins of systemd's tools that keep time for real."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from cluster import deadman
from cluster.deadman import DeadmanError
from cluster.node import CommandError, Result

SYSTEMD_RUN = r"""#!/bin/sh
for arg; do
  case $arg in
    --unit=*) unit=${arg#*=};;
    --on-active=*ms) ms=${arg#*=}; ms=${ms%ms};;
    --timer-property=AccuracySec=100ms) accurate=1;;
    --*) ;;
    *) break;;
  esac
  shift
done
[ -e "$UNITS/broken" ] && { echo "Failed to start transient timer unit" >&2; exit 1; }
[ -e "$UNITS/$unit.timer" ] && { echo "Unit $unit.timer was already loaded" >&2; exit 1; }
[ -n "$accurate" ] || ms=$((ms + 60000))
( sleep "$(awk "BEGIN { print $ms / 1000 }")"; rm -f "$UNITS/$unit.timer"; : > "$UNITS/$unit.service"
  "$@"; rm -f "$UNITS/$unit.service" ) >/dev/null 2>&1 </dev/null &
echo $! > "$UNITS/$unit.timer"
"""
SYSTEMCTL = r"""#!/bin/sh
verb=$1; shift
case $verb in
  stop) [ -e "$UNITS/stuck" ] && exit 1
    for t; do [ ! -e "$UNITS/$t" ] || { kill "$(cat "$UNITS/$t")"; rm -f "$UNITS/$t"; }; done;;
  is-active) [ "$1" = --quiet ] && { shift; exec >/dev/null; }
    found=3
    for t; do if [ -e "$UNITS/$t" ]; then echo active; found=0; else echo inactive; fi; done; exit $found;;
  list-units) cd "$UNITS"
    for t in rackproof-heal-*.timer; do [ -e "$t" ] && echo "$t loaded active waiting"; done;;
esac
exit 0
"""


class Machine:
    """Runs commands in a shell whose systemd is the one above."""

    name = "node1"

    def __init__(self, folder: Path) -> None:
        self.units = folder / "units"
        self.units.mkdir()
        tools = folder / "bin"
        tools.mkdir()
        for name, text in {"systemd-run": SYSTEMD_RUN, "systemctl": SYSTEMCTL}.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "UNITS": str(self.units)}

    def run(
        self, command: str, *args: str, timeout: float = 30, check: bool = True, data: str | None = None
    ) -> Result:
        line = command % tuple(args) if args else command
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            input=data,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        result = Result(done.returncode, done.stdout, done.stderr, 0.0)
        if check and not result.ok:
            raise CommandError(result.stderr, result)
        return result


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(deadman, "FOLDER", str(tmp_path / "run"))
    return Machine(tmp_path)


def waited(path: Path, seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists():
            return True
        time.sleep(0.02)
    return False


UNIT = "rackproof-heal-link1"


def test_it_fires_by_itself_and_says_so(machine: Machine, tmp_path: Path) -> None:
    begin = time.monotonic()
    deadman.arm(machine, UNIT, 0.6, f"echo 'a b' > {tmp_path}/healed")
    assert deadman.armed(machine) == [UNIT]
    assert not deadman.fired(machine, UNIT)
    assert waited(tmp_path / "healed")
    assert 0.5 < time.monotonic() - begin < 15
    assert deadman.fired(machine, UNIT)
    assert deadman.armed(machine) == []
    assert deadman.disarm(machine, UNIT) is False


def test_disarmed_it_never_fires(machine: Machine, tmp_path: Path) -> None:
    deadman.arm(machine, UNIT, 2, f"touch {tmp_path}/healed")
    assert deadman.disarm(machine, UNIT) is True
    assert deadman.disarm(machine, UNIT) is False
    assert not waited(tmp_path / "healed", 2.2)
    assert not deadman.fired(machine, UNIT)
    assert list((tmp_path / "run").iterdir()) == []


def test_armed_again_it_is_extended_each_time(machine: Machine, tmp_path: Path) -> None:
    deadman.arm(machine, UNIT, 2, f"touch {tmp_path}/first")
    for _ in range(3):
        deadman.arm(machine, UNIT, 30, f"touch {tmp_path}/later")
        assert deadman.armed(machine) == [UNIT]
        assert len(list(machine.units.iterdir())) == 1
    assert not waited(tmp_path / "first", 2.5)
    assert deadman.disarm(machine, UNIT) is True
    assert not (tmp_path / "later").exists()


def test_extending_too_late_is_told(machine: Machine, tmp_path: Path) -> None:
    deadman.arm(machine, UNIT, 30, "true")
    (tmp_path / "run" / f"{UNIT}.fired").touch()  # as if the timer ran between two commands
    with pytest.raises(DeadmanError, match=r"node1: .* fired before it could be extended"):
        deadman.arm(machine, UNIT, 30, "true")
    deadman.disarm(machine, UNIT)


def test_armed_anew_it_forgets_that_it_fired_before(machine: Machine, tmp_path: Path) -> None:
    deadman.arm(machine, UNIT, 0.5, "true")
    assert waited(tmp_path / "run" / f"{UNIT}.fired")
    time.sleep(0.1)
    deadman.arm(machine, UNIT, 30, "true")
    assert not deadman.fired(machine, UNIT)
    assert deadman.disarm(machine, UNIT) is True


def test_disarm_waits_for_a_script_that_runs(machine: Machine, tmp_path: Path) -> None:
    deadman.arm(machine, UNIT, 0.5, f"sleep 1; touch {tmp_path}/healed")
    assert waited(tmp_path / "run" / f"{UNIT}.fired")
    assert deadman.disarm(machine, UNIT) is False
    assert (tmp_path / "healed").exists()


def test_what_cannot_be_armed_or_disarmed_is_told(machine: Machine) -> None:
    (machine.units / "broken").touch()
    with pytest.raises(
        DeadmanError, match=r"node1: .* could not be armed: Failed to start transient timer unit"
    ):
        deadman.arm(machine, UNIT, 30, "true")
    (machine.units / "broken").unlink()
    deadman.arm(machine, UNIT, 30, "true")
    (machine.units / "stuck").touch()
    with pytest.raises(DeadmanError, match=r"could not be disarmed: rackproof-heal-link1.timer is still a"):
        deadman.disarm(machine, UNIT)
    (machine.units / "stuck").unlink()
    deadman.disarm(machine, UNIT)


@pytest.mark.parametrize(
    "unit", ["heal", "rackproof-a b", "rackproof-$(reboot)", "rackproof-x--b", "rackproof-../x"]
)
def test_a_name_that_is_none_is_refused(machine: Machine, unit: str) -> None:
    with pytest.raises(DeadmanError, match="cannot name a dead-man's switch"):
        deadman.arm(machine, unit, 5, "true")
    with pytest.raises(DeadmanError, match=r"expected 0.5 s to 1 day"):
        deadman.arm(machine, UNIT, 0, "true")
