"""A cluster in memory: servers that a controller switches, an installer that takes its time, parameters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from cluster.aws import Parameter
from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.site import Site


@dataclass
class FakeServer:
    """One server: what stands on its boot drives, whether it runs, and what is in its virtual CD."""

    power: str = "Off"
    medium: str | None = None
    boot_next: str = ""
    system: bool = False
    installing: bool = False
    hangs: bool = False  # the installer never ends
    log: list[str] = field(default_factory=list)


class FakeBmc:
    def __init__(self, server: FakeServer) -> None:
        self.server = server

    def power_state(self) -> str:
        return self.server.power

    def power(self, reset: str) -> None:
        server = self.server
        server.log.append(reset)
        if reset == "ForceOff":
            server.power, server.installing = "Off", False
            return
        server.power = "On"
        server.installing = server.medium is not None and server.boot_next == "Cd"
        server.boot_next = ""

    def wait_power(self, state: str, deadline: float) -> float:
        server = self.server
        if server.installing and not server.hangs:
            server.installing, server.system, server.power = False, True, "Off"
        if server.power != state:
            raise DeadlineError(f"not {state} within {deadline:g} s")
        return 0.0

    def boot_once(self, target: str) -> str:
        self.server.boot_next = target
        self.server.log.append(f"boot {target}")
        return "Once"

    def insert_media(self, url: str) -> None:
        self.server.medium = url
        self.server.log.append("insert")

    def eject_media(self) -> None:
        if self.server.medium is not None:
            self.server.log.append("eject")
        self.server.medium = None

    def media_image(self) -> str | None:
        return self.server.medium


class FakeNode:
    """Answers when its server runs a system; `script` decides what its commands print."""

    def __init__(self, name: str, server: FakeServer) -> None:
        self.name = name
        self.server = server
        self.forgotten = 0

    def reachable(self, timeout: float = 5) -> bool:
        return self.server.power == "On" and self.server.system and not self.server.installing

    def run(self, command: str, *args: str, timeout: float = 30, check: bool = True, data: Any = None) -> Any:
        if not self.reachable():
            raise UnreachableError(f"{self.name} did not answer")
        return SimpleNamespace(rc=0, ok=True, stdout="", stderr="", seconds=0.0)

    def forget_host_key(self) -> None:
        self.forgotten += 1


class FakeStore:
    """Parameters: both the cluster's `aws` and its `secrets`."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values_by_name = dict(values)
        self.writes: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def put_parameter(self, name: str, value: str, *, secret: bool = False, overwrite: bool = True) -> int:
        with self._lock:
            self.values_by_name[name] = value
            self.writes.append((name, value))
        return 1

    def tree(self) -> dict[str, Parameter]:
        return {n: Parameter(n, "String", v, 1) for n, v in self.values_by_name.items()}

    def resolve(self, reference: str, **fields: str) -> str:
        name = reference.removeprefix("ssm:").format(**fields)
        return self.values_by_name.get(name, f"value of {name}")

    def forget(self) -> None:
        return None


class FakeCluster:
    """What the actions of phase 1 need of a cluster."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.servers = {n.name: FakeServer() for n in site.nodes}
        self.bmcs = {name: FakeBmc(server) for name, server in self.servers.items()}
        self.nodes = {name: FakeNode(name, server) for name, server in self.servers.items()}
        self.aws = self.secrets = FakeStore({})

    def host_key_parameter(self, node: str) -> str:
        return f"/pve1/nodes/{node}/ssh_host_key"

    def each(self, call: Callable[[str], Any], nodes: Iterable[str] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in list(self.nodes) if nodes is None else list(nodes):
            try:
                found[name] = call(name)
            except RackproofError as error:
                found[name] = error
        return found

    def marker(self, node: str) -> str:
        return self.aws.values_by_name.get(f"/pve1/nodes/{node}/install_state", "")
