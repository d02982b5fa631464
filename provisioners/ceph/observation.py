"""What is true of the storage: one look at each node, and one set of questions to the monitors."""

from __future__ import annotations

import configparser
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.ceph import CephError, CephUnreachableError
from cluster.errors import RackproofError
from provisioners.ceph.disks import Drive, Verdict, judge, read_drives, read_volumes
from provisioners.ceph.state import CORE, State, questions, read
from provisioners.markers import read_markers
from provisioners.unreachable import Unreachable, answered

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site

GATHER_S = 120.0
ASK_S = 90.0
_HERE = Path(__file__).parent
_PROGRAM = (_HERE / "inspect_drives.py").read_text(encoding="utf-8")
_SCRIPT = (_HERE / "gather.sh").read_text(encoding="utf-8")
SAVED = ("fsid", "mon_ips", "admin_key")


@dataclass(frozen=True)
class StorageEntry:
    """An entry of /etc/pve/storage.cfg: its id, type and properties as written there."""

    name: str
    kind: str
    values: Mapping[str, str]

    @property
    def ours(self) -> bool:
        """Whether it means the storage of these nodes themselves: such an entry names no monitor host."""
        return self.kind in {"rbd", "cephfs"} and "monhost" not in self.values


@dataclass(frozen=True)
class NodeStorage:
    """One node. `packages`: versions by name; `daemons` such as `mon/ceph-node1`: what was made there;
    `units`: active state by unit; `key`: SHA-256 of the administrator's key, "" where there is none;
    `conf`: /etc/pve/ceph.conf by section; `busy`: an OSD is being made just now.
    """

    name: str
    packages: Mapping[str, str]
    repository: str
    conf: Mapping[str, Mapping[str, str]]
    linked: bool
    daemons: frozenset[str]
    units: Mapping[str, str]
    drives: tuple[Drive, ...]
    storages: tuple[StorageEntry, ...]
    key: str = ""
    busy: bool = False

    @property
    def fsid(self) -> str:
        """The cluster's id as this node's configuration has it; "" where there is none."""
        return self.conf.get("global", {}).get("fsid", "")

    def drive(self, serial: str) -> Drive | None:
        """The drive of that serial number."""
        return next((d for d in self.drives if d.serial == serial), None)


@dataclass(frozen=True)
class Saved:
    """A parameter as stored: SHA-256 of its value, and whether it is encrypted."""

    digest: str
    secret: bool


