"""The network namespace in which the rack lives, and the mount namespace that keeps it from the machine.

A holder process keeps both alive. In the mount namespace /run, /etc/libvirt, /var/lib/libvirt and their like
are folders of the rack's own, so that a libvirt or Open vSwitch of the machine is neither seen nor touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.paths import State
from lab.processes import MARK, Daemon, gone, pid_of, run, start, start_time

HOLDER = "holder"
# Shown from the rack's state folder. /run holds every socket and pid file; the rest is what daemons keep.
OVERLAID = (
    "/run",
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/var/cache/libvirt",
    "/etc/openvswitch",
    "/var/lib/openvswitch",
    "/var/log/openvswitch",
)
KILL_DEADLINE_S = 5.0


def _names() -> list[str]:
    return [line.split()[0] for line in run(["ip", "netns", "list"]).stdout.splitlines() if line.strip()]


def exists(name: str) -> bool:
    """Whether a network namespace of this name stands."""
    return name in _names()


def create(name: str, state: State) -> None:
    """Make both namespaces, or what is missing of them. Raises LabError when another rack has the name."""
    refuse_foreign(name, state)
    if not exists(name):
        run(["ip", "netns", "add", name])
    _resolver(name).parent.mkdir(parents=True, exist_ok=True)
    start(
        state,
        Daemon(
            HOLDER,
            [
                "ip",
                "netns",
                "exec",
                name,
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sleep",
                "infinity",
            ],
            lambda: _separate(state),
            ready_deadline_s=10,
        ),
    )
    keeper = _holder(state)
    mounted = _mount_points(keeper)
    for target in OVERLAID:
        source = state.overlay / target.strip("/").replace("/", "-")
        source.mkdir(parents=True, exist_ok=True)
        if not Path(target).is_dir():
            raise LabError(f"{target} is missing; install the packages in lab/apt-packages.txt")
        if target not in mounted:
            run(["nsenter", f"--target={keeper}", "--mount", "mount", "--bind", str(source), target])
    run(["nsenter", f"--target={keeper}", "--net", "ip", "link", "set", "lo", "up"])


def write_resolver(name: str, address: str, domain: str) -> None:
    """What `ip netns exec` shows as /etc/resolv.conf."""
    _resolver(name).write_text(f"nameserver {address}\nsearch {domain}\n", encoding="utf-8")


def _resolver(name: str) -> Path:
    return Path("/etc/netns") / name / "resolv.conf"


def refuse_foreign(name: str, state: State) -> None:
    """A namespace that another state folder's rack lives in is not ours to use."""
    if not exists(name):
        return
    for pid in pids_in(name):
        owner = _environment(pid).get(MARK)
        if owner and owner != str(state.root):
            raise LabError(
                f"namespace {name} belongs to the rack of {owner}; take that one down first "
                f"(RACKPROOF_STATE={owner} python -m lab down)"
            )


def holder(state: State) -> int | None:
    """Pid of the process that keeps the namespaces; None when the rack is not up."""
    return pid_of(state, HOLDER)


def _holder(state: State) -> int:
    pid = holder(state)
    if pid is None:
        raise LabError("the rack is not up; run `python -m lab up` first")
    return pid


def _separate(state: State) -> bool:
    """Whether the holder has reached its own mount and network namespace."""
    pid = pid_of(state, HOLDER)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return command.startswith(b"sleep\0")


def _mount_points(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines()
    return {line.split()[4] for line in lines}


def inside(state: State) -> bool:
    """Whether this process is in the rack's mount and network namespaces."""
    pid = pid_of(state, HOLDER)
    if pid is None:
        return False
    return all(
        Path(f"/proc/self/ns/{kind}").stat().st_ino == Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
        for kind in ("mnt", "net")
    )


def enter(state: State, argv: Sequence[str]) -> None:
    """Replace this process by `argv` run inside both namespaces. Raises LabError when the rack is not up."""
    sys.stdout.flush()
    command = _command(state, argv)
    os.execvp(command[0], command)  # noqa: S606  (no shell is the point)


def run_inside(state: State, argv: Sequence[str], deadline_s: float) -> None:
    """Run `argv` inside both namespaces to its end. Raises LabError when it fails."""
    run(_command(state, argv), deadline_s=deadline_s)


def _command(state: State, argv: Sequence[str]) -> list[str]:
    holder_pid = _holder(state)
    return ["nsenter", f"--target={holder_pid}", "--mount", "--net", f"--wd={Path.cwd()}", "--", *argv]


def pids_in(name: str) -> list[int]:
    """Processes that live in the network namespace."""
    done = run(["ip", "netns", "pids", name], check=False)
    return [int(pid) for pid in done.stdout.split()]


def _environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _marked(state: State) -> list[int]:
    """Processes that this rack started, wherever they live: they bear its mark in their environment."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _environment(int(entry.name)).get(MARK) == str(state.root)
    ]


def _ancestry() -> set[int]:
    """This process and those above it: never killed."""
    family, pid = set(), os.getpid()
    while pid > 1 and pid not in family:
        family.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        pid = int(stat.rpartition(")")[2].split()[1])
    return family


def leftovers(name: str, state: State) -> list[int]:
    """Processes of the rack that live, other than this one and those above it."""
    found = set(pids_in(name)) if exists(name) else set()
    return sorted(pid for pid in (found | set(_marked(state))) - _ancestry() if start_time(pid))


def kill_all(name: str, state: State) -> int:
    """End every process of the rack, found by namespace and by mark; how many there were."""
    ended: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):  # twice: a dying parent may still fork
        pids = leftovers(name, state)
        if not pids:
            break
        ended.update(pids)
        for pid in pids:
            _kill(pid, number)
        gone(pids, KILL_DEADLINE_S)
    still = leftovers(name, state)
    if still:
        raise LabError(f"processes {still} did not end within {KILL_DEADLINE_S:.0f} s of SIGKILL")
    return len(ended)


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def remove(name: str, below: Sequence[Path]) -> None:
    """Delete the network namespace and unmount whatever is still mounted below these folders."""
    prefixes = tuple(f"{folder}/" for folder in below)
    for target in sorted((p for p in _mount_points(os.getpid()) if p.startswith(prefixes)), reverse=True):
        run(["umount", "--lazy", target])
    if exists(name):
        run(["ip", "netns", "delete", name])
    shutil.rmtree(_resolver(name).parent, ignore_errors=True)
