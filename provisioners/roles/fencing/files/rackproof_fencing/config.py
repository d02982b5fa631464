"""/etc/rackproof/fencing.json: who may be fenced, where its BMC is, how long is waited; no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .model import Limits, Peer

WATCHDOG_S = 70
"""Proxmox VE's watchdog has bitten by then: 60 s until its clients count as dead, 10 s of the device."""


class ConfigError(Exception):
    """The configuration cannot be used; one sentence."""


@dataclass(frozen=True)
class Bmc:
    """Where a peer's BMC is and which parameters of AWS SSM hold its user and password.

    systems_uri: its system's resource; None: found by the ordered serial number. ca_file: issuer of its
    certificate; None: the node's own authorities.
    """

    address: str
    port: int
    systems_uri: str | None
    user: str
    password: str
    ca_file: str | None


@dataclass(frozen=True)
class Config:
    """me: this node. peers: the other nodes, each with its BMC."""

    me: Peer
    peers: tuple[tuple[Peer, Bmc], ...]
    limits: Limits


def load(path: Path) -> Config:
    """Raises ConfigError."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    try:
        return parse(told)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(told: Any) -> Config:
    """Raises ConfigError."""
    name = _get(told, "node", str)
    nodes = {}
    for entry in _get(told, "peers", list):
        peer = Peer(_get(entry, "name", str), _get(entry, "id", int), _get(entry, "serial", str))
        bmc = Bmc(
            address=_get(entry, "address", str),
            port=_get(entry, "port", int),
            systems_uri=_get(entry, "systems_uri", (str, type(None))),
            user=_get(entry, "user", str),
            password=_get(entry, "password", str),
            ca_file=_get(told, "ca_file", (str, type(None))),
        )
        nodes[peer.name] = (peer, bmc)
    for what in ("node", "serial"):
        values = [getattr(peer, what) for peer, _ in nodes.values()]
        if len({*values}) < len(_get(told, "peers", list)) or not all(values):
            raise ConfigError(f"peers: each needs a name, an id and a serial of its own, got {values}")
    if name not in nodes:
        raise ConfigError(f"node = {name!r} is not among the peers: {', '.join(nodes) or 'none'}")
    limits = Limits(_number(told, "wait_s"), _number(told, "watch_s"), _get(told, "cycles", int))
    if limits.wait_s <= WATCHDOG_S:
        raise ConfigError(f"wait_s = {limits.wait_s:g}: the watchdog of a lost node may need {WATCHDOG_S} s")
    if limits.watch_s <= 0 or limits.cycles < 1:
        raise ConfigError("watch_s and cycles must be greater than 0")
    others = tuple(pair for other, pair in nodes.items() if other != name)
    return Config(nodes[name][0], others, limits)


def _get(told: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(told, Mapping) or key not in told:
        raise ConfigError(f"{key} is missing")
    value = told[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{key} = {value!r} is of the wrong kind")
    return value


def _number(told: Any, key: str) -> float:
    return float(_get(told, key, (int, float)))
