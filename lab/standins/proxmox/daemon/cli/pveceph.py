"""`pveceph`: a sub-command is an endpoint of this node's API, called in this process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ..ceph import conf, monitors, units
from ..http.dispatch import handle
from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.registry import find

BASE = "/nodes/{node}/ceph"
SOURCES = "/etc/apt/sources.list.d/ceph.sources"
PACKAGES = ("ceph-common", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph-volume")
#: release that Proxmox VE offers -> what the medium carries instead
RELEASES = ("squid", "tentacle")
REPOSITORIES = ("enterprise", "no-subscription", "test", "manual")


@dataclass(frozen=True)
class Command:
    """`arguments` are the positional ones; `names` maps options of the command line to parameters."""

    method: str
    path: str
    arguments: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)


OSD_NAMES = {"db_size": "db_dev_size", "wal_size": "wal_dev_size"}
COMMANDS: dict[str, Command] = {
    "init": Command("POST", f"{BASE}/init"),
    "mon create": Command("POST", f"{BASE}/mon/{{monid}}"),
    "mon destroy": Command("DELETE", f"{BASE}/mon/{{monid}}", ("monid",)),
    "mgr create": Command("POST", f"{BASE}/mgr/{{id}}"),
    "mgr destroy": Command("DELETE", f"{BASE}/mgr/{{id}}", ("id",)),
    "osd create": Command("POST", f"{BASE}/osd", ("dev",), OSD_NAMES),
    "osd destroy": Command("DELETE", f"{BASE}/osd/{{osdid}}", ("osdid",)),
    "osd details": Command("GET", f"{BASE}/osd/{{osdid}}/metadata", ("osdid",)),
    "pool ls": Command("GET", f"{BASE}/pool"),
    "pool create": Command("POST", f"{BASE}/pool", ("name",)),
    "pool set": Command("PUT", f"{BASE}/pool/{{name}}", ("name",)),
    "pool get": Command("GET", f"{BASE}/pool/{{name}}/status", ("name",)),
    "pool destroy": Command("DELETE", f"{BASE}/pool/{{name}}", ("name",)),
    "mds create": Command("POST", f"{BASE}/mds/{{name}}"),
    "mds destroy": Command("DELETE", f"{BASE}/mds/{{name}}", ("name",)),
    "fs create": Command("POST", f"{BASE}/fs/{{name}}"),
    "start": Command("POST", f"{BASE}/start"),
    "stop": Command("POST", f"{BASE}/stop"),
}
ALIASES = {
    "createmon": "mon create", "createmgr": "mgr create", "createosd": "osd create",
    "createpool": "pool create",
    "destroymon": "mon destroy", "destroymgr": "mgr destroy", "destroyosd": "osd destroy",
    "destroypool": "pool destroy", "lspools": "pool ls",
}  # fmt: skip


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")


class UsageError(Exception):
    """A command line that pveceph does not take."""


def options(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Positional words, and options (`--size 3`, `--size=3`, `--add_storages`) by name."""
    placed: list[str] = []
    named: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or len(word) < 2:
            placed.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "1"
        named[name] = value
    return placed, named


def run(machine: Machine, command: Command, words: Sequence[str], defaults: Mapping[str, str]) -> Any:
    """Call the command's endpoint with what the command line says."""
    placed, named = options(words)
    if len(placed) > len(command.arguments):
        raise UsageError("too many arguments")
    given = {**dict(zip(command.arguments, placed, strict=False)), **command.fixed}
    missing = command.arguments[len(placed) :]
    if missing:
        raise UsageError("not enough arguments")
    given |= {command.names.get(name, name): value for name, value in named.items()}
    given.pop("output-format", None)
    in_path = {"node": machine.node, **defaults, **given}
    path = command.path
    for name in ("node", "monid", "id", "osdid", "name"):
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(str(in_path[name]), safe=""))
            given.pop(name, None)
    endpoint, found = find(command.method, path)
    return handle(machine, endpoint, "root@pam", found, given, local=True)


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0; 255 with one line on standard error otherwise, as PVE's commands."""
    from ..endpoints import ceph_daemons, ceph_osds, ceph_pools  # noqa: F401 - their endpoints become known

    argv = list(sys.argv[1:] if words is None else words)
    machine = Machine(socket.gethostname().partition(".")[0])
    try:
        return _served(machine, argv)
    except UsageError as error:
        _warn(f"ERROR: {error}\n{usage()}")
    except ApiError as error:
        detail = "".join(f"\n{name}: {text}" for name, text in error.errors.items())
        _warn(f"{error.message}{detail}")
    return 255


