"""The cluster under test: every way to talk to it, opened on first use and closed together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from cluster.aws import Aws
from cluster.bmc import Bmc
from cluster.ceph import Ceph
from cluster.errors import RackproofError
from cluster.hands import Hands
from cluster.node import Gathered, Node
from cluster.pve import CA, Pve
from cluster.secrets import Secrets
from cluster.ssh import SshFolder, SshHost
from cluster.switches import DRIVERS, SwitchConnection

if TYPE_CHECKING:
    from cluster.site import Site

Observer = Callable[[str, str, str, float], None]
T = TypeVar("T")


class Cluster:
    """A site's nodes, BMCs, switches, parameters and helpers. Use as a context manager, or call `close`.

    `observer(where, command, output, seconds)` is told of each command and answer; it is called by one thread
    at a time. Secrets are not removed from what it gets: that is the redactor's part.
    """

    def __init__(self, site: Site, observer: Observer | None = None) -> None:
        self.site = site
        self.observer = observer
        self._telling = threading.Lock()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def aws(self) -> Aws:
        """The site's AWS account as the operator sees it."""
        return Aws(self.site.aws, self._tell)

    @cached_property
    def secrets(self) -> Secrets:
        """Values behind the site's `ssm:` references."""
        return Secrets(self.aws, self.site)

    @cached_property
    def ssh(self) -> SshFolder:
        """Key, host keys and connections of SSH; `ssh.config()` is for tools that call ssh themselves."""
        table = self.site.ssh
        hosts = [
            SshHost(node.name, str(node.address), self.host_key_parameter(node.name))
            for node in self.site.nodes
        ]
        return SshFolder(
            table.user,
            hosts,
            private_key=lambda: self.secrets.resolve(table.private_key),
            host_key=lambda name: self.secrets.fresh(self.host_key_parameter(name)),
        )

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Each node by name."""
        return {spec.name: Node(spec, self.ssh, self._tell) for spec in self.site.nodes}

    @cached_property
    def pve(self) -> dict[str, Pve]:
        """Each node's API of Proxmox VE by the node's name. Raises RackproofError where the site has none."""
        table = self.site.pve
        if table is None:
            raise RackproofError(f"{self.site.name}: pve: expected a table that says who speaks to the API")

        def of(name: str) -> Pve:
            return Pve(
                self.site.node(name),
                table,
                password=lambda: self.secrets.resolve(table.password, node=name),
                authority=lambda: self.nodes[name].run(f"cat {CA}").stdout,
                observer=self._tell,
            )

        return {spec.name: of(spec.name) for spec in self.site.nodes}

    @cached_property
    def bmcs(self) -> dict[str, Bmc]:
        """Each node's BMC by the node's name."""
        return {spec.name: Bmc(spec, self.secrets, self._tell) for spec in self.site.nodes}

    @cached_property
    def ceph(self) -> Ceph:
        """Questions to the storage cluster, through whichever node answers."""
        return Ceph(self, self._tell)

    @cached_property
    def switches(self) -> dict[str, SwitchConnection]:
        """Each switch by name."""
        return {
            table.name: DRIVERS[table.driver](table, self.secrets, self._tell) for table in self.site.switches
        }

    @cached_property
    def hands(self) -> Hands:
        """Remote hands, if the site has them."""
        return Hands(self.site.hands, self._tell)

    def host_key_parameter(self, node: str) -> str:
        """Name of the parameter with a node's public SSH host key."""
        return f"{self.site.aws.root}/nodes/{node}/ssh_host_key"

    def gather(
        self, script: str, nodes: Iterable[str] | None = None, timeout: float = 60
    ) -> dict[str, Gathered | RackproofError]:
        """`Node.gather` on all nodes (or the named ones) at once; a failed node's value is its error."""
        return self.each(lambda name: self.nodes[name].gather(script, timeout), nodes)

    def each(
        self, call: Callable[[str], T], nodes: Iterable[str] | None = None
    ) -> dict[str, T | RackproofError]:
        """`call(name)` for all nodes (or the named ones) at once, each in a thread; errors are returned, not
        raised.
        """
        names = list(self.nodes) if nodes is None else list(nodes)

        def safe(name: str) -> T | RackproofError:
            try:
                return call(name)
            except RackproofError as error:
                return error

        with ThreadPoolExecutor(max_workers=max(1, len(names)), thread_name_prefix="node") as pool:
            return dict(zip(names, pool.map(safe, names), strict=True))

    def close(self) -> None:
        """End every session and connection and remove the private key; what was never opened stays closed."""
        opened = (
            self.__dict__
        )  # cached_property keeps its value there: nothing is opened in order to be closed
        closers: list[Callable[[], None]] = [bmc.close for bmc in opened.get("bmcs", {}).values()]
        closers += [switch.close for switch in opened.get("switches", {}).values()]
        closers += [pve.close for pve in opened.get("pve", {}).values()]
        closers += [opened[name].close for name in ("ceph", "ssh", "aws") if name in opened]
        if closers:
            with ThreadPoolExecutor(max_workers=len(closers), thread_name_prefix="close") as pool:
                for done in [pool.submit(close) for close in closers]:
                    done.exception()

    def _tell(self, where: str, command: str, output: str, seconds: float) -> None:
        observer = self.observer
        if observer is not None:
            with self._telling:
                observer(where, command, output, seconds)
