"""Phase 4, tried: clients without right, images and files that two nodes share."""

from __future__ import annotations

from functools import partial

import pytest
from pytest_bdd import given, then

from chaos.schedule import order
from cluster.cluster import Cluster
from cluster.errors import NotApplicableError
from cluster.site import Site
from provisioners.ceph import trials
from provisioners.ceph.order import image_pools, ordered
from provisioners.ceph.state import State
from reports.evidence import Run
from steps.modes import Mode
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold


@then("a client without a key, with a wrong key, or that offers no authentication is refused on each node")
def _strangers(phases: Phases, storage_state: State, evidence: Run) -> None:
    attempts: list[trials.Attempt] = phases.ask("strangers")
    if not attempts:
        raise NotAsOrderedError(f"nobody tried to get into {storage_state.fsid}")
    evidence.note("; ".join(f"{a.node}, {a.how}: {a.said}" for a in attempts[:4]))
    all_hold(f"{a.node}: a client {a.how} was let in" for a in attempts if a.let_in)


@then("in each ordered pool for images a node writes an image, another node reads the same and it is removed")
def _images(site: Site, cluster: Cluster, mode: Mode, storage_state: State) -> None:
    names = order(mode.seed, "images", [n.name for n in site.nodes])
    pools = [name for name in image_pools(site) if storage_state.pool(name) is not None]
    if len(pools) != len(image_pools(site)) or not pools:
        raise NotAsOrderedError(f"pools for images are {pools}, expected {list(image_pools(site))}")
    all_hold(problem for pool in pools for problem in trials.image(cluster, pool, names[0], names[-1]))


@given("the ordered file system is mounted on two nodes, chosen by the seed", target_fixture="mounted")
def _mounted(
    site: Site,
    cluster: Cluster,
    mode: Mode,
    storage_state: State,
    evidence: Run,
    request: pytest.FixtureRequest,
) -> list[str]:
    name = ordered(site).filesystem
    if name is None:
        raise NotApplicableError(
            "PF-NO-CEPHFS", f"{site.name} orders no file system.", "name storage_state.filesystem."
        )
    if name not in {f.name for f in storage_state.filesystems}:
        raise NotAsOrderedError(f"there is no file system {name}")
    nodes = order(mode.seed, "file system", [n.name for n in site.nodes])[:2]
    for node in nodes:
        request.addfinalizer(partial(trials.unmount, cluster, node))
        evidence.note(f"{node}: {name} mounted by {trials.mount(cluster, name, node)}")
    return list(nodes)


@then("what one node writes there the other reads, and what is removed is gone for both")
def _shared(cluster: Cluster, mounted: list[str]) -> None:
    first, second = mounted
    all_hold([*trials.shared_file(cluster, first, second), *trials.shared_file(cluster, second, first)])
