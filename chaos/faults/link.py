"""Faults of a node's links: administratively down, carrier really gone, silent, both at once, a whole switch.

Which fault shows what: `ip link set down` is seen by the kernel at once but some adapters keep the light
on, so the switch does not see it; the switch's `shutdown` is real loss of carrier at both ends; a silent
link keeps its carrier and loses every frame, which a bond with miimon alone never notices. Source: facts
measured on kernel 6.12, see docs/chaos.md.
"""

# ruff: noqa: ARG002, ARG003 - the contract's arguments are not needed by every fault
from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from chaos import predict
from chaos.bond_state import BondState
from chaos.fault import Fault
from chaos.faults.node import NodeFault
from chaos.faults.reading import bond_of as bond_of
from chaos.faults.reading import cable_of, carries, foreign, link, queues
from chaos.ports import ClusterPort, ListsTimers
from chaos.predict import Prediction
from cluster.errors import NotApplicableError, RefusedError, UnreachableError
from cluster.site import Site


@dataclass(frozen=True, kw_only=True)
class LinkDown(NodeFault):
    """One leg of a node's bond is set down on the node."""

    kind = "link-down"
    summary = "one link of a node is set down on the node (`ip link set down`)"
    needs = ("a bond with two redundant legs",)
    blast_radius = "one leg of one node's bond"
    heals_by = "`ip link set up` on the node"

    interface: str

    @property
    def target(self) -> str:
        return f"{self.node} {self.interface}"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        node = random.choice(sorted(cluster.nodes))
        return cls(
            node=node, interface=bond_of(cluster, node).leg(random.choice(("active", "other"))).interface
        )

    @classmethod
    def candidates(cls, site: Site) -> tuple[str, ...]:
        return legs_of(site)

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        node, mac = candidate.split()
        return cls(node=node, interface=bond_of(cluster, node).by_mac(mac).interface)

    def check(self, cluster: ClusterPort) -> None:
        bond_of(cluster, self.node).member(self.interface)

    def break_script(self) -> str:
        return f"ip link set dev {shlex.quote(self.interface)} down\n"

    def heal_script(self) -> str:
        return f"ip link set dev {shlex.quote(self.interface)} up\n"

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return "UP" not in link(cluster.nodes[self.node], self.interface)["flags"]

    def healed(self, cluster: ClusterPort) -> bool:
        return {"UP", "LOWER_UP"} <= set(link(cluster.nodes[self.node], self.interface)["flags"])

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction:
        bond = bonds[self.node]
        return predict.link_loss(bond, "carrier", carries(bond, self.interface))

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        return frozenset({(self.node, self.interface)})


@dataclass(frozen=True, kw_only=True)
class SilentLink(NodeFault):
    """One leg keeps its carrier and loses every frame, both ways: netem on its egress, a drop on its ingress.

    LACPDUs pass the leg's own queue and hook, so they are lost too, as on a cable that has gone bad.
    Where the bond does not notice, the node is cut off until its own timer heals it; the delay is
    therefore short.
    """

    kind = "silent-link"
    summary = "one link keeps its carrier and loses every frame in both directions"
    needs = ("a bond with two redundant legs", "netem and ingress filters in the node's kernel")
    blast_radius = "one leg of one node's bond; the whole node where the bond does not notice"
    heals_by = "queueing disciplines removed on the node"
    may_isolate = True
    detached = True

    interface: str
    deadman_s: float = 30.0

    @property
    def target(self) -> str:
        return f"{self.node} {self.interface}"

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        node = random.choice(sorted(cluster.nodes))
        return cls(
            node=node, interface=bond_of(cluster, node).leg(random.choice(("active", "other"))).interface
        )

    @classmethod
    def candidates(cls, site: Site) -> tuple[str, ...]:
        return legs_of(site)

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        node, mac = candidate.split()
        return cls(node=node, interface=bond_of(cluster, node).by_mac(mac).interface)

    def check(self, cluster: ClusterPort) -> None:
        node = cluster.nodes[self.node]
        bond_of(cluster, self.node).member(self.interface)
        modules = "sch_netem sch_ingress cls_matchall act_gact"
        if not node.run(f"modprobe -a -q {modules}", check=False).ok:
            raise NotApplicableError(
                "PF-NETEM",
                f"{self.node}: its kernel lacks one of {modules}.",
                "install its full kernel package.",
            )
        shaped = [each["kind"] for each in queues(node, self.interface) if foreign(each)]
        if shaped:
            raise RefusedError(
                f"{self.target} has queueing disciplines of its own ({', '.join(shaped)}),"
                " which healing would remove"
            )

    def break_script(self) -> str:
        dev = shlex.quote(self.interface)
        return (
            f"tc qdisc add dev {dev} clsact\n"
            f"tc filter add dev {dev} ingress matchall action drop\n"
            f"tc qdisc replace dev {dev} root netem loss 100%\n"
        )

    def heal_script(self) -> str:
        dev = shlex.quote(self.interface)
        return (
            f"tc qdisc del dev {dev} root 2>/dev/null\ntc qdisc del dev {dev} clsact 2>/dev/null\n"
            f"! tc qdisc show dev {dev} | grep -q -e netem -e clsact\n"
        )

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        node = cluster.nodes[self.node]
        try:
            kinds = {each["kind"] for each in queues(node, self.interface)}
        except UnreachableError:
            return True  # `proven` asks the node itself once it is back
        return {"netem", "clsact"} <= kinds

    def healed(self, cluster: ClusterPort) -> bool:
        return not any(foreign(each) for each in queues(cluster.nodes[self.node], self.interface))

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction:
        bond = bonds[self.node]
        return predict.link_loss(bond, "silent", carries(bond, self.interface))

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        return frozenset({(self.node, self.interface)}) if bonds[self.node].arp_interval else frozenset()


