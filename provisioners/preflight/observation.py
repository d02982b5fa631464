"""What is true before anything is installed: controllers, switches, parameters, rights, medium, names,
time.

Whatever does not answer is part of the observation, as the sentence that its error bears: one dead
controller must not hide what the others say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cluster import ssm_lint
from cluster.bmc import BmcInventory
from cluster.comware import PortState
from cluster.errors import RackproofError
from cluster.redfish_client import CredentialsError
from provisioners.base_install.medium import ImageState, look
from provisioners.preflight.rights import Attempt, bucket_and_key, role_attempts
from provisioners.preflight.services import Answer, directory, names, times

if TYPE_CHECKING:
    from cluster.cluster import Cluster

T = TypeVar("T")


@dataclass(frozen=True)
class Controller:
    """One management controller. `problem`: why it could not be asked; `refused`: it was the credentials.

    `clock_offset` in seconds (its clock minus ours), None where it does not tell; `log_lines` None where it
    has no log that could be read, with the reason in `log_problem`.
    """

    node: str
    problem: str = ""
    refused: bool = False
    inventory: BmcInventory | None = None
    clock_offset: float | None = None
    log_lines: int | None = None
    log_problem: str = ""


@dataclass(frozen=True)
class SwitchPorts:
    """The ports of one switch by full name, or why they could not be read."""

    switch: str
    ports: Mapping[str, PortState]
    problem: str = ""


@dataclass(frozen=True)
class Observation:
    """Everything that preflight looks at. `parameters`: what is wrong with the tree; `parameters_problem`:
    why it could not be read at all.
    """

    controllers: Mapping[str, Controller]
    switches: Mapping[str, SwitchPorts]
    parameters: tuple[ssm_lint.Finding, ...]
    parameters_problem: str
    attempts: tuple[Attempt, ...]
    medium: ImageState
    names: tuple[Answer, ...]
    times: tuple[Answer, ...]
    directory: tuple[Answer, ...]


def observe(cluster: Cluster) -> Observation:
    """Looks at everything at once; only reads, save for one probe object in the bucket that it removes
    again.
    """
    site = cluster.site
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="preflight") as pool:
        controllers = {n.name: pool.submit(_controller, cluster, n.name) for n in site.nodes}
        switches = {s.name: pool.submit(_switch, cluster, s.name) for s in site.switches}
        tree = pool.submit(_parameters, cluster)
        role = pool.submit(role_attempts, cluster)
        stores = pool.submit(bucket_and_key, cluster)
        medium = pool.submit(look, site)
        services = [pool.submit(ask, site) for ask in (names, times, directory)]
        problems, trouble = tree.result()
        return Observation(
            controllers={name: future.result() for name, future in controllers.items()},
            switches={name: future.result() for name, future in switches.items()},
            parameters=problems,
            parameters_problem=trouble,
            attempts=(*role.result(), *stores.result()),
            medium=medium.result(),
            names=services[0].result(),
            times=services[1].result(),
            directory=services[2].result(),
        )


def _controller(cluster: Cluster, name: str) -> Controller:
    bmc = cluster.bmcs[name]
    try:
        inventory = bmc.inventory()
    except RackproofError as error:
        return Controller(name, str(error), isinstance(error, CredentialsError))
    offset, _ = _or_problem(bmc.clock_offset)
    entries, problem = _or_problem(bmc.log_entries)
    return Controller(
        node=name,
        inventory=inventory,
        clock_offset=offset,
        log_lines=len(entries) if entries is not None else None,
        log_problem=problem,
    )


def _or_problem(call: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return call(), ""
    except RackproofError as error:
        return None, str(error)


def _switch(cluster: Cluster, name: str) -> SwitchPorts:
    try:
        return SwitchPorts(name, cluster.switches[name].ports())
    except RackproofError as error:
        return SwitchPorts(name, {}, str(error))


def _parameters(cluster: Cluster) -> tuple[tuple[ssm_lint.Finding, ...], str]:
    try:
        return tuple(ssm_lint.lint(cluster.site, cluster.secrets.tree())), ""
    except RackproofError as error:
        return (), str(error)
