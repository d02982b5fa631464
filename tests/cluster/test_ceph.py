"""Questions to Ceph: what a node is sent, what comes back, who is asked next. The program itself runs
against a `rados` module of our own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import ceph_session
from cluster.ceph import LATE_S, SOON_S, Ceph, CephCommandError, CephError, CephUnreachableError
from cluster.errors import UnreachableError

RADOS = """
import json, time
class Error(Exception): pass
class Rados:
    def __init__(self, conffile, name, conf): self.name = name
    def connect(self, timeout):
        if "{mode}" == "deaf": time.sleep(3)
        if "{mode}" == "away": raise Error("timed out")
    def mon_command(self, text, data):
        asked = json.loads(text)
        assert asked["format"] == "json", asked
        prefix = asked["prefix"]
        if prefix == "mgr stat": return 0, json.dumps({"available": "{mode}" != "no mgr"}).encode(), ""
        listed = {"auth_dump": [{"entity": "x", "key": "geheim"}]}
        if prefix == "auth ls": return 0, json.dumps(listed).encode(), ""
        if prefix == "auth print-key": return 0, b"geheim", ""
        if prefix == "bad": return -22, b"", "command not known"
        if prefix == "text": return 0, b"", "done"
        if prefix == "echo": return 0, data, ""
        return 0, b"\\n" + json.dumps({"prefix": prefix, "more": 1}).encode(), ""
    def mgr_command(self, text, data):
        if "{mode}" == "slow mgr": time.sleep(60)
        return -16, b'{"ok": false}', "busy"
    def osd_command(self, osd, text, data): return 0, json.dumps(osd).encode(), ""
"""


class Local:
    """A node whose agent runs here, with a ceph.conf and a `rados` of a folder."""

    def __init__(self, folder: Path, mode: str = "", name: str = "node1") -> None:
        self.where = self.name = name
        self.folder = folder
        self.asked = 0
        (folder / "rados.py").write_text(RADOS.replace("{mode}", mode))
        (folder / "ceph.conf").write_text("")

    def reachable(self, timeout: float = 5) -> bool:
        return True

    def argv(self, command: str, *, multiplexed: bool = False, options: tuple[str, ...] = ()) -> list[str]:
        self.asked += 1
        here = command.replace("python3 -I", f"{sys.executable}")
        return ["env", f"PYTHONPATH={self.folder}", f"CEPH_CONF={self.folder}/ceph.conf", "sh", "-c", here]


@pytest.fixture(autouse=True)
def _agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent as it is sent, but for where ceph.conf lies."""
    text = ceph_session.AGENT.read_text()
    assert 'CONF = "/etc/ceph/ceph.conf"' in text
    copy = tmp_path / "agent.py"
    copy.write_text(text.replace('CONF = "/etc/ceph/ceph.conf"', 'CONF = os.environ["CEPH_CONF"]'))
    monkeypatch.setattr(ceph_session, "AGENT", copy)


@pytest.fixture
def ceph_of() -> Iterator[Callable[..., Ceph]]:
    """Makes clients of one node; all are closed at the end."""
    made: list[Ceph] = []

    def make(node: Any) -> Ceph:
        made.append(Ceph(SimpleNamespace(nodes={node.name: node})))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_answers_come_by_name(tmp_path: Path, ceph_of: Callable[..., Ceph]) -> None:
    node: Any = Local(tmp_path)
    found = ceph_of(node).ask(
        {
            "a": {"prefix": "status"},
            "picked": {"prefix": "osd dump", "pick": ["more"]},
            "text": {"prefix": "text"},
            "bad": {"prefix": "bad"},
            "mgr": {"prefix": "osd df", "target": "mgr"},
            "osd": {"prefix": "perf", "target": "osd.7"},
            "input": {"prefix": "echo", "input": "[1]"},
        },
    )
    assert found["a"] == {"prefix": "status", "more": 1}
    assert found["picked"] == {"more": 1}
    assert (found["text"], found["osd"], found["input"]) == ("done", 7, [1])
    assert found["bad"] == CephError(22, "command not known", "command not known")
    assert found["mgr"] == CephError(16, "busy", {"ok": False})
    assert node.asked == 1


def test_no_key_is_printed(tmp_path: Path, ceph_of: Callable[..., Ceph]) -> None:
    node: Any = Local(tmp_path)
    found = ceph_of(node).ask({"ls": {"prefix": "auth ls"}, "key": {"prefix": "auth print-key"}})
    assert "geheim" not in json.dumps(found)
    assert found["ls"]["auth_dump"][0]["key"].startswith("sha256:")


def test_without_a_manager_its_questions_are_not_waited_for(
    tmp_path: Path, ceph_of: Callable[..., Ceph]
) -> None:
    node: Any = Local(tmp_path, "no mgr")
    found = ceph_of(node).ask({"df": {"prefix": "osd df", "target": "mgr"}, "s": {"prefix": "status"}})
    assert found["df"] == CephError(11, "no manager is active")
    assert found["s"]["prefix"] == "status"


