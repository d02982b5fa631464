"""Faults of a node's kernel: it crashes and starts anew by itself, and it hangs until its watchdog bites.

Both begin by the kernel's own crash (SysRq c), which is the same on hardware and in a virtual machine. What
follows is `kernel.panic`: with a number of seconds the kernel starts anew; with 0 it stands still for ever:
every processor but one is stopped with its interrupts off, the last one spins, nothing is scheduled and
nothing written. That is what any dead-locked kernel looks like from outside, and only a watchdog outside the
kernel ends it.

What was not chosen: spinning at real-time priority leaves interrupts and pings alive, and since Linux 6.12
leaves ordinary processes a share of 5 % that keeps a watchdog fed; interrupts cannot be switched off from a
process; modules that lock up a kernel on purpose are not in kernels that are shipped; stopping the watchdog's
feeder tests the watchdog while everything else lives.
"""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Self

from chaos.fault import FaultError
from chaos.faults import lost
from chaos.faults.lost import NodeLost, running_since, silent
from chaos.faults.node import run_detached
from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError, UnknownError

SYS = "/sys"
SOFT = "Software Watchdog"
"""What softdog calls itself: a timer of the very kernel that it should watch."""
_CRASH = 'echo c > "%s/sysrq-trigger"\n'
_DOGS = """\
for dog in "%(sys)s"/class/watchdog/watchdog*; do
  [ -r "$dog/state" ] || continue
  read -r state < "$dog/state"
  read -r name < "$dog/identity"
  echo "$state $name"
done
loaded=0
[ ! -r "%(sys)s/kernel/kexec_crash_loaded" ] || read -r loaded < "%(sys)s/kernel/kexec_crash_loaded"
[ "$loaded" = 0 ] || echo kdump
"""


@dataclass(frozen=True, kw_only=True)
class _Crashed(NodeLost):
    """A kernel that was made to crash; its node no longer answers."""

    def check(self, cluster: ClusterPort) -> None:
        super().check(cluster)
        if not cluster.nodes[self.node].run(f'[ -w "{lost.PROC}/sysrq-trigger" ]', check=False).ok:
            raise NotApplicableError(
                "PF-SYSRQ", f"the kernel of {self.node} has no SysRq.", "use node-power-lost."
            )

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return silent(cluster, self.node)


@dataclass(frozen=True, kw_only=True)
class KernelCrash(_Crashed):
    """The kernel crashes and starts anew by itself after `panic_s`."""

    kind = "kernel-crash"
    summary = "a node's kernel crashes (SysRq c) and starts anew by itself"
    needs: ClassVar[tuple[str, ...]] = ("SysRq in the node's kernel", *NodeLost.needs)
    blast_radius = "one node and all on it, until it has started again"
    heals_by = "the kernel itself (kernel.panic)"
    deadman = (
        "kernel.panic of the node's kernel, then a process on the controller that brings it back by its BMC"
    )

    before_s: float
    """What kernel.panic is otherwise, in seconds."""
    panic_s: float = 10.0
    """Whole seconds from the crash to the start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= self.panic_s <= 60 and self.panic_s == int(self.panic_s)):
            raise FaultError(f"kernel-crash: panic_s = {self.panic_s:g}: expected 1 to 60, in whole seconds")

    @property
    def target(self) -> str:
        return f"kernel of {self.node}"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random, **more: Any) -> Self:
        node = random.choice(sorted(cluster.nodes))
        return cls(node=node, boot=running_since(cluster, node), before_s=_panic(cluster, node), **more)

    def arm(self, cluster: ClusterPort, drill: str) -> Mapping[str, str]:
        handles = super().arm(cluster, drill)
        self._set_panic(cluster, self.panic_s)
        return handles

    def armed(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return _panic(cluster, self.node) == self.panic_s and super().armed(cluster, drill, handles)

    def disarm(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        self._set_panic(cluster, self.before_s)
        return super().disarm(cluster, drill, handles)

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        run_detached(cluster.nodes[self.node], drill, _CRASH % lost.PROC)

    def _set_panic(self, cluster: ClusterPort, seconds: float) -> None:
        line = f'echo {seconds:.0f} > "{lost.PROC}/sys/kernel/panic"'
        cluster.nodes[self.node].run(line, timeout=lost.LOOK_S)


@dataclass(frozen=True, kw_only=True)
class KernelHang(_Crashed):
    """The kernel stands still and never starts anew by itself: its watchdog has to bite."""

    kind = "kernel-hang"
    summary = "a node's kernel stands still for ever; only its watchdog ends that"
    needs: ClassVar[tuple[str, ...]] = (
        "a hardware watchdog that is fed on the node (not softdog)",
        "SysRq in the node's kernel",
        "no crash kernel (kdump)",
        *NodeLost.needs,
    )
    blast_radius = "one node and all on it, until its watchdog has reset it and it has started again"
    heals_by = "the watchdog"
    deadman = "the node's hardware watchdog, then a process on the controller that brings it back by its BMC"

    deadman_s: float = 600.0  # ipmi_watchdog gives a kernel that died 255 s

    @property
    def target(self) -> str:
        return f"kernel of {self.node}"

    def check(self, cluster: ClusterPort) -> None:
        super().check(cluster)
        told = cluster.nodes[self.node].run(_DOGS % {"sys": SYS}, timeout=lost.LOOK_S).stdout.splitlines()
        if "kdump" in told:
            raise NotApplicableError(
                "PF-KDUMP",
                f"{self.node} starts a crash kernel when its kernel dies, so it would not hang.",
                "use kernel-crash.",
            )
        dogs = [line.partition(" ")[2] for line in told if line.startswith("active ")]
        if not any(name != SOFT for name in dogs):
            raise NotApplicableError(
                "PF-WATCHDOG",
                f"{self.node} has no hardware watchdog that is fed"
                f" ({'softdog alone, which dies with the kernel' if dogs else 'none is active'}).",
                "choose the board's watchdog and build phase 7.",
            )

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        script = f'echo 0 > "{lost.PROC}/sys/kernel/panic"\n' + _CRASH % lost.PROC
        run_detached(cluster.nodes[self.node], drill, "set -e\n" + script)


def _panic(cluster: ClusterPort, node: str) -> float:
    """After how many seconds the node's kernel starts anew when it has crashed; 0: never."""
    told = cluster.nodes[node].run(f'cat "{lost.PROC}/sys/kernel/panic"', timeout=lost.LOOK_S).stdout
    try:
        return float(told)
    except ValueError:
        raise UnknownError(f"{node}: its kernel does not tell what it does after a crash") from None
