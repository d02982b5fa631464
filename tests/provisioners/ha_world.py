"""A cluster in memory for phase 7: its API keeps guests, resources, rules; its nodes a watchdog, services.

What the actions call is kept in `log`, as (method, path, parameters), so that it can be held against Proxmox
VE's own schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cluster.aws import Parameter
from cluster.pve import PveError
from cluster.site import Site
from provisioners.ha import fencing

Entry = tuple[str, str, dict[str, Any]]
SERVICES = ("watchdog-mux", "pve-ha-crm", "pve-ha-lrm")


@dataclass
class Machine:
    """One node: which watchdog is configured and held, whether somebody counts on it, its fencing service."""

    name: str
    configured: str = ""
    held: str = "softdog"
    used: bool = False
    down: set[str] = field(default_factory=set)
    fencing: dict[str, Any] = field(default_factory=dict)
    program: str = ""
    files: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def run(self, command: str, *args: str, timeout: float = 30, check: bool = True, data: Any = None) -> Any:
        line = command % args if args else command
        self.ran.append(line)
        ok, text = True, ""
        if "watchdog-mux.active" in line:
            ok = self.used
        elif line.startswith("mkdir"):
            self.files.setdefault(args[-1], args[2])
        elif line.startswith("cat"):
            ok, text = args[0] in self.files, self.files.get(args[0], "")
        elif line.startswith("rm"):
            self.files.pop(args[0], None)
        return SimpleNamespace(ok=ok, stdout=text, stderr="")

    def sections(self) -> dict[str, str]:
        """What gather.sh would say."""
        units = [*SERVICES, *(["rackproof-fencing"] if self.fencing else [])]
        unit = "Id={}.service\nActiveState={}\nUnitFileState=enabled"
        identity = "Software Watchdog" if self.held == "softdog" else "Hardware"
        module = "" if self.held == "softdog" else self.held
        return {
            "services": "\n\n".join(
                unit.format(name, "inactive" if name in self.down else "active") for name in units
            ),
            "configured": f"{self.configured}\n" if self.configured else "",
            "modules": f"{self.held}\n",
            "watchdogs": f"0|active|10|{module}|{identity}\n",
            "holders": "700|/dev/watchdog0|watchdog-mux.service|watchdog-mux\n",
            "fencing": json.dumps(self.fencing) if self.fencing else "",
            "program": f"{self.program}  -\n" if self.program else "",
        }


@dataclass
class World:
    """`hook` is told of each call before it is made, and may raise."""

    site: Site
    log: list[Entry] = field(default_factory=list)
    guests: dict[int, dict[str, Any]] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, list[str]] = field(default_factory=dict)
    waited: list[str] = field(default_factory=list)
    hook: Callable[[str, str], None] = lambda method, path: None

    def __post_init__(self) -> None:
        self.nodes = {node.name: Machine(node.name) for node in self.site.nodes}
        self.pve = {name: _Api(self, name) for name in self.nodes}
        root = f"{self.site.aws.root}/nodes"
        tree = {f"{root}/{name}/install_state": "installed" for name in self.nodes}
        entries = {name: Parameter(name, "String", value, 1) for name, value in tree.items()}
        self.secrets = SimpleNamespace(tree=lambda: entries)

    def gather(self, script: str, nodes: Iterable[str], timeout: float = 60) -> dict[str, Any]:
        return {name: self.nodes[name].sections() for name in nodes}

    def play(
        self,
        cluster: Any,
        role: str,
        names: list[str],
        variables: Mapping[str, Any],
        progress: Any,
        *,
        tasks_from: str = "main",
    ) -> dict[str, list[str]]:
        """What the roles would leave on the nodes."""
        self.hook("play", role)
        self.log.append(("play", f"{role} {tasks_from}", {"nodes": list(names), **variables}))
        for machine in (self.nodes[name] for name in names):
            if role == "fencing":
                machine.fencing, machine.program = {}, ""
                if tasks_from == "main":
                    machine.fencing = {
                        "node": machine.name,
                        "peers": variables["fencing_peers"],
                        "wait_s": variables["fencing_wait_s"],
                    }
                    machine.program = fencing.program()
            elif tasks_from == "services":
                machine.down -= set(variables["ha_services"])
            elif tasks_from == "main":
                machine.configured = variables["ha_watchdog_module"]
                if variables["ha_watchdog_restart"]:
                    machine.held = machine.configured
            elif tasks_from == "undo":
                machine.configured = ""
        return {}

    def calls(self, method: str, part: str = "") -> list[Entry]:
        return [entry for entry in self.log if entry[0] == method and part in entry[1]]


@dataclass
class _Api:
    world: World
    name: str

    def call(self, method: str, path: str, **params: Any) -> Any:
        values = {k: int(v) if isinstance(v, bool) else v for k, v in params.items() if v is not None}
        self.world.hook(method, path)
        self.world.log.append((method, path, values))
        return getattr(self, f"_{method}")(path, values)

    def task(self, method: str, path: str, deadline_s: float, progress: Any = None, **params: Any) -> None:
        self.call(method, path, **params)

    def upload(self, storage: str, content: str, file: Path, deadline_s: float, progress: Any = None) -> None:
        self.world.hook("upload", storage)
        self.world.log.append(("upload", f"{storage}:{content}/{file.name}", {}))
        self.world.images.append(f"{storage}:{content}/{file.name}")

    def running(self, kind: str) -> list[str]:
        return self.world.tasks.get(kind, [])

    def wait(self, upid: str, deadline_s: float, progress: Any = None) -> None:
        self.world.waited.append(upid)
        for left in self.world.tasks.values():
            left[:] = [each for each in left if each != upid]

    def _get(self, path: str, values: dict[str, Any]) -> Any:
        world = self.world
        words = path.split("/")
        if path == "cluster/resources":
            return [
                {"vmid": vmid, "type": g["type"], "node": g["node"], "name": g["name"], "status": g["status"]}
                for vmid, g in world.guests.items()
            ]
        if words[-1] == "config":
            return dict(world.guests[int(words[3])]["config"])
        if words[-1] == "content":
            return [{"volid": each} for each in world.images if f":{values['content']}/" in each]
        if words[-1] == "current" and words[0] == "nodes":
            return {"status": world.guests[int(words[3])]["status"]}
        if path == "cluster/ha/resources":
            return [{"sid": sid, **values} for sid, values in world.resources.items()]
        if path == "cluster/ha/rules":
            return [{"rule": name, **values} for name, values in world.rules.items()]
        if path == "cluster/ha/status/current":
            return self._current()
        if path == "cluster/ha/status/manager_status":
            return {"manager_status": {"node_status": dict.fromkeys(world.nodes, "online")}}
        assert path == "cluster/options", path
        return {
            key: dict(part.split("=", 1) for part in value.split(",")) for key, value in world.options.items()
        }

    def _current(self) -> list[dict[str, Any]]:
        """Each look brings a resource on its way: queued, starting, started."""
        world = self.world
        rows: list[dict[str, Any]] = [{"type": "quorum", "quorate": 1, "status": "OK"}]
        for name in world.nodes:
            rows.append({"type": "lrm", "node": name, "status": f"{name} (idle, watchdog standby, x)"})
        course = {"": "queued", "queued": "starting", "starting": "started"}
        for sid, values in world.resources.items():
            guest = world.guests[int(sid.partition(":")[2])]
            state = world.states.get(sid, "")
            wanted = values.get("state", "started")
            if wanted == "disabled":
                state = "disabled"
            elif state != "error":
                state = course.get("" if state == "disabled" else state, state)
            world.states[sid] = state
            if state == "started":
                guest["status"] = "running"
            rows.append({"type": "service", "sid": sid, "node": guest["node"], "state": state})
        return rows

    def _post(self, path: str, values: dict[str, Any]) -> Any:
        world = self.world
        words = path.split("/")
        if words[0] == "nodes" and len(words) == 3:
            vmid = values["vmid"]
            if vmid in world.guests:
                raise PveError(f"unable to create {vmid}: it exists already", 500)
            config = {k: str(v) for k, v in values.items() if k not in {"vmid", "ostemplate"}}
            for key in ("rootfs", "virtio0"):
                if key in config:
                    config[key] = f"{config[key].partition(':')[0]}:vm-{vmid}-disk-0,size=1G"
            name = values.get("hostname") or values.get("name")
            kept = {"type": words[2], "node": words[1], "name": name, "status": "stopped", "config": config}
            world.guests[vmid] = kept
        elif words[-2:] == ["status", "start"]:
            world.guests[int(words[3])]["status"] = "running"
        elif words[-2:] == ["status", "stop"]:
            world.guests[int(words[3])]["status"] = "stopped"
        elif path == "cluster/ha/resources":
            assert int(values["sid"].partition(":")[2]) in world.guests
            world.resources[values["sid"]] = {k: v for k, v in values.items() if k != "sid"}
        else:
            assert path == "cluster/ha/rules", path
            assert values["resources"] in world.resources, "cannot use an unmanaged resource in a rule"
            world.rules[values["rule"]] = {k: v for k, v in values.items() if k != "rule"}

    def _put(self, path: str, values: dict[str, Any]) -> Any:
        world = self.world
        target = path.split("/")[-1]
        if path == "cluster/options":
            world.options.pop(values.pop("delete", ""), None)
            world.options.update(values)
        elif "/resources/" in path:
            world.resources[target].update(values)
        else:
            world.rules[target].pop(values.pop("delete", ""), None)
            world.rules[target].update(values)

    def _delete(self, path: str, values: dict[str, Any]) -> Any:
        world = self.world
        target = path.split("/")[-1]
        if "/resources/" in path:
            del world.resources[target]
            world.states.pop(target, None)
            for name in [n for n, rule in world.rules.items() if rule["resources"] == target]:
                del world.rules[name]
        elif "/rules/" in path:
            del world.rules[target]
        else:
            guest = world.guests.pop(int(target))
            assert guest["status"] == "stopped", "a guest that runs cannot be destroyed"
