"""What containers and virtual machines stand on, without any: images, mounts, LXC's and QEMU's processes.

The commands change what the kernel would show (/proc and /sys below the node's root folder), and the daemon
reads it there as on a node. QEMU's monitor is a real socket.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.standins.proxmox.daemon.guests import files
from lab.standins.proxmox.daemon.guests.conf import Config
from lab.standins.proxmox.daemon.guests.files import Guest
from lab.standins.proxmox.daemon.http.machine import Result

from . import contract_ceph, fake_rbd
from .conftest import NODE, FakeMachine, Rig

CT, VM = 101, 102
STORAGES = """dir: local
\tpath /var/lib/vz
\tcontent iso,vztmpl,backup

rbd: rbd-containers
\tcontent rootdir
\tkrbd 1
\tpool rbd-containers

rbd: rbd-vms
\tcontent images
\tpool rbd-vms

cephfs: cephfs
\tpath /mnt/pve/cephfs
\tcontent iso,vztmpl
"""
TEMPLATE, ISO = "local:vztmpl/beat.tar.gz", "cephfs:iso/beat.iso"
ROOT = "rbd-containers:vm-101-disk-0,size=1G"
CT_CONF = {
    "arch": "amd64", "cores": "1", "hostname": "beat-ct", "memory": "64", "ostype": "unmanaged",
    "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=10.1.0.201/24,tag=1,type=veth",
    "rootfs": ROOT, "swap": "0",
}  # fmt: skip
VM_CONF = {
    "boot": "order=ide2;scsi0", "cores": "1", "ide2": f"{ISO},media=cdrom,size=1M", "memory": "64",
    "name": "beat-vm", "net0": "virtio=BC:24:11:00:00:02,bridge=vmbr0,tag=1",
    "scsi0": "rbd-vms:vm-102-disk-0,size=1G", "scsihw": "virtio-scsi-pci",
}  # fmt: skip
PID = 4242
QEMU = ("/usr/bin/qemu-system-x86_64", "-pidfile", f"/run/qemu-server/{VM}.pid")


class Hypervisor:
    """`images`: pool/name -> bytes. `refuses`: a command's first word -> what it says instead of working."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        self.images: dict[str, int] = {}
        self.refuses: dict[str, str] = {}
        self.heeds_shutdown = True
        self.qmp: list[str] = []
        self._monitor: socket.socket | None = None
        for name, answer in {
            "rbd": self._rbd, "mount": self._mount, "umount": self._umount, "sh": self._tar,
            "systemctl": self._systemctl, "systemd-run": self._run, "kill": self._kill,
            "lxc-info": self._lxc_info, "lxc-stop": self._lxc_stop,
            "mkfs.ext4": lambda _: "", "ha-manager": lambda _: "",
        }.items():  # fmt: skip
            machine.answers[name] = self._unless_refused(name, answer)

    def _unless_refused(self, name: str, answer: Callable[[Sequence[str]], Any]) -> Callable[..., Any]:
        def run(words: Sequence[str]) -> Any:
            return Result(1, "", self.refuses[name]) if name in self.refuses else answer(words)

        return run

    def _lines(self, path: str) -> list[str]:
        return self.machine.read(path).splitlines()

    def _rbd(self, words: Sequence[str]) -> str:
        devices = self.machine.file("/sys/bus/rbd/devices")
        if words[-2] == "map":
            number = str(len(list(devices.glob("*"))))
            pool, _, name = words[-1].partition("/")
            assert words[-1] in self.images, f"{words[-1]} is no image"
            self.machine.write(f"/sys/bus/rbd/devices/{number}/pool", f"{pool}\n")
            self.machine.write(f"/sys/bus/rbd/devices/{number}/name", f"{name}\n")
            return f"/dev/rbd{number}\n"
        assert words[-2] == "unmap"
        assert words[-1] not in self.machine.read("/proc/mounts"), f"{words[-1]} is still mounted"
        shutil.rmtree(devices / words[-1].removeprefix("/dev/rbd"))
        return ""

    def _mount(self, words: Sequence[str]) -> str:
        self.machine.write(
            "/proc/mounts", f"{self.machine.read('/proc/mounts')}{words[1]} {words[2]} ext4 rw\n"
        )
        return ""

    def _umount(self, words: Sequence[str]) -> str:
        kept = [line for line in self._lines("/proc/mounts") if line.split()[1] != words[1]]
        self.machine.write("/proc/mounts", "".join(f"{line}\n" for line in kept))
        place = self.machine.file(words[1])  # what was mounted is not the folder's
        shutil.rmtree(place)
        place.mkdir()
        return ""

    def _tar(self, words: Sequence[str]) -> str:
        (Path(words[words.index("-C") + 1]) / "sbin").mkdir(parents=True)
        return ""

    def _systemctl(self, words: Sequence[str]) -> Any:
        unit = words[-1]
        if not unit.startswith("pve-container@"):
            return FakeMachine._systemctl(words)
        vmid = int(unit.removeprefix("pve-container@").removesuffix(".service"))
        if words[1] == "start":
            self.run_container(vmid)
        elif words[1] == "stop":
            self.end_container(vmid)
        elif words[1] == "is-active":
            return Result(0 if vmid in self.containers else 3, "", "")
        return ""

    @property
    def containers(self) -> set[int]:
        return {int(line.split("/")[4]) for line in self._lines("/proc/net/unix")}

    def run_container(self, vmid: int) -> None:
        """As the kernel shows a container's monitor."""
        line = f"0000000083bc6f7f: 00000002 00000000 00010000 0001 01 49 @/var/lib/lxc/{vmid}/command\n"
        self.machine.write("/proc/net/unix", self.machine.read("/proc/net/unix") + line)
        self.machine.write(f"/proc/{PID}/stat", f"{PID} (init) S {'0 ' * 18}2340 0\n")
        self.machine.write(f"/sys/fs/cgroup/lxc/{vmid}/memory.current", "3000000\n")
        self.machine.write(f"/sys/fs/cgroup/lxc/{vmid}/memory.stat", "anon 1\nfile 1000000\n")
        self.machine.write("/sys/class/net/veth101i0/statistics/tx_bytes", "7\n")
        self.machine.write("/sys/class/net/veth101i0/statistics/rx_bytes", "9\n")

    def end_container(self, vmid: int) -> None:
        """A container ends; its unit's last command is not run here."""
        kept = [line for line in self._lines("/proc/net/unix") if f"/{vmid}/" not in line]
        self.machine.write("/proc/net/unix", "".join(f"{line}\n" for line in kept))

    def _lxc_info(self, words: Sequence[str]) -> Any:
        runs = int(words[2]) in self.containers
        if "-p" in words:
            return f"{PID}\n" if runs else Result(1, "", "")
        return "RUNNING\n" if runs else "STOPPED\n"

    def _lxc_stop(self, words: Sequence[str]) -> Any:
        if "--kill" not in words and not self.heeds_shutdown:
            return Result(1, "", "")
        self.end_container(int(words[2]))
        return ""

    def _run(self, words: Sequence[str]) -> Any:
        vmid = next(int(word.partition("=")[2]) for word in words if word.startswith("--unit="))
        self.run_machine(vmid, words[words.index("/usr/bin/qemu-system-x86_64") :])
        return ""

    def run_machine(self, vmid: int, words: Sequence[str]) -> None:
        """As the kernel shows a QEMU process, and a monitor that answers."""
        self.machine.write(f"/run/qemu-server/{vmid}.pid", f"{PID}\n")
        self.machine.write(f"/proc/{PID}/cmdline", "\0".join([*words, ""]))
        self.machine.write(
            f"/proc/{PID}/stat", f"{PID} (qemu-system-x86) S {'0 ' * 10}100 100 {'0 ' * 6}2340 0\n"
        )
        self.machine.write(f"/proc/{PID}/statm", "5000 1000 0 0 0 0 0\n")
        path = self.machine.file(f"/run/qemu-server/{vmid}.qmp")
        path.unlink(missing_ok=True)
        monitor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        monitor.bind(str(path))
        monitor.listen()
        self._monitor = monitor
        threading.Thread(target=self._serve, args=(monitor,), daemon=True).start()

    def end_machine(self) -> None:
        shutil.rmtree(self.machine.file(f"/proc/{PID}"), ignore_errors=True)
        if self._monitor is not None:
            self._monitor.close()

    def _kill(self, _words: Sequence[str]) -> str:
        self.end_machine()
        return ""

    def _serve(self, monitor: socket.socket) -> None:
        while True:
            try:
                connection, _ = monitor.accept()
            except OSError:
                return
            with connection, connection.makefile("rw", encoding="utf-8") as lines:
                lines.write('{"QMP": {"version": {}, "capabilities": []}}\n')
                lines.flush()
                for line in lines:
                    command = json.loads(line)["execute"]
                    self.qmp.append(command)
                    ends = command == "quit" or (command == "system_powerdown" and self.heeds_shutdown)
                    said: dict[str, Any] = {
                        "return": {"status": "running"} if command == "query-status" else {}
                    }
                    lines.write('{"event": "SOMETHING"}\n' + json.dumps(said) + "\n")
                    lines.flush()
                    if ends:
                        self.end_machine()


