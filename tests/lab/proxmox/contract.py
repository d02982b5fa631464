"""What a contract case is: how one endpoint is called so that it answers with success."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conftest import Rig


@dataclass(frozen=True)
class Case:
    """`path` fills the braces of the path (`node` is filled by itself); `prepare` may return more of it.

    `check` looks at the answer after the schema has. `refusal`: the endpoint is there and always refuses, in
    these words.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Rig], Mapping[str, str] | None] | None = None
    check: Callable[[Rig, Any], None] | None = None
    refusal: str = ""


Cases = Mapping[tuple[str, str], Case]
