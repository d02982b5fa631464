"""`pvecm`: the cluster on this node's command line. Status and membership are corosync-quorumtool's own."""

from __future__ import annotations

import getpass
import os
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .. import endpoints
from ..config import certificates, corosync, setup
from ..http import client, tasks
from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.parameters import properties
from ..http.registry import Call
from ..http.tasks import Log
from . import local

FLAGS = ("force", "use_ssh", "silent", "unmerge-known-hosts", "f")


def main(words: Sequence[str] | None = None) -> int:
    return local.guarded("pvecm", _run, words)


def _run(machine: Machine, words: list[str]) -> int:
    commands: dict[str, Callable[[Machine, list[str], dict[str, Any]], int]] = {
        "create": _create, "add": _add, "addnode": _addnode, "delnode": _delnode, "status": _status,
        "nodes": _nodes, "expected": _expected, "updatecerts": _updatecerts, "apiver": _apiver,
        "keygen": _keygen,
    }  # fmt: skip
    if not words or words[0] not in commands:
        raise local.UsageError(f"unknown command '{words[0]}'" if words else "no command specified")
    placed, named = local.options(words[1:], FLAGS)
    return commands[words[0]](machine, placed, named)


def _one(placed: list[str], what: str) -> str:
    if len(placed) != 1:
        raise local.UsageError("not enough arguments" if not placed else f"too many arguments: one {what}")
    return placed[0]


def _need_config(machine: Machine) -> None:
    if not corosync.exists(machine):
        path = corosync.CLUSTER
        raise ApiError(
            500, f"Error: Corosync config '{path}' does not exist - is this node part of a cluster?"
        )


def _outside_pve() -> None:
    """The folder is mounted anew meanwhile."""
    if f"{os.getcwd()}/".startswith("/etc/pve/"):  # noqa: PTH109 - the text is all that matters
        raise ApiError(500, "cannot change cluster from within /etc/pve, which is mounted anew")


def _create(machine: Machine, placed: list[str], named: dict[str, Any]) -> int:
    _outside_pve()
    local.call(machine, "POST", "/cluster/config", {**named, "clustername": _one(placed, "name")})
    return 0


def _links(named: dict[str, Any]) -> setup.Links:
    try:
        return {n: properties(named.pop(f"link{n}"), setup.LINK) for n in range(8) if f"link{n}" in named}
    except ValueError as error:
        raise ApiError(400, f"Parameter verification failed. link: {error}") from error


def _add(machine: Machine, placed: list[str], named: dict[str, Any]) -> int:
    _outside_pve()
    endpoints.load()
    host = _one(placed, "host")
    by_ssh = named.pop("use_ssh", "0") == "1"
    params = {"hostname": host, **named}
    links = _links(params)
    unknown = set(params) - {"hostname", "fingerprint", "force", "nodeid", "votes"}
    if unknown:
        raise local.UsageError(f"Unknown option: {sorted(unknown)[0]}")
    params["force"] = params.get("force") == "1"
    params |= {name: int(params[name]) for name in ("nodeid", "votes") if name in params}
    if not by_ssh:
        params["password"] = _password(host)
        params["fingerprint"] = params.get("fingerprint") or _ask_fingerprint(machine, host)

    def work(log: Log) -> None:
        (setup.join_by_ssh if by_ssh else setup.join)(machine, params, links, log)

    tasks.start(Call(machine, "root@pam", local=True), kind="clusterjoin", work=work)
    return 0


def _password(host: str) -> str:
    """From the terminal, or the first line of standard input; never from the command line."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Please enter superuser (root) password for '{host}': ")
    return sys.stdin.readline().rstrip("\n")


def _ask_fingerprint(machine: Machine, host: str) -> str:
    pem = ssl.get_server_certificate((host, machine.port), timeout=30)
    found = client.pem_fingerprint(pem)
    local.out(f"The authenticity of host '{host}' can't be established.")
    local.out(f"X509 SHA256 key fingerprint is {found}.")
    sys.stdout.write("Are you sure you want to continue connecting (yes/no)? ")
    sys.stdout.flush()
    if not sys.stdin.readline().strip().lower().startswith("y"):
        raise ApiError(500, "Cluster join aborted!")
    return found


def _addnode(machine: Machine, placed: list[str], named: dict[str, Any]) -> int:
    """What the joining node's `--use_ssh` calls at the peer."""
    name = _one(placed, "node name")
    path = f"/cluster/config/nodes/{name}"
    answer = local.call(machine, "POST", path, {"apiversion": str(setup.JOIN_API_VERSION), **named})
    for warning in answer["warnings"]:
        sys.stderr.write(f"{warning}\n")
    return 0


def _delnode(machine: Machine, placed: list[str], _named: dict[str, Any]) -> int:
    _need_config(machine)
    local.call(machine, "DELETE", f"/cluster/config/nodes/{_one(placed, 'node name')}", {})
    return 0


def _status(machine: Machine, _placed: list[str], _named: dict[str, Any]) -> int:
    _need_config(machine)
    totem = corosync.read(machine)["totem"]
    shown = {
        "Name": ("cluster_name", "UNKNOWN"),
        "Config Version": ("config_version", "-1"),
        "Transport": ("transport", "knet"),
        "Secure auth": ("secauth", "off"),
    }
    local.out("Cluster information\n-------------------")
    for label, (key, default) in shown.items():
        local.out(f"{label + ':':<17} {totem.get(key, default)}")
    local.out("")
    sys.stdout.flush()
    return _exec("corosync-quorumtool", "-siH")


def _exec(*command: str) -> int:
    try:
        os.execvp(command[0], command)  # noqa: S606 - its output and exit code are ours
    except FileNotFoundError as error:
        raise ApiError(500, f"{command[0]}: command not found") from error


def _nodes(machine: Machine, _placed: list[str], _named: dict[str, Any]) -> int:
    _need_config(machine)
    return _exec("corosync-quorumtool", "-l")


def _expected(machine: Machine, placed: list[str], _named: dict[str, Any]) -> int:
    _need_config(machine)
    votes = _one(placed, "number of votes")
    if not votes.isdigit() or int(votes) < 1:
        raise ApiError(400, "Parameter verification failed. expected: value must have a minimum value of 1")
    return _exec("corosync-quorumtool", "-e", votes)


def _updatecerts(machine: Machine, _placed: list[str], named: dict[str, Any]) -> int:
    """Certificate, keys and folders of this node; with --force a new certificate in any case."""
    force = named.get("force") == "1" or named.get("f") == "1"
    if named.get("silent") != "1":
        local.out("(re)generate node files")
    if certificates.ensure(machine, renew=force):
        if named.get("silent") != "1":
            local.out("generate new node certificate")
        setup.reload_daemons(machine)
    setup.node_files(machine)
    if named.get("silent") != "1":
        local.out("merge authorized SSH keys and known hosts")
    return 0


def _apiver(_machine: Machine, _placed: list[str], _named: dict[str, Any]) -> int:
    local.out(str(setup.JOIN_API_VERSION))
    return 0


def _keygen(_machine: Machine, placed: list[str], _named: dict[str, Any]) -> int:
    return _exec("corosync-keygen", "-l", "-k", _one(placed, "file"))


if __name__ == "__main__":
    sys.exit(main())