def hypervisor(rig: Rig) -> Hypervisor:
    """A node with storages, a template and an ISO, and no guests."""
    contract_ceph.running(rig)
    found = Hypervisor(rig.machine)
    fake_rbd.install(found.images)
    for folder in ("lxc", "qemu-server"):
        rig.machine.file(f"/etc/pve/nodes/{NODE}/{folder}").mkdir(parents=True, exist_ok=True)
    rig.machine.write("/etc/pve/storage.cfg", STORAGES)
    rig.machine.write("/proc/mounts", "10.9.0.11:/ /mnt/pve/cephfs ceph rw\n")
    rig.machine.write("/var/lib/vz/template/cache/beat.tar.gz", "a template")
    rig.machine.write("/mnt/pve/cephfs/template/iso/beat.iso", b"\0" * (1 << 20))
    return found


def with_container(rig: Rig, **changed: str) -> Hypervisor:
    """A stopped container on this node."""
    found = hypervisor(rig)
    found.images["rbd-containers/vm-101-disk-0"] = 1 << 30
    files.save(rig.machine, Guest(CT, "lxc", NODE), Config({**CT_CONF, **changed}))
    return found


def with_machine(rig: Rig, **changed: str) -> Hypervisor:
    """A stopped virtual machine on this node."""
    found = hypervisor(rig)
    found.images["rbd-vms/vm-102-disk-0"] = 1 << 30
    files.save(rig.machine, Guest(VM, "qemu", NODE), Config({**VM_CONF, **changed}))
    return found