@dataclass(frozen=True)
class Observation:
    """Nodes by name; `state` None where there is no cluster (`silent` empty) or none answers (`silent` says
    why); `saved`: what is in the parameter store of SAVED.
    """

    nodes: Mapping[str, NodeStorage | Unreachable]
    state: State | None
    silent: str = ""
    saved: Mapping[str, Saved] = field(default_factory=dict)

    def node(self, name: str) -> NodeStorage:
        """A node that answered. Raises UnreachableError otherwise."""
        return answered(self.nodes, name)

    def cluster(self) -> State:
        """The storage cluster. Raises CephUnreachableError where there is none or none answers."""
        if self.state is None:
            raise CephUnreachableError(self.silent or "there is no storage cluster")
        return self.state

    @property
    def seen(self) -> dict[str, NodeStorage]:
        """The nodes that answered."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, NodeStorage)}

    @property
    def fsid(self) -> str:
        """The cluster's id, of the monitors or of the nodes' configuration; "" where there is none."""
        if self.state is not None and self.state.fsid:
            return self.state.fsid
        return next((node.fsid for node in self.seen.values() if node.fsid), "")

    def verdicts(self, site: Site, name: str) -> dict[str, Verdict]:
        """What each ordered data drive of a node is, by serial number."""
        node = self.node(name)
        if self.state is not None:
            booted = [osd.id for osd in self.state.osds if not osd.new]
            served = [osd.uuid for osd in self.state.osds if not osd.new]
        else:  # nobody can say which OSDs have served: none may be taken for empty
            booted = [v.osd for d in node.drives for v in d.volumes if v.osd is not None]
            served = [str(label.get("osd_uuid")) for d in node.drives for label in d.labels]
        return {s: judge(node.drive(s), self.fsid, booted, served) for s in site.node(name).data_drives}


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def script(serials: tuple[str, ...]) -> str:
    """What is run on a node to inspect drives of these serial numbers, and everything else of its storage."""
    words = " ".join(shlex.quote(serial) for serial in serials)
    return _SCRIPT.replace("@SERIALS@", words).replace("@PROGRAM@", _PROGRAM)


def drives_script(serials: tuple[str, ...]) -> str:
    """The part of `script` that tells what drives are: for the last look before one is taken."""
    lines = [line for line in _SCRIPT.splitlines() if line.startswith(("section lvs", "section pvs"))]
    start = _SCRIPT.index("section drives")
    text = "\n".join(lines) + "\n" + _SCRIPT[start:]
    words = " ".join(shlex.quote(serial) for serial in serials)
    return text.replace("@SERIALS@", words).replace("@PROGRAM@", _PROGRAM)


def observe(cluster: Cluster) -> Observation:
    """One round trip to each installed node, all at once, and one more to one of them for the monitors."""
    site = cluster.site
    markers = read_markers(cluster)
    installed = [n.name for n in site.nodes if markers[n.name] == "installed"]
    serials = tuple(serial for node in site.nodes for serial in node.data_drives)
    answers = cluster.gather(script(serials), installed, GATHER_S) if installed else {}
    found: dict[str, NodeStorage | Unreachable] = {}
    for node in site.nodes:
        answer = answers.get(node.name)
        if answer is None:
            found[node.name] = Unreachable(node.name, "it was never installed", False)
        elif isinstance(answer, RackproofError):
            found[node.name] = Unreachable(node.name, str(answer), True)
        else:
            found[node.name] = parse(node.name, answer)
    seen = Observation(found, None, saved=_saved(cluster))
    return _with_tasks(cluster, _ask(cluster, seen))


def _with_tasks(cluster: Cluster, seen: Observation) -> Observation:
    """Where a drive is neither blank nor serving, it is asked whether a task is at work on it.

    A run that was killed leaves its tasks running on the nodes. An API that does not answer tells nothing.
    """
    doubtful = [
        name
        for name, node in seen.seen.items()
        if node.fsid
        and any(v.kind in {"occupied", "unfinished"} for v in seen.verdicts(cluster.site, name).values())
    ]
    if not doubtful or cluster.site.pve is None:
        return seen
    running = cluster.each(lambda name: cluster.pve[name].running("cephcreateosd"), doubtful)
    busy = {
        name: replace(seen.node(name), busy=True)
        for name, tasks in running.items()
        if not isinstance(tasks, RackproofError) and tasks
    }
    return replace(seen, nodes={**seen.nodes, **busy})


def _ask(cluster: Cluster, seen: Observation) -> Observation:
    """The observation with what the monitors say; unchanged where no monitor was ever made."""
    ceph = cluster.site.ceph
    mons = tuple(name for name, node in seen.seen.items() if f"mon/ceph-{name}" in node.daemons)
    able = [n for n, node in seen.seen.items() if node.fsid and node.key and "ceph-common" in node.packages]
    if ceph is None or not mons or not able:
        return seen
    cluster.ceph.prefer(next((name for name in mons if name in able), able[0]))
    try:
        answers = cluster.ceph.ask(questions(mons, ceph.settings), ASK_S)
    except CephUnreachableError as error:
        return Observation(seen.nodes, None, str(error), seen.saved)
    late = [f"{name}: {answers[name]}" for name in CORE if isinstance(answers[name], CephError)]
    if late:  # half an answer would look like a cluster in which half is missing
        return Observation(seen.nodes, None, "; ".join(late), seen.saved)
    return Observation(seen.nodes, read(answers), "", seen.saved)


def _saved(cluster: Cluster) -> dict[str, Saved]:
    tree = cluster.secrets.tree()
    root = cluster.site.aws.root
    return {
        name: Saved(digest(entry.value), entry.type == "SecureString")
        for name in SAVED
        if (entry := tree.get(f"{root}/ceph/{name}")) is not None
    }


def parse(name: str, sections: Mapping[str, str]) -> NodeStorage:
    """The storage that the sections of gather.sh describe."""
    volumes, groups = read_volumes(sections.get("lvs", ""), sections.get("pvs", ""))
    packages = {}
    for line in sections.get("packages", "").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "ii":
            packages[words[1]] = words[2]
    key = (sections.get("key", "").split() or [""])[0]
    return NodeStorage(
        name=name,
        packages=packages,
        repository=_component(sections.get("repository", "")),
        conf=read_conf(sections.get("conf", "")),
        linked=sections.get("link", "").strip() == "/etc/pve/ceph.conf",
        daemons=frozenset(sections.get("daemons", "").split()),
        units=_units(sections.get("units", "")),
        drives=tuple(read_drives(sections.get("drives", ""), volumes, groups)),
        storages=read_storages(sections.get("storage", "")),
        key="" if key == digest("") else key,
        busy=sections.get("busy", "").strip() not in {"", "0"},
    )


def _units(text: str) -> dict[str, str]:
    """`UNIT LOAD ACTIVE SUB ...`; a failed unit has a mark before its name."""
    found = {}
    for line in text.splitlines():
        words = [word for word in line.split() if word not in {"\u25cf", "*", "\u00d7"}]
        if len(words) >= 3:
            found[words[0].removesuffix(".service")] = words[2]
    return found


def _component(text: str) -> str:
    found = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Components:")]
    return found[0] if found else ""


def read_conf(text: str) -> dict[str, dict[str, str]]:
    """ceph.conf by section; blanks, dashes and underscores in a key are the same to Ceph."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    try:
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
    except configparser.Error:
        return {}
    clean = str.maketrans({" ": "_", "-": "_"})
    return {
        section: {key.strip().translate(clean): value.strip() for key, value in parser.items(section)}
        for section in parser.sections()
    }


def read_storages(text: str) -> tuple[StorageEntry, ...]:
    """/etc/pve/storage.cfg: `type: id`, then indented `key value`."""
    found: list[tuple[str, str, dict[str, str]]] = []
    for line in text.splitlines():
        if line[:1].isspace():
            if found and line.strip():
                key, _, value = line.strip().partition(" ")
                found[-1][2][key] = value.strip()
        elif ":" in line and not line.startswith("#"):
            kind, _, name = line.partition(":")
            found.append((name.strip(), kind.strip(), {}))
    return tuple(StorageEntry(*each) for each in found)
