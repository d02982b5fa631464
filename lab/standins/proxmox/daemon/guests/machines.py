"""The life of a virtual machine on this node: start, stop, shut down."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from ..ceph.conf import PATH as CEPH_CONF
from ..config import members
from ..http.errors import ApiError
from ..http.machine import Machine
from . import drives, files, images, locks, qemu_command, qmp, running, volumes
from .conf import Config
from .files import Guest

START_DEADLINE_S = 120.0
QUIT_DEADLINE_S = 30.0
SHUTDOWN_S = 60
_POLL_S = 0.2


def start(machine: Machine, guest: Guest, incoming: str = "", skip_lock: bool = False) -> None:
    """Start a virtual machine; ApiError where it runs already, is locked, or QEMU refuses.

    `incoming` is a URI of QEMU where its memory comes from another node: it then waits, and is not resumed.
    """
    members.need_quorum(machine)
    with locks.held(machine, guest):
        if incoming:  # its configuration comes when its memory has
            config = files.load(machine, files.everywhere(machine).get(guest.vmid, guest))
        else:
            config = files.load(machine, guest)
        if not skip_lock:
            locks.check(guest, config)
        if running.is_running(machine, "qemu", guest.vmid):
            raise ApiError(500, f"{guest} already running")
        if (config.pending or config.deleted) and not incoming:
            config.apply_pending()
            files.save(machine, guest, config)
        _launch(machine, guest.vmid, config, incoming)


def _launch(machine: Machine, vmid: int, config: Config, incoming: str) -> None:
    """Run QEMU in a scope of its own, so that it outlives whoever started it."""
    machine.file(running.RUN).mkdir(parents=True, exist_ok=True)
    for path, commands in qemu_command.scripts(vmid, config.values).items():
        machine.write(path, commands, mode=0o755)
    place = qemu_command.Place(kvm_usable(machine, config), data(machine, config), incoming)
    scope = f"{vmid}.scope"
    machine.run(["systemctl", "stop", scope], timeout_s=START_DEADLINE_S, check=False)
    machine.run(["systemctl", "reset-failed", scope], check=False)
    outer = ["systemd-run", "--quiet", "--scope", "--slice=qemu", f"--unit={vmid}"]
    outer.append("--property=Before=pve-guests.service")  # which ends it in order when the node goes down
    command = qemu_command.build(vmid, config.values, place)
    done = machine.run([*outer, *command], timeout_s=START_DEADLINE_S, check=False)
    if done.code:
        said = (done.err or done.out).strip().splitlines()
        raise ApiError(500, f"start failed: QEMU exited with code {done.code}: {said[-1] if said else ''}")


def kvm_usable(machine: Machine, config: Config) -> bool:
    """Whether the guest may run on the node's processor, and the node has one that can."""
    return config.get("kvm", "1") == "1" and machine.file("/dev/kvm").exists()


def data(machine: Machine, config: Config) -> dict[str, dict[str, object]]:
    """Where each drive's data are, as QEMU's blockdev has it. ApiError where a volume is not there."""
    found: dict[str, dict[str, object]] = {}
    for drive in drives.of(config.values):
        if drive.file == "none":
            continue
        volume = volumes.parse(machine, drive.file)
        if volume.content == "images":
            section = volume.storage
            place = images.pool(section), volume.name, images.user(section)
            found[drive.key] = qemu_command.rbd(*place, conf=CEPH_CONF)
        else:
            found[drive.key] = {"driver": "file", "filename": str(volumes.file(machine, volume))}
    return found


def stop(machine: Machine, guest: Guest) -> None:
    """End a virtual machine at once; one that does not run is well."""
    with locks.held(machine, guest):
        end(machine, guest)


def end(machine: Machine, guest: Guest) -> None:
    """End it by its monitor; by signals where that does not answer. Whoever calls holds the guest's lock."""
    ways: list[Callable[[int], object]] = [
        lambda _: qmp.ask(machine, guest.vmid, "quit"),
        lambda pid: machine.run(["kill", str(pid)], check=False),
        lambda pid: machine.run(["kill", "-KILL", str(pid)], check=False),
    ]
    for way in ways:
        if (pid := running.machine_pid(machine, guest.vmid)) is None:
            return
        with contextlib.suppress(ApiError):
            way(pid)
        if _ended(machine, guest.vmid, QUIT_DEADLINE_S):
            return
    raise ApiError(500, "VM quit/powerdown failed - got timeout")


def _ended(machine: Machine, vmid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while running.machine_pid(machine, vmid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def shutdown(machine: Machine, guest: Guest, timeout_s: int = SHUTDOWN_S, force: bool = False) -> None:
    """Press the power button; with `force` end the machine if it has not after so many seconds."""
    with locks.held(machine, guest):
        if running.machine_pid(machine, guest.vmid) is None:
            return
        try:
            qmp.ask(machine, guest.vmid, "system_powerdown")
            done = _ended(machine, guest.vmid, timeout_s)
        except ApiError:
            if not force:
                raise
            done = False
        if not done and not force:
            raise ApiError(500, "VM quit/powerdown failed - got timeout")
        end(machine, guest)


def reboot(machine: Machine, guest: Guest, timeout_s: int) -> None:
    """Shut down and start again, with what waits for a start."""
    shutdown(machine, guest, timeout_s)
    start(machine, guest)
