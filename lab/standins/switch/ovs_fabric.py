"""One switch of the rack as its command line sees it: read from and act on Open vSwitch, taps and libvirt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab import ovs, physical, servers
from lab.paths import State
from lab.rack import Rack, Switch
from lab.standins.switch import names, ovs_read
from lab.standins.switch.lldp import Agent
from lab.standins.switch.ports import (
    FRAME_OVERHEAD,
    PVID_NONE,
    VLAN_MAX,
    Aggregation,
    Counters,
    MacEntry,
    Member,
    Neighbour,
    PortError,
    PortState,
)

WHY = "switch"
"""By this reason a link is held down in the rack's book of hands."""
PERMIT_NONE = 4095
"""OVS reads an empty trunk list as all VLANs; this id, which no frame bears, stands for none."""
EVERY_VLAN = frozenset(range(1, VLAN_MAX + 1))


@dataclass(frozen=True)
class _Place:
    """What is plugged into a port of the switch: a server's tap, the other switch, or the controller."""

    name: str
    kind: str
    device: str
    record: str
    """Name of the OVS port that holds the VLAN settings (the bond's in mode lacp)."""
    server: str = ""
    number: int = 0


class OvsFabric:
    """The `Fabric` of one switch of the rack."""

    def __init__(self, rack: Rack, state: State, switch: Switch) -> None:
        self._rack, self._state, self._switch = rack, state, switch
        self._index = rack.switch.index(switch)
        self._server_port = f"p{self._index}"
        self._agent: Agent | None = None
        self._places = {place.name: place for place in self._cabling()}

    def _cabling(self) -> list[_Place]:
        lacp = self._rack.switch_mode == "lacp"
        places = []
        for what, name in self._switch.ports.items():
            if what == "peer":
                places.append(_Place(name, "peer", f"{self._switch.name}-peer", f"{self._switch.name}-peer"))
            elif what == "controller":
                places.append(_Place(name, "controller", "", ""))
            else:
                server = self._rack.find(what)
                tap = server.tap(self._server_port)
                places.append(
                    _Place(
                        name, "server", tap, f"{what}lag" if lacp else tap, what, self._rack.number(server)
                    )
                )
        return places

    # --- reading --------------------------------------------------------------------------------------------

    def ports(self) -> Sequence[PortState]:
        """Every port as it is now (about 30 ms)."""
        tables = ovs_read.tables()
        links = ovs_read.links()
        held = physical.read(self._state)
        return [self._port(place, tables, links, held) for place in self._places.values()]

    def _port(
        self,
        place: _Place,
        tables: ovs_read.Tables,
        links: Mapping[str, ovs_read.Link],
        held: physical.Physical,
    ) -> PortState:
        if place.kind == "controller":
            return self._controller_port(place, links)
        record = tables.ports.get(place.record, {})
        trunk, pvid, permitted = vlan_settings(record)
        link = links.get(place.device)
        if place.kind == "peer":
            shut = _is_shut(record)
            there = tables.ports.get(self._other_end(), {})
            admin, carrier = not shut, bool(record) and not _is_shut(there)
        else:
            admin = WHY not in held.down.get(place.device, set())
            carrier = link is not None and link.up and link.carrier
        mtu = link.mtu if link else self._rack.fabric.mtu
        return PortState(
            name=place.name,
            mac=link.mac if link else self.chassis_mac(),
            admin_up=admin,
            link_up=carrier,
            speed_mbps=names.speed_mbps(place.name),
            trunk=trunk,
            pvid=pvid,
            permitted=permitted,
            max_frame=mtu + FRAME_OVERHEAD,
            description=record.get("external_ids", {}).get("description", ""),
            aggregation=place.number if self._rack.switch_mode == "lacp" and place.kind == "server" else None,
            counters=_counters(tables.interfaces.get(place.device, {}).get("statistics", {})),
        )

    def _controller_port(self, place: _Place, links: Mapping[str, ovs_read.Link]) -> PortState:
        legs = [links[ovs.leg(vlan.id)] for vlan in self._rack.vlans.values() if ovs.leg(vlan.id) in links]
        up = any(leg.up for leg in legs)
        return PortState(
            name=place.name,
            mac=legs[0].mac if legs else self.chassis_mac(),
            admin_up=up,
            link_up=bool(legs),
            speed_mbps=names.speed_mbps(place.name),
            trunk=True,
            pvid=PVID_NONE,
            permitted=frozenset(vlan.id for vlan in self._rack.vlans.values()),
            max_frame=self._rack.fabric.mtu + FRAME_OVERHEAD,
            description="controller",
        )

    def aggregations(self) -> Sequence[Aggregation]:
        """The Bridge-Aggregations with their members on this switch; none in mode active-backup."""
        if self._rack.switch_mode != "lacp":
            return []
        groups, links = [], ovs_read.links()
        for place in self._places.values():
            if place.kind == "server":
                shown = ovs_read.lacp(place.record)
                found = shown.members.get(place.device)
                members = (_member(place.name, found, links.get(place.device)),) if found else ()
                groups.append(Aggregation(place.number, True, shown.system, members))
        return groups

    def macs(self) -> Sequence[MacEntry]:
        """Addresses that the switch has learned."""
        bridge = ovs.FABRIC if self._rack.switch_mode == "lacp" else self._switch.name
        by_number = {record.get("ofport"): name for name, record in ovs_read.tables().interfaces.items()}
        by_device = {place.device: place.name for place in self._places.values() if place.device}
        legs = {ovs.leg(vlan.id) for vlan in self._rack.vlans.values()}
        controller = next((place.name for place in self._places.values() if place.kind == "controller"), "")
        entries = []
        for number, vlan, mac in ovs_read.learned(bridge):
            device = by_number.get(number, "")
            name = controller if device in legs else by_device.get(device, "")
            if name:
                entries.append(MacEntry(mac, vlan, name))
        return entries

    def neighbours(self) -> Sequence[Neighbour]:
        """What the LLDP agent has heard, but nothing from a link that loses every frame.

        The agent listens before the switch does; a silent link must be silent to it, too.
        """
        silent = {name for tap, name in self.taps().items() if tap in self._silent()}
        heard = self._agent.neighbours() if self._agent else []
        return [neighbour for neighbour in heard if neighbour.port not in silent]

    def _silent(self) -> set[str]:
        bridge = ovs.FABRIC if self._rack.switch_mode == "lacp" else self._switch.name
        numbers = ovs_read.dropping(bridge, ovs.SILENCE_COOKIE)
        if not numbers:
            return set()
        return {name for name, row in ovs_read.tables().interfaces.items() if row.get("ofport") in numbers}

    def vlans(self) -> Mapping[int, str]:
        """The racked VLANs and VLAN 1, which every switch has."""
        return {1: "VLAN 0001"} | {vlan.id: f"VLAN {vlan.id:04d}" for vlan in self._rack.vlans.values()}

    # --- LLDP -----------------------------------------------------------------------------------------------

    def listen_to(self, agent: Agent) -> None:
        """Take neighbours from `agent` from now on."""
        self._agent = agent

    def chassis_mac(self) -> str:
        """The switch's own address (locally administered)."""
        return f"02:0c:00:00:00:{self._index + 1:02x}"

    def taps(self) -> dict[str, str]:
        """Tap of each server's port -> name of the port."""
        return {place.device: place.name for place in self._places.values() if place.kind == "server"}

    def tap_macs(self) -> dict[str, str]:
        """Addresses of the taps that are up and not silent."""
        links, silent = ovs_read.links(), self._silent()
        return {
            tap: links[tap].mac
            for tap in self.taps()
            if tap in links and links[tap].up and links[tap].carrier and tap not in silent
        }

    # --- acting ---------------------------------------------------------------------------------------------

    def set_admin(self, port: str, up: bool) -> None:
        """`shutdown` and its undo: at a server's port the carrier goes at the server, too."""
        place = self._places[port]
        if place.kind == "server":
            servers.set_link(place.server, self._server_port, up, why=WHY, rack=self._rack, state=self._state)
        elif place.kind == "controller":
            for vlan in self._rack.vlans.values():
                ovs.set_admin(ovs.leg(vlan.id), up)
        else:
            self._set_peer(place, up)

    def _set_peer(self, place: _Place, up: bool) -> None:
        if self._rack.switch_mode == "lacp":
            raise PortError(" The two switches of this rack are one device below; their link cannot be shut.")
        flag = ["--", "set", "port", place.record, "external_ids:shutdown=true"]
        ovs.vsctl(*(["--", "remove", "port", place.record, "external_ids", "shutdown"] if up else flag))
        both = up and not _is_shut(ovs_read.tables().ports.get(self._other_end(), {}))
        for end in (place.record, self._other_end()):
            ovs.ofctl("mod-port", end.removesuffix("-peer"), end, "forward" if both else "no-forward")

    def _other_end(self) -> str:
        return f"{self._rack.switch[1 - self._index].name}-peer"

    def _settable(self, port: str) -> _Place:
        place = self._places[port]
        if place.kind == "controller":
            raise PortError(" The controller's port is fixed in the rack.")
        return place

    def set_trunk(self, port: str, permitted: frozenset[int], pvid: int) -> None:
        """A trunk; its PVID goes untagged where it is permitted, else untagged frames are dropped."""
        record = self._settable(port).record
        listed = [] if permitted == EVERY_VLAN else sorted(permitted) or [PERMIT_NONE]
        trunks = f"trunks=[{','.join(map(str, listed))}]"
        if pvid in permitted:
            ovs.vsctl(
                "set",
                "port",
                record,
                "vlan_mode=native-untagged",
                f"tag={pvid}",
                trunks,
                f"external_ids:pvid={pvid}",
            )
        else:
            ovs.vsctl(
                "set",
                "port",
                record,
                "vlan_mode=trunk",
                trunks,
                f"external_ids:pvid={pvid}",
                "--",
                "clear",
                "port",
                record,
                "tag",
            )

    def set_access(self, port: str, vlan: int) -> None:
        """An access port."""
        record = self._settable(port).record
        ovs.vsctl(
            "set", "port", record, "vlan_mode=access", f"tag={vlan}", "--", "clear", "port", record, "trunks"
        )

    def set_max_frame(self, port: str, length: int) -> None:
        """Longest frame that the port sends (bytes, with header, one tag and checksum)."""
        place = self._settable(port)
        if place.kind != "server":
            raise PortError(" The frame length of the inter-switch link is fixed in the rack.")
        ovs_read.set_mtu(place.device, length - FRAME_OVERHEAD)

    def set_description(self, port: str, text: str) -> None:
        """Free text."""
        record = self._settable(port).record
        if text:
            ovs.vsctl("set", "port", record, f"external_ids:description={ovs_read.quoted(text)}")
        else:
            ovs.vsctl("remove", "port", record, "external_ids", "description")

    def set_lacp_fast(self, port: str, fast: bool) -> None:
        """`lacp period short` and its undo. In this rack both members of an aggregation change together."""
        place = self._settable(port)
        if self._rack.switch_mode != "lacp" or place.kind != "server":
            raise PortError(" The port is not in a dynamic aggregation group.")
        ovs.vsctl("set", "port", place.record, f"other_config:lacp-time={'fast' if fast else 'slow'}")


