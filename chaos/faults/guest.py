"""Faults of a guest: its process is killed; the service in it stands still while it lives."""

# ruff: noqa: ARG002, ARG003 - the contract's arguments are not needed by every fault
from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from chaos.bond_state import BondState
from chaos.faults import lost
from chaos.faults import node as on_node
from chaos.faults.node import NodeFault
from chaos.faults.storage import ACT_S, LOOK_S
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RackproofError, RefusedError, UnknownError
from cluster.site import Site

PVE = "/etc/pve"
QEMU = "/run/qemu-server"
_FOLDERS = {"ct": "lxc", "vm": "qemu-server"}
_TOOLS = {"ct": "pct", "vm": "qm"}
# What the guest's own shell tells of all processes but the first and itself: how many stand still, and not.
_COUNT = """\
stopped=0 going=0
for stat in /proc/[0-9]*/stat; do
  read -r line < $stat 2>/dev/null || continue
  pid=${line%% *} rest=${line##*) }
  [ $pid != 1 ] && [ $pid != $$ ] || continue
  case $rest in T*) stopped=$((stopped + 1)) ;; *) going=$((going + 1)) ;; esac
done
echo $stopped $going"""


@dataclass(frozen=True, kw_only=True)
class _GuestFault(NodeFault):
    """A fault of one guest of the site, on the node where it is when chosen. `sid`: ct:9001, vm:9002."""

    sorts: ClassVar[tuple[str, ...]] = ("container", "vm")

    guest: str
    sid: str

    @property
    def target(self) -> str:
        return f"guest {self.guest} on {self.node}"

    @property
    def vmid(self) -> int:
        """The guest's number."""
        return int(self.sid.partition(":")[2])

    @property
    def tool(self) -> str:
        """Proxmox VE's command for guests of its sort."""
        return _TOOLS[self.sid.partition(":")[0]]

    @classmethod
    def candidates(cls, site: Site) -> tuple[str, ...]:
        return tuple(guest.name for guest in site.guests if guest.kind in cls.sorts)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        names = cls.candidates(cluster.site)
        if not names:
            raise NotApplicableError(
                "PF-GUEST-NONE", f"the site orders no guest that is a {' or a '.join(cls.sorts)}.",
                "add a [[guest]] to the site file.",
            )  # fmt: skip
        return cls.of(cluster, random.choice(names))

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        return cls.of(cluster, candidate)

    @classmethod
    def of(cls, cluster: ClusterPort, name: str) -> Self:
        """A named guest of the site, where it is now. Raises `NotApplicableError` where it is not built."""
        (guest,) = [each for each in cluster.site.guests if each.name == name]
        return cls(node=placed(cluster, guest.sid), guest=name, sid=guest.sid)

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run("set -e\n" + self.break_script(), timeout=ACT_S)

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run(self.heal_script(), timeout=ACT_S)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return Prediction(0.0, 0.0, "no path between nodes passes through a guest")


@dataclass(frozen=True, kw_only=True)
class GuestCrash(_GuestFault):
    """A guest's process is killed, a container's first one or a virtual machine's QEMU."""

    kind = "guest-crash"
    summary = "a guest's process is killed (SIGKILL)"
    needs = ("a guest of the site that runs",)
    blast_radius = "one guest, until the HA manager has started it again"
    heals_by = "the HA manager, or the guest started"
    inject_s = 60.0
    heal_s = 180.0

    deadman_s: float = 300.0

    def check(self, cluster: ClusterPort) -> None:
        if not cluster.nodes[self.node].run(self._process(), timeout=LOOK_S, check=False).ok:
            raise RefusedError(f"{self.target} is not broken: it does not run there")

    def break_script(self) -> str:
        folder = shlex.quote(on_node.FOLDER)
        return (
            f'{self._process()}umask 077; mkdir -p {folder}\necho "$pid" > {self._note}\nkill -KILL "$pid"\n'
        )

    def heal_script(self) -> str:
        """Only the node that holds its configuration starts it: the HA manager may have moved it."""
        runs = f"{self.tool} status {self.vmid} | grep -q running"
        return (
            f"rm -f {self._note}\n"
            f'if [ -e "{PVE}/local/{_FOLDERS[self.sid.partition(":")[0]]}/{self.vmid}.conf" ]; then\n'
            f"  {runs} || {self.tool} start {self.vmid} || {runs}\n"
            "fi\n"
        )

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        """The process that was noted is gone; the HA manager may have begun another since."""
        look = f'read -r pid < {self._note} && [ ! -e "{lost.PROC}/$pid" ]'
        return cluster.nodes[self.node].run(look, timeout=LOOK_S, check=False).ok

    def healed(self, cluster: ClusterPort) -> bool:
        left = cluster.nodes[self.node].run(f"[ -e {self._note} ]", timeout=LOOK_S, check=False).ok
        return not left and self._runs(cluster)

    @property
    def _note(self) -> str:
        return shlex.quote(f"{on_node.FOLDER}/crashed-{self.vmid}")

    def _process(self) -> str:
        """Sets `pid`, or ends the script."""
        ask = (
            f"pid=$(lxc-info -n {self.vmid} -p -H)"
            if self.tool == "pct"
            else f'pid=; read -r pid < "{QEMU}/{self.vmid}.pid"'
        )
        return (
            f"{ask} || :\n"
            f"case $pid in '' | 0 | 1 | *[!0-9]*) pid=0 ;; esac\n"
            f'[ -e "{lost.PROC}/$pid" ] || {{ echo "{self.sid} has no process here" >&2; exit 1; }}\n'
        )

    def _runs(self, cluster: ClusterPort) -> bool:
        ask = f"{self.tool} status {self.vmid}"
        told = cluster.nodes[placed(cluster, self.sid)].run(ask, timeout=LOOK_S, check=False).stdout
        return told.split() == ["status:", "running"]


