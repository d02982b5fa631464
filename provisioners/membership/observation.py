"""What is true of the cluster, in every node's own view, and what the parameter store keeps of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import RackproofError
from provisioners.markers import read_markers
from provisioners.membership.corosync_conf import Configuration, CorosyncConfError, read
from provisioners.unreachable import Unreachable, answered

if TYPE_CHECKING:
    from cluster.aws import Parameter
    from cluster.cluster import Cluster

GATHER_S = 120.0
SERVICES = ("corosync", "pve-cluster", "pvedaemon", "pveproxy")
STARTED = frozenset({"enabled", "alias", "static", "indirect", "generated"})
SAVED = ("cluster_id", "corosync_conf", "corosync_key", "nodes")
_SCRIPT = Path(__file__).with_name("gather.sh").read_text(encoding="utf-8")
_LINK = re.compile(r"stats\.knet\.node(\d+)\.link(\d+)\.(\w+) \(\w+\) = (-?\d+)")
_VOTE = re.compile(r"^\s*(0x[0-9a-fA-F]+|\d+)\s+(\d+)\s+(?:\S+\s+)?(\S+)( \(local\))?\s*$")


@dataclass(frozen=True)
class Link:
    """One link to another node as one node sees it. `latency` in seconds, knet's own average; 0.0 unknown."""

    peer: int
    number: int
    connected: bool
    latency: float


@dataclass(frozen=True)
class Service:
    """One service: whether it runs, and whether it starts at boot."""

    name: str
    active: bool
    enabled: bool


@dataclass(frozen=True)
class Clock:
    """chrony's view: `offset` in seconds, the system clock against the time servers'."""

    synchronised: bool
    offset: float


@dataclass(frozen=True)
class NodeMembership:
    """One node's own view of the cluster.

    `conf` is the cluster's copy of the configuration, `local` the one that Corosync reads; None where there
    is none. `problem`: why one of them cannot be read. `key` is the SHA-256 of the authentication key, ""
    where there is none, `key_mode` its permissions in octal digits. `votes` by node id, of the nodes that it
    sees; `version`, `token` (seconds) and `name_in_force` are what Corosync runs with, 0 or "" where it does
    not run. `writable`: the cluster's files can be written. `files`: SHA-256 by file of the cluster.
    `folders`: guests by node, as the cluster's files tell. `migration`: (type, network) for guests.
    `authority`: SHA-256 of the certificate of the cluster's own authority.
    """

    name: str
    conf: Configuration | None
    local: Configuration | None
    problem: str
    key: str
    key_mode: str
    quorate: bool
    expected_votes: int
    votes: Mapping[int, int]
    version: int
    token: float
    name_in_force: str
    links: tuple[Link, ...]
    online: Mapping[str, bool]
    writable: bool
    files: Mapping[str, str]
    folders: Mapping[str, tuple[str, ...]]
    services: Mapping[str, Service]
    migration: tuple[str, str]
    authority: str
    clock: Clock

    @property
    def alone(self) -> bool:
        """Nothing of a cluster is on this node."""
        return self.conf is None and self.local is None and not self.key and not self.problem

    @property
    def running(self) -> bool:
        """Corosync runs on it."""
        found = self.services.get("corosync")
        return found is not None and found.active

    @property
    def guests(self) -> tuple[str, ...]:
        """Guests that are its own."""
        return self.folders.get(self.name, ())


@dataclass(frozen=True)
class Stored:
    """One parameter of the store. `digest`: SHA-256 of its value, taken out of base64 where it is base64."""

    name: str
    encrypted: bool
    digest: str
    value: str  # empty for a SecureString


@dataclass(frozen=True)
class Observation:
    """Every node's view by its name; what the parameter store keeps, by the last part of the name."""

    nodes: Mapping[str, NodeMembership | Unreachable]
    stored: Mapping[str, Stored]

    def node(self, name: str) -> NodeMembership:
        """A node that answered. Raises UnreachableError otherwise."""
        return answered(self.nodes, name)

    @property
    def seen(self) -> tuple[NodeMembership, ...]:
        """The nodes that answered."""
        return tuple(node for node in self.nodes.values() if isinstance(node, NodeMembership))


def observe(cluster: Cluster) -> Observation:
    """One round trip to each installed node, all at once."""
    site = cluster.site
    markers = read_markers(cluster)
    installed = [n.name for n in site.nodes if markers[n.name] == "installed"]
    answers = look(cluster, installed)
    found: dict[str, NodeMembership | Unreachable] = {}
    for node in site.nodes:
        found[node.name] = answers.get(node.name) or Unreachable(node.name, "it was never installed", False)
    return Observation(found, stored(cluster))


def look(cluster: Cluster, names: list[str]) -> dict[str, NodeMembership | Unreachable]:
    """The views of some nodes, all at once."""
    script = f"RACKPROOF_SERVICES='{' '.join(SERVICES)}'\n{_SCRIPT}"
    answers = cluster.gather(script, names, GATHER_S) if names else {}
    return {
        name: Unreachable(name, str(answer), True)
        if isinstance(answer, RackproofError)
        else parse(name, answer)
        for name, answer in answers.items()
    }


def stored(cluster: Cluster) -> dict[str, Stored]:
    """What the parameter store keeps of the cluster; secrets only as their digest."""
    tree = cluster.secrets.tree()
    found = {}
    for leaf in SAVED:
        entry = tree.get(f"{cluster.site.aws.root}/cluster/{leaf}")
        if entry is not None:
            found[leaf] = _stored(entry, coded=leaf.startswith("corosync_"))
    return found


