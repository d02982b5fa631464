"""Those who would fence a node hold a wrong password of its BMC: alone, and while the node has lost its
power.

It is broken on the nodes that would act: a password that is changed on a BMC may be one that it does not take
back, and the way back in would be shut. The fencing service's configuration names the parameters that hold
user and password of each BMC, and no secret. A copy in which the victim's password is read from where its
user name is kept is put before it, for the service alone, by a drop-in in /run: nothing on disk changes, and
a reboot mends it. Whether it took is told by the service's own record.
"""

# ruff: noqa: ARG002, ARG003 - the contract's arguments are not needed by every fault
from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos.bond_state import BondState
from chaos.fault import Fault
from chaos.faults import node as on_node
from chaos.faults import storage
from chaos.faults.lost import running_since
from chaos.faults.node import NodeFault
from chaos.faults.partition import peers_of
from chaos.faults.power import NodePowerLost
from chaos.faults.several import Several
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RefusedError

UNIT = "rackproof-fencing.service"
CONFIG = "/etc/rackproof/fencing.json"
RECORD = "/var/log/rackproof/fencing.jsonl"
SAY_S = 120.0
"""Within this time after a start the service has asked each BMC and said what came of it."""
_LINES = 200
_DROP_IN = "rackproof-wrong.conf"
_PROGRAM = """\
import json, sys
read, written, victim = sys.argv[2:5]
with open(read) as file:
    told = json.load(file)
(entry,) = [peer for peer in told["peers"] if peer["name"] == victim]
entry["password"] = entry["user"]
with open(written, "w") as file:
    json.dump(told, file)
"""


@dataclass(frozen=True)
class Said:
    """What the fencing service said of a peer (armed, waits, refused, ...) and why; "nothing" for nothing."""

    decision: str = "nothing"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class _WrongPassword(NodeFault):
    """The fencing service on `node` holds a wrong password of the BMC of `victim`."""

    kind = "bmc-wrong-password"
    summary = "the fencing service of a node holds a wrong password of a peer's BMC"
    needs = ("the fencing service, armed for that node",)
    blast_radius = "fencing of one node by one peer"
    heals_by = "the service's own configuration, and its restart"
    inject_s = SAY_S
    heal_s = SAY_S

    victim: str

    @property
    def target(self) -> str:
        return f"password of the BMC of {self.victim} as held by {self.node}"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        node = random.choice(sorted(cluster.nodes))
        return cls(node=node, victim=random.choice(peers_of(cluster, node)))

    def check(self, cluster: ClusterPort) -> None:
        unit, said = self._look(cluster)
        if unit == "inactive free":
            raise NotApplicableError("PF-FENCING", f"{self.node} does not run {UNIT}.", "build phase 7.")
        if (unit, said.decision) != ("active free", "armed"):
            raise RefusedError(
                f"{self.target} is not broken: the fencing service is {unit} by systemd"
                f" and says of {self.victim}: {said.decision}"
            )

    def break_script(self) -> str:
        wrong = shlex.quote(f"{on_node.FOLDER}/fencing-{self.node}-{self.victim}.json")
        folder = f'"{storage.UNITS}"/{UNIT}.d'
        copy = shlex.join(["python3", "-I", "-S", "-c", _PROGRAM, "wrong"])
        return (
            f"umask 077; mkdir -p {shlex.quote(on_node.FOLDER)} {folder}\n"
            f'{copy} "{CONFIG}" {wrong} {shlex.quote(self.victim)}\n'
            f"cat > {folder}/{_DROP_IN} <<'WRONG'\n[Service]\nBindReadOnlyPaths={wrong}:{CONFIG}\nWRONG\n"
            f"systemctl daemon-reload\nsystemctl restart {UNIT}\n"
        )

    def heal_script(self) -> str:
        wrong = shlex.quote(f"{on_node.FOLDER}/fencing-{self.node}-{self.victim}.json")
        folder = f'"{storage.UNITS}"/{UNIT}.d'
        return (
            f"if [ -e {folder}/{_DROP_IN} ]; then\n"
            f"  rm -f {folder}/{_DROP_IN} {wrong}; rmdir {folder} 2>/dev/null\n"
            f"  systemctl daemon-reload; systemctl restart {UNIT} || exit 1\n"
            "fi\n"
            f"systemctl is-active --quiet {UNIT} || systemctl start {UNIT}\n"
        )

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run("set -e\n" + self.break_script(), timeout=storage.ACT_S)

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run(self.heal_script(), timeout=storage.ACT_S)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        unit, said = self._look(cluster)
        return (unit, said.decision) == ("active wrong", "refused") and "password" in said.reason

    def healed(self, cluster: ClusterPort) -> bool:
        unit, said = self._look(cluster)
        return (unit, said.decision) == ("active free", "armed")

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return Prediction(0.0, 0.0, "no path passes through it")

    def _look(self, cluster: ClusterPort) -> tuple[str, Said]:
        """(the unit's state by systemd and whose configuration it reads, "active free" for its own; what
        it said last of the victim).
        """
        look = (
            f"echo $(systemctl is-active {UNIT})"
            f' $([ -e "{storage.UNITS}"/{UNIT}.d/{_DROP_IN} ] && echo wrong || echo free)\n'
            f'cat "{RECORD}.1" "{RECORD}" 2>/dev/null | tail -n {_LINES}\n'
        )
        unit, _, lines = cluster.nodes[self.node].run(look, timeout=storage.LOOK_S).stdout.partition("\n")
        return unit, last_said(lines, self.victim)


