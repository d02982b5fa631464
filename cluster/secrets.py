"""Values of `ssm:` references: the parameter tree is read once, and each missing name is told with its place
in the site.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cluster.aws import NotFoundError, Parameter
from cluster.errors import RackproofError

if TYPE_CHECKING:
    from cluster.site import Site

PREFIX = "ssm:"


class ParameterSource(Protocol):
    """What `Secrets` needs of AWS."""

    def parameters(self) -> dict[str, Parameter]: ...

    def parameter(self, name: str) -> Parameter: ...


class SecretError(RackproofError):
    """A parameter that the site refers to does not exist or is no secret; names it, never its value."""


def parameter_name(reference: str, **fields: str) -> str:
    """`ssm:/pve1/nodes/{node}/x` with node="node1" -> `/pve1/nodes/node1/x`. Raises `SecretError` for an open
    field.
    """
    name = reference.removeprefix(PREFIX)
    for field, value in fields.items():
        name = name.replace("{" + field + "}", value)
    if "{" in name or not name.startswith("/"):
        raise SecretError(
            f"the reference {reference} cannot be read: expected ssm:/path with each {{field}} given"
        )
    return name


class Secrets:
    """The site's parameter tree, read on first use (one paged call) and kept. Safe for use by threads."""

    def __init__(self, aws: ParameterSource, site: Site) -> None:
        self._aws = aws
        self._site = site
        self._tree: dict[str, Parameter] | None = None
        self._lock = threading.Lock()

    def tree(self) -> Mapping[str, Parameter]:
        """Every parameter under the site's root. Raises what `Aws.parameters` raises."""
        with self._lock:
            if self._tree is None:
                self._tree = self._aws.parameters()
            return self._tree

    def resolve(self, reference: str, **fields: str) -> str:
        """The value behind a reference; a text without `ssm:` is itself.

        Raises `SecretError` (with the parameter's name and the site keys that refer to it) where there is
        none.
        """
        if not reference.startswith(PREFIX):
            return reference
        name = parameter_name(reference, **fields)
        found = self.tree().get(name)
        if found is None:
            raise SecretError(
                f"AWS SSM parameter {name}, to which {self._referrers(reference)} refers, does not exist"
                f" under {self._site.aws.root} in {self._site.aws.region}"
            )
        if found.unreadable:
            raise SecretError(
                f"AWS SSM parameter {name}, to which {self._referrers(reference)} refers, cannot be read:"
                f" {found.unreadable}"
            )
        return found.value

    def fresh(self, name: str) -> str | None:
        """The value of a parameter that may have been written since the tree was read; None where there is
        none yet.
        """
        known = self.tree().get(name)
        if known is not None:
            return known.value
        try:
            found = self._aws.parameter(name)
        except NotFoundError:
            return None
        with self._lock:
            assert self._tree is not None
            self._tree[name] = found
        return found.value

    def forget(self) -> None:
        """Read the tree again at the next use: after parameters were written."""
        with self._lock:
            self._tree = None

    def values(self) -> frozenset[str]:
        """The value of every SecureString under the root: what must appear in no report. Reads the tree if
        need be.
        """
        return frozenset(p.value for p in self.tree().values() if p.secret and p.value)

    def _referrers(self, reference: str) -> str:
        keys = [key for key, value in _leaves(self._site.model_dump(), "") if value == reference]
        return " and ".join(f"{self._site.name}: {key}" for key in keys[:3]) or f"the reference {reference}"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each leaf of the site with its key, lists by position: `nodes[0].bmc.user`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value
