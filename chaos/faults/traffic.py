"""What the faults of traffic share: packets between a node and its peers are disturbed, by tc on the node.

Filters name the peers' addresses, so the controller's SSH is never touched, nor is the timer on the node
that heals. Everything stands on the interfaces that bear the addresses (the bond's VLAN interface, the ring),
above the bond: its legs, LACPDUs and ARP are not touched. One classifier serves all (u32): it is in every
kernel. Traffic that bypasses the kernel (RDMA, DPDK) is seen by none of this.
"""

# ruff: noqa: ARG002 - the contract's arguments are not needed by every fault
from __future__ import annotations

import json
import shlex
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from typing import Any, ClassVar, Self

from chaos.bond_state import BondState
from chaos.faults.node import NodeFault
from chaos.faults.reading import LOOK_S, foreign, queues
from chaos.ports import ClusterPort, NodePort
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RefusedError, UnknownError

ROOT, BAND, QUEUE = "7a:", "7a:4", "7b:"
"""Handles of our own queueing disciplines: 7a sorts, its band 4 is the disturbed one, 7b disturbs."""
PACKETS = 10_000
"""Packets that a disturbing queue holds: more than a fault's delay lets gather on a lab's link."""
LENGTH_AT = 2
PORT_AT = {"source": 20, "destination": 22}
"""Offsets in an IPv4 packet without options: total length, and the ports of UDP and TCP."""


@dataclass(frozen=True, kw_only=True)
class TrafficFault(NodeFault):
    """Traffic of `node` with named peers is disturbed. `paths`: "interface peer-address", all that is
    touched.
    """

    needs: ClassVar[tuple[str, ...]] = ("tc on the node", "traffic control in the node's kernel")
    heals_by = "queueing disciplines and filters removed on the node"
    modules: ClassVar[tuple[str, ...]] = ("cls_u32",)
    rings: ClassVar[bool] = False
    """Whether the ring network is disturbed too."""

    paths: tuple[str, ...]

    @property
    @abstractmethod
    def what(self) -> str:
        """What happens to the traffic, in a few words."""

    @property
    def target(self) -> str:
        return f"{self.node}: {self.what}"

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The interfaces that are touched."""
        return tuple(dict.fromkeys(path.split()[0] for path in self.paths))

    @property
    def routes(self) -> tuple[tuple[str, str], ...]:
        """(interface, address of a peer), each address in the form the kernel reads."""
        return tuple((path.split()[0], str(ip_address(path.split()[1]))) for path in self.paths)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        node = random.choice(sorted(cluster.nodes))
        peers = [spec.name for spec in cluster.site.nodes if spec.name != node]
        return cls(node=node, paths=paths_between(cluster, node, peers, rings=cls.rings))

    def check(self, cluster: ClusterPort) -> None:
        node = cluster.nodes[self.node]
        look = f"command -v tc > /dev/null && modprobe -a -q {' '.join(self.modules)}"
        if not node.run(look, check=False).ok:
            raise NotApplicableError(
                "PF-TC",
                f"{self.node} lacks tc, or its kernel one of {', '.join(self.modules)}.",
                "install iproute2 and its full kernel package.",
            )
        if not self.paths:
            raise NotApplicableError(
                "PF-NO-PEER", f"{self.node} shares no network with another node.", "use a larger cluster."
            )
        for interface in self.interfaces:
            shaped = [each["kind"] for each in queues(node, interface) if foreign(each)]
            if shaped:
                raise RefusedError(
                    f"{self.node} {interface} has queueing disciplines of its own ({', '.join(shaped)}),"
                    " which healing would remove"
                )

    def heal_script(self) -> str:
        return "bad=0\n" + "".join(_clear(shlex.quote(each)) for each in self.interfaces) + "[ $bad -eq 0 ]\n"

    def healed(self, cluster: ClusterPort) -> bool:
        node = cluster.nodes[self.node]
        return not any(foreign(each) for name in self.interfaces for each in queues(node, name))

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        return Prediction(0.0, 0.0, f"{self.what} interrupts no path")


@dataclass(frozen=True, kw_only=True)
class Queued(TrafficFault):
    """What the node sends to its peers passes netem; what it sends to anybody else does not."""

    modules = ("cls_u32", "sch_prio", "sch_netem")

    @property
    @abstractmethod
    def netem(self) -> str:
        """netem's own words for the disturbance."""

    def break_script(self) -> str:
        lines = []
        for interface in self.interfaces:
            dev = shlex.quote(interface)
            lines += [
                f"qdisc add dev {dev} root handle {ROOT} prio bands 4 priomap {' '.join('0' * 16)}",
                f"qdisc add dev {dev} parent {BAND} handle {QUEUE} netem limit {PACKETS} {self.netem}",
            ]
        for interface, address in self.routes:
            lines.append(
                f"filter add dev {shlex.quote(interface)} parent {ROOT} protocol ip prio 1"
                f" u32 match ip dst {address}/32 flowid {BAND}"
            )
        return _batch(lines)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        node = cluster.nodes[self.node]
        kinds = [{each["kind"] for each in queues(node, name)} for name in self.interfaces]
        return all({"prio", "netem"} <= found for found in kinds)


