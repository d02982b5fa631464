"""Plays run for real against this machine: what they are given, what they say, what they leave."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cluster.errors import UnreachableError
from provisioners import ansible
from provisioners.ansible import ROLES, ProvisioningError, inventory, play, playbook

ROOM = ROLES.parent


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nodes that are this machine, and roles of the test."""
    config = tmp_path / "ssh_config"
    config.write_text("Host *\n  ConnectTimeout 1\n")
    monkeypatch.setattr(ansible, "ROLES", tmp_path / "roles")
    original = inventory

    def local(names: Any, variables: Any, host_variables: Any) -> Any:
        more = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        return original(names, {**variables, **more}, host_variables)

    monkeypatch.setattr(ansible, "inventory", local)
    return SimpleNamespace(ssh=SimpleNamespace(config=lambda names: config))


def role(tmp_path: Path, tasks: list[dict[str, Any]]) -> None:
    folder = tmp_path / "roles/try/tasks"
    folder.mkdir(parents=True)
    (folder / "main.yml").write_text(yaml.safe_dump(tasks))


def test_a_play_tells_what_it_changed_and_leaves_nothing(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    copy = {"dest": str(tmp_path / "{{ inventory_hostname }}.txt"), "content": "{{ word }}"}
    role(tmp_path, [{"name": "Write", "ansible.builtin.copy": copy}])
    said: list[str] = []
    words = {"node1": {"word": "canary"}, "node2": {"word": "canary"}}
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    changed = play(cluster, "try", ["node1", "node2"], {}, said.append, host_variables=words)
    assert changed == {"node1": ["Write"], "node2": ["Write"]}
    assert (tmp_path / "node1.txt").read_text() == "canary"
    assert any("ansible try: Write" in line for line in said) and not any("canary" in line for line in said)
    assert play(cluster, "try", ["node1"], {"word": "canary"}, said.append) == {}
    assert play(cluster, "try", ["node1"], {"word": "other"}, said.append, check=True) == {"node1": ["Write"]}
    assert (tmp_path / "node1.txt").read_text() == "canary"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert not list(tmp_path.glob("rackproof-ansible-*"))


def test_a_failed_task_names_node_role_and_task(cluster: Any, tmp_path: Path) -> None:
    role(tmp_path, [{"name": "Break", "ansible.builtin.fail": {"msg": "the reason"}}])
    with pytest.raises(ProvisioningError, match="node1: role try, task 'Break': the reason"):
        play(cluster, "try", ["node1"], {}, lambda text: None)


def test_a_node_that_is_not_there(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    role(tmp_path, [{"name": "Ask", "ansible.builtin.ping": {}}])
    away = {"all": {"hosts": {"node1": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}
    monkeypatch.setattr(ansible, "inventory", lambda *args: away)
    with pytest.raises(UnreachableError, match="node1: role try, task 'Ask'"):
        play(cluster, "try", ["node1"], {}, lambda text: None)


def test_no_variable_stands_on_a_command_line() -> None:
    found = inventory(["node1"], {"a": 1}, {"node1": {"secret": "x"}})
    assert found["all"]["hosts"]["node1"] == {"secret": "x"} and found["all"]["vars"]["a"] == 1
    (only,) = playbook("common", "credentials", False)
    assert only["gather_facts"] is False and "x" not in str(only)


def test_every_role_is_in_the_site_playbook_and_every_secret_task_is_silent() -> None:
    (site,) = yaml.safe_load((ROOM / "site.yml").read_text())
    assert sorted(site["roles"]) == sorted(p.name for p in ROLES.iterdir())
    for path in ROLES.rglob("tasks/*.yml"):
        for task in yaml.safe_load(path.read_text()):
            assert task["name"], f"{path}: a task without a name"
            if "node_credentials" in str(task):
                assert task.get("no_log") is True, f"{path}: {task['name']} would tell credentials"
