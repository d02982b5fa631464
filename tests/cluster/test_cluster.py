"""The cluster as a whole: nothing is opened before it is used, all nodes at once, everything closed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.errors import RackproofError, UnreachableError
from cluster.node import Gathered
from cluster.site import Site, load

LAB = Path(__file__).parents[2] / "sites" / "lab.toml"


@pytest.fixture(scope="module")
def site() -> Site:
    return load(LAB)


class Spoken:
    """Stands for a connection; counts its closing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = 0
        self.together: threading.Barrier | None = None

    def gather(self, script: str, timeout: float) -> Gathered:
        if self.together is not None:
            self.together.wait()  # broken, hence an error, unless all are asked at once
        if self.name == "node2":
            raise UnreachableError("node2 is away")
        found = Gathered()
        found["name"] = self.name
        return found

    def close(self) -> None:
        self.closed += 1
        if self.name == "sw1":
            raise OSError("already gone")


def test_nothing_is_opened_before_it_is_used(site: Site) -> None:
    with Cluster(site) as cluster:
        assert (list(cluster.nodes), list(cluster.bmcs)) == (["node1", "node2", "node3"],) * 2
        assert list(cluster.switches) == ["sw1", "sw2"]
        assert vars(cluster)["ssh"]._path is None
        assert vars(cluster)["secrets"]._tree is None
        assert vars(cluster)["aws"]._clients == {}


def test_all_nodes_at_once_and_an_error_is_a_value(site: Site) -> None:
    cluster = Cluster(site)
    nodes: Any = {name: Spoken(name) for name in ("node1", "node2", "node3")}
    vars(cluster)["nodes"] = nodes
    together = threading.Barrier(3, timeout=20)
    for node in nodes.values():
        node.together = together
    found = cluster.gather("section name; hostname")
    assert list(found) == ["node1", "node2", "node3"]
    assert found["node1"] == {"name": "node1"}
    assert isinstance(found["node2"], RackproofError)
    nodes["node3"].together = None
    assert list(cluster.gather("", nodes=["node3"])) == ["node3"]
    assert cluster.gather("", nodes=[]) == {}


def test_an_error_that_is_none_of_ours_is_not_hidden(site: Site) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Cluster(site).each(broken)


def test_close_closes_all_that_was_opened_even_if_one_fails(site: Site) -> None:
    cluster = Cluster(site)
    opened = [Spoken(name) for name in ("node1", "sw1", "ssh", "aws")]
    vars(cluster).update(bmcs={"node1": opened[0]}, switches={"sw1": opened[1]}, ssh=opened[2], aws=opened[3])
    cluster.close()
    assert [each.closed for each in opened] == [1, 1, 1, 1]
    Cluster(site).close()


def test_the_observer_is_told_by_one_thread_at_a_time(site: Site) -> None:
    inside = threading.Lock()
    overlaps: list[str] = []

    def observer(where: str, command: str, output: str, seconds: float) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(where)
            return
        time.sleep(0.02)
        inside.release()

    cluster = Cluster(site, observer)
    cluster.each(lambda name: cluster._tell(name, "", "", 0.0))
    cluster.observer = None
    cluster._tell("node1", "", "", 0.0)
    assert overlaps == []
