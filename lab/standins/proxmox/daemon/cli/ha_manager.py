"""`ha-manager`: HA on this node's command line; each sub-command is an endpoint or a line for the manager."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from ..config import members
from ..ha import files
from ..http.errors import ApiError
from ..http.machine import Machine
from . import local

# words -> method, path, positional arguments
COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "status": ("GET", "/cluster/ha/status/current", ()),
    "config": ("GET", "/cluster/ha/resources", ()),
    "add": ("POST", "/cluster/ha/resources", ("sid",)),
    "set": ("PUT", "/cluster/ha/resources/{sid}", ("sid",)),
    "remove": ("DELETE", "/cluster/ha/resources/{sid}", ("sid",)),
    "migrate": ("POST", "/cluster/ha/resources/{sid}/migrate", ("sid", "node")),
    "relocate": ("POST", "/cluster/ha/resources/{sid}/relocate", ("sid", "node")),
    "crm-command migrate": ("POST", "/cluster/ha/resources/{sid}/migrate", ("sid", "node")),
    "crm-command relocate": ("POST", "/cluster/ha/resources/{sid}/relocate", ("sid", "node")),
    "rules list": ("GET", "/cluster/ha/rules", ()),
    "rules config": ("GET", "/cluster/ha/rules", ()),
    "rules add": ("POST", "/cluster/ha/rules", ("type", "rule")),
    "rules set": ("PUT", "/cluster/ha/rules/{rule}", ("type", "rule")),
    "rules remove": ("DELETE", "/cluster/ha/rules/{rule}", ("rule",)),
}
MAINTENANCE = "crm-command node-maintenance"
HIDDEN = ("digest", "sid", "type", "errors")


def main(words: Sequence[str] | None = None) -> int:
    return local.guarded("ha-manager", _run, words)


def _run(machine: Machine, words: list[str]) -> int:
    if " ".join(words[:2]) == MAINTENANCE:
        return _maintenance(machine, words[2:])
    name = next((n for n in COMMANDS if words[: len(n.split())] == n.split()), None)
    if name is None:
        said = f"unknown command '{' '.join(words[:2])}'" if words else "no command specified"
        raise local.UsageError(said)
    method, path, arguments = COMMANDS[name]
    flags = ("v", "verbose") if name == "status" else ()
    placed, named = local.options(words[len(name.split()) :], flags)
    if len(placed) != len(arguments):
        many = len(placed) > len(arguments)
        raise local.UsageError("too many arguments" if many else "not enough arguments")
    form = str(named.pop("output-format", "text"))
    verbose = [flag for flag in flags if named.pop(flag, "0") == "1"]
    given = {**named, **dict(zip(arguments, placed, strict=True))}
    for argument in arguments:
        if f"{{{argument}}}" in path:
            path = path.replace(f"{{{argument}}}", given.pop(argument))
    answer = local.call(machine, method, path, given)
    if name == "status":
        _status(machine, answer, bool(verbose))
    elif name == "config":
        _config(answer)
    elif method == "GET":
        local.show(answer, form)
    return 0


def _status(machine: Machine, answer: list[dict[str, Any]], verbose: bool) -> None:
    for entry in answer:
        local.out(f"{entry['type']} {entry['status']}")
    if verbose:
        whole = local.call(machine, "GET", "/cluster/ha/status/manager_status", {})
        local.out("full cluster state:\n" + json.dumps(whole, indent=3, sort_keys=True))


def _config(answer: list[dict[str, Any]]) -> None:
    for one in sorted(answer, key=lambda entry: str(entry["sid"])):
        lines = "".join(f"\t{key} {one[key]}\n" for key in sorted(one) if key not in HIDDEN)
        local.out(f"{one['sid']}\n{lines}")


def _maintenance(machine: Machine, words: list[str]) -> int:
    """`enable NODE` empties a node and keeps it empty until `disable NODE`."""
    if len(words) != 2 or words[0] not in ("enable", "disable"):
        raise local.UsageError("crm-command node-maintenance <enable|disable> <node>")
    if words[1] not in {member.name for member in members.cluster(machine).members}:
        raise ApiError(500, f"no such cluster node '{words[1]}'")
    members.need_quorum(machine)
    files.queue(machine, f"{words[0]}-node-maintenance {words[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
