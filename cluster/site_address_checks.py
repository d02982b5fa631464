"""Addresses lie where they belong, and nothing that is to be one's own is there twice."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from cluster.site_errors import Problem

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import Network


def host_address(key: str, address: IPv4Address, name: str, network: Network) -> Iterator[Problem]:
    """An address that a host in the network can have."""
    subnet: IPv4Network = network.subnet
    if address not in subnet:
        yield Problem(key, repr(str(address)), f"expected an address in networks.{name} ({subnet})")
    elif subnet.prefixlen < 31 and address in (subnet.network_address, subnet.broadcast_address):
        yield Problem(
            key,
            repr(str(address)),
            f"expected a host's address in networks.{name} ({subnet}), not its network or broadcast address",
        )


def _named_network(site: Site, role: str) -> tuple[str, Network] | None:
    """The only network of that role, with its name; None where there are several, which is said elsewhere."""
    found = [(name, network) for name, network in site.networks.items() if network.role == role]
    return found[0] if len(found) == 1 else None


def addresses(site: Site) -> Iterator[Problem]:
    host, ring, oob = (_named_network(site, role) for role in ("host", "ring", "oob"))
    for node in site.nodes:
        key = f"node.{node.name}"
        if host is not None:
            yield from host_address(f"{key}.address", node.address, *host)
        if oob is not None:
            yield from host_address(f"{key}.bmc.address", node.bmc.address, *oob)
        if ring is not None and node.ring is not None:
            yield from host_address(f"{key}.ring.address", node.ring.address, *ring)
        if ring is not None and node.ring is None:
            yield Problem(
                f"{key}.ring",
                None,
                f"missing; expected mac and address, because networks.{ring[0]} is a ring",
            )
        if ring is None and node.ring is not None:
            yield Problem(f"{key}.ring", None, "expected a network with role = 'ring', found none")
    if oob is not None:
        for switch in site.switches:
            yield from host_address(f"switch.{switch.name}.address", switch.address, *oob)


def _twice(what: str, entries: Iterator[tuple[str, str]]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for key, value in entries:
        if value in seen:
            yield Problem(key, repr(value), f"expected {what} of its own; {seen[value]} has it")
        seen.setdefault(value, key)


Entries = Iterator[tuple[str, str]]


def _all_addresses(site: Site) -> Entries:
    for name, network in site.networks.items():
        if network.gateway is not None:
            yield f"networks.{name}.gateway", str(network.gateway)
    for switch in site.switches:
        yield f"switch.{switch.name}.address", str(switch.address)
    for node in site.nodes:
        yield f"node.{node.name}.address", str(node.address)
        yield f"node.{node.name}.bmc.address", str(node.bmc.address)
        if node.ring is not None:
            yield f"node.{node.name}.ring.address", str(node.ring.address)
    for guest in site.guests:
        yield f"guest.{guest.name}.address", str(guest.address.ip)


def _all_guests(site: Site) -> Entries:
    for name in dict.fromkeys(node.name for node in site.nodes):  # nodes among themselves: said above
        yield f"node.{name}", name
    yield from ((f"guest[{i}].name", guest.name) for i, guest in enumerate(site.guests))


def _all_macs(site: Site) -> Entries:
    for node in site.nodes:
        yield from ((f"node.{node.name}.links[{i}].mac", link.mac) for i, link in enumerate(node.links))
        if node.ring is not None:
            yield f"node.{node.name}.ring.mac", node.ring.mac


def _all_drives(site: Site) -> Entries:
    for node in site.nodes:
        for kind, drives in (("boot_drives", node.boot_drives), ("data_drives", node.data_drives)):
            yield from ((f"node.{node.name}.{kind}[{i}]", serial) for i, serial in enumerate(drives))


def _all_ports(site: Site) -> Entries:
    for node in site.nodes:
        for i, link in enumerate(node.links):
            yield f"node.{node.name}.links[{i}].port", f"{link.switch} {link.port}"


def duplicates(site: Site) -> Iterator[Problem]:
    yield from _twice("a name", ((f"node[{i}].name", node.name) for i, node in enumerate(site.nodes)))
    yield from _twice("a name", ((f"switch[{i}].name", each.name) for i, each in enumerate(site.switches)))
    yield from _twice("a name", _all_guests(site))
    yield from _twice("a number", ((f"guest.{guest.name}.vmid", str(guest.vmid)) for guest in site.guests))
    yield from _twice("a serial number", ((f"node.{node.name}.serial", node.serial) for node in site.nodes))
    yield from _twice("an address", _all_addresses(site))
    yield from _twice("a MAC address", _all_macs(site))
    yield from _twice("a serial number", _all_drives(site))
    yield from _twice("a switch port", _all_ports(site))
