"""`lab up` and `lab down`: from nothing to bare servers, and back to nothing."""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from lab import kvm, namespace, ovs, processes
from lab.errors import LabError
from lab.paths import State, cache_folder
from lab.processes import MARK
from lab.progress import Progress
from lab.rack import Rack

COMMANDS = (
    "ip",
    "nsenter",
    "unshare",
    "ethtool",
    "ovs-vsctl",
    "ovsdb-server",
    "ovs-vswitchd",
    "ovsdb-tool",
    "libvirtd",
    "qemu-system-x86_64",
    "qemu-img",
)
# Modules with daemons of their own, started in this order; a module that is not there is left out.
SERVICES = ("lab.services", "lab.standins.aws", "lab.standins.switch")
KEPT_WITH_DISKS = ("disks", "nvram", "saves", "secrets", "tls", "aws", "physical.json")
STEPS = 8


def check_machine() -> None:
    """Raises LabError with one sentence when this machine cannot hold a rack."""
    if sys.platform != "linux":
        raise LabError("the rack needs Linux")
    if os.geteuid() != 0:
        raise LabError("the rack needs root (network namespaces); run it with sudo")
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise LabError(f"{', '.join(missing)}: not found; install the packages in lab/apt-packages.txt")


@contextmanager
def locked(state: State, what: str) -> Iterator[None]:
    """One command at a time changes the rack. Raises LabError naming the one that does."""
    state.root.mkdir(parents=True, exist_ok=True)
    with (state.root / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            other = lock.read().strip() or "another command"
            raise LabError(f"the rack is busy: {other} is at work on {state.root}") from error
        lock.truncate(0)
        lock.write(f"lab {what} (pid {os.getpid()})")
        lock.flush()
        yield


def up_outside(rack: Rack, state: State) -> None:
    """First half of `up`, on the machine's side: image, KVM probe, namespaces. Ends by entering them."""
    check_machine()
    progress = Progress(STEPS)
    os.environ[MARK] = str(state.root)
    with locked(state, "up"):
        state.create()
        progress.step("node image and installer medium")
        _image(state, progress)
        progress.step("processor")
        accelerator, why = kvm.accelerator(_probe_parts(), cache_folder())
        (state.root / "accelerator").write_text(accelerator, encoding="ascii")
        progress(why)
        progress.step(f"namespace {rack.namespace}")
        namespace.create(rack.namespace, state)
        namespace.write_resolver(rack.namespace, rack.services.dns, rack.domain)
    namespace.enter(state, [sys.executable, "-m", "lab", "up", f"--begun={progress.elapsed_s:.3f}"])


def _image(state: State, progress: Progress) -> None:
    if importlib.util.find_spec("lab.image") is None:
        progress("no image builder here: servers stay without an installer medium")
        return
    image = importlib.import_module("lab.image")
    image.build(cache_folder(), state.root, progress)


def _probe_parts() -> tuple[Path, Path] | None:
    if importlib.util.find_spec("lab.image") is None:
        return None
    image = importlib.import_module("lab.image")
    return image.kernel(cache_folder()), image.probe_initrd(cache_folder())


def up_inside(rack: Rack, state: State, begun_s: float) -> None:
    """Second half of `up`, inside the namespaces: switches, libvirt, servers, BMCs, services."""
    from lab import bmc, servers  # libvirt's binding is only needed here

    progress = Progress(STEPS, done=3, begun_s=begun_s)
    with locked(state, "up"):
        progress.step("switches")
        ovs.prepare(rack, state)
        for daemon in ovs.daemons(rack, state):
            processes.start(state, daemon)
        ovs.cable(rack)
        progress.step("libvirt")
        servers.prepare(rack, state)
        if processes.start_all(state, servers.daemons(rack, state)):
            for daemon in bmc.daemons(rack, state):  # they hold connections to the libvirt that is gone
                processes.stop(state, daemon.name)
        progress.step(f"{len(rack.server)} servers")
        accelerator = (state.root / "accelerator").read_text(encoding="ascii")
        racked = servers.rack_up(rack, state, accelerator)
        progress(f"racked: {', '.join(racked)}" if racked else "all are racked already")
        modules = [bmc, *service_modules()]
        progress.step("BMCs, cloud, names, time, switch consoles")
        _services(rack, state, modules, progress)
        progress.step("the rack is up")


def service_modules() -> list[ModuleType]:
    """The service modules that are there."""
    return [importlib.import_module(name) for name in SERVICES if importlib.util.find_spec(name)]


def _services(rack: Rack, state: State, modules: list[ModuleType], progress: Progress) -> None:
    for module in modules:
        if hasattr(module, "prepare"):
            module.prepare(rack, state)
    daemons = [daemon for module in modules for daemon in module.daemons(rack, state)]
    started = processes.start_all(state, daemons)
    progress(f"started: {', '.join(started)}" if started else "all run already")
    for module in modules:
        if hasattr(module, "seed"):
            module.seed(rack, state)


def down(rack: Rack, state: State, keep_disks: bool) -> None:
    """Everything away: processes, namespaces, mounts, files; with `keep_disks` all but drives and secrets."""
    check_machine()
    progress = Progress(3)
    if not state.root.exists() and not namespace.exists(rack.namespace):
        progress("there is no rack")
        return
    with locked(state, "down"):
        namespace.refuse_foreign(rack.namespace, state)
        progress.step("processes")
        ended = namespace.kill_all(rack.namespace, state)
        progress(f"{ended} ended")
        progress.step("namespaces and mounts")
        namespace.remove(rack.namespace, [state.root])
        progress.step("files")
        kept = KEPT_WITH_DISKS if keep_disks else ()
        for entry in state.root.iterdir():
            if entry.name in kept:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        if not any(state.root.iterdir()):
            state.root.rmdir()
