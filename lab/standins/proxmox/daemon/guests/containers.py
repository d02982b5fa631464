"""The life of a container on this node: start, stop, shut down, and what has to be given back afterwards."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from ..config import members
from ..http.errors import ApiError
from ..http.machine import Machine
from . import files, krbd, locks, lxc_config, running, volumes
from .conf import Config
from .files import Guest

Say = Callable[[str], object]
START_DEADLINE_S = 120.0
_POLL_S = 0.5
KILL_DEADLINE_S = 60.0
SHUTDOWN_S = 60
RELEASE_DEADLINE_S = 300.0
"""How long a unit may take to end: what it had mounted is unmounted then, and written to Ceph before."""


def unit(vmid: int) -> str:
    """The systemd service that a container runs in, so that it outlives whoever started it."""
    return f"pve-container@{vmid}.service"


def rootfs(machine: Machine, config: Config) -> volumes.Volume:
    """The volume of a container's root file system."""
    if not (text := config.get("rootfs")):
        raise ApiError(500, "missing 'rootfs' configuration")
    return volumes.parse(machine, volumes.split(text)[0])


def mount(machine: Machine, vmid: int, volume: volumes.Volume) -> str:
    """Map a container's root volume and mount it; the place."""
    place = lxc_config.rootfs(vmid)
    krbd.mount(machine, krbd.map_image(machine, volume), place)
    return place


def start(machine: Machine, guest: Guest, log: Say) -> None:
    """Start a container; ApiError where it runs already, is locked, or does not come up."""
    members.need_quorum(machine)
    with locks.held(machine, guest):
        _start(machine, guest, log)


def _start(machine: Machine, guest: Guest, log: Say) -> None:
    config = files.load(machine, guest)
    locks.check(guest, config)
    if running.is_running(machine, "lxc", guest.vmid):
        raise ApiError(500, f"{guest} already running")
    if config.pending or config.deleted:
        config.apply_pending()
        files.save(machine, guest, config)
    volume = rootfs(machine, config)
    # What ended a moment ago may still be giving its volume back.
    stop_unit(machine, guest.vmid)
    try:
        _run(machine, guest.vmid, config, volume, log)
    except BaseException:
        with contextlib.suppress(ApiError):
            stop_unit(machine, guest.vmid)
            release(machine, guest.vmid, volume)
        raise


def _run(machine: Machine, vmid: int, config: Config, volume: volumes.Volume, log: Say) -> None:
    """Mount, and have LXC start; ApiError with LXC's last words in the log where it does not."""
    mount(machine, vmid, volume)
    _write(machine, vmid, config)
    machine.run(["systemctl", "reset-failed", unit(vmid)], check=False)
    machine.run(["systemctl", "start", unit(vmid)], timeout_s=START_DEADLINE_S)
    if not _came_up(machine, vmid):
        for line in machine.read(_errors(vmid)).strip().splitlines()[-10:]:
            log(line)
        raise ApiError(500, f"startup for container '{vmid}' failed")


def _came_up(machine: Machine, vmid: int) -> bool:
    """Wait until LXC calls the container running; False where its unit ends before, or the time is over."""
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if machine.run(["lxc-info", "-n", str(vmid), "-s", "-H"], check=False).out.strip() == "RUNNING":
            return True
        if machine.run(["systemctl", "is-active", "--quiet", unit(vmid)], check=False).code:
            return False
        time.sleep(_POLL_S)
    return False


def _errors(vmid: int) -> str:
    """Where the unit keeps what lxc-start says."""
    return f"/run/pve/ct-{vmid}.stderr"


def _write(machine: Machine, vmid: int, config: Config) -> None:
    """LXC's configuration and the scripts for its network."""
    machine.file("/run/pve").mkdir(parents=True, exist_ok=True)
    machine.file(_errors(vmid)).unlink(missing_ok=True)
    text = lxc_config.render(vmid, config.values, os.cpu_count() or 1)
    machine.write(f"{lxc_config.folder(vmid)}/config", text, mode=0o644)
    for path, commands in lxc_config.scripts(vmid, config.values).items():
        machine.write(path, commands, mode=0o755)


def stop(machine: Machine, guest: Guest) -> None:
    """Kill every process of a container and give back what it held; one that does not run is well."""
    with locks.held(machine, guest):
        _kill(machine, guest)


def _kill(machine: Machine, guest: Guest) -> None:
    if running.is_running(machine, "lxc", guest.vmid):
        machine.run(["lxc-stop", "-n", str(guest.vmid), "--kill"], timeout_s=KILL_DEADLINE_S, check=False)
    stop_unit(machine, guest.vmid)
    release(machine, guest.vmid)
    if running.is_running(machine, "lxc", guest.vmid):
        raise ApiError(500, f"{guest} still runs after it was killed")


def stop_unit(machine: Machine, vmid: int) -> None:
    """End the unit; its last command has released the volumes when this returns."""
    machine.run(["systemctl", "stop", unit(vmid)], timeout_s=RELEASE_DEADLINE_S)


def shutdown(machine: Machine, guest: Guest, timeout_s: int = SHUTDOWN_S, force: bool = False) -> None:
    """Ask a container's init to end; with `force` kill it when it has not after so many seconds."""
    with locks.held(machine, guest):
        asked = machine.run(
            ["lxc-stop", "-n", str(guest.vmid), "--nokill", "--timeout", str(timeout_s)],
            timeout_s=timeout_s + KILL_DEADLINE_S,
            check=False,
        )
        if asked.code and running.is_running(machine, "lxc", guest.vmid) and not force:
            raise ApiError(500, "container did not stop")
        _kill(machine, guest)


def reboot(machine: Machine, guest: Guest, timeout_s: int, log: Say) -> None:
    """Shut down and start again, with what waits for a start."""
    shutdown(machine, guest, timeout_s)
    start(machine, guest, log)


def release(machine: Machine, vmid: int, volume: volumes.Volume | None = None) -> None:
    """Unmount a container's volumes and give their devices back, whoever mounted them; also the device of
    `volume` where it was mapped and never mounted.
    """
    krbd.release(machine, lxc_config.rootfs(vmid))
    if volume is not None and (left := krbd.device(machine, volume)) is not None:
        krbd.unmap(machine, left)


def forget(machine: Machine, vmid: int) -> None:
    """Remove what a container that is gone left on this node. OSError where something is still mounted."""
    folder = machine.file(lxc_config.folder(vmid))
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()
