"""Name resolution is gone: the resolvers cannot be reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Self

from chaos.faults.traffic import PORT_AT, Dropped, addresses
from chaos.ports import ClusterPort
from cluster.errors import NotApplicableError, UnknownError

_DNS = 53
_PROTOCOLS = {"UDP": 17, "TCP": 6}


@dataclass(frozen=True, kw_only=True)
class DnsGone(Dropped):
    """Questions to the site's resolvers, and their answers, vanish on one node."""

    kind = "dns-gone"
    summary = "a node's resolvers do not answer"
    needs = (*Dropped.needs, "resolvers in the site")
    blast_radius = "whatever a node looks up by name and does not find in /etc/hosts"

    @property
    def what(self) -> str:
        return f"resolvers {', '.join(address for _, address in self.routes)} do not answer"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        """The way to a resolver is taken to be the host network's, which bears the default route."""
        name = random.choice(sorted(cluster.nodes))
        own = addresses(cluster.nodes[name])
        host = str(cluster.site.node(name).address)
        if host not in own:
            raise UnknownError(f"{name}: no interface bears its address {host}")
        return cls(node=name, paths=tuple(f"{own[host]} {each}" for each in cluster.site.dns))

    def check(self, cluster: ClusterPort) -> None:
        if not self.paths:
            raise NotApplicableError(
                "PF-DNS-NONE", "the site names no resolver.", "add dns to the site file."
            )
        super().check(cluster)

    def matches(self, direction: str) -> Iterable[str]:
        at = PORT_AT["destination" if direction == "egress" else "source"]
        return [
            f"match ip protocol {number} 0xff match u16 {_DNS:#06x} 0xffff at {at}"
            for number in _PROTOCOLS.values()
        ]
