"""What `pct` and `qm` have in common: each sub-command is an endpoint of this node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..guests import files, locks
from ..guests.files import WORDS
from ..http.errors import ApiError
from ..http.machine import Machine
from . import local


@dataclass(frozen=True)
class Command:
    """`path` below the guest's, `arguments` the positional ones behind the VMID."""

    method: str
    path: str = ""
    arguments: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)


COMMON = {
    "config": Command("GET", "config"),
    "destroy": Command("DELETE"),
    "migrate": Command("POST", "migrate", ("target",)),
    "reboot": Command("POST", "status/reboot"),
    "set": Command("PUT", "config"),
    "shutdown": Command("POST", "status/shutdown"),
    "start": Command("POST", "status/start"),
    "stop": Command("POST", "status/stop"),
}
FLAGS = ("force", "forceStop", "online", "purge", "restart", "skiplock", "start", "current")


def vmid(text: str) -> int:
    if not text.isdigit() or not 100 <= int(text) <= 999999999:
        raise ApiError(400, "Parameter verification failed.", {"vmid": "type check ('integer') failed"})
    return int(text)


def run(machine: Machine, kind: str, words: list[str], create: tuple[str, ...]) -> int:
    """One command; `create` names the positional arguments of `create` behind the VMID."""
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name == "list":
        if table := listed(machine, kind):
            local.out(table)
        return 0
    if name == "create":
        placed, named = local.options(rest, FLAGS)
        given = _placed(("vmid", *create), placed)
        local.call(machine, "POST", f"/nodes/{machine.node}/{kind}", {**named, **given})
        return 0
    if name in ("status", "unlock"):
        guest = files.Guest(vmid(_placed(("vmid",), rest)["vmid"]), kind, machine.node)
        return _unlock(machine, guest) if name == "unlock" else _status(machine, guest)
    if name not in COMMON:
        raise local.UsageError(f"unknown command '{name}'" if name else "no command specified")
    return _called(machine, kind, COMMON[name], rest)


def _placed(names: tuple[str, ...], placed: list[str]) -> dict[str, str]:
    if len(placed) != len(names):
        raise local.UsageError("not enough arguments" if len(placed) < len(names) else "too many arguments")
    return dict(zip(names, placed, strict=True))


def _called(machine: Machine, kind: str, command: Command, rest: list[str]) -> int:
    placed, named = local.options(rest, FLAGS)
    given = _placed(("vmid", *command.arguments), placed)
    place = f"/nodes/{machine.node}/{kind}/{vmid(given.pop('vmid'))}"
    path = f"{place}/{command.path}" if command.path else place
    answer = local.call(machine, command.method, path, {**named, **given})
    if isinstance(answer, dict):
        for key, value in sorted(answer.items()):
            if key != "digest":
                local.out(f"{key}: {value}")
    return 0


def _status(machine: Machine, guest: files.Guest) -> int:
    path = f"/nodes/{machine.node}/{guest.kind}/{guest.vmid}/status/current"
    local.out(f"status: {local.call(machine, 'GET', path, {})['status']}")
    return 0


def _unlock(machine: Machine, guest: files.Guest) -> int:
    """Take the lock out of the configuration: whoever set it is gone."""
    with locks.held(machine, guest):
        config = files.load(machine, guest)
        config.values.pop("lock", None)
        files.save(machine, guest, config)
    return 0


def listed(machine: Machine, kind: str) -> str:
    """The table of `pct list` or `qm list`; nothing where there is no guest."""
    guests: list[dict[str, Any]] = local.call(machine, "GET", f"/nodes/{machine.node}/{kind}", {})
    rows = sorted(guests, key=lambda entry: int(entry["vmid"]))
    if not rows:
        return ""
    if WORDS[kind] == "CT":
        head = f"{'VMID':<10} {'Status':<10} {'Lock':<12} {'Name':<20}"
        lines = [
            f"{row['vmid']:<10} {row['status']:<10} {row.get('lock', ''):<12} {row['name']:<20}"
            for row in rows
        ]
        return "\n".join([head, *lines])
    head = f"{'VMID':>10} {'NAME':<20} {'STATUS':<10} {'MEM(MB)':<10} {'BOOTDISK(GB)':>12} {'PID':<10}"
    lines = [
        f"{row['vmid']:>10} {row['name']:<20} {row['status']:<10} {row['maxmem'] >> 20:<10} "
        f"{row['maxdisk'] / 2**30:>12.2f} {row.get('pid', 0):<10}"
        for row in rows
    ]
    return "\n".join([head, *lines])
