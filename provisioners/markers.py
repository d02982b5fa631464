"""How far we came with installing each node, kept in the parameter store so that a killed run can be taken
up again.

`/pve1/nodes/<node>/install_state`: "" never begun; `installing` the installer was (or is about to be)
started; `written` the installer has powered the server off; `installed` the node answered. Only we write
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cluster.cluster import Cluster

Marker = Literal["", "installing", "written", "installed"]
MARKERS: tuple[Marker, ...] = ("", "installing", "written", "installed")


def parameter(cluster: Cluster, node: str) -> str:
    """Name of the parameter that holds a node's marker."""
    return f"{cluster.site.aws.root}/nodes/{node}/install_state"


def read_markers(cluster: Cluster) -> dict[str, Marker]:
    """The marker of every node; one that was written by nobody we know counts as `installed`: never
    overwrite.
    """
    tree = cluster.secrets.tree()
    found: dict[str, Marker] = {}
    for node in cluster.site.nodes:
        entry = tree.get(parameter(cluster, node.name))
        value = entry.value.strip() if entry is not None else ""
        found[node.name] = value if value in MARKERS else "" if value == "none" else "installed"
    return found


def write_marker(cluster: Cluster, node: str, marker: Marker) -> None:
    """Stores a marker ("" as `none`: a parameter cannot be empty) and has the tree read again."""
    cluster.aws.put_parameter(parameter(cluster, node), marker or "none")
    cluster.secrets.forget()
