"""What goes onto a node's medium: the answer file, the mode file and the first-boot script. Pure.

Formats: Proxmox VE 9 automated installer (kebab-case answer file, `proxmox-installer-types`), first-boot
hook as copied by `prepare-iso --on-first-boot` (at most 1 MiB).
"""

from __future__ import annotations

import base64
import fnmatch
import io
import ipaddress
import shlex
import tarfile
from typing import TYPE_CHECKING, Any

import tomli_w

from cluster.errors import SiteError
from provisioners.base_install.files import ManagedFile, Material, bootstrap_interfaces, managed
from provisioners.base_install.hostkey import HostKey

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec

MODE = 'mode = "iso"\npartition_label = "proxmox-ais"\n\n[http]\n'
SAVED = "/var/lib/rackproof/saved"  # originals by phase, kept before the first change
FIRST_BOOT_LIMIT = 1 << 20


def answer(site: Site, node: NodeSpec, material: Material, password_hash: str) -> str:
    """answer.toml of one node: only its two boot drives, by serial number, can match the disk filter.

    Raises SiteError when another drive of the node would match as well.
    """
    host = site.host_network
    install = site.install
    first = node.links[0]
    content: dict[str, Any] = {
        "global": {
            "keyboard": install.keyboard,
            "country": install.country,
            "fqdn": site.fqdn(node),
            "mailto": install.mailto,
            "timezone": site.timezone,
            "root-password-hashed": password_hash,
            "root-ssh-keys": [material.automation_key.strip(), material.admin_key.strip()],
            "reboot-on-error": False,
            "reboot-mode": "power-off",
        },
        "network": {
            "source": "from-answer",
            "cidr": f"{ipaddress.IPv4Address(node.address)}/{host.subnet.prefixlen}",
            "gateway": str(host.gateway or host.subnet.network_address + 1),
            "dns": str(site.dns[0]),
            "filter": {"ID_NET_NAME_MAC": f"*{first.mac.replace(':', '').lower()}"},
            "interface-name-pinning": {"enabled": True, "mapping": interface_names(node)},
        },
        "disk-setup": {
            "filesystem": install.filesystem,
            install.filesystem: {"raid": install.raid},
            "filter-match": "any",
            "filter": disk_filter(node),
        },
        "first-boot": {"source": "from-iso", "ordering": "before-network"},
    }
    return tomli_w.dumps(content)


def interface_names(node: NodeSpec) -> dict[str, str]:
    """Name by MAC address: nic0, nic1, ... for the fast links in their order, ring0 for the ring port."""
    names = {link.mac.lower(): f"nic{i}" for i, link in enumerate(node.links)}
    if node.ring is not None:
        names[node.ring.mac.lower()] = "ring0"
    return names


def disk_filter(node: NodeSpec) -> dict[str, str]:
    """Two udev properties, one for each boot drive, because the format allows each property once.

    ID_SERIAL_SHORT is the serial number; ID_SERIAL is `<model>_<serial>` and, for NVMe, `_<namespace>`
    (systemd, 60-persistent-storage.rules).
    """
    if len(node.boot_drives) != 2:
        raise SiteError(
            f"{node.name}: boot_drives: the automated installer can be given two drives by serial number"
        )
    first, second = node.boot_drives
    filters = {"ID_SERIAL_SHORT": first, "ID_SERIAL": f"*_{second}*"}
    for serial in (*node.data_drives, first):
        if fnmatch.fnmatchcase(f"model_{serial}_1", filters["ID_SERIAL"]) or (
            serial == first and serial == second
        ):
            raise SiteError(
                f"{node.name}: drive {serial} cannot be told from boot drive {second} by the installer"
            )
    if any(c in first + second for c in "*?[]"):
        raise SiteError(
            f"{node.name}: boot_drives: a serial number with *, ?, [ or ] cannot be put into a filter"
        )
    return filters


def first_boot(site: Site, node: NodeSpec, material: Material, host_key: HostKey) -> str:
    """The script that runs once, before the network comes up: it makes the node reachable as ordered.

    What it replaces is saved first. All files travel in one archive: at this point of a boot every process
    that is started costs. Raises SiteError when the script grows beyond what the installer takes.
    """
    files = [
        *managed(site, node, material),
        ManagedFile("/etc/network/interfaces", bootstrap_interfaces(site, node)),
        ManagedFile("/etc/ssh/ssh_host_ed25519_key", host_key.private, mode=0o600),
        ManagedFile("/etc/ssh/ssh_host_ed25519_key.pub", f"{host_key.public} root@{node.name}\n"),
    ]
    script = (
        _SCRIPT.replace("@SAVED@", f"{SAVED}/phase1")
        .replace("@PATHS@", " ".join(shlex.quote(file.path) for file in files))
        .replace("@ARCHIVE@", base64.encodebytes(_archive(files)).decode())
    )
    if len(script) > FIRST_BOOT_LIMIT:
        raise SiteError(
            f"{node.name}: the first-boot script has {len(script)} bytes;"
            f" the installer takes {FIRST_BOOT_LIMIT}"
        )
    return script


def _archive(files: list[ManagedFile]) -> bytes:
    """The files and their folders as an uncompressed tar archive; the same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder, mode in _FOLDERS.items():
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for file in files:
            body = file.content.encode()
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size, entry.mode = len(body), file.mode
            archive.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


_FOLDERS = {
    "/root/.ssh": 0o700,
    "/root/.aws": 0o700,
    "/etc/ssh/sshd_config.d": 0o755,
    "/usr/local/share/ca-certificates": 0o755,
    "/etc/modules-load.d": 0o755,
}

_SCRIPT = """\
#!/bin/sh
# First boot: before the network comes up, this node gets its tagged host address, its host key and its files.
set -eu
root=${ROOT:-/}
saved=${root%/}@SAVED@
mkdir -p -m 700 "$saved"
cd "$root"
touch "$saved/.absent"
before=$(tr '\\n' ' ' < "$saved/.absent")
existing=
for path in @PATHS@; do
  if [ -e "$saved$path" ]; then continue; fi
  case " $before" in *" $path "*) continue ;; esac
  if [ -e ".$path" ]; then existing="$existing .$path"; else echo "$path"; fi
done >> "$saved/.absent"
if [ -n "$existing" ]; then cp -aL --parents $existing "$saved"; fi
base64 -d <<'END' | tar -x -p --no-same-owner -C "$root"
@ARCHIVE@END
sync
if [ "$root" = / ]; then
  hostname "$(cat /etc/hostname)"
  modprobe -a bonding 8021q bridge 2>/dev/null || true
  # It does not wait for the network and may have read its old configuration already.
  systemctl --no-block try-restart chrony.service || true
fi
"""
