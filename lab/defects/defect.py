"""What a defect is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lab.paths import State
from lab.rack import Rack, Server, Switch

Memory = dict[str, Any]
"""What mending needs to know; written as JSON into the state folder (mode 0600)."""


@dataclass(frozen=True)
class Place:
    """The rack, its state folder, and which node or switch is meant (empty where none can be)."""

    rack: Rack
    state: State
    target: str

    @property
    def server(self) -> Server:
        """The targeted node's server."""
        return self.rack.find(self.target)

    @property
    def switch(self) -> Switch:
        """The targeted switch."""
        return next(switch for switch in self.rack.switch if switch.name == self.target)


@dataclass(frozen=True)
class Defect:
    """One entry of the catalogue. `undo` must also work with an empty memory, as after a killed `apply`."""

    name: str
    what: str
    caught_by: tuple[str, ...]
    apply: Callable[[Place], Memory]
    undo: Callable[[Place, Memory], None]
    on: Literal["", "node", "switch"] = ""
    default: str = ""
