"""Plays run for real against this machine: what they are given, what they say, what they leave."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cluster.errors import UnreachableError
from cluster.site import ROOT, load
from provisioners import ansible
from provisioners.ansible import ROLES, ProvisioningError, inventory, play, playbook
from provisioners.ha import fencing
from tests.provisioners.high_availability import good_node

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


@pytest.fixture
def ours(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same nodes, and the roles that are shipped."""
    monkeypatch.setattr(ansible, "ROLES", ROLES)
    return cluster


def test_the_watchdogs_module_is_chosen_and_what_stood_there_comes_back(ours: Any, tmp_path: Path) -> None:
    chosen, options = tmp_path / "pve-ha-manager", tmp_path / "watchdog.conf"
    before = "# select watchdog module (default is softdog)\n#WATCHDOG_MODULE=ipmi_watchdog\n"
    chosen.write_text(before)
    paths = {"ha_manager_file": str(chosen), "ha_options_file": str(options)}
    paths["ha_saved"] = str(tmp_path / "saved")
    wanted = {**paths, "ha_watchdog_module": "ipmi_watchdog", "ha_watchdog_options": "action=power_cycle"}
    assert play(ours, "ha", ["node1"], wanted, lambda _: None)
    assert chosen.read_text().splitlines() == [before.splitlines()[0], "WATCHDOG_MODULE=ipmi_watchdog"]
    assert options.read_text() == "options ipmi_watchdog action=power_cycle\n"
    assert play(ours, "ha", ["node1"], wanted, lambda _: None) == {}
    other = {**wanted, "ha_watchdog_module": "i6300esb", "ha_watchdog_options": ""}
    play(ours, "ha", ["node1"], other, lambda _: None)
    assert "WATCHDOG_MODULE=i6300esb" in chosen.read_text()
    play(ours, "ha", ["node1"], paths, lambda _: None, tasks_from="undo")
    assert chosen.read_text() == before and not options.exists()


def test_where_no_module_is_named_nothing_is_changed(ours: Any, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    assert play(ours, "ha", ["node1"], {"ha_saved": str(saved)}, lambda _: None) == {}
    assert not saved.exists()


def test_what_the_fencing_service_is_told_is_what_phase_7_wants_it_told(cluster: Any, tmp_path: Path) -> None:
    site = load(ROOT / "sites/pve1.toml")
    told = tmp_path / "fencing.json"
    template = {"src": str(ROLES / "fencing/templates/fencing.json.j2"), "dest": str(told)}
    role(tmp_path, [{"name": "Render", "ansible.builtin.template": template}])
    defaults = yaml.safe_load((ROLES / "fencing/defaults/main.yml").read_text())
    name = "pve1-node2"
    wanted = {**fencing.variables(site, ""), "fencing_node": name}
    play(cluster, "try", [name], {**defaults, **wanted}, lambda _: None)
    seen = replace(good_node(site, name), fencing=json.loads(told.read_text()))
    assert fencing.differences(site, seen) == []
