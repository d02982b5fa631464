"""The server behind a BMC, as sushy-tools' libvirt driver sees it, with hardware's manners added.

sushy-tools changes only a server's next power-on: an inserted CD is not seen by a running server, an ejected
one stays until it is switched off, and every boot override is for ever. Here the virtual CD drive is always
there and its medium changes at once, and an override for one boot ends with that boot.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import libvirt_qemu  # type: ignore[import-untyped]  # comes without stubs
from sushy_tools import error
from sushy_tools.emulator.resources.systems import libvirtdriver

from lab import domain, servers

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE


class Machine(libvirtdriver.LibvirtDriver):  # type: ignore[misc]  # sushy-tools has no types
    """sushy-tools' driver with live virtual media and true boot overrides. Class attributes are set once."""

    images: Path = Path()
    own: str = ""  # uuid of the one server that this BMC manages
    media_lock = threading.Lock()

    @property
    def systems(self) -> list[str]:
        """The server of this BMC; the others of the rack are none of its business."""
        return [self.own]

    def _get_domain(self, identity: str, readonly: bool = False) -> Any:
        del readonly
        if identity != self.own:
            raise error.NotFound(f"no system {identity}")
        return servers.connection().lookupByUUIDString(self.own)

    def set_boot_image(
        self, identity: str, device: str, boot_image: str | None = None, write_protected: bool = True
    ) -> None:
        """Change the medium in the virtual CD drive, in the definition and in the running server."""
        del write_protected  # a CD is
        if device != "Cd":
            raise error.NotSupportedError(f"no virtual device {device}")
        machine = self._get_domain(identity)
        with self.media_lock:
            kept = self._keep(identity, boot_image) if boot_image else None
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE
            if machine.isActive():
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            try:
                machine.updateDeviceFlags(_cd(machine, kept), flags)
            except libvirt.libvirtError as problem:
                raise error.FishyError(f"virtual media: {problem}") from problem
            if kept is None:
                for image in self.images.glob("*"):
                    image.unlink()
            self._forget_downloads()

    @staticmethod
    def _forget_downloads() -> None:
        """sushy-tools' own copies. (It still wants to unlink the last one when that is ejected.)"""
        folders = sorted(Path(tempfile.gettempdir()).glob("tmp*"), key=lambda folder: folder.stat().st_mtime)
        for folder in folders[:-1]:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, identity: str, image: str) -> Path:
        self.images.mkdir(parents=True, exist_ok=True)
        kept = self.images / f"{identity}.iso"
        kept.unlink(missing_ok=True)
        kept.hardlink_to(image)  # sushy-tools deletes its own copy when the medium is ejected
        return kept

    def get_boot_image(self, identity: str, device: str) -> tuple[str, bool, bool]:
        """(image, write protected, inserted) of the virtual CD drive."""
        tree = ET.fromstring(self._get_domain(identity, readonly=True).XMLDesc(INACTIVE))  # noqa: S314
        source = tree.find("./devices/disk[@device='cdrom']/source")
        file = "" if source is None or device != "Cd" else source.get("file", "")
        return file, True, bool(file)

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        """Put the CD before the drives ("Cd"), or leave the order to the drives ("Hdd", "None")."""
        if boot_source not in ("Cd", "Hdd", "None"):
            raise error.BadRequest(
                f"{boot_source} is no boot source of this server, expected Cd, Hdd or None"
            )
        machine = self._get_domain(identity)
        set_cd_first(machine, boot_source == "Cd", live=True)

    def set_boot_mode(self, identity: str, boot_mode: str) -> None:
        """UEFI is all there is. (sushy-tools would put another firmware, with an empty variable store.)"""
        self._get_domain(identity)
        if boot_mode != "UEFI":
            raise error.BadRequest(f"BootSourceOverrideMode {boot_mode!r} is not known, expected UEFI")

    def get_secure_boot(self, identity: str) -> bool:
        """Off."""
        self._get_domain(identity)
        return False

    def set_secure_boot(self, identity: str, secure: bool) -> None:
        """Only "off" can be had: the firmware here has no keys enrolled."""
        self._get_domain(identity)
        if secure:
            raise error.NotSupportedError("secure boot cannot be switched on")

    def get_boot_device(self, identity: str) -> str:
        """ "Cd" when the CD comes first, else "Hdd"."""
        tree = ET.fromstring(self._get_domain(identity, readonly=True).XMLDesc(INACTIVE))  # noqa: S314
        return "Hdd" if tree.find("./devices/disk[@device='cdrom']/boot") is None else "Cd"


def _cd(machine: Any, image: Path | None) -> str:
    tree = ET.fromstring(machine.XMLDesc(INACTIVE))  # noqa: S314 (libvirt's own)
    disk = tree.find("./devices/disk[@device='cdrom']")
    if disk is None:
        raise error.FishyError("the server has no virtual CD drive")
    for source in disk.findall("source"):
        disk.remove(source)
    if image is not None:
        ET.SubElement(disk, "source", {"file": str(image)})
    return ET.tostring(disk, encoding="unicode")


def set_cd_first(machine: Any, first: bool, *, live: bool) -> None:
    """Boot order in the definition (next power-on) and, when `live`, of a running server (next reset)."""
    tree = ET.fromstring(machine.XMLDesc(INACTIVE))  # noqa: S314 (libvirt's own)
    disk = tree.find("./devices/disk[@device='cdrom']")
    if disk is None:
        raise error.FishyError("the server has no virtual CD drive")
    for boot in disk.findall("boot"):
        disk.remove(boot)
    for firmware in tree.findall("os"):
        for boot in firmware.findall("boot"):  # libvirt adds one by itself; it excludes the order per device
            firmware.remove(boot)
    if first:
        ET.SubElement(disk, "boot", {"order": "1"})
    servers.connection().defineXML(ET.tostring(tree, encoding="unicode"))
    if live and machine.isActive():
        request = {
            "execute": "qom-set",
            "arguments": {
                "path": f"/machine/peripheral/{domain.CD_ALIAS}",
                "property": "bootindex",
                "value": 1 if first else -1,
            },
        }
        with contextlib.suppress(libvirt.libvirtError):  # just switched off: nothing to change
            libvirt_qemu.qemuMonitorCommand(machine, json.dumps(request), 0)