@dataclass(frozen=True, kw_only=True)
class BmcWrongPassword(Several):
    """The peers of a node hold a wrong password of its BMC, as after one that was changed in one place
    only.
    """

    kind = "bmc-wrong-password"
    summary = "the fencing service of all other nodes holds a wrong password of a node's BMC"
    needs: ClassVar[tuple[str, ...]] = (
        "the fencing service, armed for that node",
        "a BMC that locks no account after wrong passwords",
    )
    blast_radius = "fencing of one node by its peers"
    heals_by = _WrongPassword.heals_by
    deadman = "systemd timers on the other nodes"
    inject_s = SAY_S
    heal_s = SAY_S

    node: str
    peers: tuple[str, ...]
    deadman_s: float = 300.0

    @property
    def target(self) -> str:
        return f"password of the BMC of {self.node} as held by {', '.join(self.peers)}"

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().nodes, self.node)))

    @property
    def parts(self) -> tuple[Fault, ...]:
        return tuple(self._held())

    def _held(self) -> Iterable[Fault]:
        for peer in self.peers:
            yield _WrongPassword(node=peer, victim=self.node, deadman_s=self.deadman_s)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        return cls.of(cluster, random.choice(sorted(cluster.nodes)))

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        return cls.of(cluster, candidate)

    @classmethod
    def of(cls, cluster: ClusterPort, node: str, **more: Any) -> Self:
        """The BMC of a named node."""
        peers = peers_of(cluster, node)
        if not peers:
            raise NotApplicableError("PF-NO-PEER", "the site has one node alone.", "use a larger cluster.")
        return cls(node=node, peers=tuple(peers), **more)

    def check(self, cluster: ClusterPort) -> None:
        tries = cluster.bmcs[self.node].lockout()
        if tries:
            raise NotApplicableError(
                "PF-BMC-LOCKOUT",
                f"the BMC of {self.node} locks an account after {tries} wrong passwords: the harness would be"
                " locked out too, and with it the way back in.",
                "set its AccountLockoutThreshold to 0 for the drill, or give fencing an account of its own.",
            )
        super().check(cluster)


@dataclass(frozen=True, kw_only=True)
class NodeLostBmcWrongPassword(BmcWrongPassword):
    """A node has lost its power, and those who would fence it hold a wrong password of its BMC."""

    kind = "node-lost-bmc-wrong-password"
    summary = "a node's power is cut while all other nodes hold a wrong password of its BMC"
    needs = (*BmcWrongPassword.needs, *NodePowerLost.needs)
    blast_radius = f"{NodePowerLost.blast_radius}; nobody can fence it"
    heals_by = f"{BmcWrongPassword.heals_by}; {NodePowerLost.heals_by}"
    deadman = f"{BmcWrongPassword.deadman}, and {NodePowerLost.deadman}"
    may_isolate = True
    resets = True
    only_last_counts = True
    heal_s = NodePowerLost.heal_s

    boot: str

    @property
    def target(self) -> str:
        return f"power of {self.node}, and {super().target}"

    @property
    def parts(self) -> tuple[Fault, ...]:
        return (*self._held(), NodePowerLost(node=self.node, boot=self.boot, deadman_s=self.deadman_s))

    @classmethod
    def of(cls, cluster: ClusterPort, node: str, **more: Any) -> Self:
        return super().of(cluster, node, boot=running_since(cluster, node), **more)


def last_said(lines: str, peer: str) -> Said:
    """The last decision about a peer in the fencing service's record (one JSON object a line). Lines that are
    none, such as half a line at a power cut, are passed over. Pure.
    """
    said = Said()
    for line in lines.splitlines():
        try:
            told = json.loads(line)
            if told["peer"] == peer:
                said = Said(str(told["decision"]), str(told["reason"]))
        except (ValueError, TypeError, KeyError):
            continue
    return said
