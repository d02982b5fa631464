"""The site file: the cluster that was ordered, as one typed and immutable value.

`load` reads `sites/NAME.toml`. Every mistake in it becomes one sentence (file, key, value, what was
expected); several mistakes are all listed, one a line, the first line being enough to act on. Paths in a site
file are relative to the root of the repository, or absolute; `Site.resolve` makes them absolute.
docs/site-file.md is the reference of the keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from cluster import site_file
from cluster.errors import SiteError
from cluster.site_checks import problems
from cluster.site_errors import Problem, fields, problems_of
from cluster.site_models import (
    Aws,
    Bond,
    Bridge,
    Hands,
    Hardware,
    Install,
    Medium,
    Network,
    NodeSpec,
    Pve,
    Rack,
    Ssh,
    Switch,
)
from cluster.site_services import (
    Auth,
    Backup,
    Benchmark,
    Ceph,
    Corosync,
    Gpu,
    Guest,
    Ha,
    Isolation,
    Monitoring,
    Nightly,
    Weka,
)
from cluster.site_types import Address, Boolean, ClusterName, Domain, Label, Model, TimeServer, TimeZone

ROOT = Path(__file__).resolve().parent.parent


class Site(Model):
    """A site file that was read and found sound."""

    name: Label = Field(description="name of the site; reports bear it")
    kind: Literal["acceptance", "rehearsal"] = Field(
        description="acceptance: ordered hardware, no target relaxed; rehearsal: anything else"
    )
    cluster: ClusterName = Field(description="name of the cluster")
    domain: Domain = Field(description="DNS domain of the nodes")
    timezone: TimeZone = Field(description="time zone of the nodes")
    dns: tuple[Address, ...] = Field(description="name servers", min_length=1)
    ntp: tuple[TimeServer, ...] = Field(description="time servers", min_length=1)
    protected: Boolean = Field(
        False, description="look only: the default becomes --provision never --no-chaos"
    )
    rack: Rack | None = Field(
        None, description="how the machines come to exist; only where a program makes them"
    )
    aws: Aws = Field(description="AWS: parameters, backups, keys")
    medium: Medium = Field(description="installer medium")
    install: Install = Field(description="what the automated installer is told")
    ssh: Ssh = Field(description="users and keys")
    networks: dict[str, Network] = Field(description="networks by name")
    bond: Bond = Field(description="the bond of the fast ports")
    bridge: Bridge = Field(description="the bridge of the guests")
    hardware: Hardware = Field(description="what each node holds")
    relax: dict[str, str] = Field(
        {}, description="targets that the site cannot meet, by name, with what it can"
    )
    ordered: dict[str, Any] = Field(
        {},
        description="what the order said where this file chose otherwise, by dotted key; checked, never used",
    )
    switches: tuple[Switch, ...] = Field((), alias="switch", description="switches, one [[switch]] each")
    nodes: tuple[NodeSpec, ...] = Field(alias="node", description="nodes, one [[node]] each")
    hands: Hands | None = Field(None, description="remote hands")
    gpu: Gpu | None = Field(None, description="graphics cards")
    pve: Pve | None = Field(None, description="who speaks to the API of Proxmox VE")
    ceph: Ceph | None = Field(None, description="storage cluster")
    benchmark: Benchmark | None = Field(None, description="how the storage is measured")
    corosync: Corosync | None = Field(None, description="membership layer")
    ha: Ha | None = Field(None, description="high availability")
    guests: tuple[Guest, ...] = Field((), alias="guest", description="golden guests, one [[guest]] each")
    backup: Backup | None = Field(None, description="backup")
    monitoring: Monitoring | None = Field(None, description="metrics, alerts, logs")
    weka: Weka | None = Field(None, description="outside file system")
    auth: Auth | None = Field(None, description="logins")
    isolation: Isolation | None = Field(None, description="guests and the host network")

    nightly: Nightly | None = Field(None, description="nightly run")

    _data: Mapping[str, Any] = PrivateAttr(default_factory=dict)
    _file: str = PrivateAttr(default="site")

    @property
    def file(self) -> str:
        """The file this was read from, as the user named it."""
        return self._file

    def node(self, name: str) -> NodeSpec:
        """The node of that name. Raises SiteError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise SiteError(f"{self._file}: there is no node '{name}'; expected one of {names}")

    def switch(self, name: str) -> Switch:
        """The switch of that name. Raises SiteError when there is none."""
        for switch in self.switches:
            if switch.name == name:
                return switch
        names = ", ".join(switch.name for switch in self.switches)
        raise SiteError(f"{self._file}: there is no switch '{name}'; expected one of {names}")

    def fqdn(self, node: NodeSpec) -> str:
        """The node's fully qualified name."""
        return f"{node.name}.{self.domain}"

    @property
    def host_network(self) -> Network:
        """The network of the nodes' addresses; there is exactly one."""
        return next(network for network in self.networks.values() if network.role == "host")

    @property
    def guest_networks(self) -> dict[str, Network]:
        """Networks of guests by name, in the order of the file."""
        return {name: network for name, network in self.networks.items() if network.role == "guest"}

    @property
    def ring_network(self) -> Network | None:
        """Corosync's own network, where the site has one."""
        return next((network for network in self.networks.values() if network.role == "ring"), None)

    @property
    def oob_network(self) -> Network | None:
        """The network of BMCs and switches, where the site names it."""
        return next((network for network in self.networks.values() if network.role == "oob"), None)

    def resolve(self, path: Path) -> Path:
        """A path of this file, absolute: relative ones start at the root of the repository."""
        return ROOT / path

    def ssm_references(self) -> Iterator[tuple[str, str]]:
        """(dotted key, parameter name) of every `ssm:` reference, {node} replaced by each node's name."""
        for key, name in _references(self, ""):
            for node in self.nodes if "{node}" in name else self.nodes[:1]:
                yield key, name.replace("{node}", node.name)

    def as_ordered(self) -> Site:
        """This site with every value of `[ordered]` put back, so that the order itself can be judged.

        Raises SiteError when such a value cannot stand under its key.
        """
        data = _with_values(self._data, self.ordered, self._file)
        return validated(data, self._file, prefix="[ordered] makes ")


