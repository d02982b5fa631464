"""`pveum`: users, tokens and ACLs, as far as the harness needs them; each sub-command is an endpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..http.machine import Machine
from . import local

# words -> method, path, positional arguments
COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "user list": ("GET", "/access/users", ()),
    "user add": ("POST", "/access/users", ("userid",)),
    "user modify": ("PUT", "/access/users/{userid}", ("userid",)),
    "user delete": ("DELETE", "/access/users/{userid}", ("userid",)),
    "user permissions": ("GET", "/access/permissions", ("userid",)),
    "user token list": ("GET", "/access/users/{userid}/token", ("userid",)),
    "user token add": ("POST", "/access/users/{userid}/token/{tokenid}", ("userid", "tokenid")),
    "user token remove": ("DELETE", "/access/users/{userid}/token/{tokenid}", ("userid", "tokenid")),
    "user token delete": ("DELETE", "/access/users/{userid}/token/{tokenid}", ("userid", "tokenid")),
    "acl list": ("GET", "/access/acl", ()),
    "acl modify": ("PUT", "/access/acl", ("path",)),
    "acl delete": ("PUT", "/access/acl", ("path",)),
    "role list": ("GET", "/access/roles", ()),
    "realm list": ("GET", "/access/domains", ()),
}


def main(words: Sequence[str] | None = None) -> int:
    return local.guarded("pveum", _run, words)


def _run(machine: Machine, words: list[str]) -> int:
    name = next(
        (n for n in sorted(COMMANDS, key=len, reverse=True) if words[: len(n.split())] == n.split()), None
    )
    if name is None:
        raise local.UsageError(
            f"unknown command '{' '.join(words[:2])}'" if words else "no command specified"
        )
    method, path, arguments = COMMANDS[name]
    placed, named = local.options(words[len(name.split()) :])
    if len(placed) > len(arguments):
        raise local.UsageError("too many arguments")
    optional = name == "user permissions"
    if len(placed) < len(arguments) and not optional:
        raise local.UsageError("not enough arguments")
    form = str(named.pop("output-format", "text"))
    given = {**named, **dict(zip(arguments, placed, strict=False))}
    for short, long in (("role", "roles"), ("user", "users"), ("group", "groups"), ("token", "tokens")):
        if name.startswith("acl") and short in given:
            given[long] = given.pop(short)
    if name == "acl delete":
        given["delete"] = "1"
    for argument in arguments:
        if f"{{{argument}}}" in path:
            path = path.replace(f"{{{argument}}}", given.pop(argument))
    data = local.call(machine, method, path, given)
    local.show(data, form)
    return 0


if __name__ == "__main__":
    sys.exit(main())
