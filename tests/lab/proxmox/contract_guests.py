"""Contract cases: containers, virtual machines, and what lies on storages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.standins.proxmox.daemon.http import upload

from . import hypervisor as hv
from .conftest import Rig
from .contract import Case, Cases
from .contract_node import has, task

CT, VM = {"vmid": str(hv.CT)}, {"vmid": str(hv.VM)}
LXC, QEMU = "/nodes/{node}/lxc/{vmid}", "/nodes/{node}/qemu/{vmid}"
STORED = "/nodes/{node}/storage/{storage}"


def nothing(rig: Rig) -> None:
    hv.hypervisor(rig)


def stopped(rig: Rig) -> None:
    hv.with_container(rig)


def started(rig: Rig) -> None:
    hv.with_container(rig).run_container(hv.CT)


def machine(rig: Rig) -> None:
    hv.with_machine(rig)


def machine_runs(rig: Rig) -> None:
    hv.with_machine(rig).run_machine(
        hv.VM, ["qemu-system-x86_64", "-pidfile", f"/run/qemu-server/{hv.VM}.pid"]
    )


def both_nodes(rig: Rig) -> None:
    """A cluster whose other node is there."""
    rig.cluster("pve-b")
    rig.machine.answers["corosync-quorumtool"] = lambda _: (
        "Quorate:          Yes\n0x00000001          1 a\n0x00000002          1 b\n"
    )


def two_nodes(rig: Rig) -> None:
    hv.with_container(rig)
    both_nodes(rig)


def two_nodes_of_machine(rig: Rig) -> None:
    hv.with_machine(rig)
    both_nodes(rig)


def sent(rig: Rig) -> Mapping[str, str]:
    """A file that has come whole, as the server leaves it."""
    hv.hypervisor(rig)
    rig.machine.write(f"{upload.FOLDER}/{upload.PREFIX}00ff", "an image")
    return {}


def has_content(*volids: str) -> Any:
    def check(_rig: Rig, answer: Any) -> None:
        assert [entry["volid"] for entry in answer] == list(volids)

    return check


CONTAINERS: Cases = {
    ("GET", "/nodes/{node}/lxc"): Case(
        prepare=started, check=has(status="running", mem=2000000, netin=7, netout=9)
    ),
    ("POST", "/nodes/{node}/lxc"): Case(
        {
            "vmid": hv.CT, "ostemplate": hv.TEMPLATE, "rootfs": "rbd-containers:1", "memory": 64, "cores": 1,
            "hostname": "beat-ct", "net0": "name=eth0,bridge=vmbr0,tag=1,ip=10.1.0.201/24,host-managed=1",
            "onboot": 0, "ostype": "unmanaged", "swap": 0, "unprivileged": 0, "start": 1,
        },
        prepare=nothing,
        check=task("vzcreate", "101"),
    ),
    ("GET", LXC): Case({}, CT, stopped),
    ("DELETE", LXC): Case({"purge": 0}, CT, stopped, task("vzdestroy", "101")),
    ("GET", f"{LXC}/config"): Case({}, CT, stopped, has(hostname="beat-ct", memory=64, rootfs=hv.ROOT)),
    ("PUT", f"{LXC}/config"): Case({"memory": 128, "delete": "net0"}, CT, stopped),
    ("GET", f"{LXC}/status"): Case({}, CT, stopped),
    ("GET", f"{LXC}/status/current"): Case(
        {}, CT, started, has(status="running", pid=hv.PID, ha={"managed": 0}, name="beat-ct")
    ),
    ("POST", f"{LXC}/status/start"): Case({}, CT, stopped, task("vzstart", "101")),
    ("POST", f"{LXC}/status/stop"): Case({}, CT, started, task("vzstop", "101")),
    ("POST", f"{LXC}/status/shutdown"): Case(
        {"timeout": 5, "forceStop": 1}, CT, started, task("vzshutdown", "101")
    ),
    ("POST", f"{LXC}/status/reboot"): Case({"timeout": 5}, CT, started, task("vzreboot", "101")),
    ("GET", f"{LXC}/migrate"): Case(
        {}, CT, two_nodes, has(running=0, **{"allowed-nodes": ["pve-b"]})
    ),
    ("POST", f"{LXC}/migrate"): Case(
        {"target": "pve-b", "restart": 1}, CT, two_nodes, task("vzmigrate", "101")
    ),
}  # fmt: skip

MACHINES: Cases = {
    ("GET", "/nodes/{node}/qemu"): Case(
        prepare=machine_runs, check=has(vmid=hv.VM, status="running", cpus=1, pid=hv.PID)
    ),
    ("POST", "/nodes/{node}/qemu"): Case(
        {
            "vmid": hv.VM, "name": "beat-vm", "scsi0": "rbd-vms:1", "ide2": f"{hv.ISO},media=cdrom",
            "net0": "virtio,bridge=vmbr0,tag=1", "boot": "order=ide2", "memory": 64, "cores": 1,
            "scsihw": "virtio-scsi-pci", "serial0": "socket", "vga": "none", "ostype": "l26", "start": 1,
        },
        prepare=nothing,
        check=task("qmcreate", "102"),
    ),
    ("GET", QEMU): Case({}, VM, machine),
    ("DELETE", QEMU): Case({}, VM, machine, task("qmdestroy", "102")),
    ("GET", f"{QEMU}/config"): Case({"current": 1}, VM, machine, has(name="beat-vm", cores=1, memory="64")),
    ("PUT", f"{QEMU}/config"): Case({"cores": 2, "ide2": "none,media=cdrom"}, VM, machine),
    ("GET", f"{QEMU}/status"): Case({}, VM, machine),
    ("GET", f"{QEMU}/status/current"): Case(
        {}, VM, machine_runs, has(status="running", qmpstatus="running", ha={"managed": 0})
    ),
    ("POST", f"{QEMU}/status/start"): Case({}, VM, machine, task("qmstart", "102")),
    ("POST", f"{QEMU}/status/stop"): Case({}, VM, machine_runs, task("qmstop", "102")),
    ("POST", f"{QEMU}/status/shutdown"): Case({"timeout": 5}, VM, machine_runs, task("qmshutdown", "102")),
    ("POST", f"{QEMU}/status/reboot"): Case({"timeout": 5}, VM, machine_runs, task("qmreboot", "102")),
    ("POST", f"{QEMU}/status/resume"): Case({"skiplock": 1}, VM, machine_runs, task("qmresume", "102")),
    ("GET", f"{QEMU}/migrate"): Case({}, VM, two_nodes_of_machine, has(running=0, allowed_nodes=["pve-b"])),
    ("POST", f"{QEMU}/migrate"): Case(
        {"target": "pve-b"}, VM, two_nodes_of_machine, task("qmigrate", "102")
    ),
}  # fmt: skip

FILES: Cases = {
    ("GET", f"{STORED}/content"): Case(
        {"content": "vztmpl"}, {"storage": "local"}, nothing, has_content(hv.TEMPLATE)
    ),
    ("GET", f"{STORED}/content/{{volume}}"): Case(
        {}, {"storage": "cephfs", "volume": hv.ISO}, nothing, has(size=1 << 20, format="iso")
    ),
    ("DELETE", f"{STORED}/content/{{volume}}"): Case(
        {},
        {"storage": "local", "volume": hv.TEMPLATE},
        nothing,
        task("imgdel", "vztmpl-beat.tar.gz@local"),
    ),
    ("POST", f"{STORED}/upload"): Case(
        {
            "content": "iso", "filename": "x.iso", "tmpfilename": f"{upload.FOLDER}/{upload.PREFIX}00ff",
            "checksum-algorithm": "sha256",
            "checksum": "e4a1f5c62ba8ab1b9e8a2f9b1d1f28e1f3e1f7f9f7a1d3c5b7a9c1e3f5a7b9c1",
        },
        {"storage": "local"},
        sent,
        task("imgcopy", ""),
    ),
}  # fmt: skip

CASES: Cases = {**CONTAINERS, **MACHINES, **FILES}
