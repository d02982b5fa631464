"""Creating a cluster, joining one, what a member's files are (PVE::Cluster::Setup, API2::ClusterConfig)."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..http.client import Peer, pem_fingerprint
from ..http.errors import ApiError, TaskError
from ..http.machine import Machine
from ..http.tasks import Log
from . import certificates, corosync, members
from .locks import cfs_lock

JOIN_API_VERSION = 1
QUORUM_WITHIN_S = 300.0  # PVE waits for ever; a task here has an end
DATABASE = "/var/lib/pve-cluster/config.db"
KEYS = "/etc/pve/priv/authorized_keys"
ROOT_KEY = "/root/.ssh/id_ed25519"
LINK = {
    "address": {"type": "string", "format": "address", "default_key": 1},
    "priority": {"type": "integer", "minimum": 0, "maximum": 255, "optional": 1},
}
Links = dict[int, dict[str, Any]]


def create(machine: Machine, name: str, links: Links, options: Mapping[str, int], log: Log) -> None:
    """Make this node the first of a cluster; `options` as corosync.create's."""
    _root_key(machine)
    if not machine.file(corosync.AUTHKEY).exists():
        for line in _keygen(machine).splitlines():
            log(line)
    links = links or {0: {"address": members.address(machine, machine.node)}}
    conf = corosync.create(name, machine.node, links, **options)
    log("Writing corosync config to /etc/pve/corosync.conf")
    corosync.write(machine, conf, raise_version=False)
    node_files(machine)
    log("Restart corosync and cluster filesystem")
    if machine.read(corosync.LOCAL) != machine.read(corosync.CLUSTER):
        machine.write(corosync.LOCAL, machine.read(corosync.CLUSTER))
    machine.run(["systemctl", "restart", "corosync", "pve-cluster"], timeout_s=180)


def _keygen(machine: Machine) -> str:
    machine.file(corosync.AUTHKEY).parent.mkdir(parents=True, exist_ok=True)
    return machine.run(["corosync-keygen", "-l", "-k", str(machine.file(corosync.AUTHKEY))]).out


def node_files(machine: Machine) -> None:
    """This node's folders, its certificate and its keys in /etc/pve."""
    for folder in ("lxc", "qemu-server", "openvz", "priv"):
        machine.file(f"/etc/pve/nodes/{machine.node}/{folder}").mkdir(parents=True, exist_ok=True)
    certificates.ensure(machine)
    merge_keys(machine)


def _root_key(machine: Machine) -> str:
    """root's own SSH key, made where it is missing; its public part."""
    place = machine.file(ROOT_KEY)
    if not place.exists():
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        machine.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{machine.node}", "-f", str(place)]
        )
    return machine.read(f"{ROOT_KEY}.pub").strip()


def merge_keys(machine: Machine) -> None:
    """root's key among the cluster's, and this host's key for the other nodes to know."""
    mine = _root_key(machine)
    held = machine.read(KEYS)
    if mine and mine not in held.splitlines():
        machine.write(KEYS, f"{held.rstrip()}\n{mine}\n".lstrip())
    host = machine.read("/etc/ssh/ssh_host_ed25519_key.pub").split()
    known = f"/etc/pve/nodes/{machine.node}/ssh_known_hosts"
    if len(host) >= 2 and machine.read(known).split() != [machine.node, *host[:2]]:
        machine.write(known, f"{machine.node} {host[0]} {host[1]}\n")