def _served(machine: Machine, argv: list[str]) -> int:
    if os.geteuid() != 0:
        raise ApiError(500, "please run as root")
    own: dict[str, Callable[[Machine, list[str]], int]] = {
        "install": install,
        "status": status,
        "purge": purge,
    }
    if argv and argv[0] in own:
        return own[argv[0]](machine, argv[1:])
    name = ALIASES.get(argv[0], argv[0]) if argv else ""
    rest = argv[1:]
    if name not in COMMANDS and argv[1:]:
        name, rest = f"{argv[0]} {argv[1]}", argv[2:]
    if name not in COMMANDS:
        raise UsageError(f"unknown command '{' '.join(argv[:2])}'" if argv else "no command specified")
    named_after_node = {"monid": machine.node, "id": machine.node}
    named_after_node["name"] = "cephfs" if name == "fs create" else machine.node
    answer = run(machine, COMMANDS[name], rest, named_after_node)
    if answer is not None and COMMANDS[name].method == "GET":
        _say(json.dumps(answer, indent=2, sort_keys=True))
    return 0


def usage() -> str:
    known = sorted([*COMMANDS, "install", "status", "purge"])
    return "USAGE: pveceph <COMMAND> [ARGS] [OPTIONS]\n" + "".join(
        f"       pveceph {name}\n" for name in known
    )


def install(machine: Machine, words: list[str]) -> int:
    """Order Ceph's repository and install its packages: in the rack they are on the medium already."""
    placed, named = options(words)
    release, repository = named.get("version", "squid"), named.get("repository", "enterprise")
    if placed:
        raise UsageError("too many arguments")
    if release not in RELEASES:
        raise ApiError(400, f"version: value '{release}' does not have a value in the enumeration "
                            f"'{', '.join(RELEASES)}'")  # fmt: skip
    if repository not in REPOSITORIES:
        raise ApiError(400, f"repository: value '{repository}' does not have a value in the enumeration "
                            f"'{', '.join(REPOSITORIES)}'")  # fmt: skip
    if repository != "manual":
        host = "https://enterprise" if repository == "enterprise" else "http://download"
        machine.write(
            SOURCES,
            f"Types: deb\nURIs: {host}.proxmox.com/debian/ceph-{release}\nSuites: trixie\n"
            f"Components: {repository}\nSigned-By: /usr/share/keyrings/proxmox-archive-keyring.gpg\n",
            mode=0o644,
        )
    shown = machine.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n", *PACKAGES], check=False
    )
    here = [line for line in shown.out.splitlines() if line.endswith(" installed")]
    for line in here:
        _say(f"{' '.join(line.split()[:2])} is installed")
    if len(here) < len(PACKAGES):
        raise ApiError(500, "apt failed during ceph installation (the rack reaches no repository)")
    _say(
        f"\ninstalled Ceph {release.capitalize()} successfully! (stand-in: Debian's packages from the medium)"
    )
    return 0


def status(machine: Machine, words: list[str]) -> int:
    """`ceph -s`, as on a real node."""
    if words:
        raise UsageError("too many arguments")
    conf.require_initialised(machine)
    return subprocess.run(["ceph", "-s"], timeout=120, check=False).returncode


def purge(machine: Machine, words: list[str]) -> int:
    """Remove Ceph's daemons and data of this node; refused while it serves the cluster."""
    placed, named = options(words)
    if placed or set(named) - {"logs", "crash"}:
        raise UsageError("purge takes only --logs and --crash")
    found = conf.load(machine)
    here = [
        kind
        for kind in ("mon", "mgr", "mds", "osd")
        if list(machine.file(f"/var/lib/ceph/{kind}").glob("ceph-*"))
    ]
    others = [name for name in found if name.startswith("mon.") and name != f"mon.{machine.node}"]
    if others and here:
        _warn(f"Unable to purge Ceph!\n\nTo continue:\n- remove local {', '.join(here).upper()}")
        return 1
    for kind in ("mds", "mgr", "osd", "mon"):
        machine.run(["systemctl", "stop", f"ceph-{kind}.target"], check=False)
        for folder in machine.file(f"/var/lib/ceph/{kind}").glob("ceph-*"):
            service = f"{kind}.{folder.name.removeprefix('ceph-')}"
            machine.run(["systemctl", "disable", units.unit(service)], check=False)
            machine.run(["umount", str(folder)], check=False)
            shutil.rmtree(folder, ignore_errors=True)
    for wanted, folder_name in (("logs", "/var/log/ceph"), ("crash", "/var/lib/ceph/crash")):
        if wanted in named:
            for path in machine.file(folder_name).glob("*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    monitors.forget()
    for path_name in (conf.LINK, "/etc/ceph/ceph.client.admin.keyring"):
        machine.file(path_name).unlink(missing_ok=True)
    if not others:
        for path_name in (conf.PATH, conf.ADMIN, "/etc/pve/priv/ceph.mon.keyring"):
            machine.file(path_name).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
