"""Defects of cables and switches."""

from __future__ import annotations

from lab import ovs, servers
from lab.defects import scenarios
from lab.defects.defect import Defect, Memory, Place
from lab.errors import LabError
from lab.processes import run, start, stop
from lab.rack import Switch
from lab.standins import switch as consoles
from lab.standins.switch.ovs_fabric import OvsFabric
from lab.standins.switch.ports import FRAME_OVERHEAD, PortState

PORT, SWITCH = "p1", 1
"""Defects of one link are in the link to the second switch, which a fresh bond holds in reserve: the node
stays reachable, and only who looks at that link finds them."""
HOST_VLAN, DROPPED_VLAN, STRANGE_VLAN = 6, 3, 16
SMALL_MTU = 1400
STRANGER = "02:de:fe:c7:00:01"
STRANGER_COOKIE = 0xD0B1E


def _fabric(place: Place, switch: Switch | None = None) -> OvsFabric:
    return OvsFabric(place.rack, place.state, switch or place.rack.switch[SWITCH])


def _port(place: Place, switch: Switch | None = None) -> PortState:
    name = (switch or place.rack.switch[SWITCH]).ports[place.target]
    return next(port for port in _fabric(place, switch).ports() if port.name == name)


# --- carrier ------------------------------------------------------------------------------------------------


def _pull(place: Place) -> Memory:
    servers.set_link(place.target, PORT, False, "cable", place.rack, place.state)
    return {}


def _push(place: Place, _: Memory) -> None:
    servers.set_link(place.target, PORT, True, "cable", place.rack, place.state)


def _power(place: Place, on: bool) -> None:
    """All ports of a switch and its console, as when its power goes."""
    index = place.rack.switch.index(place.switch)
    for server in place.rack.server:
        servers.set_link(server.name, f"p{index}", on, "power", place.rack, place.state)
    fabric = _fabric(place, place.switch)
    others = [place.switch.ports[what] for what in ("peer", "controller") if what in place.switch.ports]
    if place.rack.switch_mode == "lacp":
        others = []
    for name in others:
        fabric.set_admin(name, on)
    console = next(d for d in consoles.daemons(place.rack, place.state) if d.name.endswith(place.target))
    if on:
        start(place.state, console)
    else:
        stop(place.state, console.name)


def _switch_off(place: Place) -> Memory:
    _power(place, False)
    return {}


def _switch_on(place: Place, _: Memory) -> None:
    _power(place, True)


def _silence(place: Place) -> Memory:
    ovs.silence(place.rack, PORT, place.server.tap(PORT))
    return {}


def _unsilence(place: Place, _: Memory) -> None:
    ovs.unsilence(place.rack, PORT, place.server.tap(PORT))


# --- VLANs and frame length ---------------------------------------------------------------------------------


def _change_trunk(place: Place, permitted: frozenset[int], pvid: int | None = None) -> Memory:
    port = _port(place)
    _fabric(place).set_trunk(port.name, permitted, port.pvid if pvid is None else pvid)
    return {"permitted": sorted(port.permitted), "pvid": port.pvid}


def _restore_trunk(place: Place, memory: Memory) -> None:
    if memory:
        port = _port(place)
        _fabric(place).set_trunk(port.name, frozenset(memory["permitted"]), memory["pvid"])


def _wrong_vlan(place: Place) -> Memory:
    return _change_trunk(place, (_port(place).permitted - {HOST_VLAN}) | {STRANGE_VLAN})


def _drop_vid(place: Place) -> Memory:
    return _change_trunk(place, _port(place).permitted - {DROPPED_VLAN})


def _leak(place: Place) -> Memory:
    return _change_trunk(place, _port(place).permitted, pvid=HOST_VLAN)


def _shrink(place: Place) -> Memory:
    """On the second switch alone: all is well until traffic has to move there."""
    port = _port(place, place.rack.switch[SWITCH])
    _fabric(place).set_max_frame(port.name, SMALL_MTU + FRAME_OVERHEAD)
    return {"max_frame": port.max_frame}