@dataclass(frozen=True, kw_only=True)
class Dropped(TrafficFault):
    """Chosen packets between the node and its peers vanish in both directions; senders are not told."""

    modules = ("cls_u32", "sch_ingress", "act_gact")
    way: ClassVar[Mapping[str, str]] = {"egress": "dst", "ingress": "src"}

    @abstractmethod
    def matches(self, direction: str) -> Iterable[str]:
        """u32 matches, one for each filter, besides the peer's address; direction: egress or ingress."""

    def break_script(self) -> str:
        lines = [f"qdisc add dev {shlex.quote(each)} clsact" for each in self.interfaces]
        for interface, address in self.routes:
            for prio, (direction, side) in enumerate(self.way.items(), 1):  # u32 lists both where it is one
                for match in self.matches(direction):
                    # A packet that is dropped on its way out is reported to its sender; a trapped one is not.
                    lines.append(
                        f"filter add dev {shlex.quote(interface)} {direction} protocol ip prio {prio} u32"
                        f" match ip {side} {address}/32 {match}".rstrip()
                        + f" action {'trap' if direction == 'egress' else 'drop'}"
                    )
        return _batch(lines)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        node = cluster.nodes[self.node]
        return all(
            filters(node, interface, direction) for interface in self.interfaces for direction in self.way
        )


def paths_between(
    cluster: ClusterPort, node: str, peers: Iterable[str], *, rings: bool = False
) -> tuple[str, ...]:
    """ "interface peer-address" for each peer on the host network, and on the ring network where `rings`.

    Raises `UnknownError` where the node does not bear the address that the site gives it.
    """
    own = addresses(cluster.nodes[node])
    mine = cluster.site.node(node)
    found = []
    for peer in map(cluster.site.node, peers):
        found.append(f"{_bearer(own, node, str(mine.address))} {peer.address}")
        if rings and mine.ring is not None and peer.ring is not None:
            found.append(f"{_bearer(own, node, str(mine.ring.address))} {peer.ring.address}")
    return tuple(found)


def addresses(node: NodePort) -> dict[str, str]:
    """IPv4 address -> the interface that bears it. Raises `UnknownError` where that cannot be read."""
    text = node.run("ip -j -4 address show", timeout=LOOK_S * 3).stdout
    try:
        return {
            info["local"]: link["ifname"] for link in json.loads(text) for info in link.get("addr_info", ())
        }
    except (ValueError, KeyError, TypeError):
        raise UnknownError(f"{node.name}: its addresses could not be read") from None


def filters(node: NodePort, interface: str, direction: str) -> list[dict[str, Any]]:
    """Filters on one side (egress, ingress) of an interface. Raises `UnknownError` where unreadable."""
    text = node.run(f"tc -j filter show dev %s {direction}", interface, timeout=LOOK_S * 3).stdout
    try:
        found: list[dict[str, Any]] = json.loads(text or "[]")
    except ValueError:
        raise UnknownError(f"{node.name} {interface}: its filters could not be read") from None
    return found


def within(low: int, high: int, at: int) -> Iterator[str]:
    """u32 matches, one after the other, of a 16 bit field at byte `at` that lies in [low, high]; all bounds
    are included. u32 knows no ranges, so the range is cut into blocks that a mask describes.
    """
    while low <= high:
        size = low & -low if low else 1 << 16
        while low + size - 1 > high:
            size >>= 1
        yield f"match u16 {low:#06x} {0x10000 - size & 0xFFFF:#06x} at {at}"
        low += size


def _batch(lines: Iterable[str]) -> str:
    """All in one process: each costs up to a second on an emulated node. The first that fails ends it."""
    return "\n".join(["tc -batch - <<'LINES'", *lines, "LINES"]) + "\n"


def _bearer(own: Mapping[str, str], node: str, address: str) -> str:
    if address not in own:
        raise UnknownError(f"{node}: no interface bears its address {address}")
    return own[address]


def _clear(dev: str) -> str:
    """Only our own root is removed; `clsact` has no handle of its own, and `check` saw none before."""
    return (
        f"if tc qdisc show dev {dev} | grep -q 'prio {ROOT}'; then tc qdisc del dev {dev} root || bad=1; fi\n"
        f"if tc qdisc show dev {dev} | grep -q clsact; then tc qdisc del dev {dev} clsact || bad=1; fi\n"
    )
