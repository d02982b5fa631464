"""The files of a node that phase 1 keeps: rendered from the site, the same for the first boot and for
Ansible. Pure.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec

CA_PATH = "/usr/local/share/ca-certificates/node-parameters.crt"
SSHD_PATH = "/etc/ssh/sshd_config.d/000-rackproof.conf"
ENTERPRISE_PATH = "/etc/apt/sources.list.d/pve-enterprise.sources"
COMMUNITY_PATH = "/etc/apt/sources.list.d/proxmox.sources"
CEPH_PATH = "/etc/apt/sources.list.d/ceph.sources"
KEYS_PATH = "/root/.ssh/authorized_keys"
AWS_PATH = "/root/.aws/config"
READER_PATH = "/usr/local/sbin/node-parameter"

PACKAGES = ("chrony", "curl", "ifupdown2", "iperf3", "iputils-arping", "openssh-server", "python3")

_KEYRING = "/usr/share/keyrings/proxmox-archive-keyring.gpg"
_SUITES = {"8": "bookworm", "9": "trixie"}  # Debian release under each major release of Proxmox VE
_CEPH = {"8": "reef", "9": "squid"}  # the release that is offered first
_READER = Path(__file__).with_name("node-parameter").read_text(encoding="utf-8")


@dataclass(frozen=True)
class ManagedFile:
    """One file as ordered. `service`: what must read it again when it changes; "" for nothing."""

    path: str
    content: str
    mode: int = 0o644
    service: str = ""

    @property
    def digest(self) -> str:
        """`SHA-256 mode`, as an observation states it."""
        return f"{hashlib.sha256(self.content.encode()).hexdigest()} {self.mode:o}"


@dataclass(frozen=True)
class Material:
    """What the files hold beside the site file: public keys, the certificate of a private AWS endpoint."""

    automation_key: str
    admin_key: str
    ca_pem: str = ""


def managed(site: Site, node: NodeSpec, material: Material) -> tuple[ManagedFile, ...]:
    """Every file of `node` that phase 1 keeps as ordered."""
    files = [
        ManagedFile("/etc/hostname", f"{node.name}\n"),
        ManagedFile("/etc/hosts", hosts(site)),
        ManagedFile("/etc/resolv.conf", resolver(site)),
        ManagedFile("/etc/chrony/chrony.conf", chrony(site), service="chrony"),
        ManagedFile("/etc/modules-load.d/rackproof.conf", MODULES),
        ManagedFile(SSHD_PATH, SSHD, service="ssh"),
        ManagedFile(KEYS_PATH, authorized_keys(material), mode=0o600),
        ManagedFile(ENTERPRISE_PATH, repository(site, "enterprise")),
        ManagedFile(COMMUNITY_PATH, repository(site, "no-subscription")),
        ManagedFile(CEPH_PATH, ceph_repository(site)),
        ManagedFile(AWS_PATH, aws_config(site), mode=0o600),
        ManagedFile(READER_PATH, _READER, mode=0o755),
    ]
    if material.ca_pem:
        files.append(ManagedFile(CA_PATH, material.ca_pem))
    return tuple(files)


def hosts(site: Site) -> str:
    """/etc/hosts with every node, so that the nodes find each other while no name server answers."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{node.address} {site.fqdn(node)} {node.name}" for node in site.nodes]
    return "\n".join(lines) + "\n"


def resolver(site: Site) -> str:
    """/etc/resolv.conf with every ordered name server: the installer itself takes only one."""
    return "".join([f"search {site.domain}\n", *(f"nameserver {address}\n" for address in site.dns)])


def chrony(site: Site) -> str:
    """chrony.conf with the ordered servers and no pool of the distribution."""
    servers = "".join(f"server {server} iburst\n" for server in site.ntp)
    return (
        f"{servers}confdir /etc/chrony/conf.d\nkeyfile /etc/chrony/chrony.keys\n"
        "driftfile /var/lib/chrony/chrony.drift\nlogdir /var/log/chrony\n"
        "maxupdateskew 100.0\nrtcsync\nmakestep 1 3\n"
    )


# Loaded before the network comes up: ifupdown2 has been seen to miss what came late.
MODULES = "bonding\n8021q\nbridge\n"

SSHD = """\
# Nobody enters with a password; root enters with a key, which Proxmox VE needs between its nodes.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
PermitRootLogin prohibit-password
PubkeyAuthentication yes
HostKey /etc/ssh/ssh_host_ed25519_key
"""


def authorized_keys(material: Material) -> str:
    """Exactly the automation key and the administrators' key."""
    return f"{material.automation_key.strip()}\n{material.admin_key.strip()}\n"


def suite(site: Site) -> str:
    """Debian suite of the ordered release. Raises KeyError for a release that is not known."""
    return _SUITES[site.install.release.split(".")[0]]


def repository(site: Site, kind: str) -> str:
    """A package source in deb822 form; the one that is not ordered is disabled, not deleted (it is a
    conffile).
    """
    host = "https://enterprise.proxmox.com" if kind == "enterprise" else "http://download.proxmox.com"
    text = (
        f"Types: deb\nURIs: {host}/debian/pve\nSuites: {suite(site)}\nComponents: pve-{kind}\n"
        f"Signed-By: {_KEYRING}\n"
    )
    return text if kind == site.install.repository else f"{text}Enabled: no\n"


def ceph_repository(site: Site) -> str:
    """Ceph's source follows the subscription too: the installer leaves the enterprise one enabled; without
    a subscription every `apt update` fails on it.
    """
    release = site.ceph.release if site.ceph is not None else _CEPH[site.install.release.split(".")[0]]
    paid = site.install.repository == "enterprise"
    host = "https://enterprise.proxmox.com" if paid else "http://download.proxmox.com"
    return (
        f"Types: deb\nURIs: {host}/debian/ceph-{release}\nSuites: {suite(site)}\n"
        f"Components: {site.install.repository}\nSigned-By: {_KEYRING}\n"
    )


def aws_config(site: Site) -> str:
    """The AWS profile that every SDK on the node finds. It holds no key: where those come from is the
    source's matter.
    """
    aws = site.aws
    lines = ["[default]", f"region = {aws.region}"]
    if aws.endpoint:
        lines.append(f"endpoint_url = {str(aws.endpoint).rstrip('/')}")
    if aws.ca_file:
        lines.append(f"ca_bundle = {CA_PATH}")
    if aws.credential_source == "rolesanywhere":
        lines.append("credential_process = /usr/local/sbin/node-credentials")
    return "\n".join(lines) + "\n"


def bootstrap_interfaces(site: Site, node: NodeSpec) -> str:
    """The first /etc/network/interfaces: the host address, tagged, on the first link. Phase 2 makes the
    bond of it.

    The switch ports are plain trunks: the installer's own untagged address would never be heard.
    """
    first, *others = [f"nic{i}" for i in range(len(node.links))]
    host = site.host_network
    if host.id is None:
        raise ValueError(f"{site.file}: the host network has no VLAN id")
    tagged = f"{first}.{host.id}"
    lines = ["auto lo", "iface lo inet loopback", "", f"auto {first}", f"iface {first} inet manual", ""]
    for name in [*others, *(["ring0"] if node.ring else [])]:
        lines += [f"iface {name} inet manual", ""]
    lines += [
        f"auto {tagged}",
        f"iface {tagged} inet static",
        f"\taddress {ipaddress.IPv4Address(node.address)}/{host.subnet.prefixlen}",
        *([f"\tgateway {host.gateway}"] if host.gateway else []),
        "",
        "source /etc/network/interfaces.d/*",
    ]
    return "\n".join(lines) + "\n"