def _references(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = f"{key}.{field.alias or name}" if key else field.alias or name
            yield from _references(getattr(value, name), inner)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            label = getattr(item, "name", None)
            yield from _references(item, f"{key}.{label}" if isinstance(label, str) else f"{key}[{i}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _references(item, f"{key}.{name}")
    elif isinstance(value, str) and value.startswith(("ssm:", "webhook:ssm:")):
        yield key, value.removeprefix("webhook:").removeprefix("ssm:")


def _with_values(data: Mapping[str, Any], values: Mapping[str, Any], file: str) -> dict[str, Any]:
    """A copy of the data with values set by dotted key. Raises SiteError for a key that leads nowhere."""
    result: dict[str, Any] = {key: value for key, value in data.items() if key != "ordered"}
    for dotted, value in values.items():
        *path, last = dotted.split(".")
        here = result
        for part in path:
            inner = here.get(part, {})
            if not isinstance(inner, dict):
                raise SiteError(
                    f'{file}: ordered."{dotted}": expected the dotted key of a value outside lists'
                )
            here[part] = dict(inner)
            here = here[part]
        here[last] = value
    return result


def _raise(found: list[Problem], file: str, prefix: str = "") -> None:
    if found:
        lines = (Problem(prefix + p.key, p.value, p.expected).sentence(file) for p in found)
        raise SiteError("\n".join(dict.fromkeys(lines)))


def validated(data: Mapping[str, Any], file: str, prefix: str = "") -> Site:
    """The site that a file's data describes. Raises SiteError; `prefix` stands before each key in it."""
    try:
        site = Site.model_validate(data)
    except ValidationError as error:
        _raise(problems_of(error, data, Site), file, prefix)
        raise SiteError(f"{file}: cannot be read as a site file") from None
    _raise(problems(site), file, prefix)
    site._data = data
    site._file = file
    return site


def load(path: Path) -> Site:
    """Read and check a site file. Raises SiteError: one sentence a problem, one problem a line."""
    file = site_file.named(path)
    site = validated(site_file.read(path), file)
    unknown = [key for key in site.ordered if key.split(".")[0] not in fields(Site)]
    _raise(
        [
            Problem(f'ordered."{key}"', None, "expected the dotted key of a table of this file")
            for key in unknown
        ],
        file,
    )
    if site.ordered:
        site.as_ordered()
    return site
