"""Where endpoints are declared, and what a handler is given.

A handler is declared beside its path, with the parameters in the dialect of PVE::JSONSchema:

    @endpoint("POST", "/nodes/{node}/ceph/osd", parameters={"dev": {"type": "string"}},
              permissions=check("/", "Sys.Modify"))
    def create_osd(call: Call) -> Any:
        return tasks.start(call, kind="cephcreateosd", id="nvme2n1", work=lambda log: log("create OSD ..."))

Paths below `/nodes/{node}/` are served by the node they name: the daemon hands the request on to that
node's port 8006.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from . import tasks
from .errors import ApiError, ParameterError, TaskError
from .machine import Machine, Result
from .tasks import Log

__all__ = [
    "ApiError", "Call", "Check", "Endpoint", "Log", "Machine", "ParameterError", "Reply", "Result",
    "TaskError", "check", "endpoint", "endpoints", "find", "tasks",
]  # fmt: skip

Schema = Mapping[str, Any]
Handler = Callable[["Call"], Any]


@dataclass(frozen=True)
class Check:
    """Any one of `privileges` (or all of them) on the ACL path, which may name path parameters in braces."""

    path: str
    privileges: tuple[str, ...]
    every: bool = False


Permissions = Check | Literal["all", "world"] | None


def check(path: str, *privileges: str, every: bool = False) -> Check:
    return Check(path, privileges, every)


@dataclass(frozen=True)
class Call:
    """One request: who asks (`user` is `name@realm` or `name@realm!token`), for what, on which machine."""

    machine: Machine
    user: str
    path: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    #: where the client speaks from, and whether this is the command line of the node itself
    client: str = "127.0.0.1"
    local: bool = False

    @property
    def node(self) -> str:
        """This node's name."""
        return self.machine.node


@dataclass(frozen=True)
class Reply:
    """An answer with members beside `data` (`total`, `changes`)."""

    data: Any
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """`permissions`: None = root@pam only, "all" = whoever is logged in, "world" = without login."""

    method: str
    path: str
    handler: Handler
    parameters: Mapping[str, Schema]
    permissions: Permissions
    root_only: bool
    proxy_to_node: bool
    tokens: bool

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        parts = [f"(?P<{p[1:-1]}>[^/]+)" if p.startswith("{") else re.escape(p) for p in self.path.split("/")]
        if parts[-1] == "(?P<volume>[^/]+)":
            parts[-1] = "(?P<volume>.+)"  # an id of a volume holds slashes
        return re.compile("/".join(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that stand in the path."""
        return tuple(re.findall(r"\{([^}]+)\}", self.path))


_ENDPOINTS: dict[tuple[str, str], Endpoint] = {}


def endpoint(
    method: Literal["GET", "POST", "PUT", "DELETE"],
    path: str,
    *,
    parameters: Mapping[str, Schema] | None = None,
    permissions: Permissions = None,
    root_only: bool = False,
    proxy_to_node: bool | None = None,
    tokens: bool = True,
) -> Callable[[Handler], Handler]:
    """Declare a handler. `tokens=False` refuses API tokens. A path cannot be declared twice (ValueError)."""
    proxied = path.startswith("/nodes/{node}/") if proxy_to_node is None else proxy_to_node

    def declare(handler: Handler) -> Handler:
        if (method, path) in _ENDPOINTS:
            raise ValueError(f"{method} {path} is declared twice")
        _ENDPOINTS[method, path] = Endpoint(
            method, path, handler, dict(parameters or {}), permissions, root_only, proxied, tokens
        )
        return handler

    return declare


def endpoints() -> tuple[Endpoint, ...]:
    """Every endpoint declared so far, in order of path and method."""
    return tuple(_ENDPOINTS[key] for key in sorted(_ENDPOINTS, key=lambda key: (key[1], key[0])))


def find(method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
    """The endpoint for a path such as `/nodes/node1/status`; literal parts win; ApiError 501 if none."""
    best: tuple[Endpoint, dict[str, str]] | None = None
    for (verb, _), candidate in _ENDPOINTS.items():
        match = candidate.pattern.fullmatch(path) if verb == method else None
        if match and (best is None or len(candidate.names) < len(best[0].names)):
            best = candidate, match.groupdict()
    if best is None:
        raise ApiError(501, f"Method '{method} {path}' not implemented")
    return best
