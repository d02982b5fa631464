"""What phase 1 lacks: a pure function of the site and the observation.

Only what a provisioner can put right stands here. A drive that is not there, or a mirror that lost a leg,
is for the scenarios to find and for people to mend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioners.base_install.files import PACKAGES, SSHD_PATH, Material, managed, suite
from provisioners.base_install.observation import Observation, Server
from provisioners.base_install.system import System
from provisioners.change import Change

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec

SSHD = {
    "passwordauthentication": ("no",),
    "kbdinteractiveauthentication": ("no",),
    "permitemptypasswords": ("no",),
    "permitrootlogin": ("without-password", "prohibit-password"),  # sshd -T prints the older word
    "pubkeyauthentication": ("yes",),
}


def missing(site: Site, observation: Observation) -> list[Change]:
    """Every change that phase 1 lacks, server by server in the order of the site."""
    found: list[Change] = []
    for node in site.nodes:
        server = observation.servers[node.name]
        if server.system is not None:
            found += _inside(site, node, server.system, observation.material)
        else:
            found += _outside(site, node, server)
    return found


def _outside(site: Site, node: NodeSpec, server: Server) -> list[Change]:
    """A server on which no node answers: install it, finish what was begun, start it, or refuse."""
    drives = tuple(node.boot_drives)
    both = " and ".join(drives)
    release = site.install.release
    if server.power == "unknown":
        return [
            Change(node.name, f"reach its management controller ({server.trouble})", "reach", blocks=True)
        ]
    if server.marker == "installed":
        state = "is off: power it on" if server.power == "Off" else "runs and does not answer yet"
        return [
            Change(
                node.name,
                f"was installed before and {state}; wait for SSH (never installed again without"
                f" {' '.join(f'--wipe {serial}' for serial in drives)})",
                "start",
                serials=drives,
                when_wiped="install",
                blocks=True,
            )
        ]
    if server.marker == "written":
        text = "finish the installation: take the medium out, start from the boot drives"
        return [Change(node.name, text, "start", blocks=True)]
    if server.marker == "installing":
        text = f"take up the interrupted installation on {both}"
        return [Change(node.name, text, "install", blocks=True)]
    change = Change(
        node.name,
        f"install Proxmox VE {release} as {site.fqdn(node)}, {site.install.filesystem} {site.install.raid}"
        f" on {both}, {node.address} on the host network",
        "install",
        serials=drives,
        blocks=True,
        destroys=""
        if server.power == "Off"
        else "whatever runs there (the server is on and is none of our nodes)",
    )
    first_boot = [Change(node.name, f"at first boot: {text}", "install") for text in _first_boot(site)]
    return [change, *first_boot, Change(node.name, _ACCESS, "credentials")]


def _first_boot(site: Site) -> list[str]:
    """What the first-boot script on the medium sets, for the plan to be whole."""
    host = site.host_network
    return [
        f"host address tagged {host.id} on the first link, SSH host key made for it",
        f"package repository pve-{site.install.repository} and no other of its kind",
        f"time from {', '.join(map(str, site.ntp))}, names from {', '.join(map(str, site.dns))},"
        f" time zone {site.timezone}",
        "SSH without passwords, for the automation key (ED25519) and the administrators' key (RSA) only",
    ]


_ACCESS = "give it short-lived credentials of the nodes' role for the parameter store"


def _inside(site: Site, node: NodeSpec, system: System, material: Material) -> list[Change]:
    found = [
        *_identity(site, node, system),
        *_software(site, system),
        *_time_and_names(site, system),
        *_logins(system),
        *_files(site, node, system, material),
    ]
    changes = [Change(node.name, text, "common") for text in found]
    if system.parameter.value != site.cluster or not system.parameter.short_lived:
        reason = system.parameter.problem or (
            "its credentials do not expire"
            if not system.parameter.short_lived
            else f"read '{system.parameter.value}'"
        )
        changes.append(Change(node.name, f"{_ACCESS} ({reason})", "credentials"))
    return changes


def _identity(site: Site, node: NodeSpec, system: System) -> list[str]:
    found = []
    if system.hostname != node.name:
        found.append(f"set the host name to {node.name} (it is {system.hostname or 'empty'})")
    elif system.fqdn != site.fqdn(node):
        found.append(f"set the full name to {site.fqdn(node)} (it is {system.fqdn or 'empty'})")
    if system.timezone != site.timezone.removeprefix("Etc/"):
        found.append(f"set the time zone to {site.timezone} (it is {system.timezone or 'unset'})")
    return found


def _software(site: Site, system: System) -> list[str]:
    found = []
    absent = [name for name in PACKAGES if name not in system.packages]
    if absent:
        found.append(f"install the packages {', '.join(absent)}")
    wanted = f"pve-{site.install.repository}"
    own = {
        r for r in system.repositories if any(c.startswith("pve-") or c == "pvetest" for c in r.components)
    }
    if not any(r.enabled and wanted in r.components and r.suite == suite(site) for r in own):
        found.append(f"enable the package repository {wanted}")
    for other in sorted(
        {f"{' '.join(r.components)} in {r.file}" for r in own if r.enabled and wanted not in r.components}
    ):
        found.append(f"disable the package repository {other}")
    return found


def _time_and_names(site: Site, system: System) -> list[str]:
    found = []
    if system.nameservers != tuple(str(address) for address in site.dns):
        found.append(f"set the name servers to {', '.join(map(str, site.dns))}")
    elif site.domain not in system.search:
        found.append(f"set the search domain to {site.domain}")
    if not system.clock.sources:
        found.append(f"start time synchronisation with {', '.join(map(str, site.ntp))}")
    return found


def _logins(system: System) -> list[str]:
    found = [
        f"set the SSH server's {key} to {good[-1]} (it is {system.sshd.get(key) or 'unknown'})"
        for key, good in SSHD.items()
        if system.sshd.get(key) not in good
    ]
    if found:
        # In sshd_config the first value wins, and drop-ins are read in the order of their names.
        found += [f"take away {path}, which says otherwise" for path in foreign_dropins(system)]
    return found


def logins_as_ordered(system: System) -> bool:
    """Whether the SSH server's effective settings let in by key, and by nothing else."""
    return all(system.sshd.get(key) in good for key, good in SSHD.items())


def foreign_dropins(system: System) -> list[str]:
    """Drop-ins of the SSH server that decide about logins and are not ours."""
    return [path for path in system.sshd_dropins if path != SSHD_PATH]


def _files(site: Site, node: NodeSpec, system: System, material: Material) -> list[str]:
    return [
        f"bring {file.path} as ordered"
        for file in managed(site, node, material)
        if system.files.get(file.path) != file.digest
    ]
