"""QEMU's command line of a virtual machine, made from Proxmox's configuration. Pure.

Devices, their ids and their places on the bus follow PVE::QemuServer::config_to_command. What no guest needs
and an emulated node cannot afford is left out: USB tablet, balloon, VNC, network boot (lab/standins/README).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..http.parameters import properties
from . import drives, network
from .drives import Drive
from .lxc_config import networks
from .running import RUN

PROGRAM = "/usr/bin/qemu-system-x86_64"
MEMORY_MIB = 512
_CACHE = {
    "none": {"direct": True, "no-flush": False},
    "directsync": {"direct": True, "no-flush": False},
    "writeback": {"direct": False, "no-flush": False},
    "writethrough": {"direct": False, "no-flush": False},
    "unsafe": {"direct": False, "no-flush": True},
}
_WRITE_THROUGH = ("directsync", "writethrough")
SCSI = {"lsi": "lsi", "virtio-scsi-pci": "virtio-scsi-pci", "virtio-scsi-single": "virtio-scsi-pci"}
NETS = 6  # as many as have a slot at PVE's place
_MODELS = {"virtio": "virtio-net-pci", "e1000": "e1000"}


@dataclass(frozen=True)
class Place:
    """What the machine runs on: whether its processor can be the node's own, what each drive's data are
    (members of QEMU's blockdev), and where its memory comes from when it was running elsewhere.
    """

    kvm: bool
    data: Mapping[str, Mapping[str, Any]]
    incoming: str = ""


def port(vmid: int, index: int) -> str:
    """The node's end of a virtual machine's network interface."""
    return f"tap{vmid}i{index}"


def script(vmid: int, index: int) -> str:
    """What QEMU runs when the node's end exists."""
    return f"{RUN}/{vmid}.net{index}.up"


def scripts(vmid: int, values: Mapping[str, str]) -> dict[str, str]:
    """The network scripts by path."""
    return {
        script(vmid, index): network.plug(port(vmid, index), net)
        for index, text in networks(values).items()
        if "bridge" in (net := network.parse_qemu(text))
    }


def rbd(pool: str, image: str, user: str, conf: str) -> dict[str, Any]:
    """An image read by librbd; its key is found by the cluster's configuration."""
    return {"driver": "rbd", "pool": pool, "image": image, "conf": conf, "user": user}


def build(vmid: int, values: Mapping[str, str], place: Place) -> list[str]:
    """The command line, program first."""
    cores, sockets = int(values.get("cores", "1")), int(values.get("sockets", "1"))
    smp = f"{cores * sockets},sockets={sockets},cores={cores},maxcpus={cores * sockets}"
    order = drives.boot_order(values)
    command = [
        PROGRAM,
        *("-name", f"{values.get('name', f'VM{vmid}')},debug-threads=on"),
        *("-chardev", f"socket,id=qmp,path={RUN}/{vmid}.qmp,server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
        *("-pidfile", f"{RUN}/{vmid}.pid"),
        "-daemonize",
        "-nodefaults",
        "-no-user-config",
        *("-display", "none"),
        *_accelerator(place, cores * sockets),
        *("-smp", smp),
        *("-m", str(memory_mib(values))),
        *("-boot", "strict=on,reboot-timeout=1000"),
        *_vga(values.get("vga", "std")),
    ]
    if uuid := properties(values.get("smbios1", ""), {"uuid": {"optional": 1}}).get("uuid"):
        command += ["-smbios", f"type=1,uuid={uuid}"]
    command += _serial(vmid, values)
    command += _drives(values, place, order)
    for index, text in networks(values).items():
        command += _network(vmid, index, text)
    if place.incoming:
        command += ["-incoming", place.incoming, "-S"]
    return [*command, *shlex.split(values.get("args", ""))]


def memory_mib(values: Mapping[str, str]) -> int:
    form = {"current": {"type": "integer", "default_key": 1}}
    return int(properties(values.get("memory", str(MEMORY_MIB)), form)["current"])


def _accelerator(place: Place, cpus: int) -> list[str]:
    if place.kvm:
        return ["-machine", "pc,accel=kvm", "-cpu", "kvm64"]
    # One thread for one processor: nothing needs to be atomic, and no instruction for it is used.
    threads = "single" if cpus == 1 else "multi"
    return ["-machine", "pc", "-accel", f"tcg,thread={threads}", "-cpu", "qemu64"]


def _vga(text: str) -> list[str]:
    kind = text.partition(",")[0]
    if kind == "none" or kind.startswith("serial"):
        return ["-vga", "none"]
    return ["-device", "VGA,id=vga,bus=pci.0,addr=0x2"]


def _serial(vmid: int, values: Mapping[str, str]) -> list[str]:
    command = []
    for index in range(4):
        if values.get(f"serial{index}") == "socket":
            socket = f"socket,id=serial{index},path={RUN}/{vmid}.serial{index},server=on,wait=off"
            command += ["-chardev", socket, "-device", f"isa-serial,chardev=serial{index}"]
    return command


def _drives(values: Mapping[str, str], place: Place, order: list[str]) -> list[str]:
    command: list[str] = []
    hardware = values.get("scsihw", "lsi")
    controllers: set[str] = set()
    for drive in drives.of(values):
        if drive.key not in place.data and drive.file != "none":
            raise ValueError(f"{drive.key}: no data for '{drive.file}'")
        if drive.bus == "scsi":
            controller, device = _controller(drive, hardware)
            if controller not in controllers:
                controllers.add(controller)
                command += ["-device", device]
        if drive.file != "none":
            command += ["-blockdev", json.dumps(_blockdev(drive, place.data[drive.key]))]
        boot = [f"bootindex={100 + order.index(drive.key)}"] if drive.key in order else []
        command += ["-device", ",".join([*_device(drive, hardware), *boot])]
    return command


def _blockdev(drive: Drive, data: Mapping[str, Any]) -> dict[str, Any]:
    cache = _CACHE[drive.options.get("cache", "none" if not drive.is_cdrom else "writeback")]
    return {
        "driver": "raw",
        "node-name": f"drive-{drive.key}",
        "cache": cache,
        "discard": "unmap" if drive.options.get("discard") == "on" else "ignore",
        "read-only": drive.is_cdrom,
        "file": {**data, "cache": cache, "read-only": drive.is_cdrom},
    }


def _controller(drive: Drive, hardware: str) -> tuple[str, str]:
    """(id, device) of the controller that a SCSI drive hangs at: seven on each, or one of its own."""
    if hardware == "virtio-scsi-single":
        name = f"virtioscsi{drive.index}"
        return name, f"virtio-scsi-pci,id={name}"
    number = drive.index // 7
    return f"scsihw{number}", f"{SCSI[hardware]},id=scsihw{number},bus=pci.0,addr={5 + number:#x}"


def _device(drive: Drive, hardware: str) -> list[str]:
    words = [f"id={drive.key}"]
    if drive.file != "none":
        words.append(f"drive=drive-{drive.key}")
    if "serial" in drive.options:
        words.append(f"serial={drive.options['serial']}")
    if not drive.is_cdrom and drive.options.get("cache") in _WRITE_THROUGH:
        words.append("write-cache=off")
    if drive.bus == "virtio":
        return ["virtio-blk-pci", *words]
    kind = "cd" if drive.is_cdrom else "hd"
    if drive.options.get("ssd"):
        words.append("rotation_rate=1")
    if drive.bus == "ide":
        return [f"ide-{kind}", f"bus=ide.{drive.index // 2}", f"unit={drive.index % 2}", *words]
    controller, _ = _controller(drive, hardware)
    target = 0 if hardware == "virtio-scsi-single" else drive.index % 7
    return [f"scsi-{kind}", f"bus={controller}.0", f"scsi-id={target}", *words]


def _network(vmid: int, index: int, text: str) -> list[str]:
    net = network.parse_qemu(text)
    up = script(vmid, index) if "bridge" in net else "no"
    tap = f"tap,id=net{index},ifname={port(vmid, index)},script={up},downscript=no"
    # No boot ROM: the medium has none.
    device = [_MODELS[net["model"]], f"netdev=net{index}", f"id=net{index}", "bus=pci.0"]
    device += [f"addr={0x12 + index:#x}", f"mac={net['macaddr']}", "romfile="]
    return ["-netdev", tap, "-device", ",".join(device)]