def assert_joinable(machine: Machine, links: Links, force: bool, log: Log) -> None:
    """PVE's checks before a join, all named at once. TaskError where one fails."""
    errors: list[str] = []
    warnings: list[str] = []
    soft = warnings if force else errors
    if machine.file(corosync.AUTHKEY).exists():
        soft.append(f"authentication key '{corosync.AUTHKEY}' already exists")
    if machine.file(corosync.CLUSTER).exists():
        soft.append(f"cluster config '{corosync.CLUSTER}' already exists")
    if guests(machine):
        soft.append("this host already contains virtual guests")
    if machine.run(["corosync-quorumtool", "-l"], timeout_s=20, check=False).code == 0:
        soft.append("corosync is already running, is this node already in a cluster?!")
    here = local_addresses(machine)
    wanted = {"local node address": members.address(machine, machine.node)}
    wanted |= {f"link{number}": str(link["address"]) for number, link in sorted(links.items())}
    errors += [
        f"{what}: cannot use IP '{address}', not found on local node!"
        for what, address in wanted.items()
        if address not in here
    ]
    for text, lines in (("warning(s)", warnings), ("error(s)", errors)):
        if lines:
            log(f"detected the following {text}:")
            for line in lines:
                log(f"* {line}")
    if errors:
        raise TaskError("Check if node may join a cluster failed!")


def guests(machine: Machine) -> list[str]:
    """Configuration files of this node's guests."""
    folder = machine.file(f"/etc/pve/nodes/{machine.node}")
    return sorted(p.name for kind in ("lxc", "qemu-server") for p in (folder / kind).glob("[0-9]*.conf"))


def local_addresses(machine: Machine) -> set[str]:
    """Addresses of this node's interfaces, and the names that lead to them."""
    said = json.loads(machine.run(["ip", "-j", "address", "show"]).out or "[]")
    found = {info["local"] for device in said for info in device.get("addr_info", []) if "local" in info}
    for line in machine.read("/etc/hosts").splitlines():
        words = line.partition("#")[0].split()
        if words and words[0] in found:
            found.update(words[1:])
    return found


def join(machine: Machine, params: Mapping[str, Any], links: Links, log: Log) -> None:
    """Join the cluster of `hostname`, by its API; `fingerprint` and `password` are that node's."""
    assert_joinable(machine, links, bool(params.get("force")), log)
    _root_key(machine)
    host = str(params["hostname"])
    log(f"Establishing API connection with host '{host}'")
    peer = Peer(host, machine.port, str(params["fingerprint"]))
    peer.login(str(params["password"]))
    log("Login succeeded.")
    log("check cluster join API version")
    theirs = int(peer.call("GET", "/cluster/config/apiversion"))
    if theirs < 1:
        raise TaskError(
            f"error: incompatible join API version on cluster '{host}' ({theirs}, local version: 1)"
        )
    asked = {name: params[name] for name in ("nodeid", "votes") if params.get(name) is not None}
    if params.get("force"):
        asked["force"] = 1
    asked |= {f"link{number}": link["address"] for number, link in links.items()}
    if not links:
        here = members.address(machine, machine.node)
        asked["new_node_ip"] = here
        log(f"No cluster network links passed explicitly, fallback to local node IP '{here}'")
    log("Request addition of this node")
    try:
        answer = peer.call(
            "POST", f"/cluster/config/nodes/{machine.node}", {**asked, "apiversion": JOIN_API_VERSION}
        )
    except ApiError as error:
        log(f"An error occurred on the cluster node: {error.message}")
        for name, text in sorted(error.errors.items()):
            log(f"{'*' if name.startswith('warning') else '!'} {text}")
        raise TaskError("Cluster join aborted!") from error
    for warning in answer.get("warnings") or []:
        log(f"cluster: {warning}")
    log("Join request OK, finishing setup locally")
    finish_join(machine, answer["corosync_conf"], answer["corosync_authkey"].encode("latin-1"), log)


def finish_join(machine: Machine, conf: str, authkey: bytes, log: Log) -> None:
    """Take the cluster's configuration, leave the old database behind, start anew as a member."""
    machine.write(corosync.AUTHKEY, authkey, 0o400)
    machine.write(corosync.LOCAL, conf)
    log("stopping pve-cluster service")
    machine.run(["systemctl", "stop", "pve-cluster"], timeout_s=120)
    backup_database(machine, log)
    machine.run(["systemctl", "start", "corosync", "pve-cluster"], timeout_s=180)
    wait_for_quorum(machine, log)
    with_retries(lambda: node_files(machine), QUORUM_WITHIN_S, "writing this node's files in /etc/pve")
    log("generated new node certificate, restart pveproxy and pvedaemon services")
    reload_daemons(machine)
    log(f"successfully added node '{machine.node}' to cluster.")