def _widen(place: Place, memory: Memory) -> None:
    length = memory.get("max_frame", place.rack.fabric.mtu + FRAME_OVERHEAD)
    _fabric(place).set_max_frame(place.rack.switch[SWITCH].ports[place.target], length)


def _slow_lacp(place: Place) -> Memory:
    if place.rack.switch_mode != "lacp":
        raise LabError("slow-lacp needs a rack with switch_mode = 'lacp'; here the links form no LAG")
    _fabric(place).set_lacp_fast(place.rack.switch[SWITCH].ports[place.target], False)
    return {}


def _fast_lacp(place: Place, _: Memory) -> None:
    _fabric(place).set_lacp_fast(place.rack.switch[SWITCH].ports[place.target], True)


# --- a second owner of an address ---------------------------------------------------------------------------


def _stranger(place: Place) -> Memory:
    """A station in the host network that answers ARP for a node's address; only servers are answered.

    The controller is spared: it must be able to look at what is wrong.
    """
    octets = "".join(f"{int(part):02x}" for part in place.server.address.split("."))
    reply = ",".join(
        [
            "NORMAL",
            "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
            f"mod_dl_src:{STRANGER}",
            "load:0x2->NXM_OF_ARP_OP[]",
            "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
            "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]",
            f"load:0x{STRANGER.replace(':', '')}->NXM_NX_ARP_SHA[]",
            f"load:0x{octets}->NXM_OF_ARP_SPA[]",
            "IN_PORT",
        ]
    )
    for bridge, port in _other_ports(place):
        number = ovs.vsctl("get", "interface", port, "ofport")
        match = f"in_port={number},dl_vlan={HOST_VLAN},arp,arp_op=1,arp_tpa={place.server.address}"
        ovs.ofctl("add-flow", bridge, f"cookie={STRANGER_COOKIE:#x},priority=500,{match},actions={reply}")
    return {}


def _other_ports(place: Place) -> list[tuple[str, str]]:
    """(bridge, tap) of all other servers' links."""
    return [
        (ovs.bridge_of(place.rack, port), server.tap(port))
        for server in place.rack.server
        if server.name != place.target
        for port in ("p0", "p1")
    ]


def _stranger_leaves(place: Place, _: Memory) -> None:
    for bridge in ovs.bridges(place.rack):
        run(["ovs-ofctl", "del-flows", bridge, f"cookie={STRANGER_COOKIE:#x}/-1"])


DEFECTS = (
    Defect("link-down", "the cable to the second switch is out", (scenarios.BOND, scenarios.SWITCH_PORTS),
           _pull, _push, "node", "node1"),
    Defect("switch-down", "a switch has no power", (scenarios.SWITCH_PORTS, scenarios.BOND),
           _switch_off, _switch_on, "switch", "sw2"),
    Defect("silent-link", "the link to the second switch has carrier and loses every frame",
           (scenarios.loses_link("node3"),), _silence, _unsilence, "node", "node3"),
    Defect("wrong-vlan", f"a switch port carries VLAN {STRANGE_VLAN} in place of {HOST_VLAN}",
           (scenarios.SWITCH_PORTS,), _wrong_vlan, _restore_trunk, "node", "node1"),
    Defect("vid-dropped", f"a switch port does not carry VLAN {DROPPED_VLAN}",
           (scenarios.SWITCH_PORTS,), _drop_vid, _restore_trunk, "node", "node2"),
    Defect("untagged-leak", f"a switch port hands out VLAN {HOST_VLAN} untagged",
           (scenarios.SWITCH_PORTS,), _leak, _restore_trunk, "node", "node1"),
    Defect("wrong-mtu", f"a port of the second switch passes no packet above {SMALL_MTU} bytes",
           (scenarios.SWITCH_PORTS,), _shrink, _widen, "node", "node2"),
    Defect("slow-lacp", "the switches' LAG uses slow LACP", (scenarios.BOND,),
           _slow_lacp, _fast_lacp, "node", "node1"),
    Defect("duplicate-address", "another station answers for a node's host address",
           (scenarios.ONE_OWNER,), _stranger, _stranger_leaves, "node", "node2"),
)  # fmt: skip
