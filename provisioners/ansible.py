"""Runs one of our Ansible roles on nodes, over the cluster's own verified SSH connections.

Everything that Ansible is given (inventory, variables, playbook) stands in a folder of mode 0700 that is
removed afterwards: no secret is on a command line. Facts are not gathered and pipelining is on: each task
costs one round trip of a Python start-up on the node.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ansible_runner

from cluster.errors import RackproofError, UnreachableError
from provisioners.change import Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster

ROLES = Path(__file__).with_name("roles")
DEADLINE_S = 900


class ProvisioningError(RackproofError):
    """An Ansible task failed; names the node, the role, the task and what it said."""


@dataclass
class _Watch:
    """Follows a play's events: progress, failures, and what was changed."""

    role: str
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    failed: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)

    def handle(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("event", "")
        data = event.get("event_data") or {}
        task, host = str(data.get("task", "")), str(data.get("host", ""))
        result = data.get("res") or {}
        if kind == "playbook_on_task_start" and task:
            self.progress(f"ansible {self.role}: {task} ({time.monotonic() - self.began:.0f} s)")
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self.failed.append(f"{host}: role {self.role}, task '{task}': {_why(result)}")
        elif kind == "runner_on_unreachable":
            self.unreachable.append(f"{host}: role {self.role}, task '{task}': {_why(result)}")
        elif kind == "runner_on_ok" and result.get("changed"):
            self.changed.setdefault(host, []).append(task)
        return False  # events are not kept on disk


def _why(result: Mapping[str, Any]) -> str:
    for key in ("msg", "stderr", "module_stderr", "censored"):
        text = str(result.get(key) or "").strip()
        if text:
            return text.splitlines()[-1][:300]
    return "it gives no reason"


def play(
    cluster: Cluster,
    role: str,
    nodes: Sequence[str],
    variables: Mapping[str, Any],
    progress: Progress,
    *,
    tasks_from: str = "main",
    host_variables: Mapping[str, Mapping[str, Any]] | None = None,
    check: bool = False,
    deadline_s: int = DEADLINE_S,
) -> dict[str, list[str]]:
    """Runs `role` on `nodes` at once; returns the names of the tasks that changed something, by node.

    `variables` go to all nodes, `host_variables` to each by name. `check` changes nothing and tells what
    would change. Raises ProvisioningError, UnreachableError.
    """
    names = list(dict.fromkeys(nodes))
    watch = _Watch(role, progress)
    with tempfile.TemporaryDirectory(prefix="rackproof-ansible-") as folder:  # mode 0700
        root = Path(folder)
        _write(root, "inventory/hosts.json", inventory(names, variables, host_variables or {}))
        _write(root, "project/play.yml", playbook(role, tasks_from, check))
        with _signals_kept():
            runner = ansible_runner.run(
                private_data_dir=folder,
                playbook="play.yml",
                envvars=_environment(root, cluster.ssh.config(names), len(names)),
                settings={"job_timeout": deadline_s, "idle_timeout": deadline_s},
                event_handler=watch.handle,
                quiet=True,
            )
        status, rc = str(runner.status), runner.rc
    if status == "canceled":
        raise KeyboardInterrupt  # ansible-runner caught the signal that was meant for us
    if watch.unreachable:
        raise UnreachableError("; ".join(watch.unreachable))
    if watch.failed:
        raise ProvisioningError("; ".join(watch.failed))
    if status == "timeout":
        raise ProvisioningError(f"role {role} did not finish on {', '.join(names)} within {deadline_s} s")
    if status != "successful":
        raise ProvisioningError(f"role {role} on {', '.join(names)}: ansible ended with {rc} ({status})")
    return watch.changed


@contextmanager
def _signals_kept() -> Iterator[None]:
    """ansible-runner sets handlers of its own for SIGINT and SIGTERM and never gives them back."""
    main = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def inventory(
    names: Sequence[str], variables: Mapping[str, Any], host_variables: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Ansible's inventory as a structure; JSON is YAML."""
    common = {"ansible_python_interpreter": "/usr/bin/python3", **variables}
    hosts = {name: dict(host_variables.get(name, {})) for name in names}
    return {"all": {"hosts": hosts, "vars": common}}


def playbook(role: str, tasks_from: str, check: bool) -> list[dict[str, Any]]:
    """A play of one role."""
    include = {"name": role, "tasks_from": tasks_from}
    return [
        {
            "name": f"Role {role}",
            "hosts": "all",
            "gather_facts": False,
            "check_mode": check,
            "tasks": [{"name": f"Role {role}, {tasks_from}", "ansible.builtin.import_role": include}],
        }
    ]


def _write(root: Path, name: str, content: Any) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content), encoding="utf-8")


def _environment(root: Path, ssh_config: Path, forks: int) -> dict[str, str]:
    return {
        # The interpreter's own folder first: ansible-playbook is installed beside it.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "ANSIBLE_ROLES_PATH": str(ROLES),
        "ANSIBLE_SSH_ARGS": f"-F {ssh_config}",  # user, key, known hosts and kept connections of the cluster
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_FORKS": str(forks),
        "ANSIBLE_TIMEOUT": "30",
        "ANSIBLE_HOME": str(root / "home"),
        "ANSIBLE_LOCAL_TEMP": str(root / "tmp"),
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_CONFIG": str(root / "none.cfg"),  # nobody else's ansible.cfg
        "ANSIBLE_INVENTORY_ENABLED": "yaml",
    }