@dataclass(frozen=True, kw_only=True)
class BothLinksDown(NodeFault):
    """Every leg of a node's bond at once: the node is alone, and only its own timer brings it back."""

    kind = "both-links-down"
    summary = "every link of a node is set down at once; nobody is there to help"
    needs = ("a bond with two redundant legs",)
    blast_radius = "one node is cut off from everything on the host network"
    heals_by = "nobody: the node's own timer"
    may_isolate = True
    alone = True
    detached = True

    interfaces: tuple[str, ...]
    deadman_s: float = 30.0

    @property
    def target(self) -> str:
        return f"{self.node} {' and '.join(self.interfaces)}"

    @property
    def silenced(self) -> tuple[str, ...]:
        return (self.node,)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        node = random.choice(sorted(cluster.nodes))
        legs = bond_of(cluster, node).members
        return cls(node=node, interfaces=tuple(member.interface for member in legs))

    def check(self, cluster: ClusterPort) -> None:
        bond = bond_of(cluster, self.node)
        if {member.interface for member in bond.members} != set(self.interfaces):
            raise RefusedError(f"{self.target} are not all legs of {bond.name}: the node would not be alone")

    def break_script(self) -> str:
        return "".join(f"ip link set dev {shlex.quote(each)} down\n" for each in self.interfaces)

    def heal_script(self) -> str:
        return "".join(f"ip link set dev {shlex.quote(each)} up\n" for each in self.interfaces)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return self.isolated(cluster)

    def healed(self, cluster: ClusterPort) -> bool:
        node = cluster.nodes[self.node]
        return all({"UP", "LOWER_UP"} <= set(link(node, each)["flags"]) for each in self.interfaces)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction:
        return predict.alone(self.deadman_s, bonds[self.node])

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        return frozenset((self.node, each) for each in self.interfaces)


