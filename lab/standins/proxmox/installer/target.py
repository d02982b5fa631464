"""The installed system: the base unpacked and made this node's own."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import uuid as uuids
from pathlib import Path

from . import render
from .answer import Answer, Global
from .errors import InstallError
from .system import run, say, write

HOOK_LIMIT = 2**20  # bytes; prepare-iso takes no larger one
UNPACK_DEADLINE_S = 600.0
HOOK_FOLDER = "var/lib/proxmox-first-boot"
# Unit and the target that wants it, by ordering (proxmox-first-boot's [Install] sections).
HOOK_UNITS = {
    "before-network": ("proxmox-first-boot-network-pre.service", "network.target.wants"),
    "network-online": ("proxmox-first-boot-network-online.service", "multi-user.target.wants"),
    "fully-up": ("proxmox-first-boot-multi-user.service", "multi-user.target.wants"),
}


def unpack(image: Path, target: Path) -> None:
    """Unpack the base system, with a line of progress for every fifth of it."""
    deadline = time.monotonic() + UNPACK_DEADLINE_S
    command = ["unsquashfs", "-force", "-dest", str(target), "-percentage", "-processors", "1", str(image)]
    shown = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        last = ""
        for line in child.stdout:
            last = line.strip() or last
            if time.monotonic() > deadline:
                child.kill()
                raise InstallError(f"unpacking the base system was not done within {UNPACK_DEADLINE_S:.0f} s")
            if last.isdigit() and int(last) >= shown + 20:
                shown = int(last)
                say(f"INSTALL: extracting base system {shown} %")
    if child.returncode:
        raise InstallError(f"unpacking the base system failed ({child.returncode}): {last}")


def configure(target: Path, answer: Answer, files: dict[str, str]) -> str:
    """Write the node's files, password, keys and identity; returns the machine id."""
    for path, text in files.items():
        write(target, path, text)
    machine_id = uuids.uuid4().hex
    write(target, "etc/machine-id", f"{machine_id}\n", 0o444)
    zone = target / "etc/localtime"
    zone.unlink(missing_ok=True)
    zone.symlink_to(f"/usr/share/zoneinfo/{answer.globals.timezone}")
    _allow_root(target, answer.globals)
    run(["chroot", str(target), "ssh-keygen", "-A"])
    for folder in ("var/lib/vz", "var/lib/pve"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    run(["btrfs", "subvolume", "create", str(target / "var/lib/pve/local-btrfs")])
    return machine_id


def _allow_root(target: Path, order: Global) -> None:
    config = target / "etc/ssh/sshd_config"
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub(r"(?m)^#?PermitRootLogin.*$", "PermitRootLogin yes", text), encoding="utf-8")
    if order.password_hash is not None:
        run(["chroot", str(target), "chpasswd", "--encrypted"], stdin=f"root:{order.password_hash}\n")
    else:
        run(["chroot", str(target), "chpasswd"], stdin=f"root:{order.password}\n")
    (target / "root/.ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
    if order.keys:
        write(target, "root/.ssh/authorized_keys", "\n".join(order.keys) + "\n", 0o600)


def check_hook(script: Path) -> None:
    """Refuse early a first-boot hook that is missing or too large."""
    if not script.is_file():
        raise InstallError(f"first-boot.source is from-iso, but the medium has no /{script.name}")
    if script.stat().st_size > HOOK_LIMIT:
        raise InstallError(f"/{script.name} has {script.stat().st_size} bytes, expected at most {HOOK_LIMIT}")


def add_hook(target: Path, script: Path, ordering: str) -> None:
    """The hook, the flag that it is pending, and its unit enabled under both of its names."""
    folder = target / HOOK_FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(script, folder / "proxmox-first-boot")
    (folder / "proxmox-first-boot").chmod(0o700)
    (folder / "pending-first-boot-setup").touch()
    unit, wants = HOOK_UNITS[ordering]
    units = target / "etc/systemd/system"
    (units / wants).mkdir(parents=True, exist_ok=True)
    for link in (units / wants / unit, units / "proxmox-first-boot.service"):
        link.unlink(missing_ok=True)
        link.symlink_to(f"/usr/lib/systemd/system/{unit}")


def command_line(filesystem: str, live: str) -> str:
    """The installed kernel's command line; `live` is the running one, whose consoles it keeps."""
    consoles = [word for word in live.split() if word.startswith("console=")]
    return render.kernel_command_line(filesystem, " ".join(consoles))
