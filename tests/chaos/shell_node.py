"""This machine as a node, for watchers that run as programs on one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


class Node:
    """This machine as a node: its commands run here, and see the files under `folder` as the kernel's."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        for place in (
            "proc/sys/kernel/random",
            "sys/fs/cgroup",
            "run/qemu-server",
            "etc/pve/ha",
            "lib",
            "bin",
        ):
            (folder / place).mkdir(parents=True)
        (folder / "proc/uptime").symlink_to("/proc/uptime")
        self.boots(f"kernel-of-{name}")
        self.systemctl("23414516")

    def argv(self, command: str, *, multiplexed: bool = False, options: tuple[str, ...] = ()) -> list[str]:
        assert not multiplexed and options
        line = command.removeprefix("exec ").replace("python3 -I", sys.executable, 1)
        kept = "pid" if line.startswith("bash") else "locks.pid"
        env = [f"HERE={self.folder}", f"PYTHONPATH={self.folder}/lib", f"PATH={self.folder}/bin:{os.defpath}"]
        return ["env", *env, "sh", "-c", f"echo $$ >$HERE/{kept}; exec {line}"]

    def boots(self, kernel: str) -> None:
        (self.folder / "proc/sys/kernel/random/boot_id").write_text(f"{kernel}\n")

    def systemctl(self, says: str) -> None:
        (self.folder / "bin/systemctl").write_text(f"#!/bin/sh\necho {says}\n")
        (self.folder / "bin/systemctl").chmod(0o755)

    def kill(self) -> None:
        os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)

    def process(self, pid: int, name: str, *words: str) -> None:
        place = self.folder / f"proc/{pid}"
        place.mkdir(exist_ok=True)
        (place / "comm").write_text(f"{name}\n")
        (place / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        after = " ".join(["S", *(["0"] * 18), str(pid * 7), "0"])
        (place / "stat").write_text(f"{pid} (a (strange) name) {after}\n")

    def group(self, name: str, pid: int, populated: int = 1) -> None:
        place = self.folder / "sys/fs/cgroup" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "cgroup.procs").write_text(f"{pid}\n" if pid else "")
        (place / "cgroup.events").write_text(f"populated {populated}\nfrozen 0\n")

    def contain(self, vmid: int, pid: int, running: bool = True) -> None:
        """A container as Proxmox VE has it: its group, and LXC's monitor beside it."""
        self.process(pid, "lxc-start", "lxc-start", "-F")
        self.group(f"lxc.monitor/{vmid}", pid)
        self.group(f"lxc/{vmid}", 0, int(running))

    def machine(self, vmid: int, pid: int, *words: str, name: str = "kvm") -> None:
        self.process(pid, name, "/usr/bin/kvm", "-id", str(vmid), *words)
        (self.folder / f"run/qemu-server/{vmid}.pid").write_text(f"{pid}\n")
