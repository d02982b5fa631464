"""Tried, not read: images and files written on one node and read on another, and clients without keys.

Each trial is one Python process on a node, with its program on standard input. What a trial makes bears the
name of the run and is removed again, also when the trial fails.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.errors import RackproofError, UnknownError
from provisioners.each import raise_all

if TYPE_CHECKING:
    from cluster.cluster import Cluster

TRIAL_S = 120.0
MOUNT_S = 90.0
SIZE = 16 << 20
FOLDER = "/run/rackproof-cephfs"

_HEAD = """
import hashlib, json, os, struct, sys, time
MARK = {mark!r}
def say(**answer):
    sys.stdout.write(MARK + json.dumps(answer) + chr(10)); sys.stdout.flush(); os._exit(0)
def block(n): return hashlib.sha256(b"%d" % n).digest() * 2048   # 64 KiB that nothing else writes
"""

_IMAGE = """
import rados, rbd
client = rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin",
                     conf={"client_mount_timeout": "15", "rados_mon_op_timeout": "60",
                           "rados_osd_op_timeout": "60"})
client.connect(timeout=15)
io = client.open_ioctx(POOL)
if STEP == "write":
    rbd.RBD().create(io, NAME, SIZE)
    with rbd.Image(io, NAME) as image:
        for n in range(0, SIZE, 1 << 20): image.write(block(n), n)
        image.flush()
    say(ok=True)
if STEP == "read":
    with rbd.Image(io, NAME, read_only=True) as image:
        wrong = [n for n in range(0, SIZE, 1 << 20) if image.read(n, 65536) != block(n)]
    say(ok=not wrong, wrong=wrong, size=SIZE)
if STEP == "remove":
    if NAME in rbd.RBD().list(io): rbd.RBD().remove(io, NAME)
    say(ok=NAME not in rbd.RBD().list(io))
"""

_REFUSED = """
import base64, rados
stranger = base64.b64encode(struct.pack("<hIIh", 1, int(time.time()), 0, 16) + os.urandom(16)).decode()
tries = {
    "without a key": ("client.admin", {"keyring": "/dev/null"}),
    "with a wrong key": ("client.admin", {"keyring": "/dev/null", "key": stranger}),
    "of an unknown name": ("client.rackproof-nobody", {"keyring": "/dev/null", "key": stranger}),
    "that offers no authentication": ("client.admin", {"keyring": "/dev/null", "auth_supported": "none",
        "auth_client_required": "none", "auth_service_required": "none", "auth_cluster_required": "none"}),
}
found = {}
for how, (name, conf) in tries.items():
    try:
        client = rados.Rados(conffile="/etc/ceph/ceph.conf", name=name, conf={"client_mount_timeout": "10",
            "rados_mon_op_timeout": "10", "log_to_stderr": "false", **conf})
        client.connect(timeout=10)
    except Exception as error:
        found[how] = {"let_in": False, "errno": getattr(error, "errno", None), "said": str(error)[:200]}
        continue
    code, out, why = client.mon_command(json.dumps({"prefix": "fsid"}), b"")
    found[how] = {"let_in": code == 0, "errno": code, "said": why}
control = rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin",
                      conf={"client_mount_timeout": "15"})
try:
    control.connect(timeout=15); found["control"] = {"let_in": True}
except Exception as error:
    found["control"] = {"let_in": False, "said": str(error)[:200]}