def _stored(entry: Parameter, *, coded: bool) -> Stored:
    body = entry.value.encode()
    if coded:
        try:
            body = base64.b64decode(entry.value, validate=True)
        except (binascii.Error, ValueError):
            body = b""
    return Stored(entry.name, entry.secret, digest(body), "" if entry.secret else entry.value)


def digest(body: bytes | str) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(body.encode() if isinstance(body, str) else body).hexdigest()


def parse(name: str, sections: Mapping[str, str]) -> NodeMembership:
    """The view that the sections of gather.sh describe."""
    key = sections.get("key", "").split()
    cmap = _cmap(sections.get("cmap", ""))
    quorum = sections.get("quorum", "")
    conf, first = _conf(sections.get("conf", ""), "/etc/pve/corosync.conf")
    local, second = _conf(sections.get("local", ""), "/etc/corosync/corosync.conf")
    return NodeMembership(
        name=name,
        conf=conf,
        local=local,
        problem="; ".join(problem for problem in (first, second) if problem),
        key=key[0] if len(key) > 1 else "",
        key_mode=key[-1] if len(key) > 1 else "",
        quorate=bool(re.search(r"(?m)^Quorate:\s+Yes", quorum)),
        expected_votes=_field(quorum, "Expected votes"),
        votes=_votes(quorum),
        version=_whole(cmap.get("totem.config_version", "")),
        token=_whole(cmap.get("runtime.config.totem.token", "")) / 1000,
        name_in_force=cmap.get("totem.cluster_name", ""),
        links=_links(sections.get("links", "")),
        online=_online(sections.get("members", "")),
        writable=_writable(sections.get("mode", "")),
        files={row[1]: row[0] for row in _rows(sections, "files") if len(row) == 2},
        folders={row[0]: tuple(row[1:]) for row in _rows(sections, "folders")},
        services=_services(sections.get("services", "")),
        migration=migration(sections.get("options", "")),
        authority=_authority(sections.get("authority", "")),
        clock=_clock(sections.get("clock", "")),
    )


def _rows(sections: Mapping[str, str], name: str) -> list[list[str]]:
    return [row for line in sections.get(name, "").splitlines() if (row := line.split())]


def _conf(text: str, path: str) -> tuple[Configuration | None, str]:
    try:
        return read(text), ""
    except CorosyncConfError as error:
        return None, f"{path}: {error}"


def _cmap(text: str) -> dict[str, str]:
    """`key (type) = value` by key."""
    rows = (re.match(r"(\S+) \(\w+\) = (.*)", line) for line in text.splitlines())
    return {row[1]: row[2].strip() for row in rows if row}


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _field(text: str, name: str) -> int:
    found = re.search(rf"(?m)^{name}:\s+(\d+)", text)
    return int(found[1]) if found else 0


def _votes(text: str) -> dict[int, int]:
    """Votes by node id from corosync-quorumtool's last table: id, votes, perhaps qdevice, name."""
    _, _, table = text.partition("Membership information")
    rows = (_VOTE.match(line) for line in table.splitlines())
    return {int(row[1], 0): int(row[2]) for row in rows if row}


def _links(text: str) -> tuple[Link, ...]:
    found: dict[tuple[int, int], dict[str, int]] = {}
    for node, link, key, value in _LINK.findall(text):
        found.setdefault((int(node), int(link)), {})[key] = int(value)
    return tuple(
        Link(peer, number, bool(values.get("connected")), values.get("latency_ave", 0) / 1e6)
        for (peer, number), values in sorted(found.items())
        if values.get("enabled", 1)
    )


def _online(text: str) -> dict[str, bool]:
    """Nodes of /etc/pve/.members and whether each is online."""
    try:
        nodes: Any = json.loads(text).get("nodelist", {})
        return {str(name): bool(row.get("online")) for name, row in nodes.items()}
    except (ValueError, AttributeError):
        return {}


def _writable(mode: str) -> bool:
    text = mode.strip()
    return len(text) >= 3 and text.isdigit() and bool(int(text[-3]) & 2)


def _services(text: str) -> dict[str, Service]:
    """systemctl show: one paragraph for each unit, in the order in which they were asked for."""
    found = {}
    paragraphs = [part for part in text.strip().split("\n\n") if part.strip()]
    for name, part in zip(SERVICES, paragraphs, strict=False):
        values = dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
        found[name] = Service(
            name, values.get("ActiveState") == "active", values.get("UnitFileState") in STARTED
        )
    return found


def migration(text: str) -> tuple[str, str]:
    """(type, network) of datacenter.cfg's `migration`, whose first value may stand without its key `type`."""
    line = next((row for row in text.splitlines() if row.startswith("migration:")), "")
    values = {"type": "secure", "network": ""}
    for part in line.partition(":")[2].strip().split(","):
        key, mark, value = part.strip().partition("=")
        if mark:
            values[key] = value
        elif key:
            values["type"] = key
    return values["type"], values["network"]


def _authority(pem: str) -> str:
    try:
        return digest(ssl.PEM_cert_to_DER_cert(pem.strip() + "\n")) if pem.strip() else ""
    except ValueError:
        return ""


def _clock(text: str) -> Clock:
    fields = text.strip().split(",")
    if len(fields) < 14:
        return Clock(False, 0.0)
    try:
        return Clock(fields[-1] != "Not synchronised" and fields[2] not in {"0", "16"}, float(fields[4]))
    except ValueError:
        return Clock(False, 0.0)
