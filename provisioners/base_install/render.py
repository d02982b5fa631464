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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tomli_w

from cluster.errors import SiteError
from provisioners.base_install.files import ManagedFile, Material, bootstrap_interfaces, managed

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


def first_boot(site: Site, node: NodeSpec, material: Material, host_key: str) -> str:
    """The script that runs once, before the network comes up: it makes the node reachable as ordered.

    `host_key` is the private SSH host key in OpenSSH form. Every file that is replaced is saved first.
    Raises SiteError when the script grows beyond what the installer takes.
    """
    files = [
        *managed(site, node, material),
        ManagedFile("/etc/network/interfaces", bootstrap_interfaces(site, node)),
        ManagedFile("/etc/ssh/ssh_host_ed25519_key", host_key, mode=0o600),
    ]
    body = base64.encodebytes(_archive(files)).decode()
    paths = " ".join(shlex.quote(file.path) for file in files)
    script = f"{_HEAD.replace('@SAVED@', f'{SAVED}/phase1').replace('@PATHS@', paths)}{body}{_TAIL}"
    if len(script) > FIRST_BOOT_LIMIT:
        raise SiteError(
            f"{node.name}: the first-boot script has {len(script)} bytes;"
            f" the installer takes {FIRST_BOOT_LIMIT}"
        )
    return script


def _archive(files: Sequence[ManagedFile]) -> bytes:
    """All files as one tar: on an emulated processor every program that a script starts costs a quarter second."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for file in files:
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            content = file.content.encode()
            entry.size, entry.mode = len(content), file.mode
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


_HEAD = """\
#!/bin/sh
# First boot: before the network comes up, this node gets its tagged host address, its host key and its files.
set -eu
umask 077
saved=@SAVED@
mkdir -p "$saved" /root/.ssh /root/.aws
was=""
absent="
$(cat "$saved/.absent" 2>/dev/null || true)
"
for path in @PATHS@; do  # what stood there is saved once; what did not is remembered as absent
  case "$absent" in *"
$path
"*) continue ;; esac
  if [ -e "$saved$path" ]; then continue
  elif [ -e "$path" ]; then was="$was $path"
  else echo "$path" >> "$saved/.absent"
  fi
done
if [ -n "$was" ]; then tar -c $was 2>/dev/null | tar -x -p -C "$saved"; fi
umask 022
base64 -d <<'END' | tar -x -z -p --no-same-owner --unlink-first -C /
"""

_TAIL = """\
END
chmod 700 /root/.ssh /root/.aws
ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key > /etc/ssh/ssh_host_ed25519_key.pub
hostname "$(cat /etc/hostname)"
systemctl try-restart --no-block chrony.service 2>/dev/null || true
modprobe -a 8021q bonding 2>/dev/null || true
sync
"""
