"""Commit and confirm: what is armed before a change, what is said when the old network came back."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.errors import NotConvergedError, RefusedError, UnreachableError
from cluster.site import Site
from provisioners.change import Change
from provisioners.network import apply as module
from provisioners.network.apply import LockoutAvertedError, Network, push
from provisioners.network.interfaces import render
from provisioners.network.observation import Observation
from tests.provisioners.networks import all_networked, with_node


class FakeNode:
    """A node whose file and reachability follow what is done to it. Time is a counter of seconds."""

    def __init__(self, name: str, clock: list[float]) -> None:
        self.name = name
        self.clock = clock
        self.files = {"interfaces": "old\n"}
        self.log: list[str] = []
        self.armed_until: float | None = None
        self.fired = False
        self.lost_with: str | None = None  # a file text with which nobody reaches the node
        self.syntax_error = False
        self.restores = True

    def tick(self) -> None:
        self.clock[0] += 1
        if self.armed_until is not None and self.clock[0] >= self.armed_until:
            self.fired, self.armed_until = True, None
            if self.restores:
                self.files["interfaces"] = self.files["previous"]

    def reachable(self, timeout: float = 5) -> bool:
        self.tick()
        return self.files["interfaces"] != self.lost_with

    def put(self, text: str, path: str, mode: int = 0o644) -> None:
        self.log.append(f"put {path.rsplit('/', 1)[1]}")
        self.files[path.rsplit("/", 1)[1]] = text

    def run(self, command: str, *args: str, timeout: float = 30, check: bool = True, data: Any = None) -> Any:
        if not self.reachable():
            raise UnreachableError(f"{self.name} did not answer")
        out = ""
        digest = hashlib.sha256(self.files["interfaces"].encode()).hexdigest() + "  -\n"
        if "interfaces.previous" in command and "cp" in command:
            self.log.append("keep")
            self.files["previous"] = self.files["interfaces"]
            self.files.setdefault("saved", self.files["interfaces"])
        elif "systemd-run" in command:
            self.log.append("commit")
            assert self.armed_until is not None, "nothing may be applied before the switch is armed"
            if self.syntax_error:
                self.files["outcome"] = "syntax"
            else:
                self.files["interfaces"], self.files["outcome"] = (
                    self.files["interfaces.candidate"],
                    "applied 0",
                )
        elif "outcome" in command:
            out = f"{self.files.get('outcome', '')}\n{digest}"
        elif command.startswith("sha256sum"):
            out = digest
        elif command.startswith("cat ") and "saved" in command:
            out = self.files.get("saved", "")
            return SimpleNamespace(ok="saved" in self.files, stdout=out, stderr="", rc=0, seconds=0.0)
        elif command.startswith("tail"):
            out = "error: bond0: invalid mode\n"
        return SimpleNamespace(ok=True, stdout=out, stderr="", rc=0, seconds=0.0)


@pytest.fixture
def cluster(site: Site, monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = [0.0]
    nodes = {n.name: FakeNode(n.name, clock) for n in site.nodes}

    def arm(node: FakeNode, unit: str, seconds: float, script: str) -> None:
        assert "interfaces.previous /etc/network/interfaces" in script and "ifreload -a" in script
        node.log.append("arm")
        node.armed_until = clock[0] + seconds

    def disarm(node: FakeNode, unit: str) -> bool:
        node.log.append("disarm")
        was = node.armed_until is not None
        node.armed_until = None
        return was

    monkeypatch.setattr(module.deadman, "arm", arm)
    monkeypatch.setattr(module.deadman, "disarm", disarm)
    monkeypatch.setattr(
        module.deadman, "armed", lambda node: [] if node.armed_until is None else [module.UNIT]
    )
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(module, "play", lambda *args, **options: {})
    return SimpleNamespace(site=site, nodes=nodes, each=lambda call, names: {n: call(n) for n in names})


def quiet(_: str) -> None:
    return None


def test_the_switch_is_armed_before_anything_changes(cluster: Any) -> None:
    push(cluster, "node1", "new\n", quiet)
    node = cluster.nodes["node1"]
    assert node.log == ["keep", "put interfaces.candidate", "arm", "put commit.sh", "commit", "disarm"]
    assert node.files["interfaces"] == "new\n" and node.files["saved"] == "old\n"


def test_a_configuration_that_locks_out_takes_itself_back(cluster: Any) -> None:
    node = cluster.nodes["node1"]
    node.lost_with = "wrong\n"
    with pytest.raises(
        LockoutAvertedError, match=r"not confirmed within 30 s .*the old configuration came back"
    ):
        push(cluster, "node1", "wrong\n", quiet, revert_s=30)
    assert node.files["interfaces"] == "old\n" and node.fired and "disarm" not in node.log


def test_a_node_that_stays_away_is_told(cluster: Any) -> None:
    node = cluster.nodes["node1"]
    node.lost_with, node.restores = "wrong\n", False
    with pytest.raises(UnreachableError, match="its old network did not come back within 120 s"):
        push(cluster, "node1", "wrong\n", quiet, revert_s=30)


def test_a_syntax_error_changes_nothing_and_waits_for_nothing(cluster: Any) -> None:
    node = cluster.nodes["node1"]
    node.syntax_error = True
    with pytest.raises(NotConvergedError, match=r"ifreload refused .*nothing was changed: error: bond0"):
        push(cluster, "node1", "bad\n", quiet)
    assert node.files["interfaces"] == "old\n" and node.log[-1] == "disarm" and not node.fired


def changes(site: Site) -> list[Change]:
    return [Change(node.name, "make bond0", "network") for node in site.nodes]


def test_all_nodes_get_their_own_file(cluster: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "observe", lambda cluster: all_networked(site))
    Network().apply(cluster, changes(site), quiet)
    for node in site.nodes:
        assert cluster.nodes[node.name].files["interfaces"] == render(site, node)


@pytest.mark.parametrize("quorate", [True, False])
def test_a_cluster_is_changed_node_by_node_and_only_with_quorum(
    cluster: Any, site: Site, monkeypatch: pytest.MonkeyPatch, quorate: bool
) -> None:
    seen: Observation = with_node(all_networked(site), "node1", clustered=True)
    monkeypatch.setattr(module, "observe", lambda cluster: seen)
    asked: list[str] = []
    for name, node in cluster.nodes.items():
        original = node.run

        def run(command: str, *args: str, _name: str = name, _run: Any = original, **options: Any) -> Any:
            if "quorumtool" in command:
                asked.append(_name)
                word = "Yes" if quorate or len(asked) == 1 else "No"
                return SimpleNamespace(ok=True, stdout=f"Quorate:          {word}\n", stderr="", rc=0)
            return _run(command, *args, **options)

        node.run = run
    if quorate:
        Network().apply(cluster, changes(site), quiet)
        assert asked == ["node1", "node2", "node3"]
        return
    with pytest.raises(RefusedError, match="node2: not touched: no quorum after changing node1"):
        Network().apply(cluster, changes(site), quiet)
    assert cluster.nodes["node2"].files["interfaces"] == "old\n"


def test_undo_puts_back_what_stood_before_phase_2(cluster: Any, site: Site) -> None:
    push(cluster, "node1", "new\n", quiet)
    push(cluster, "node1", "newer\n", quiet)
    said: list[str] = []
    Network().undo(cluster, changes(site), said.append)
    assert cluster.nodes["node1"].files["interfaces"] == "old\n"
    assert "node2: its network was never changed" in said