@dataclass(frozen=True, kw_only=True)
class _SwitchFault(Fault):
    """Ports that a switch shuts down: `legs` are "node interface port", what hangs on each of them."""

    deadman = "scheduler job on the switch (it counts in minutes)"
    heals_by = "`undo shutdown` on the switch"
    needs = ("a switch that can be spoken to", "a bond with two redundant legs")

    switch: str
    legs: tuple[str, ...]

    @property
    def ports(self) -> tuple[str, ...]:
        """The ports that are shut down."""
        return tuple(leg.split()[2] for leg in self.legs)

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(leg.split()[0] for leg in self.legs)

    def check(self, cluster: ClusterPort) -> None:
        if self.switch not in cluster.switches:
            raise NotApplicableError(
                "PF-SWITCH",
                f"switch {self.switch} cannot be spoken to: the site names no [[switch]] for it.",
                "use link-down.",
            )
        known = cluster.switches[self.switch].ports()
        for leg in self.legs:
            node, interface, port = leg.split()
            if port not in known:
                raise RefusedError(f"{self.switch} has no port {port}")
            if not known[port].up:
                raise RefusedError(f"{self.switch} {port} is down already")
            bond_of(cluster, node).member(interface)

    def arm(self, cluster: ClusterPort, drill: str) -> Mapping[str, str]:
        switch = cluster.switches[self.switch]
        return {port: switch.arm_undo(port, self.deadman_s) for port in self.ports}

    def armed(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        """`arm_undo` has read its job back; where the switch can name its jobs they are looked at once
        more.
        """
        switch = cluster.switches[self.switch]
        listed = switch.armed() if isinstance(switch, ListsTimers) else handles.values()
        return bool(handles) and set(handles.values()) <= set(listed)

    def disarm(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        """Removes every timer of ours on the switch: drills come one at a time, so what is there is of
        this one.
        """
        switch = cluster.switches[self.switch]
        for job in switch.armed() if isinstance(switch, ListsTimers) else handles.values():
            switch.disarm(job)
        return True

    def fired(self, cluster: ClusterPort, drill: str) -> bool:
        return False  # the switch lists a job that has run as it lists one that has not

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        for port in self.ports:
            cluster.switches[self.switch].shutdown(port)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        """Shut down on the switch, and the carrier gone at the node: what nobody feels is no fault."""
        known = cluster.switches[self.switch].ports()
        for leg in self.legs:
            node, interface, port = leg.split()
            if known[port].up or "LOWER_UP" in link(cluster.nodes[node], interface)["flags"]:
                return False
        return True

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        for port in self.ports:
            cluster.switches[self.switch].undo_shutdown(port)

    def healed(self, cluster: ClusterPort) -> bool:
        known = cluster.switches[self.switch].ports()
        return all(known[port].up for port in self.ports)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction:
        each = [
            predict.link_loss(bonds[node], "carrier", carries(bonds[node], interface))
            for node, interface, _ in (leg.split() for leg in self.legs)
        ]
        return max(each, key=lambda p: float("inf") if p.most_s is None else p.most_s)

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        return frozenset((leg.split()[0], leg.split()[1]) for leg in self.legs)


@dataclass(frozen=True, kw_only=True)
class SwitchPortDown(_SwitchFault):
    """The switch shuts down the port of one leg: real loss of carrier at both ends."""

    kind = "switch-port-down"
    summary = "the switch shuts down the port of one link: its carrier is really gone"
    blast_radius = "one leg of one node's bond"

    @property
    def target(self) -> str:
        node, interface, port = self.legs[0].split()
        return f"{node} {interface} at {self.switch} {port}"

    @classmethod
    def of(cls, cluster: ClusterPort, node: str, which: str = "active", **more: Any) -> Self:
        """The port behind the `active` or the `other` leg of a node."""
        switch, leg = cable_of(cluster, node, bond_of(cluster, node).leg(which).mac)
        return cls(switch=switch, legs=(leg,), **more)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        return cls.of(cluster, random.choice(sorted(cluster.nodes)), random.choice(("active", "other")))

    @classmethod
    def candidates(cls, site: Site) -> tuple[str, ...]:
        return legs_of(site)

    @classmethod
    def aimed(cls, cluster: ClusterPort, candidate: str, random: Random) -> Self:
        switch, leg = cable_of(cluster, *candidate.split())
        return cls(switch=switch, legs=(leg,))


@dataclass(frozen=True, kw_only=True)
class SwitchDown(_SwitchFault):
    """A switch dies as far as the nodes can tell: the ports of all nodes are shut down. Uplinks stay."""

    kind = "switch-down"
    summary = "a switch shuts down the ports of all nodes"
    blast_radius = "one leg of every node's bond"

    @property
    def target(self) -> str:
        return f"{self.switch} ({len(self.legs)} ports)"

    @classmethod
    def of(cls, cluster: ClusterPort, switch: str, **more: Any) -> Self:
        """All ports of the switch to which a node is cabled."""
        legs = []
        for spec in cluster.site.nodes:
            for cable in spec.links:
                if cable.switch == switch:
                    legs.append(cable_of(cluster, spec.name, cable.mac)[1])
        if not legs:
            raise RefusedError(f"no node is cabled to switch {switch}")
        return cls(switch=switch, legs=tuple(legs), **more)

    @classmethod
    def draw(cls, cluster: ClusterPort, random: Random) -> Self:
        return cls.of(cluster, random.choice(sorted(cluster.switches)))

    @classmethod
    def candidates(cls, site: Site) -> tuple[str, ...]:
        return tuple(switch.name for switch in site.switches)


def legs_of(site: Site) -> tuple[str, ...]:
    """ "node MAC-address" of every leg that the site orders."""
    return tuple(f"{spec.name} {link.mac.lower()}" for spec in site.nodes for link in spec.links)