@dataclass(frozen=True, kw_only=True)
class GuestServiceDead(_GuestFault):
    """All in a container but its first process is stopped: it lives, answers pings, and serves nobody."""

    kind = "guest-service-dead"
    summary = (
        "the processes in a container stand still (SIGSTOP), all but the first: it lives and serves nobody"
    )
    needs = ("a container of the site that runs a service beside its first process",)
    blast_radius = "the service of one guest; the HA manager sees nothing wrong"
    heals_by = "SIGCONT in the container"
    sorts = ("container",)
    inject_s = 60.0
    heal_s = 60.0

    deadman_s: float = 300.0

    def check(self, cluster: ClusterPort) -> None:
        stopped, going = self._count(cluster)
        if stopped or not going:
            raise RefusedError(
                f"{self.target} is not broken: of its processes besides the first, {stopped} stand still"
                f" and {going} go on: expected none and some"
            )

    def break_script(self) -> str:
        return self._within("kill -STOP -1") + "\n"

    def heal_script(self) -> str:
        """A guest that was started elsewhere, or anew, has nothing that stands still."""
        return (
            f"if lxc-info -n {self.vmid} -s -H 2>/dev/null | grep -q RUNNING; then\n"
            f"  {self._within('kill -CONT -1')}\nfi\n"
        )

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        stopped, going = self._count(cluster)
        return stopped > 0 and not going

    def healed(self, cluster: ClusterPort) -> bool:
        stopped, going = self._count(cluster)
        return not stopped and going > 0

    def _count(self, cluster: ClusterPort) -> tuple[int, int]:
        """(processes that stand still, processes that go on), its first one aside, wherever it is now."""
        node = cluster.nodes[placed(cluster, self.sid)]
        words = node.run(self._within(_COUNT), timeout=LOOK_S, check=False).stdout.split()
        if len(words) != 2 or not all(word.isdigit() for word in words):
            raise UnknownError(f"{self.target}: its processes could not be read")
        return int(words[0]), int(words[1])

    def _within(self, script: str) -> str:
        return shlex.join(["lxc-attach", "-n", str(self.vmid), "--clear-env", "--", "/bin/sh", "-c", script])


def placed(cluster: ClusterPort, sid: str) -> str:
    """The node that holds a guest's configuration, as Proxmox VE has it for the whole cluster.

    Raises `NotApplicableError` where there is none, `UnreachableError` where no node tells.
    """
    sort, _, vmid = sid.partition(":")
    look = f'cd "{PVE}/nodes" && ls -d */{_FOLDERS[sort]}/{vmid}.conf'
    failed: RackproofError | None = None
    for node in cluster.nodes.values():
        try:
            found = node.run(look, timeout=LOOK_S, check=False).stdout.split()
        except RackproofError as error:
            failed = error
            continue
        if found:
            return found[0].partition("/")[0]
        failed = None
    raise failed or NotApplicableError("PF-GUEST-NONE", f"there is no guest {sid}.", "build phase 7.")