def test_a_silent_manager_costs_one_wait_and_no_other_answer(
    tmp_path: Path, ceph_of: Callable[..., Ceph]
) -> None:
    node: Any = Local(tmp_path, "slow mgr")
    asked = {f"df{i}": {"prefix": "osd df", "target": "mgr"} for i in range(5)} | {"s": {"prefix": "status"}}
    found = ceph_of(node).ask(asked, timeout_s=5)
    assert found["s"]["prefix"] == "status"
    assert {found[f"df{i}"].code for i in range(5)} == {110}


def test_silence_of_the_monitors_has_its_own_error(tmp_path: Path, ceph_of: Callable[..., Ceph]) -> None:
    node: Any = Local(tmp_path, "away")
    with pytest.raises(CephUnreachableError, match="timed out"):
        ceph_of(node).ask({"a": {"prefix": "status"}})


def test_a_node_without_ceph_says_so(tmp_path: Path, ceph_of: Callable[..., Ceph]) -> None:
    node: Any = Local(tmp_path)
    (tmp_path / "ceph.conf").unlink()
    with pytest.raises(CephUnreachableError, match=r"ceph\.conf is not there"):
        ceph_of(node).ask({"a": {"prefix": "status"}})


def test_a_broken_python_is_no_silent_pass(tmp_path: Path, ceph_of: Callable[..., Ceph]) -> None:
    node: Any = Local(tmp_path)
    (tmp_path / "rados.py").write_text("raise SystemExit('no such thing')")
    with pytest.raises(CephUnreachableError, match="could not be asked: no such thing"):
        ceph_of(node).ask({"a": {"prefix": "status"}})


def cluster_of(tmp_path: Path, modes: dict[str, str]) -> Any:
    nodes = {}
    for name, mode in modes.items():
        folder = tmp_path / name
        folder.mkdir()
        nodes[name] = Local(folder, mode, name)
    return SimpleNamespace(nodes=nodes)


def test_the_next_node_is_asked_and_remembered(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, {"node1": "away", "node2": "", "node3": ""})
    ceph = Ceph(cluster)
    for _ in range(2):
        assert ceph.must({"prefix": "status"})["more"] == 1
    assert [node.asked for node in cluster.nodes.values()] == [1, 1, 0]
    ceph.prefer("node3")
    ceph.ask({"a": {"prefix": "status"}})
    assert cluster.nodes["node3"].asked == 1
    ceph.close()


def test_a_conversation_is_kept_and_begun_again_when_it_has_ended(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, {"node1": ""})
    told: list[str] = []
    ceph = Ceph(cluster, lambda where, command, output, seconds: told.append(f"{where} {command}"))
    for _ in range(3):
        ceph.must({"prefix": "status"})
    assert cluster.nodes["node1"].asked == 1
    kept = ceph._session
    assert ceph.ask({}) == {}
    assert ceph._session is kept  # nothing to ask is no reason to begin anew
    told.pop()
    assert told == ["node1 ceph: status"] * 3
    assert ceph._session is not None
    ceph._session._process.kill()
    assert ceph.must({"prefix": "status"})["more"] == 1
    assert cluster.nodes["node1"].asked == 2
    ceph.close()
    assert ceph.must({"prefix": "status"})["more"] == 1
    ceph.close()


def test_an_answer_that_does_not_come_has_a_deadline(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, {"node1": "deaf"})
    ceph = Ceph(cluster)
    with pytest.raises(CephUnreachableError, match="Ceph's answer did not come within 1 s"):
        ceph.ask({"a": {"prefix": "status"}}, timeout_s=1)
    ceph.close()


def test_every_node_s_reason_is_told(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, {"node1": "away", "node2": "away"})
    cluster.nodes["node2"].reachable = lambda timeout=5: False
    with pytest.raises(UnreachableError) as error:
        Ceph(cluster).ask({"a": {"prefix": "status"}})
    assert "timed out" in str(error.value) and "node2 does not answer" in str(error.value)


def test_where_none_lets_us_in_soon_each_is_given_longer(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, {"node1": "", "node2": ""})
    waited: list[tuple[str, float]] = []
    for name, node in cluster.nodes.items():
        node.reachable = lambda timeout, name=name: waited.append((name, timeout)) or timeout > SOON_S
    ceph = Ceph(cluster)
    assert ceph.must({"prefix": "status"})["prefix"] == "status"
    assert waited == [("node1", SOON_S), ("node2", SOON_S), ("node1", LATE_S)]
    ceph.close()


def test_what_must_succeed_names_its_command(tmp_path: Path, ceph_of: Callable[..., Ceph]) -> None:
    cluster = cluster_of(tmp_path, {"node1": ""})
    with pytest.raises(CephCommandError, match="ceph bad: command not known"):
        ceph_of(cluster.nodes["node1"]).must({"prefix": "bad"})