def backup_database(machine: Machine, log: Log) -> None:
    """Keep the stand-alone database aside, as PVE does in /var/lib/pve-cluster/backup."""
    place = machine.file(DATABASE)
    if not place.exists():
        return
    kept = place.parent / "backup" / f"config-{int(time.time())}.db"
    kept.parent.mkdir(exist_ok=True)
    log(f"backup old database to '/var/lib/pve-cluster/backup/{kept.name}'")
    shutil.copy2(place, kept)
    for file in place.parent.glob("config.db*"):
        file.unlink()


def wait_for_quorum(machine: Machine, log: Log) -> None:
    """Until the cluster file system says quorate; TaskError after QUORUM_WITHIN_S."""
    began = time.monotonic()
    while not members.cluster(machine).quorate or not corosync.exists(machine):
        if time.monotonic() - began > QUORUM_WITHIN_S:
            raise TaskError(f"waiting for quorum... no quorum within {QUORUM_WITHIN_S:g} s")
        time.sleep(1)
    log("waiting for quorum...OK")


def with_retries(work: Callable[[], object], within_s: float, what: str) -> None:
    """/etc/pve may still refuse a write in the seconds after a node has joined."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            work()
            return
        except (ApiError, OSError) as error:
            if time.monotonic() > deadline:
                raise TaskError(f"{what}: {error} (for {within_s:g} s)") from error
            time.sleep(2)


def reload_daemons(machine: Machine) -> None:
    machine.run(["systemctl", "reload-or-restart", "pvedaemon", "pveproxy"], timeout_s=120, check=False)


def add_node(machine: Machine, name: str, params: Mapping[str, Any], links: Links) -> dict[str, Any]:
    """Put a new node into the configuration; what it needs to join. ApiError 500 in PVE's words."""
    members.need_quorum(machine)
    with cfs_lock(machine, "file-corosync_conf"):
        conf = corosync.read(machine)
        nodes = corosync.nodes(conf)
        if not links:
            links = {0: {"address": params.get("new_node_ip") or members.address(machine, name)}}
        warnings = _check_links(nodes, name, links)
        entry = _entry(nodes, name, params)
        entry |= {f"ring{number}_addr": str(link["address"]) for number, link in links.items()}
        for folder in ("lxc", "qemu-server", "priv"):
            machine.file(f"/etc/pve/nodes/{name}/{folder}").mkdir(parents=True, exist_ok=True)
        nodes[name] = entry
        corosync.write(machine, conf)
    return {
        "corosync_authkey": machine.file(corosync.AUTHKEY).read_bytes().decode("latin-1"),
        "corosync_conf": machine.read(corosync.CLUSTER),
        "warnings": warnings,
    }


def _check_links(nodes: Mapping[str, Mapping[str, str]], name: str, links: Links) -> list[str]:
    """The new node must have the links that the others have, with addresses that nobody has."""
    others = {node: entry for node, entry in nodes.items() if node != name}
    expected = (
        set().union(*(corosync.link_numbers(entry) for entry in others.values())) if others else set(links)
    )
    errors = {
        **{f"link{n}": f"missing link {n} - existing nodes have it" for n in expected - set(links)},
        **{f"link{n}": f"link {n} is not configured on the existing nodes" for n in set(links) - expected},
    }
    for number, link in links.items():
        for node, entry in others.items():
            if entry.get(f"ring{number}_addr") == link["address"]:
                errors[f"link{number}"] = (
                    f"corosync: address '{link['address']}' already used on link {number} by node '{node}'"
                )
    if errors:
        raise ApiError(
            500, "invalid corosync.conf: " + "; ".join(errors[key] for key in sorted(errors)), errors
        )
    families = {ipaddress.ip_address(str(link["address"])).version for link in links.values() if _is_ip(link)}
    return ["links use addresses of both IP versions"] if len(families) > 1 else []


