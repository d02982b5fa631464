"""What was done to all nodes at once, and what to say when it failed on some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from cluster.errors import RackproofError

T = TypeVar("T")


def raise_all(results: Mapping[str, T | RackproofError]) -> dict[str, T]:
    """The results, when every node has one. Raises the first node's kind of error with every node's
    sentence.
    """
    errors = {name: result for name, result in results.items() if isinstance(result, RackproofError)}
    if not errors:
        return {name: result for name, result in results.items() if not isinstance(result, RackproofError)}
    first = next(iter(errors.values()))
    if len(errors) == 1:
        raise first
    sentences = [str(e) if str(e).startswith(name) else f"{name}: {e}" for name, e in errors.items()]
    raise (
        type(first)("; ".join(sentences))
        if type(first).__init__ is RackproofError.__init__
        else RackproofError("; ".join(sentences))
    )
