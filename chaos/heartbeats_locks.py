"""Watches who has guests' images open, and who holds their exclusive locks, through a node that is spared."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from chaos.heartbeats_nodes import Keep
from chaos.heartbeats_record import Holders, Owner, Trouble
from chaos.heartbeats_stream import OPTIONS, QUIET_S, Far, Placing, Stream, python
from chaos.ports import ClusterPort
from cluster.site import Site
from cluster.site_services import Guest

INTERVAL_S = 4.0
"""Each look opens the images anew; more often would burden an emulated node."""
DEAF_S = 20.0
"""A program that learns nothing for so long is begun anew."""
CLIENTS = 6
"""So is one that had to begin so many of Ceph's clients, each of which stays."""
NAME = "locks"
_PROGRAM = Path(__file__).with_name("heartbeats_locks_agent.py")


class LockWatch:
    """The watch. It moves to another node that is spared where the one it runs on is lost."""

    def __init__(
        self, cluster: ClusterPort, guests: Sequence[Guest], avoid: Sequence[str], keep: Keep, limit_s: float
    ) -> None:
        self._nodes = [node for name, node in cluster.nodes.items() if name not in avoid]
        self._keep = keep
        self._places = {str(spec.address): spec.name for spec in cluster.site.nodes}
        images = [[guest.name, guest.storage, image(guest)] for guest in guests]
        times = {"interval_s": INTERVAL_S, "limit_s": limit_s, "quiet_s": QUIET_S, "deaf_s": DEAF_S}
        config = {"images": images, "clients": CLIENTS, **times}
        self._words, self._first = python(_PROGRAM.read_text(encoding="utf-8"), json.dumps(config), "-I")
        self._turns = count()
        self._stream = Stream(NAME, self._begin, self._take, self._lost)

    def start(self) -> None:
        """Begin to watch, where a node is spared."""
        if self._nodes:
            self._stream.start()

    def close(self) -> None:
        """End it."""
        if self._nodes:
            self._stream.close()

    def _begin(self) -> Far:
        node = self._nodes[next(self._turns) % len(self._nodes)]
        command = "exec " + shlex.join(["python3", *self._words])
        return Far(node.name, node.argv(command, multiplexed=False, options=OPTIONS), self._first)

    def _lost(self, why: str) -> None:
        self._keep(Trouble(NAME, time.monotonic_ns(), why))

    def _take(self, _: str, kind: str, text: str, told_ns: int, clock: Placing) -> None:
        if kind not in ("image", "open"):
            return
        facts = json.loads(text)
        if kind == "open":
            facts.update(owners=(), a=facts["w"][0], t=facts["w"][1])
        asked, told = (clock.place(int(facts[key]), told_ns) for key in "at")
        since, until = (
            clock.place(int(stamp), told_ns) for stamp in facts.get("w", (facts["a"], facts["t"]))
        )
        if asked is None or told is None or since is None or until is None:
            return  # clocks were not compared yet
        found = holders(facts, asked[0], told[1], self._places)
        self._keep(replace(found, watched_lo_ns=since[0], watched_hi_ns=until[1]))


def image(guest: Guest) -> str:
    """The image of a guest's disk, as Proxmox VE names the first one."""
    return f"vm-{guest.vmid}-disk-0"


def holders(facts: Mapping[str, Any], asked_ns: int, told_ns: int, places: Mapping[str, str]) -> Holders:
    """One look, with nodes for their addresses (`places`)."""
    if "m" in facts:
        return Holders(str(facts["g"]), asked_ns, told_ns, failed=str(facts["m"]))
    owners = tuple(
        Owner(client, cookie, place(address, places)) for client, cookie, address in facts["owners"]
    )
    watchers = tuple(sorted({place(address, places) for address in facts["watchers"]}))
    return Holders(str(facts["g"]), asked_ns, told_ns, owners, watchers)


def place(address: str, places: Mapping[str, str]) -> str:
    """The node of a client's address, `10.6.0.11:0/123` or `v1:10.6.0.11:0/123`; else the address."""
    host = address.removeprefix("v1:").removeprefix("v2:").rpartition(":")[0]
    return places.get(host, host)


def ordered(site: Site, guests: Sequence[Guest]) -> tuple[Guest, ...]:
    """The guests whose disks are images of Ceph."""
    pools = site.ceph.pools if site.ceph is not None else {}
    return tuple(guest for guest in guests if guest.storage in pools)
