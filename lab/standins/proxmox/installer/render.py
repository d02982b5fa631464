"""The text of every file that the installer writes, in the shape of pve-installer's Install.pm. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .answer import Answer, Network
from .values import KEYBOARDS

STORAGE_CFG = """\
dir: local
\tpath /var/lib/vz
\tcontent iso,vztmpl,backup
\tdisable

btrfs: local-btrfs
\tpath /var/lib/pve/local-btrfs
\tcontent iso,vztmpl,backup,images,rootdir,import
"""


def interfaces(network: Network, management: str, others: Iterable[str]) -> str:
    """/etc/network/interfaces: the management address on vmbr0, every other port manual."""
    family = "inet" if network.cidr.version == 4 else "inet6"
    text = (
        f"auto lo\niface lo inet loopback\n\niface {management} {family} manual\n"
        f"\nauto vmbr0\niface vmbr0 {family} static\n"
        f"\taddress {network.cidr}\n\tgateway {network.gateway}\n"
        f"\tbridge-ports {management}\n\tbridge-stp off\n\tbridge-fd 0\n"
    )
    text += "".join(f"\niface {name} {family} manual\n" for name in others)
    return text + "\n\nsource /etc/network/interfaces.d/*\n"


def hosts(answer: Answer) -> str:
    host, domain = answer.globals.host, answer.globals.domain
    return (
        f"127.0.0.1 localhost.localdomain localhost\n{answer.network.cidr.ip} {host}.{domain} {host}\n\n"
        "# The following lines are desirable for IPv6 capable hosts\n\n"
        "::1     ip6-localhost ip6-loopback\nfe00::0 ip6-localnet\nff00::0 ip6-mcastprefix\n"
        "ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\nff02::3 ip6-allhosts\n"
    )


def resolv_conf(answer: Answer) -> str:
    return f"search {answer.globals.domain}\nnameserver {answer.network.dns}\n"


def fstab(uuid: str, compress: str) -> str:
    options = {"off": "defaults", "on": "defaults,compress"}.get(compress, f"defaults,compress={compress}")
    return (
        "# <file system> <mount point> <type> <options> <dump> <pass>\n"
        f"UUID={uuid} / btrfs {options} 0 1\nproc /proc proc defaults 0 0\n"
    )


def link_file(mac: str, name: str) -> str:
    """A systemd.link(5) file that pins a port's name to its MAC."""
    return (
        f"# setup by the Proxmox installer.\n[Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nName={name}\n"
    )


def link_files(names: Mapping[str, str]) -> dict[str, str]:
    return {
        f"usr/local/lib/systemd/network/50-pmx-{name}.link": link_file(mac, name)
        for mac, name in names.items()
    }


def keyboard(layout: str) -> str:
    layout = KEYBOARDS[layout]
    return f'XKBMODEL="pc105"\nXKBLAYOUT="{layout}"\nXKBVARIANT=""\nXKBOPTIONS=""\nBACKSPACE="guess"\n'


def kernel_command_line(uuid: str, console: str) -> str:
    """/etc/kernel/cmdline; the medium's console= words go over to the installed system."""
    return f"root=UUID={uuid} {console}".strip() + "\n"


def loader_entry(version: str, machine_id: str, command_line: str) -> str:
    """A Boot Loader Specification entry as proxmox-boot-tool writes it on every ESP."""
    return (
        f"title    Proxmox Virtual Environment\nversion  {version}\noptions   {command_line.strip()}\n"
        f"machine-id {machine_id}\nlinux    /EFI/proxmox/{version}/vmlinuz-{version}\n"
        f"initrd   /EFI/proxmox/{version}/initrd.img-{version}\n"
    )


def files(answer: Answer, names: Mapping[str, str], management: str, uuid: str) -> dict[str, str]:
    """Path below the root -> text, of every plain file with mode 0644."""
    own = names[management]
    others = sorted(name for mac, name in names.items() if mac != management)
    written = {
        "etc/hosts": hosts(answer),
        "etc/hostname": f"{answer.globals.host}\n",
        "etc/network/interfaces": interfaces(answer.network, own, others),
        "etc/resolv.conf": resolv_conf(answer),
        "etc/fstab": fstab(uuid, answer.disks.compress),
        "etc/timezone": f"{answer.globals.timezone}\n",
        "etc/default/keyboard": keyboard(answer.globals.keyboard),
        "etc/pve/datacenter.cfg": f"keyboard: {answer.globals.keyboard}\n",
        "etc/pve/user.cfg": f"user:root@pam:1:0:::{answer.globals.mailto}::\n",
        "etc/pve/storage.cfg": STORAGE_CFG,
    }
    return written | (link_files(names) if answer.network.pins is not None else {})
