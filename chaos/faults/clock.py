"""A node's clock is stepped: a little, and for as long as the drill lasts."""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Self

from chaos.bond_state import BondState
from chaos.fault import FaultError
from chaos.faults import node as on_node
from chaos.faults.node import NodeFault
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RefusedError, UnknownError

SOUND_S = 0.05
"""The offset below which a clock counts as right: Ceph's monitors accept no more."""
_LOOK_S = 30.0
_HEAL_S = 90.0
_NEAR = 0.5
"""A clock counts as stepped once it is off by this share of the step; offline, chrony slews none away."""
# What the wall clock is ahead of the time since boot is noted before the step: healing needs no time server.
_PROGRAM = """\
import sys, time
verb, path = sys.argv[1:3]
wall, boot = time.CLOCK_REALTIME, time.CLOCK_BOOTTIME
ahead = time.clock_gettime_ns(wall) - time.clock_gettime_ns(boot)
if verb == "step":
    with open(path, "x") as file:
        file.write(str(ahead))
    time.clock_settime_ns(wall, time.clock_gettime_ns(wall) + int(sys.argv[3]))
else:
    with open(path) as file:
        noted = int(file.read())
    if verb == "restore":
        time.clock_settime_ns(wall, time.clock_gettime_ns(boot) + noted)
    else:
        print(ahead - noted)
"""


@dataclass(frozen=True, kw_only=True)
class ClockStep(NodeFault):
    """A node's clock is stepped, and chrony is kept from putting it right until it is healed."""

    kind = "clock-step"
    summary = "a node's clock is stepped by a fraction of a second and kept so"
    needs = ("chrony on the node, synchronised", "python3 on the node")
    blast_radius = "one node: its monitor's leases, tickets and logs are off by the step"
    heals_by = "the clock set back on the node, `chronyc online` and `makestep`"
    heal_s = 120.0

    step_ms: float = 300.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 100 <= abs(self.step_ms) <= 1000:
            raise FaultError(f"clock-step: step_ms = {self.step_ms:g}: expected 100 to 1000, either way")

    @property
    def target(self) -> str:
        return f"{self.node}: clock stepped by {self.step_ms:+g} ms"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        return cls(node=random.choice(sorted(cluster.nodes)), step_ms=random.choice((-300.0, 300.0)))

    def check(self, cluster: ClusterPort) -> None:
        node = cluster.nodes[self.node]
        if not node.run("command -v chronyc && command -v python3", check=False).ok:
            raise NotApplicableError(
                "PF-CHRONY", f"{self.node} lacks chrony or python3.", "converge phase 1, or install them."
            )
        if not self._right(cluster):
            raise RefusedError(f"{self.node}: its clock is not synchronised to within {SOUND_S:g} s")
        if self._off_s(cluster) is not None:
            raise RefusedError(f"{self.node}: its clock is stepped already")

    def break_script(self) -> str:
        folder = shlex.quote(on_node.FOLDER)
        return (
            f"umask 077; mkdir -p {folder}\nchronyc -n offline > /dev/null\n"
            + self._program("step", str(round(self.step_ms * 1e6)))
            + "\n"
        )

    def heal_script(self) -> str:
        note = shlex.quote(self._note)
        return (
            f"if [ -e {note} ]; then\n  {self._program('restore')} || exit 1\n"
            "  chronyc -n online > /dev/null && chronyc -n burst 2/4 > /dev/null || exit 1\n"
            f"  chronyc -n makestep > /dev/null\n  rm -f {note}\nfi\n"
            "chronyc -n online > /dev/null\n"
        )

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run(self.heal_script(), timeout=_HEAL_S)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        off = self._off_s(cluster)
        return off is not None and off / (self.step_ms / 1000) >= _NEAR

    def healed(self, cluster: ClusterPort) -> bool:
        return self._off_s(cluster) is None and self._right(cluster)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return Prediction(0.0, 0.0, "no path depends on the time of day")

    @property
    def _note(self) -> str:
        return f"{on_node.FOLDER}/clock-ahead"

    def _program(self, verb: str, *more: str) -> str:
        return shlex.join(["python3", "-I", "-S", "-c", _PROGRAM, verb, self._note, *more])

    def _off_s(self, cluster: ClusterPort) -> float | None:
        """By how much the clock is off from where it was before the step; None where it is not stepped."""
        note = shlex.quote(self._note)
        line = f"if [ -e {note} ]; then {self._program('off')}; else echo sound; fi"
        told = cluster.nodes[self.node].run(line, timeout=_LOOK_S).stdout.strip()
        try:
            return None if told == "sound" else int(told) / 1e9
        except ValueError:
            raise UnknownError(f"{self.node}: by how much its clock is off could not be read") from None

    def _right(self, cluster: ClusterPort) -> bool:
        """Whether chrony calls the clock right: fields 5 and 14 of its tracking (offset, leap status)."""
        told = cluster.nodes[self.node].run("chronyc -n -c tracking", timeout=_LOOK_S, check=False).stdout
        fields = told.strip().split(",")
        try:
            return fields[13] == "Normal" and abs(float(fields[4])) <= SOUND_S
        except (IndexError, ValueError):
            return False