say(**found)
"""


@dataclass(frozen=True)
class Attempt:
    """A client that tried to get in without right: `how`, and whether it was let in."""

    node: str
    how: str
    let_in: bool
    said: str


def _python(cluster: Cluster, node: str, text: str, **values: Any) -> dict[str, Any]:
    """What the program says. Raises UnknownError when it says nothing: then nothing was shown."""
    mark = secrets.token_hex(8)
    constants = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    program = _HEAD.replace("{mark!r}", repr(mark)) + constants + text
    done = cluster.nodes[node].run("python3 -", data=program, timeout=TRIAL_S, check=False)
    _, found, answer = done.stdout.rpartition(mark)
    if not found:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
        raise UnknownError(f"{node}: the trial itself failed: {why}")
    return dict(json.loads(answer))


def image(cluster: Cluster, pool: str, writer: str, reader: str) -> list[str]:
    """An image of 16 MiB is made and written on one node, read on another and removed; what went wrong."""
    name = f"rackproof-trial-{secrets.token_hex(4)}"
    values = {"POOL": pool, "NAME": name, "SIZE": SIZE}
    problems: list[str] = []
    try:
        _python(cluster, writer, _IMAGE, STEP="write", **values)
        seen = _python(cluster, reader, _IMAGE, STEP="read", **values)
        if not seen["ok"]:
            problems.append(f"{pool}: {reader} read other bytes than {writer} wrote, at {seen['wrong'][:3]}")
    finally:
        gone = _python(cluster, reader, _IMAGE, STEP="remove", **values)
    if not gone["ok"]:
        problems.append(f"{pool}: image {name} is still there after it was removed")
    return problems


def strangers(cluster: Cluster) -> list[Attempt]:
    """Clients without right on every node at once. Raises UnknownError where the rightful one is refused too:
    then a refusal shows nothing.
    """
    found = raise_all(cluster.each(lambda name: _python(cluster, name, _REFUSED)))
    attempts = []
    for node, tries in found.items():
        control: Mapping[str, Any] = tries.pop("control")
        attempts += [Attempt(node, how, bool(t["let_in"]), str(t.get("said"))) for how, t in tries.items()]
        if not control["let_in"] and not any(a.let_in for a in attempts if a.node == node):
            raise UnknownError(f"{node}: the administrator is refused as well: {control.get('said')}")
    return attempts


def mount(cluster: Cluster, filesystem: str, node: str) -> str:
    """Mounts the file system on a node, by the kernel or else by FUSE; says by which. Undone by `unmount`."""
    command = (
        f"mkdir -p {FOLDER}; mountpoint -q {FOLDER} && {{ echo already; exit 0; }};"
        f" timeout 60 mount -t ceph :/ {FOLDER} -o name=admin,fs=%s && {{ echo kernel; exit 0; }};"
        f" timeout 60 ceph-fuse --client_fs %s {FOLDER} >/dev/null && echo fuse"
    )
    done = cluster.nodes[node].run(command, filesystem, filesystem, timeout=MOUNT_S + 60, check=False)
    words = done.stdout.split()
    if not done.ok or not words:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:300]
        raise RackproofError(f"{node}: {filesystem} could not be mounted: {why}")
    return words[-1]


def unmount(cluster: Cluster, node: str) -> None:
    """Takes the trial's mount away; nothing happens where there is none."""
    command = (
        f"mountpoint -q {FOLDER} && {{ umount {FOLDER} || umount -l {FOLDER}; }};"
        f" rmdir {FOLDER} 2>/dev/null; true"
    )
    cluster.nodes[node].run(command, timeout=60)


def shared_file(cluster: Cluster, writer: str, reader: str) -> list[str]:
    """A file written through the mount of one node, read and removed through another's; what went wrong."""
    path = f"{FOLDER}/rackproof-trial-{secrets.token_hex(4)}"
    problems = []
    command = f"head -c 1048576 /dev/urandom > {path} && sync {path} && sha256sum < {path}"
    try:
        wrote = cluster.nodes[writer].run(command, timeout=60).stdout.split()[0]
        seen = cluster.nodes[reader].run(f"sha256sum < {path}; rm -f {path}", timeout=60).stdout.split()
        if seen[:1] != [wrote]:
            problems.append(f"{reader} read other bytes than {writer} wrote")
        left = cluster.nodes[writer].run(f"test -e {path} && echo there; true", timeout=60).stdout.strip()
        if left:
            problems.append(f"{writer} still sees the file that {reader} removed")
    finally:
        cluster.nodes[writer].run(f"rm -f {path}", timeout=60, check=False)
    return problems
