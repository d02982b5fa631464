"""Putting a network configuration into force so that nobody can be locked out: commit and confirm.

On the node: the file in force is kept, a dead-man's switch is armed that puts it back, and only then is the
candidate checked for syntax and applied, detached from our connection. We come back over the new path and
disarm the switch; if we cannot, the node's own timer restores what was there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster import deadman
from cluster.errors import DeadlineError, NotConvergedError, RackproofError, RefusedError, UnreachableError
from cluster.node import CommandError, Node
from provisioners.ansible import play
from provisioners.change import Change, Progress
from provisioners.each import raise_all
from provisioners.network.interfaces import digest, render
from provisioners.network.observation import NodeNetwork, observe

if TYPE_CHECKING:
    from cluster.cluster import Cluster

FOLDER = "/var/lib/rackproof/network"
SAVED = "/var/lib/rackproof/saved/phase2/interfaces"  # as it stood before phase 2 first touched the node
UNIT = "rackproof-heal-network"
REVERT_S = 120.0  # three nodes at once on two emulated CPUs needed 60 s
RESTORE_S = 120.0  # for the restoring itself, after the switch has fired
_APPLY = "rackproof-network-apply"

_KEEP = f"""\
set -e
mkdir -p -m 700 {FOLDER} "$(dirname {SAVED})"
[ -e {SAVED} ] || cp -a /etc/network/interfaces {SAVED}
cp -a /etc/network/interfaces {FOLDER}/interfaces.previous
rm -f {FOLDER}/outcome
"""

# Without `-e`: whatever ifreload says, it is called again with the old file.
_RESTORE = f"""\
systemctl stop {_APPLY}.service 2>/dev/null
cp -a {FOLDER}/interfaces.previous /etc/network/interfaces
for n in 1 2 3; do ifreload -a && break; sleep 2; done
"""

_COMMIT = f"""\
exec > {FOLDER}/log 2>&1
cp {FOLDER}/interfaces.candidate /etc/network/interfaces
if ! ifreload -s -a; then
  cp -a {FOLDER}/interfaces.previous /etc/network/interfaces
  echo syntax > {FOLDER}/outcome
  exit 1
