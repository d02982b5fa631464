"""A cluster narrowed to one node or one switch, so that a draw from it can only fall on that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from chaos.ports import ClusterPort


class _Narrowed:
    """Passes everything on but the other nodes, or the other switches."""

    def __init__(self, cluster: ClusterPort, name: str) -> None:
        self._cluster = cluster
        self.nodes = _only(cluster.nodes, name)
        self.switches = _only(cluster.switches, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


def narrowed(cluster: ClusterPort, name: str) -> ClusterPort:
    """The cluster with the one node, or the one switch, of that name."""
    return cast(ClusterPort, _Narrowed(cluster, name))


def _only(known: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: known[name]} if name in known else dict(known)
