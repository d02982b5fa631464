"""What the site's golden guests come to: images, parameters of the API, how one is known as ours. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cluster.errors import NotApplicableError
from provisioners.guests.root import SCRIPTS, identity

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Guest

TAG = "rackproof"
"""A guest without this tag is somebody else's, whatever its number is."""
MIB, GIB = 2**20, 2**30
_MARK = "rackproof golden guest, recipe "
_SUFFIX = {"container": "tar.gz", "vm": "iso"}
_CONTENT = {"container": "vztmpl", "vm": "iso"}


def guests(site: Site) -> tuple[Guest, ...]:
    """The ordered golden guests. Raises NotApplicableError where there are none."""
    if not site.guests:
        raise NotApplicableError(
            "PF-NO-GUESTS", f"{site.name} orders no golden guest.", "add [[guest]] tables to the site file."
        )
    return site.guests


def guest(site: Site, vmid: int) -> Guest:
    """The golden guest of that number. Raises KeyError where none is ordered."""
    return {each.vmid: each for each in site.guests}[vmid]


def store(site: Site) -> str:
    """The storage that holds what guests are made from, the same for every node."""
    assert site.ceph is not None and site.ceph.filesystem is not None  # checked when the site was read
    return site.ceph.filesystem


def content(guest: Guest) -> str:
    """What the storage calls the guest's image."""
    return _CONTENT[guest.kind]


def recipe(site: Site, guest: Guest) -> str:
    """What the guest is made by, as twelve hexadecimal digits: its scripts, who it is, what it has.

    Neither busybox nor the kernel counts: another release of theirs is no reason to make a guest anew.
    """
    parts = {
        "scripts": {name: hashlib.sha256(body).hexdigest() for name, body in SCRIPTS.items()},
        "identity": identity(site, guest).decode(),
        "hardware": hardware(site, guest),
        "kernel": str(guest.kernel or ""),
        "unprivileged": guest.unprivileged,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def image(site: Site, guest: Guest) -> str:
    """File name of the guest's image."""
    return f"{guest.name}-{recipe(site, guest)}.{_SUFFIX[guest.kind]}"


def volume(site: Site, guest: Guest) -> str:
    """The image as Proxmox VE names it."""
    return f"{store(site)}:{content(guest)}/{image(site, guest)}"


def description(site: Site, guest: Guest) -> str:
    """What the guest's notes say; by it a guest of an older recipe is known."""
    return f"{_MARK}{recipe(site, guest)}"


def home(site: Site, guest: Guest) -> str:
    """The node on which it is made: the one that it prefers most."""
    preferred = guest.ha.nodes if guest.ha is not None else {}
    return max((node.name for node in site.nodes), key=lambda name: preferred.get(name, -1))


def hardware(site: Site, guest: Guest) -> dict[str, str]:
    """What the guest is given, by the key of its configuration; a disk as storage and size in GiB."""
    network = site.networks[guest.network]
    bridge = f"bridge={site.bridge.name},tag={network.id}"
    found = {"cores": str(guest.cores), "memory": str(guest.memory // MIB)}
    disk = f"{guest.storage}:{guest.disk // GIB}"
    if guest.kind == "container":
        return {**found, "rootfs": disk, "net0": f"name=eth0,{bridge},type=veth"}
    return {**found, "virtio0": disk, "net0": f"virtio,{bridge}"}


def parameters(site: Site, guest: Guest) -> dict[str, Any]:
    """What POST /nodes/{node}/lxc or qemu is given."""
    common = {
        **hardware(site, guest),
        "vmid": guest.vmid,
        "tags": TAG,
        "description": description(site, guest),
        "onboot": 0,
    }
    if guest.kind == "container":
        # unmanaged: the guest sets its own address, and nothing is written into it.
        return common | {
            "ostemplate": volume(site, guest),
            "ostype": "unmanaged",
            "hostname": guest.name,
            "unprivileged": guest.unprivileged,
            "swap": 0,
        }
    return common | {
        "name": guest.name,
        "ostype": "l26",
        "ide2": f"{volume(site, guest)},media=cdrom",
        "boot": "order=ide2",
        "serial0": "socket",
    }
