"""What the faults of Ceph share: victims are asked of Ceph; daemons are killed, held down and let go again.

A daemon that is killed would be started again by systemd within seconds, so a runtime drop-in keeps it from
starting until it is healed. The drop-in lies in /run: a reboot of the node heals it too.
"""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal, Self

from chaos import ceph_state
from chaos.bond_state import BondState
from chaos.ceph_state import CephState, Osd
from chaos.faults.node import NodeFault
from chaos.ports import ClusterPort, NodePort
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RefusedError, UnknownError

Effect = Literal["osd", "disk", "out", "mon", "leader", "mgr", "mds", "slow"]

UNITS = "/run/systemd/system"
ACT_S = 120.0
"""Deadline of breaking and mending on the node: systemd reads all its units again, which takes a while."""
LOOK_S = 30.0
_DROP_IN = "rackproof.conf"
_HELD = """\
# a drill of rackproof holds this daemon down; its dead-man's switch removes this file
[Unit]
ConditionPathExists=/run/rackproof/never
[Service]
Restart=no
"""


@dataclass(frozen=True, kw_only=True)
class StorageFault(NodeFault):
    """A fault of one part of Ceph. The guard asks it what will stop; the drill asks it what it does."""

    effect: ClassVar[Effect]
    """What the drill looks for, and what the live configuration says of it."""
    inject_s = 60.0
    heal_s = 180.0

    deadman_s: float = 300.0

    @property
    def osd_ids(self) -> tuple[int, ...]:
        """OSDs that will stop serving."""
        return ()

    @property
    def mon(self) -> str | None:
        """The monitor that will stop."""
        return None

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run("set -e\n" + self.break_script(), timeout=ACT_S)

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run(self.heal_script(), timeout=ACT_S)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return None  # not the bonds tell: see `chaos.predict_ceph`


@dataclass(frozen=True, kw_only=True)
class OneOsd(StorageFault):
    """A fault of one OSD."""

    osd: str

    @property
    def target(self) -> str:
        return f"osd.{self.osd} on {self.node}"

    @property
    def osd_ids(self) -> tuple[int, ...]:
        return (int(self.osd),)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        """Any OSD; `more` are fields that differ from their defaults."""
        drawn = random.choice(victims(cluster)[1])
        return cls(node=drawn.host, osd=str(drawn.id), **more)


@dataclass(frozen=True, kw_only=True)
class DaemonsKilled(StorageFault):
    """Daemons of one node are killed by SIGKILL and held down."""

    needs: ClassVar[tuple[str, ...]] = ("Ceph whole, as the guard sees it", "systemd on the node")
    heals_by = "the drop-in removed and the daemon started"

    @property
    @abstractmethod
    def units(self) -> tuple[str, ...]:
        """The systemd units that are killed."""

    @abstractmethod
    def problems(self, state: CephState) -> list[str]:
        """Why this is not the victim it was drawn as, each as a sentence."""

    def check(self, cluster: ClusterPort) -> None:
        found = self.problems(ceph_state.read(cluster))
        if not found:
            seen = self._seen(cluster)
            found = [f"{unit} is {how} by systemd" for unit, how in seen.items() if how != "active free"]
        if found:
            raise RefusedError(f"{self.target} is not broken: {'; '.join(found)}")

    def prepare(self, cluster: ClusterPort, drill: str) -> None:
        hold(cluster.nodes[self.node], self.units)

    def break_script(self) -> str:
        return kill_script(self.units)

    def heal_script(self) -> str:
        return release_script(self.units)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return all(how in ("inactive held", "failed held") for how in self._seen(cluster).values())

    def healed(self, cluster: ClusterPort) -> bool:
        return all(how == "active free" for how in self._seen(cluster).values())

    def _seen(self, cluster: ClusterPort) -> dict[str, str]:
        return units_seen(cluster.nodes[self.node], self.units)


def hold(node: NodePort, units: tuple[str, ...]) -> None:
    """Keep units that end from starting again, until `release_script` lets them go. They run on; systemd
    reads its units for seconds, so this comes before the clock of a drill.
    """
    made = "".join(
        f"mkdir -p {_folder(unit)}\ncat > {_folder(unit)}/{_DROP_IN} <<'HELD'\n{_HELD}HELD\n"
        for unit in units
    )
    node.run(f"set -e\n{made}systemctl daemon-reload\n", timeout=ACT_S)


def kill_script(units: tuple[str, ...]) -> str:
    """Kills units by SIGKILL; fails where one is not held, for it would be back at once."""
    held = "".join(
        f"[ -e {_folder(unit)}/{_DROP_IN} ] || {{ echo {shlex.quote(unit + ' is not held')} >&2; exit 1; }}\n"
        for unit in units
    )
    return f"{held}systemctl kill --signal=KILL {shlex.join(units)}\n"


def release_script(units: tuple[str, ...]) -> str:
    """Lets units go and starts those that do not run; fails where one does not start. Harmless twice."""
    names = shlex.join(units)
    gone = "".join(
        f"if [ -e {_folder(unit)}/{_DROP_IN} ]; then rm -f {_folder(unit)}/{_DROP_IN};"
        f" rmdir {_folder(unit)} 2>/dev/null; let_go=1; fi\n"
        for unit in units
    )
    return (
        f"let_go= bad=0\n{gone}"
        '[ -z "$let_go" ] || systemctl daemon-reload\n'
        f"for unit in {names}; do\n"
        '  systemctl is-active --quiet "$unit" && continue\n'
        '  systemctl reset-failed "$unit" 2>/dev/null\n'
        '  systemctl start "$unit" || bad=1\n'
        "done\n[ $bad -eq 0 ]\n"
    )


def units_seen(node: NodePort, units: tuple[str, ...]) -> dict[str, str]:
    """Unit -> its state by systemd, and "held" or "free". Raises `UnknownError`."""
    look = "".join(
        f"systemctl is-active {shlex.quote(unit)}; "
        f"if [ -e {_folder(unit)}/{_DROP_IN} ]; then echo held; else echo free; fi\n"
        for unit in units
    )
    words = node.run(look, timeout=LOOK_S, check=False).stdout.split()
    if len(words) != 2 * len(units):
        raise UnknownError(f"{node.name}: systemd does not tell the state of {', '.join(units)}")
    return {unit: f"{words[2 * n]} {words[2 * n + 1]}" for n, unit in enumerate(units)}


def osd_unit(osd: int | str) -> str:
    """The systemd unit of an OSD."""
    return f"ceph-osd@{osd}.service"


def victims(cluster: ClusterPort) -> tuple[CephState, list[Osd]]:
    """OSDs on nodes of the site that are up and in, by id. Raises `NotApplicableError` without any."""
    state = ceph_state.read(cluster)
    found = [osd for _, osd in sorted(state.osds.items()) if osd.up and osd.in_ and osd.host in cluster.nodes]
    if not found:
        raise NotApplicableError("PF-CEPH-OSDS", "no OSD is up on any node of the site.", "build phase 4.")
    return state, found


def sound(state: CephState, node: str, osd: int) -> list[str]:
    """Why OSD `osd` is not a sound one of `node`."""
    found = state.osds.get(osd)
    if found is None:
        return [f"Ceph knows no OSD {osd}"]
    told = [] if found.host == node else [f"OSD {osd} lives on {found.host} and not on {node}"]
    told += [] if found.up else [f"OSD {osd} is down already"]
    return told + ([] if found.in_ else [f"OSD {osd} is out already"])


def _folder(unit: str) -> str:
    return f'"{UNITS}"/{shlex.quote(unit)}.d'