fi
ifreload -a
echo "applied $?" > {FOLDER}/outcome
"""


class LockoutAvertedError(NotConvergedError):
    """The new network configuration was not confirmed in time; the node has put the old one back itself."""


@dataclass(frozen=True)
class Network:
    """Action `network`: the ordered configuration on each node; one at a time once there is a cluster."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        names = list(dict.fromkeys(change.node for change in changes))
        texts = {name: render(cluster.site, cluster.site.node(name)) for name in names}
        variables = {name: {"node_interfaces": text} for name, text in texts.items()}
        raise_all(cluster.each(lambda name: cluster.nodes[name].run(f"mkdir -p -m 700 {FOLDER}"), names))
        play(cluster, "network", names, {}, progress, host_variables=variables)
        if not _clustered(cluster):
            raise_all(cluster.each(lambda name: push(cluster, name, texts[name], progress), names))
            return
        for name in names:  # a cluster that loses two links at once loses its quorum
            _healthy(cluster, name, names)
            push(cluster, name, texts[name], progress)

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Puts back, equally carefully, the configuration from before phase 2."""

        def one(name: str) -> None:
            saved = cluster.nodes[name].run(f"cat {SAVED}", check=False)
            if not saved.ok:
                progress(f"{name}: its network was never changed")
                return
            push(cluster, name, saved.stdout, progress)
            cluster.nodes[name].run(f"rm -f {SAVED} {FOLDER}/interfaces.candidate")

        raise_all(cluster.each(one, dict.fromkeys(change.node for change in changes)))


def push(
    cluster: Cluster,
    name: str,
    text: str,
    progress: Progress,
    *,
    revert_s: float = REVERT_S,
) -> float:
    """Puts `text` into force on one node as /etc/network/interfaces and confirms it; the seconds that took.

    Raises LockoutAvertedError when it could not be confirmed within `revert_s` seconds: the old
    configuration is back in force then, and was seen to be. Raises UnreachableError when the node stays
    away even so.
    """
    node = cluster.nodes[name]
    began = time.monotonic()
    node.run(_KEEP, timeout=30)
    old = node.run("sha256sum < /etc/network/interfaces", timeout=30).stdout.split()[0]
    node.put(text, f"{FOLDER}/interfaces.candidate", 0o644)
    deadman.arm(node, UNIT, revert_s, _RESTORE)
    armed = time.monotonic()
    progress(f"{name}: applying its network; the old one comes back by itself within {revert_s:.0f} s")
    node.put(_COMMIT, f"{FOLDER}/commit.sh", 0o700)
    node.run(
        f"systemctl reset-failed {_APPLY}.service 2>/dev/null;"
        f" systemd-run --quiet --collect --no-block --unit={_APPLY} /bin/sh {FOLDER}/commit.sh",
        timeout=30,
    )
    problem = _confirm(node, text, armed + revert_s - 5)
    if not problem:
        took = time.monotonic() - began
        progress(f"{name}: its network is in force and confirmed after {took:.0f} s")
        return took
    _wait_restored(node, old, armed + revert_s + RESTORE_S, progress)
    raise LockoutAvertedError(
        f"{name}: the new network configuration was not confirmed within {revert_s:.0f} s ({problem});"
        f" the old configuration came back by itself, {time.monotonic() - armed:.0f} s after it was replaced"
    )


def _confirm(node: Node, text: str, until: float) -> str:
    """Disarms the switch over the new path; "" when that worked, else the reason why not. Bounded by
    `until`.
    """
    reason = "the node did not answer"
    while time.monotonic() < until:
        try:
            # A fresh login: the kept connection may live on over a path that is about to go.
            if not node.reachable(5):
                continue
            seen = node.run(
                f"cat {FOLDER}/outcome 2>/dev/null; sha256sum < /etc/network/interfaces", timeout=20
            )
        except (UnreachableError, DeadlineError, CommandError) as error:
            reason = str(error)
            continue
        lines = seen.stdout.splitlines()
        if lines[:1] == ["syntax"]:
            return _refused(node)
        if not lines[:1] or not lines[0].startswith("applied"):
            time.sleep(0.5)  # ifreload has not ended yet
            continue
        if lines[-1].split()[0] != digest(text):
            return "the file in force is not the one that was pushed"
        if deadman.disarm(node, UNIT):
            return ""
        return "the node had given up waiting"
    return reason


def _refused(node: Node) -> str:
    """ifupdown2 found a mistake before anything was changed; the switch is not needed any more."""
    deadman.disarm(node, UNIT)
    said = node.run(f"tail -n 3 {FOLDER}/log", check=False).stdout.strip().replace("\n", "; ")
    raise NotConvergedError(
        f"{node.name}: ifreload refused the network configuration, nothing was changed: {said}"
    )


def _wait_restored(node: Node, old: str, until: float, progress: Progress) -> None:
    progress(f"{node.name}: not confirmed; waiting for the node to put its old network back")
    last: RackproofError | None = None
    while time.monotonic() < until:
        with contextlib.suppress(UnreachableError, DeadlineError, CommandError):
            if node.reachable(5):
                seen = node.run("sha256sum < /etc/network/interfaces", timeout=20).stdout.split()
                if seen[:1] == [old] and not deadman.armed(node):
                    return
        time.sleep(1)
    try:
        node.run("true", timeout=10)
    except RackproofError as error:
        last = error
    raise UnreachableError(
        f"{node.name}: its old network did not come back within {RESTORE_S:.0f} s after its switch fired"
        f" ({last or 'it answers, but with another configuration'}); its console is the way in"
    )


def _clustered(cluster: Cluster) -> bool:
    found: Mapping[str, object] = observe(cluster).nodes
    return any(isinstance(node, NodeNetwork) and node.clustered for node in found.values())


def _healthy(cluster: Cluster, name: str, names: Sequence[str]) -> None:
    """Raises RefusedError unless the cluster has quorum before the next node is
    touched.
    """
    seen = cluster.nodes[name].run("corosync-quorumtool -s", check=False, timeout=30)
    if "Quorate:          Yes" not in seen.stdout:
        done = names[: names.index(name)]
        raise RefusedError(f"{name}: not touched: no quorum after changing {', '.join(done) or 'no node'}")
