"""Questions to Ceph: many commands in one librados process on one node.

A start of the `ceph` command costs seconds on a slow processor, so all commands of an observation share one
client. What is asked travels on standard input. Answers to `auth` commands bear no keys: each is replaced
by its SHA-256, for what a node prints is written into the transcript.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.node import CommandError, Node

if TYPE_CHECKING:
    from cluster.cluster import Cluster

Commands = Mapping[str, Mapping[str, Any]]
"""By a name of one's own: {"prefix": "osd pool ls", "detail": "detail"}, as monitors take it, and beside it
`target` ("mgr" or "osd.3": who is asked instead of the monitors), `pick` (top-level keys to keep of a long
answer) and `input` (text that the command reads)."""
CONNECT_S = 15


class CephUnreachableError(UnreachableError):
    """No monitor answered in time, or the node has no Ceph to ask with."""


@dataclass(frozen=True)
class CephError:
    """A command that Ceph refused: errno, its sentence, and what it printed all the same."""

    code: int
    message: str
    output: Any = None

    def __str__(self) -> str:
        return f"{self.message or 'no reason given'} (error {self.code})"


class CephCommandError(RackproofError):
    """A command that had to succeed did not; names the node, the command and Ceph's sentence."""


_PROGRAM = r"""
import hashlib, json, os, sys, threading
def say(answer):
    sys.stdout.write("\n" + MARK + json.dumps(answer) + "\n"); sys.stdout.flush(); os._exit(0)
def hidden(value):
    if isinstance(value, list): return [hidden(each) for each in value]
    if isinstance(value, dict):
        return {k: "sha256:" + hashlib.sha256(str(v).encode()).hexdigest() if k == "key" else hidden(v)
                for k, v in value.items()}
    return value
try:
    import rados
except ImportError as error:
    say({"unreachable": "python3-rados is not installed (%s)" % error})
if not os.path.exists("/etc/ceph/ceph.conf"):
    say({"unreachable": "/etc/ceph/ceph.conf is not there"})
try:
    client = rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin", conf={
        "client_mount_timeout": str(CONNECT), "rados_mon_op_timeout": str(LIMIT),
        "rados_osd_op_timeout": str(LIMIT), "log_to_stderr": "false", "log_to_file": "false"})
    client.connect(timeout=CONNECT)
except Exception as error:
    say({"unreachable": str(error)})
def bounded(call):  # a question to a manager or an OSD that has died waits without end
    box = []
    def inside():
        try: box.append(call())
        except Exception as error: box.append((-abs(getattr(error, "errno", 0) or 5), b"", str(error)))
    thread = threading.Thread(target=inside, daemon=True)
    thread.start(); thread.join(LIMIT)
    return box[0] if box else (-110, b"", "")
found, silent = {}, {}
if any(asked.get("target") == "mgr" for asked in COMMANDS.values()):
    code, out, why = client.mon_command(json.dumps({"prefix": "mgr stat", "format": "json"}), b"")
    if code or not json.loads(out or b"{}").get("available"): silent["mgr"] = (11, "no manager is active")
for name, asked in sorted(COMMANDS.items(), key=lambda pair: bool(pair[1].get("target"))):  # monitors first
    command = dict(asked)
    target, pick, given = (command.pop(k, None) for k in ("target", "pick", "input"))
    command.setdefault("format", "json")
    text, data = json.dumps(command), (given or "").encode()
    if target in silent:
        found[name] = {"code": silent[target][0], "message": silent[target][1]}
        continue
    if target == "mgr": call = lambda: client.mgr_command(text, data)
    elif target: call = lambda: client.osd_command(int(target.split(".")[1]), text, data)
    else: call = lambda: client.mon_command(text, data)
    code, out, why = bounded(call)
    if abs(code) in (110, 4):  # one command has waited its time: the others for the same daemon would, too
        silent[target] = (110, "%s did not answer within %d s" % (target or "the monitors", LIMIT))
        why = silent[target][1]
    out = out.decode("utf-8", "replace")
    try: value = json.loads(out)
    except ValueError: value = out.strip() or why
    if command["prefix"].startswith("auth") and not isinstance(value, (dict, list)): value = "hidden"
    if command["prefix"].startswith("auth"): value = hidden(value)
    if pick and isinstance(value, dict): value = {k: value[k] for k in pick if k in value}
    found[name] = {"value": value} if code == 0 else {"code": abs(code), "message": why, "value": value}
say({"answers": found})
"""


def ask(node: Node, commands: Commands, timeout_s: float = 45) -> dict[str, Any]:
    """Answers by name: parsed JSON, text where it is none, or a `CephError` for a command that failed.

    One round trip. Raises CephUnreachableError where no monitor answered, UnreachableError or DeadlineError
    where the node did not.
    """
    mark = secrets.token_hex(16)
    limit = max(5, (int(timeout_s) - CONNECT_S) // 2)  # the monitors may be late, and then the manager
    head = f"MARK, CONNECT, LIMIT = {mark!r}, {CONNECT_S}, {limit}\n"
    head += f"import json\nCOMMANDS = json.loads({json.dumps(commands)!r})\n"
    done = node.run("python3 -", data=head + _PROGRAM, timeout=timeout_s + 5, check=False)
    _, found, text = done.stdout.rpartition(mark)
    if not found:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1][:300]
        raise CommandError(f"{node.where}: Ceph could not be asked: {why}", done)
    answer = json.loads(text)
    if "unreachable" in answer:
        raise CephUnreachableError(f"{node.where}: no Ceph monitor was reached: {answer['unreachable']}")
    return {name: _value(each) for name, each in answer["answers"].items()}


def _value(answer: Mapping[str, Any]) -> Any:
    if "code" in answer:
        return CephError(int(answer["code"]), str(answer["message"]).strip(), answer.get("value"))
    return answer["value"]


class Ceph:
    """The storage cluster, asked through whichever node answers; the one that last did comes first."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._last = ""

    def prefer(self, node: str) -> None:
        """Ask this node first: it has just answered."""
        self._last = node

    def ask(self, commands: Commands, timeout_s: float = 45) -> dict[str, Any]:
        """As `ask` of this module. Raises CephUnreachableError with every node's reason when none could."""
        names = sorted(self._cluster.nodes, key=lambda name: name != self._last)
        reasons = []
        for name in names:
            node = self._cluster.nodes[name]
            if name != self._last and not node.reachable(5):
                reasons.append(f"{node.where} does not answer")
                continue
            try:
                found = ask(node, commands, timeout_s)
            except (UnreachableError, DeadlineError, CommandError) as error:
                reasons.append(str(error))
                continue
            self._last = name
            return found
        raise CephUnreachableError("; ".join(reasons) or "the site has no node")

    def must(self, command: Mapping[str, Any], timeout_s: float = 45) -> Any:
        """One command that has to succeed. Raises CephCommandError otherwise."""
        found = self.ask({"it": command}, timeout_s)["it"]
        if isinstance(found, CephError):
            raise CephCommandError(f"ceph {command['prefix']}: {found}")
        return found
