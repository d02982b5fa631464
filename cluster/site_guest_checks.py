"""What must hold of the golden guests and of the HA manager's order between keys of a site file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.site_address_checks import host_address
from cluster.site_errors import Problem

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Guest, GuestHa

MIB, GIB = 2**20, 2**30
DEVICE_S = 10.0
"""watchdog-mux sets the device to this time: a node is dead so long after its last sign, at the latest."""


def high_availability(site: Site) -> Iterator[Problem]:
    """Nobody is powered off before the own watchdog must have bitten."""
    table = site.ha
    if table is not None and table.power_cycle_after <= table.watchdog + DEVICE_S:
        yield Problem(
            "ha.power_cycle_after",
            f"{table.power_cycle_after:g} s",
            f"expected more than {table.watchdog + DEVICE_S:g} s: ha.watchdog, and"
            f" {DEVICE_S:g} s of the device",
        )


def guests(site: Site) -> Iterator[Problem]:
    """Where a guest lies, what it needs, and what the HA manager is told of it."""
    for guest in site.guests:
        key = f"guest.{guest.name}"
        yield from _network(site, key, guest)
        yield from _disk(site, key, guest)
        if guest.kernel is not None and guest.kind != "vm":
            yield Problem(f"{key}.kernel", None, "expected none: a container runs on its node's kernel")
        if guest.ha is not None:
            yield from _policy(site, f"{key}.ha", guest.ha)
    if site.guests:
        for name, table in (("pve", site.pve), ("corosync", site.corosync), ("ceph", site.ceph)):
            if table is None:
                yield Problem(name, None, "missing; expected the table, because [[guest]] orders guests")


def _network(site: Site, key: str, guest: Guest) -> Iterator[Problem]:
    names = ", ".join(site.guest_networks)
    network = site.guest_networks.get(guest.network)
    if network is None:
        yield Problem(
            f"{key}.network", repr(guest.network), f"expected the name of a guest network: {names or 'none'}"
        )
        return
    yield from host_address(f"{key}.address", guest.address.ip, guest.network, network)
    if guest.address.network.prefixlen != network.subnet.prefixlen:
        yield Problem(
            f"{key}.address",
            repr(str(guest.address)),
            f"expected the prefix length of networks.{guest.network}, /{network.subnet.prefixlen}",
        )


def _disk(site: Site, key: str, guest: Guest) -> Iterator[Problem]:
    for name, size, unit, least, told in (
        ("memory", guest.memory, MIB, 16, "16 MiB or more, in whole MiB"),
        ("disk", guest.disk, GIB, 1, "1 GiB or more, in whole GiB"),
    ):
        if size % unit or size < least * unit:
            yield Problem(f"{key}.{name}", f"{size} bytes", f"expected {told}")
    if site.ceph is None:
        return  # said once, for all guests
    pools = [name for name, pool in site.ceph.pools.items() if pool.application == "rbd"]
    if guest.storage not in pools:
        yield Problem(
            f"{key}.storage",
            repr(guest.storage),
            f"expected a pool for images, which every node reaches: {', '.join(pools) or 'there is none'}",
        )
    if site.ceph.filesystem is None:
        yield Problem(
            "ceph.filesystem", None, "missing; expected the file system that holds what guests are made from"
        )


def _policy(site: Site, key: str, policy: GuestHa) -> Iterator[Problem]:
    if site.ha is None:
        yield Problem(key, None, "expected a table [ha], which orders high availability")
    known = [node.name for node in site.nodes]
    for name in policy.nodes:
        if name not in known:
            yield Problem(f"{key}.nodes.{name}", None, f"expected the name of a [[node]]: {', '.join(known)}")
    if policy.strict and not policy.nodes:
        yield Problem(f"{key}.strict", "true", "expected nodes: a guest that is kept to none runs nowhere")
