"""The root file systems of golden guests: busybox, a few scripts, and who the guest is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from provisioners.guests.archives import CONSOLE, Member
from provisioners.guests.busybox import APPLETS

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Guest

_FILES = Path(__file__).with_name("files")
SCRIPTS: Mapping[str, bytes] = {path.name: path.read_bytes() for path in sorted(_FILES.iterdir())}
FOLDERS = ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "var/lib", "var/log", "var/run")
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"


def identity(site: Site, guest: Guest) -> bytes:
    """/etc/beat.conf: variables of the scripts. The gateway is that of the network, where it has one."""
    gateway = site.networks[guest.network].gateway
    values = {"NAME": guest.name, "ADDRESS": str(guest.address), "GATEWAY": str(gateway or "")}
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items()).encode()


def container(site: Site, guest: Guest, busybox: bytes) -> list[Member]:
    """What the template of a container holds. Its devices are the hypervisor's part."""
    return [
        *_common(site, guest, busybox),
        Member("sbin"),
        Member("sbin/init", content=SCRIPTS["container-init"]),
    ]


def machine(site: Site, guest: Guest, busybox: bytes, modules: Sequence[tuple[str, bytes]]) -> list[Member]:
    """What the RAM disk of a virtual machine holds; `modules`: (file name, content) in load order."""
    order = "".join(f"{name}\n" for name, _ in modules).encode()
    return [
        *_common(site, guest, busybox),
        Member("dev/console", 0o600, device=CONSOLE),
        Member("init", content=SCRIPTS["vm-init"]),
        Member("etc/acpi"),
        Member("etc/acpi/PWRF"),
        Member("etc/acpi/PWRF/00000080", content=SCRIPTS["power-button"]),
        Member("modules"),
        Member("modules/order", 0o644, order),
        *(Member(f"modules/{name}", 0o644, content) for name, content in modules),
    ]


def _common(site: Site, guest: Guest, busybox: bytes) -> list[Member]:
    return [
        *(Member(folder) for folder in FOLDERS),
        Member("bin"),
        Member("bin/busybox", content=busybox),
        *(Member(f"bin/{name}", link="busybox") for name in APPLETS),
        Member("bin/beat", content=SCRIPTS["beat"]),
        Member("etc/passwd", 0o644, _PASSWD),
        Member("etc/beat.conf", 0o644, identity(site, guest)),
        Member("etc/beat.network", 0o644, SCRIPTS["network"]),
    ]