def _is_ip(link: Mapping[str, Any]) -> bool:
    return bool(re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*", str(link["address"])))


def _entry(nodes: Mapping[str, Mapping[str, str]], name: str, params: Mapping[str, Any]) -> dict[str, str]:
    """The node's list entry: id (the lowest that is free unless given) and votes."""
    nodeid, votes = params.get("nodeid"), params.get("votes")
    if known := nodes.get(name):
        nodeid = nodeid if nodeid is not None else int(known["nodeid"])
        votes = votes if votes is not None else int(known["quorum_votes"])
        if not params.get("force") or (str(nodeid), str(votes)) != (known["nodeid"], known["quorum_votes"]):
            raise ApiError(500, f"can't add existing node '{name}'")
    taken = {int(entry["nodeid"]) for node, entry in nodes.items() if node != name}
    if nodeid is None:
        nodeid = next(number for number in range(1, len(taken) + 2) if number not in taken)
    elif nodeid in taken:
        owner = next(node for node, entry in nodes.items() if int(entry["nodeid"]) == nodeid)
        raise ApiError(500, f"corosync: nodeid '{nodeid}' is already used by node '{owner}'")
    return {"name": name, "nodeid": str(nodeid), "quorum_votes": str(1 if votes is None else votes)}


def delete_node(machine: Machine, name: str) -> None:
    """Take a node out of the configuration (`pvecm delnode`)."""
    if name == machine.node:
        raise ApiError(500, "Cannot delete myself from cluster!")
    members.need_quorum(machine)
    with cfs_lock(machine, "file-corosync_conf"):
        conf = corosync.read(machine)
        nodes = corosync.nodes(conf)
        if name not in nodes:
            raise ApiError(500, f"Node/IP: {name} is not a known host of the cluster.")
        nodeid = nodes.pop(name)["nodeid"]
        corosync.write(machine, conf)
    machine.run(["corosync-cfgtool", "-k", nodeid], timeout_s=20, check=False)


def fingerprint(machine: Machine, node: str) -> str:
    """Fingerprint of a node's certificate in /etc/pve; ApiError 500 where it has none."""
    if not (pem := machine.read(certificates.certificate(node))):
        raise ApiError(500, f"unable to read certificate of node '{node}'")
    return pem_fingerprint(pem)


def join_by_ssh(machine: Machine, params: Mapping[str, Any], links: Links, log: Log) -> None:
    """`pvecm add PEER --use_ssh`: the peer's own pvecm adds this node, its files come by SSH."""
    assert_joinable(machine, links, bool(params.get("force")), log)
    _root_key(machine)
    ssh = ["ssh", "-o", "BatchMode=yes", "-l", "root", str(params["hostname"]), "--"]
    links = links or {0: {"address": members.address(machine, machine.node)}}
    options = [word for number, link in links.items() for word in (f"--link{number}", str(link["address"]))]
    for name in ("nodeid", "votes"):
        options += [f"--{name}", str(params[name])] if params.get(name) is not None else []
    options += ["--force", "1"] if params.get("force") else []
    said = machine.run([*ssh, "pvecm", "addnode", machine.node, *options], timeout_s=120, check=False)
    if said.code:
        raise TaskError(f"unable to add node: command failed ({(said.err or said.out).strip()})")
    log("copy corosync auth key")
    authkey = base64.b64decode(machine.run([*ssh, "base64", "-w0", corosync.AUTHKEY]).out)
    conf = machine.run([*ssh, "cat", corosync.CLUSTER]).out
    finish_join(machine, conf, authkey, log)
