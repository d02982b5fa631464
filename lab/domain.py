"""A server as libvirt describes it: UEFI, SMBIOS identity, watchdog, ports, NVMe bays behind PCIe slots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.errors import LabError
from lab.paths import State
from lab.physical import Physical
from lab.rack import PORTS, Rack, Server

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
ET.register_namespace("qemu", QEMU)

# Firmware image and its empty variable store, as packages place them: Debian 12/13 and Ubuntu, older, Fedora.
FIRMWARE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)
FIRST_SLOT = 0x14  # PCI slots 0x14.. carry the drive bays; libvirt numbers its own from 1
FIRST_CHASSIS = 100
SPEED_MBIT = {"p0": 200_000, "p1": 200_000, "m0": 1_000}
TB_CACHE_MIB = 1024
"""Translated code of an emulated server. When it is full QEMU forgets all of it: 256 MiB were full every 20 s
of work, and all programs were translated again.
"""
EMULATED = (
    *("ssse3", "sse4.1", "sse4.2", "popcnt", "abm", "movbe", "erms"),
    *("pclmuldq", "aes", "rdrand", "fsgsbase"),
)
"""What an emulated processor has beside the least of x86-64."""
CD_TARGET = "sda"
CD_ALIAS = "ua-cd"


def firmware() -> tuple[str, str]:
    """Paths of the UEFI image and its variable template. Raises LabError when no package brought one."""
    for code, variables in FIRMWARE:
        if Path(code).exists() and Path(variables).exists():
            return code, variables
    raise LabError(
        "no UEFI firmware found at " + ", ".join(code for code, _ in FIRMWARE) + "; install the package ovmf"
    )


def disk_path(state: State, serial: str) -> Path:
    return state.disks / f"{serial}.qcow2"


def nvram_path(state: State, server: Server) -> Path:
    return state.nvram / f"{server.name}_VARS.fd"


def serial_log(state: State, server: Server) -> Path:
    return state.logs / f"{server.name}-serial.log"


def _add(
    parent: ET.Element, tag: str, text: str | None = None, attributes: Mapping[str, str] | None = None
) -> ET.Element:
    element = ET.SubElement(parent, tag, dict(attributes or {}))
    element.text = text
    return element


def describe(rack: Rack, state: State, server: Server, physical: Physical, accelerator: str) -> str:
    """Domain XML of a server. `accelerator` is "kvm" or "tcg"."""
    code, _ = firmware()
    root = ET.Element("domain", {"type": "kvm" if accelerator == "kvm" else "qemu"})
    _add(root, "name", server.name)
    _add(root, "uuid", server.uuid)
    _add(root, "memory", str(rack.servers.memory_mib), {"unit": "MiB"})
    _add(root, "vcpu", str(rack.servers.vcpus))
    _smbios(root, rack, server)
    boot = _add(root, "os")
    _add(boot, "type", "hvm", {"arch": "x86_64", "machine": "q35"})
    _add(boot, "loader", code, {"readonly": "yes", "type": "pflash"})
    _add(boot, "nvram", str(nvram_path(state, server)))
    _add(boot, "bootmenu", None, {"enable": "no"})
    _add(boot, "smbios", None, {"mode": "sysinfo"})
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if accelerator != "kvm":
        _add(_add(features, "tcg"), "tb-cache", str(TB_CACHE_MIB), {"unit": "MiB"})
    _cpu(root, accelerator)
    _add(root, "clock", None, {"offset": "utc"})
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _add(root, f"on_{event}", action)
    _devices(root, rack, state, server, physical)
    root.append(command_line(rack, state, server, physical))
    _overrides(root)
    return ET.tostring(root, encoding="unicode")


def _smbios(root: ET.Element, rack: Rack, server: Server) -> None:
    system = _add(_add(root, "sysinfo", None, {"type": "smbios"}), "system")
    entries = {
        "manufacturer": rack.servers.manufacturer,
        "product": rack.servers.model,
        "serial": server.serial,
        "uuid": server.uuid,
    }
    for name, value in entries.items():
        _add(system, "entry", value, {"name": name})


def _cpu(root: ET.Element, accelerator: str) -> None:
    """QEMU 7.2's TCG corrupts registers in cmpxchg16b, so cx16 stays hidden (Linux then panics no more). What
    wide vectors, five-level page tables and supervisor checks bring is all lost in emulation: without them
    Python and Ceph's tools took a tenth less, OpenSSL a third.
    """
    if accelerator == "kvm":
        _add(root, "cpu", None, {"mode": "host-passthrough"})
        return
    cpu = _add(root, "cpu", None, {"mode": "custom", "match": "exact", "check": "none"})
    _add(cpu, "model", "qemu64", {"fallback": "forbid"})
    for name in EMULATED:
        _add(cpu, "feature", None, {"policy": "require", "name": name})
    _add(cpu, "feature", None, {"policy": "disable", "name": "cx16"})


def _devices(root: ET.Element, rack: Rack, state: State, server: Server, physical: Physical) -> None:
    devices = _add(root, "devices")
    _add(devices, "emulator", "/usr/bin/qemu-system-x86_64")
    _add(devices, "controller", None, {"type": "usb", "model": "none"})
    for port in PORTS:
        devices.append(_port(server, port, physical))
    cd = _add(devices, "disk", None, {"type": "file", "device": "cdrom"})  # the BMC's virtual CD drive
    _add(cd, "target", None, {"dev": CD_TARGET, "bus": "sata"})
    _add(cd, "readonly")
    _add(cd, "alias", None, {"name": CD_ALIAS})
    serial = _add(devices, "serial", None, {"type": "pty"})
    _add(serial, "log", None, {"file": str(serial_log(state, server)), "append": "on"})
    _add(devices, "watchdog", None, {"model": rack.servers.watchdog, "action": "reset"})
    _add(devices, "memballoon", None, {"model": "none"})
    entropy = _add(devices, "rng", None, {"model": "virtio"})
    _add(entropy, "backend", "/dev/urandom", {"model": "random"})


def _port(server: Server, port: str, physical: Physical) -> ET.Element:
    """One network port on its tap. Offloads off: a userspace switch passes frames on as they are."""
    interface = ET.Element("interface", {"type": "ethernet"})
    _add(interface, "mac", None, {"address": server.mac(port)})
    _add(interface, "target", None, {"dev": server.tap(port), "managed": "no"})
    _add(interface, "model", None, {"type": "virtio"})
    driver = _add(interface, "driver")
    off = dict.fromkeys(("csum", "tso4", "tso6", "ecn", "ufo"), "off")
    _add(driver, "host", None, {**off, "gso": "off"})
    _add(driver, "guest", None, off)
    _add(interface, "link", None, {"state": "up" if physical.link_up(server.tap(port)) else "down"})
    _add(interface, "rom", None, {"enabled": "no"})
    _add(interface, "alias", None, {"name": f"ua-{port}"})
    return interface


def drive_id(serial: str) -> str:
    return f"drive-{serial}"


def device_id(serial: str) -> str:
    return f"nvme-{serial}"


def slot_id(serial: str) -> str:
    return f"slot-{serial}"


def command_line(rack: Rack, state: State, server: Server, physical: Physical) -> ET.Element:
    """The NVMe bays. Every bay has its slot and its medium; the device is there when its drive is in.

    A flush ends in this machine's page cache ("unsafe"): it outlives a server without power, as on a drive.
    Only this machine's own loss of power would take it, with the rack. Else all OSDs wait for one disk.
    """
    line = ET.Element(f"{{{QEMU}}}commandline")
    for drive in rack.drives(server):
        slot, function = FIRST_SLOT + drive.bay // 8, drive.bay % 8
        _argument(
            line,
            "-device",
            (
                f"pcie-root-port,id={slot_id(drive.serial)},bus=pcie.0,addr={slot:#x}.{function},multifunction=on,"
                f"chassis={FIRST_CHASSIS + drive.bay},slot={FIRST_CHASSIS + drive.bay}"
            ),
        )
        _argument(
            line,
            "-drive",
            (
                f"file={disk_path(state, drive.serial)},if=none,id={drive_id(drive.serial)},format=qcow2,"
                "discard=unmap,cache=unsafe"
            ),
        )
        if physical.in_bay(server.name, drive.serial):
            _argument(
                line,
                "-device",
                (
                    f"nvme,id={device_id(drive.serial)},drive={drive_id(drive.serial)},serial={drive.serial},"
                    f"bus={slot_id(drive.serial)}"
                ),
            )
    return line


def _argument(line: ET.Element, name: str, value: str) -> None:
    for text in (name, value):
        _add(line, f"{{{QEMU}}}arg", None, {"value": text})


def _overrides(root: ET.Element) -> None:
    """Link speeds: without one, Linux bonding takes no part in LACP."""
    override = _add(root, f"{{{QEMU}}}override")
    for port in PORTS:
        device = _add(override, f"{{{QEMU}}}device", None, {"alias": f"ua-{port}"})
        frontend = _add(device, f"{{{QEMU}}}frontend")
        for name, kind, value in (("speed", "signed", str(SPEED_MBIT[port])), ("duplex", "string", "full")):
            _add(frontend, f"{{{QEMU}}}property", None, {"name": name, "type": kind, "value": value})
