"""Faults inside a node: a systemd timer on the node heals them, though harness and network be gone."""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from chaos.fault import Fault
from chaos.ports import ClusterPort, NodePort
from cluster import deadman
from cluster.errors import UnknownError, UnreachableError

FOLDER = "/run/rackproof"
_DETACHED = """\
umask 077; mkdir -p %s
cat > %s.sh
systemd-run --quiet --collect --unit=%s /bin/sh -c 'sleep 0.3; /bin/sh %s.sh; echo $? > %s.rc'
"""


@dataclass(frozen=True, kw_only=True)
class NodeFault(Fault):
    """A fault on one node, given by the POSIX sh scripts that break and mend it.

    `detached`: the break cuts the harness off, so it runs as a unit of its own a moment after the command
    has returned.
    """

    deadman = "systemd timer on the node"
    detached = False

    node: str

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.node,)

    @abstractmethod
    def break_script(self) -> str:
        """Commands that break the node; the first that fails ends them."""

    @abstractmethod
    def heal_script(self) -> str:
        """Commands that mend it; harmless where nothing is broken. The dead-man's switch runs the same
        ones.
        """

    def arm(self, cluster: ClusterPort, drill: str) -> Mapping[str, str]:
        unit = _heal_unit(drill)
        deadman.arm(cluster.nodes[self.node], unit, self.deadman_s, self.heal_script())
        return {"unit": unit}

    def armed(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return _heal_unit(drill) in deadman.armed(cluster.nodes[self.node])

    def disarm(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return deadman.disarm(cluster.nodes[self.node], _heal_unit(drill))

    def fired(self, cluster: ClusterPort, drill: str) -> bool:
        return deadman.fired(cluster.nodes[self.node], _heal_unit(drill))

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        node, script = cluster.nodes[self.node], "set -e\n" + self.break_script()
        if self.detached:
            run_detached(node, drill, script)
        else:
            node.run(script)

    def proven(self, cluster: ClusterPort, drill: str) -> None:
        """After a detached break, once the node answers again: raise `UnknownError` unless its script
        succeeded.
        """
        if not self.detached:
            return
        found = cluster.nodes[self.node].run("cat %s", f"{FOLDER}/break-{drill}.rc", check=False)
        status = found.stdout.strip()
        if status != "0":
            raise UnknownError(
                f"{self.target}: the node has no record of being broken (status {status or 'missing'})"
            )

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        cluster.nodes[self.node].run(self.heal_script())

    def isolated(self, cluster: ClusterPort, seconds: float = 5.0) -> bool:
        """Whether the node does not answer the harness; `proven` later asks the node itself why."""
        try:
            return not cluster.nodes[self.node].reachable(timeout=seconds)
        except UnreachableError:
            return True


def run_detached(node: NodePort, drill: str, script: str) -> None:
    """Run a script as a unit of its own, a moment after this has returned; it leaves its status in
    `FOLDER`.
    """
    name = f"{FOLDER}/break-{drill}"
    node.run(_DETACHED, FOLDER, name, f"rackproof-break-{drill}", name, name, data=script)


def _heal_unit(drill: str) -> str:
    return f"{deadman.PREFIX}{drill}"
