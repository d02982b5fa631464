"""CONTRIBUTING.md tells the truth: its blocks are put where they belong, and do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import provisioners
import provisioners.network
import steps
from cluster.errors import NotConvergedError
from cluster.site import Site, load
from provisioners.change import Change
from provisioners.converge import converge, plan, rollback

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)
BLOCKS = {
    re.sub(r"^# ", "", text.splitlines()[0]): text
    for _, _, indented in FENCE.findall(PAGE.read_text(encoding="utf-8"))
    for text in [textwrap.dedent(indented)]
}
FIXTURES = """
from pathlib import Path
import pytest
from cluster.site import load
from provisioners.network.observation import Observation
from tests.provisioners.networks import all_networked

pytest_plugins = {plugins}

@pytest.fixture
def site():
    return load(Path({site!r}))

@pytest.fixture
def phases(site):
    from tests_of_page import slowed
    class Phases:
        def require(self, number):
            return slowed(site) if {slow} else all_networked(site)
    return Phases()
"""


@pytest.fixture
def page(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with the page's files in it, seen by Python as if they stood in our rooms."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider -p pytest_bdd.plugin")
    for name, text in BLOCKS.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (pytester.path / "tests_of_page.py").write_text(
        BLOCKS["tests/provisioners/test_speeds.py"], encoding="utf-8"
    )
    for room, folder in (
        (steps, "steps"),
        (provisioners, "provisioners"),
        (provisioners.network, "provisioners/network"),
    ):
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(pytester.path / folder)])
    for added in ("steps.phase2_speeds", "provisioners.network.speeds", "provisioners.panic"):
        sys.modules.pop(added, None)
    pytester.syspathinsert()
    return pytester


def conftest(page: pytest.Pytester, *plugins: str, slow: bool = False) -> None:
    page.makeconftest(FIXTURES.format(plugins=list(plugins), site=str(ROOT / "sites/lab.toml"), slow=slow))


def test_every_block_names_a_file_that_is_not_there_yet() -> None:
    assert len(BLOCKS) >= 8
    for name in BLOCKS:
        assert re.fullmatch(r"[\w/]+\.(py|feature|yml)", name), f"a block of the page begins with {name!r}"
        assert not (ROOT / name).exists(), f"{name} exists; the page would overwrite it"
        assert (ROOT / name).parents[0].is_dir() or "/roles/" in name, f"{name}: there is no such room"


@pytest.mark.parametrize("slow", [False, True])
def test_add_a_check(page: pytest.Pytester, slow: bool) -> None:
    conftest(page, "steps.collect", "steps.common", "steps.phase2_speeds", slow=slow)
    result = page.runpytest_inprocess("features")
    result.assert_outcomes(passed=int(not slow), failed=int(slow))
    if slow:
        result.stdout.fnmatch_lines(
            [
                "features/phase2_speeds.feature:9: Then each node's links run at the ordered speed",
                "*node2: 52:54:00:02:00:00 at sw1 * runs at 100 Gbit/s, expected 200 Gbit/s",
            ]
        )


def test_the_page_s_own_tests_pass(page: pytest.Pytester) -> None:
    conftest(page)
    page.runpytest_inprocess("tests").assert_outcomes(passed=2 + 7)


@dataclass
class Nodes:
    """A cluster of which only kernel.panic is known; `works` false: the role changes nothing."""

    site: Site
    works: bool = True
    panic: dict[str, str] = field(default_factory=lambda: {"node1": "10\n", "node2": "0\n", "node3": "5\n"})
    played: list[tuple[str, str, list[str]]] = field(default_factory=list)

    def gather(self, script: str) -> dict[str, dict[str, str]]:
        assert script == "section panic; cat /proc/sys/kernel/panic"
        return {name: {"panic": value} for name, value in self.panic.items()}

    def play(
        self,
        cluster: Any,
        role: str,
        nodes: Sequence[str],
        variables: Any,
        progress: Any,
        tasks_from: str = "main",
    ) -> None:
        self.played.append((role, tasks_from, list(nodes)))
        if self.works:
            value = variables["panic_seconds"] if tasks_from == "main" else 0
            self.panic.update(dict.fromkeys(nodes, f"{value}\n"))


@pytest.fixture
def phase(page: pytest.Pytester) -> Any:
    import importlib

    return importlib.import_module("provisioners.panic")


def said(_: object) -> None:
    """Progress and records that no test here reads."""


def test_add_a_provisioner(phase: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Any = Nodes(load(ROOT / "sites/lab.toml"))
    monkeypatch.setattr(phase, "play", nodes.play)
    recorded: list[Change] = []
    assert [change.node for change in plan(phase.PHASE, nodes)] == ["node2", "node3"] and not nodes.played
    seen = converge(phase.PHASE, nodes, record=recorded.append, progress=said)
    assert set(seen.seconds.values()) == {10}
    assert [change.node for change in recorded] == ["node2", "node3"]
    converge(phase.PHASE, nodes, record=recorded.append, progress=said)
    assert nodes.played == [("panic", "main", ["node2", "node3"])], "asked twice, done once"
    rollback(phase.PHASE, nodes, progress=said)
    assert set(nodes.panic.values()) == {"0\n"}


def test_a_provisioner_that_does_not_work_is_found_out(phase: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Any = Nodes(load(ROOT / "sites/lab.toml"), works=False)
    monkeypatch.setattr(phase, "play", nodes.play)
    with pytest.raises(
        NotConvergedError, match=r"node2: start again 10 s after a kernel panic \(now: never\)"
    ):
        converge(phase.PHASE, nodes, record=said, progress=said)


def test_the_page_s_role_is_one_that_ansible_can_run(page: pytest.Pytester) -> None:
    play = page.path / "play.yml"
    roles = "".join(
        f"    - ansible.builtin.import_role: {{ name: panic, tasks_from: {tasks} }}\n"
        for tasks in ("main", "undo")
    )
    play.write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{roles}", encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "--syntax-check",
        "-i",
        "node1,",
        str(play),
    ]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(page.path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_ROLES_PATH": str(page.path / "provisioners/roles"),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