def vlan_settings(record: Mapping[str, Any]) -> tuple[bool, int, frozenset[int]]:
    """(trunk, PVID, permitted) of an OVS Port record."""
    mode, tag = record.get("vlan_mode"), record.get("tag")
    listed = record.get("trunks") or []
    if mode == "access" or (not mode and tag is not None):
        vlan = int(tag or 1)
        return False, vlan, frozenset({vlan})
    permitted = frozenset(int(vlan) for vlan in listed if vlan != PERMIT_NONE) if listed else EVERY_VLAN
    if tag is not None and mode in ("native-untagged", "native-tagged"):
        return True, int(tag), permitted | {int(tag)}
    return True, int(record.get("external_ids", {}).get("pvid", PVID_NONE)), permitted


def _member(name: str, found: dict[str, Any], link: ovs_read.Link | None) -> Member:
    """OVS goes on counting a port without carrier as attached; a switch does not select it."""
    member = Member(name, **found)
    if link is not None and link.up and link.carrier:
        return member
    flags = member.actor_flags & ovs_read.UNCONNECTED
    return dataclasses.replace(member, selected=False, individual=False, actor_flags=flags)


def _is_shut(record: Mapping[str, Any]) -> bool:
    return bool(record.get("external_ids", {}).get("shutdown") == "true")


def _counters(statistics: Mapping[str, int]) -> Counters:
    return Counters(
        rx_packets=statistics.get("rx_packets", 0),
        rx_bytes=statistics.get("rx_bytes", 0),
        rx_errors=statistics.get("rx_errors", 0),
        tx_packets=statistics.get("tx_packets", 0),
        tx_bytes=statistics.get("tx_bytes", 0),
        tx_errors=statistics.get("tx_errors", 0),
    )
