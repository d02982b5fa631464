"""Nodes in which phase 1 lacks nothing: each test takes one thing away."""

from __future__ import annotations

from dataclasses import replace

from cluster.site import Site
from provisioners.base_install.files import PACKAGES, SSHD_PATH, Material, managed
from provisioners.base_install.observation import Observation, Server
from provisioners.base_install.system import (
    Clock,
    Drive,
    Interface,
    Key,
    Mirror,
    MirrorLeg,
    ParameterAccess,
    Repository,
    System,
)

MATERIAL = Material("ssh-ed25519 AAAAautomation rackproof", "ssh-rsa AAAAadmin people", "CERTIFICATE\n")


def good_system(site: Site, name: str) -> System:
    """A node as ordered."""
    node = site.node(name)
    drives = tuple(
        Drive(f"/dev/nvme{i}n1", serial, "QEMU", 8 << 30, "", "gpt", (f"/dev/nvme{i}n1p1",), True)
        for i, serial in enumerate(node.boot_drives)
    ) + tuple(
        Drive(f"/dev/nvme{i + 2}n1", serial, "QEMU", 12 << 30, "", "", (), False)
        for i, serial in enumerate(node.data_drives)
    )
    legs = tuple(MirrorLeg(f"/dev/nvme{i}n1p2", s, True, 0) for i, s in enumerate(node.boot_drives))
    return System(
        hostname=name,
        fqdn=site.fqdn(node),
        os={"VERSION_CODENAME": "trixie"},
        kernel="6.14.8-2-pve",
        pveversion="pve-manager/9.0.3/abc (running kernel: 6.14.8-2-pve)",
        timezone="UTC",
        interfaces=(Interface("nic0.6", node.links[0].mac, True, 1500, (f"{node.address}/24",)),),
        gateway="10.6.0.1",
        nameservers=tuple(map(str, site.dns)),
        search=(site.domain,),
        memory=3 << 30,
        threads=1,
        sockets=1,
        drives=drives,
        mirror=Mirror("btrfs", legs, ("raid1",), 0),
        boot_current="0001",
        boot_order=("0001",),
        boot_entries=(),
        clock=Clock(True, 0.001, 3, (("10.6.0.1", "*"),)),
        sshd={
            "passwordauthentication": "no",
            "kbdinteractiveauthentication": "no",
            "permitemptypasswords": "no",
            "permitrootlogin": "without-password",
            "pubkeyauthentication": "yes",
        },
        sshd_dropins=(SSHD_PATH,),
        keys=(Key("ED25519", 256, "SHA256:a"), Key("RSA", 4096, "SHA256:b")),
        host_key="ssh-ed25519 AAAA",
        repositories=(
            Repository(
                "/etc/apt/sources.list.d/proxmox.sources",
                "http://d",
                "trixie",
                ("pve-no-subscription",),
                True,
            ),
            Repository(
                "/etc/apt/sources.list.d/pve-enterprise.sources",
                "https://e",
                "trixie",
                ("pve-enterprise",),
                False,
            ),
        ),
        packages=frozenset(PACKAGES),
        resolves={},
        files={file.path: file.digest for file in managed(site, node, MATERIAL)},
        parameter=ParameterAccess(site.cluster, True, "2026-01-01T00:00:00Z", ""),
    )


def all_installed(site: Site) -> Observation:
    """Three nodes in which phase 1 lacks nothing."""
    servers = {n.name: Server(n.name, good_system(site, n.name), "installed", "On") for n in site.nodes}
    return Observation(servers, MATERIAL)


def with_server(seen: Observation, server: Server) -> Observation:
    """The same observation with one server in place of its namesake."""
    return replace(seen, servers={**seen.servers, server.name: server})


def with_system(seen: Observation, name: str, **changes: object) -> Observation:
    """The same observation with some values of one node's system changed."""
    system = replace(seen.system(name), **changes)  # type: ignore[arg-type]
    return with_server(seen, replace(seen.servers[name], system=system))
