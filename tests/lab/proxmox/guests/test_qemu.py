"""QEMU itself: that it takes the command line, that its monitor is understood, and that memory can move."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.standins.proxmox.daemon.guests import (
    files,
    live_migration,
    machines,
    qemu_command,
    qmp,
    running,
)
from lab.standins.proxmox.daemon.guests.conf import Config
from lab.standins.proxmox.daemon.guests.files import Guest
from lab.standins.proxmox.daemon.guests.peer import Peer
from lab.standins.proxmox.daemon.http.errors import ApiError
from lab.standins.proxmox.daemon.http.machine import Machine, Result

from ..hypervisor import STORAGES, VM

PROGRAM = shutil.which("qemu-system-x86_64")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="QEMU is not installed")
MINE = Guest(VM, "qemu", "node1")
#: stands still at once: what is tried here needs no processor
VALUES = {
    "args": "-S", "boot": "order=ide2;scsi0", "cores": "1", "memory": "16", "name": "beat-vm", "vga": "none",
    "serial0": "socket", "smbios1": "uuid=12345678-1234-1234-1234-123456789abc",
    "ide2": "cephfs:iso/beat.iso,media=cdrom", "ide0": "none,media=cdrom",
    "scsi0": "rbd-vms:vm-102-disk-0,size=1G,cache=writethrough,discard=on,serial=BEAT,ssd=1",
    "scsi8": "rbd-vms:vm-102-disk-1", "virtio0": "rbd-vms:vm-102-disk-2",
}  # fmt: skip


class Node(Machine):
    """A node in a folder whose QEMU is real, its disks files instead of RBD images."""

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(name, root)
        for path in (f"/etc/pve/nodes/{name}/qemu-server", "/mnt/pve/cephfs/template/iso"):
            self.file(path).mkdir(parents=True, exist_ok=True)
        self.write("/etc/pve/storage.cfg", STORAGES)
        self.write("/proc/mounts", "10.9.0.11:/ /mnt/pve/cephfs ceph rw\n")
        self.write("/mnt/pve/cephfs/template/iso/beat.iso", b"\0" * 4096)

    def read(self, path: str, default: str = "") -> str:
        """A process is the machine's own, its files are the node's."""
        if path.startswith("/proc/") and path != "/proc/mounts":
            seen = Path(path).read_text() if Path(path).exists() else default
            return seen.replace(str(self.file(running.RUN)), running.RUN)
        return super().read(path, default)

    def run(
        self, command: Sequence[str], *, input: str | None = None, timeout_s: float = 60, check: bool = True
    ) -> Result:
        if command[0] == "kill":
            return super().run(command, input=input, timeout_s=timeout_s, check=check)
        if command[0] != "systemd-run":
            return Result(0, "", "")
        words = list(command[command.index(qemu_command.PROGRAM) :])
        words = [word.replace(running.RUN, str(self.file(running.RUN))) for word in words]
        return super().run([str(PROGRAM), *words[1:]], timeout_s=timeout_s, check=check)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: a socket's path has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="q") as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def _files_for_images(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def as_file(pool: str, image: str, user: str, conf: str) -> dict[str, Any]:
        path = folder / f"{pool}-{image}"
        path.touch()
        with path.open("r+b") as file:
            file.truncate(1 << 20)
        return {"driver": "file", "filename": str(path), "locking": "off"}

    monkeypatch.setattr(qemu_command, "rbd", as_file)


@contextmanager
def node(name: str, root: Path) -> Iterator[Node]:
    made = Node(name, root)
    try:
        yield made
    finally:
        with contextlib.suppress(ApiError):
            machines.end(made, MINE)


def reserved(machine: Node, **changed: str) -> None:
    files.save(machine, MINE, Config({**VALUES, **changed}))


@pytest.mark.parametrize("hardware", sorted(qemu_command.SCSI))
def test_the_command_line_is_taken(folder: Path, hardware: str) -> None:
    with node("node1", folder) as machine:
        reserved(machine, scsihw=hardware)
        machines.start(machine, MINE)
        assert running.is_running(machine, "qemu", VM)
        assert qmp.ask(machine, VM, "query-status")["status"] == "prelaunch"
        found = {one.get("qdev", "").rpartition("/")[2]: one for one in qmp.ask(machine, VM, "query-block")}
        nodes = {name: one["inserted"]["node-name"] for name, one in found.items() if "inserted" in one}
        assert {*nodes.values()} == {"drive-scsi0", "drive-scsi8", "drive-virtio0", "drive-ide2"}
        assert "inserted" not in found["ide0"] and found["ide2"]["inserted"]["ro"]
        assert not found["scsi0"]["inserted"]["cache"]["writeback"]
        assert qmp.ask(machine, VM, "query-name") == {"name": "beat-vm"}
        with pytest.raises(ApiError, match="VM 102 already running"):
            machines.start(machine, MINE)
        machines.stop(machine, MINE)
        assert not running.is_running(machine, "qemu", VM)
        assert not list(machine.file(running.RUN).iterdir())


def test_what_qemu_refuses_is_told(folder: Path) -> None:
    with node("node1", folder) as machine:
        reserved(machine, args="-device no-such-device")
        with pytest.raises(ApiError, match=r"start failed: QEMU exited with code 1: .*no-such-device"):
            machines.start(machine, MINE)


def test_what_the_monitor_refuses_is_told(folder: Path) -> None:
    with node("node1", folder) as machine:
        reserved(machine)
        machines.start(machine, MINE)
        with pytest.raises(ApiError, match=r"^VM 102 qmp command 'no-such' failed - The command"):
            qmp.ask(machine, VM, "no-such")


def test_a_machine_that_is_killed_is_seen_as_ended(folder: Path) -> None:
    with node("node1", folder) as machine:
        reserved(machine)
        machines.start(machine, MINE)
        pid = running.machine_pid(machine, VM)
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        assert machines._ended(machine, VM, 10)


@pytest.fixture
def both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Node, Node]]:
    """node1 and node2, which share /etc/pve; a link stands for the tunnel between their sockets."""
    with node("node1", folder / "a") as here, node("node2", folder / "b") as there:
        shutil.rmtree(there.file("/etc/pve"))
        there.file("/etc/pve").symlink_to(here.file("/etc/pve"))
        here.file("/etc/pve/nodes/node2/qemu-server").mkdir(parents=True)
        there.file(running.RUN).mkdir(parents=True)
        reserved(here, args="-S")

        def task(_: Peer, guest: Guest, path: str, **__: Any) -> list[str]:
            theirs = Guest(guest.vmid, "qemu", "node2")
            if path == "status/start":
                uri = f"unix:{live_migration.socket(VM)}"
                machines.start(there, theirs, incoming=uri, skip_lock=True)
            elif path == "status/resume":
                qmp.ask(there, VM, "cont")
            else:
                assert path == "status/stop"
                machines.stop(there, theirs)
            return []

        @contextmanager
        def tunnel(*_: object) -> Iterator[None]:
            here.file(live_migration.socket(VM)).symlink_to(there.file(live_migration.socket(VM)))
            yield

        monkeypatch.setattr(Peer, "task", task)
        monkeypatch.setattr(Peer, "address", "127.0.0.2")
        monkeypatch.setattr(live_migration, "tunnel", tunnel)
        yield here, there


def test_memory_moves_and_the_machine_goes_on_over_there(both: tuple[Node, Node]) -> None:
    here, there = both
    machines.start(here, MINE)
    qmp.ask(here, VM, "system_reset")
    said: list[str] = []
    live_migration.migrate(here, MINE, "node2", said.append)
    assert not running.is_running(here, "qemu", VM), "it is on both nodes"
    assert qmp.ask(there, VM, "query-status")["running"]
    assert files.everywhere(here)[VM].node == "node2"
    assert "lock" not in files.load(here, Guest(VM, "qemu", "node2")).values
    assert any(line.startswith("migration status: completed") for line in said)


def test_memory_that_does_not_arrive_leaves_the_machine_where_it_was(
    both: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = both
    machines.start(here, MINE)

    @contextmanager
    def broken(*_: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(live_migration, "tunnel", broken)
    with pytest.raises(ApiError, match=r"qmp command 'migrate' failed|online migrate failure"):
        live_migration.migrate(here, MINE, "node2", lambda _: None)
    stays(here, there, "prelaunch")


def test_a_machine_whose_file_cannot_move_goes_on_where_it_was(
    both: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is over there already, but without quorum it is not the other node's."""
    here, there = both
    machines.start(here, MINE)

    def no_quorum(*_: object) -> Guest:
        raise ApiError(500, "rename failed: Permission denied")

    monkeypatch.setattr(files, "move", no_quorum)
    with pytest.raises(ApiError, match="rename failed"):
        live_migration.migrate(here, MINE, "node2", lambda _: None)
    stays(here, there, "running")


def stays(here: Node, there: Node, status: str) -> None:
    assert qmp.ask(here, VM, "query-status")["status"] == status
    assert not running.is_running(there, "qemu", VM)
    assert files.everywhere(here)[VM].node == "node1" and "lock" not in files.load(here, MINE).values
