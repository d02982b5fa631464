"""High availability in which phase 7 lacks nothing: each test takes one thing away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster.site import Site
from cluster.site_services import Guest
from provisioners.guests import observation as guests
from provisioners.guests.observation import GuestSeen
from provisioners.guests.order import TAG, description, hardware, home, volume
from provisioners.ha import fencing
from provisioners.ha.manager import Manager, Rule, State
from provisioners.ha.observation import FENCING, MUX, SERVICES, Holder, NodeHa, Observation, Service, Watchdog
from provisioners.ha.order import managed, ordered, resource, rules

MAC = "BC:24:11:0A:0B:0C"


def config(site: Site, guest: Guest) -> dict[str, str]:
    """What the API says of a guest as ordered: disks are volumes, ports bear a MAC address."""
    found = {**hardware(site, guest), "tags": TAG, "description": f"{description(site, guest)}\n"}
    size = found.pop("rootfs" if guest.kind == "container" else "virtio0").partition(":")[2]
    disk = f"{guest.storage}:vm-{guest.vmid}-disk-0,size={size}G"
    port = found["net0"]
    if guest.kind == "container":
        return {**found, "rootfs": disk, "net0": f"{port},hwaddr={MAC}"}
    return {**found, "virtio0": disk, "net0": port.replace("virtio,", f"virtio={MAC},")}


def good_guest(site: Site, guest: Guest) -> GuestSeen:
    """A guest as ordered, at home."""
    where = home(site, guest)
    return GuestSeen(guest.vmid, guest.kind, guest.name, where, True, config(site, guest))


def good_guests(site: Site) -> guests.Observation:
    """Every ordered guest, and what it is made from."""
    seen = {guest.vmid: good_guest(site, guest) for guest in site.guests}
    return guests.Observation(seen, frozenset(volume(site, guest) for guest in site.guests))


def good_node(site: Site, name: str) -> NodeHa:
    """A node whose watchdog is the ordered one, held by watchdog-mux."""
    module = ordered(site).watchdog_module
    return NodeHa(
        name=name,
        services={service: Service(True, True) for service in (*SERVICES, FENCING)},
        configured=module,
        modules=frozenset({module}),
        watchdogs=(Watchdog(0, True, 10, module),),
        holders=(Holder(700, "/dev/watchdog", MUX, "watchdog-mux"),),
        fencing={
            "node": name,
            "peers": [{**peer, "systems_uri": None} for peer in fencing.peers(site)],
            "ca_file": None,
            "wait_s": ordered(site).power_cycle_after,
            "watch_s": 900,
            "cycles": 3,
        },
        program=fencing.program(),
    )


def good_manager(site: Site) -> Manager:
    """A manager that keeps every ordered guest as ordered."""
    names = [node.name for node in site.nodes]
    return Manager(
        resources={guest.sid: resource(policy) for guest, policy in managed(site)},
        rules={
            name: Rule("node-affinity", frozenset({rule["resource"]}), rule["nodes"], rule["strict"])
            for name, rule in rules(site).items()
        },
        services={guest.sid: State(home(site, guest), policy.state) for guest, policy in managed(site)},
        lrms=dict.fromkeys(names, "active"),
        nodes=dict.fromkeys(names, "online"),
        master=names[0],
        leading="active",
        quorate=True,
        armed="armed",
        policy=ordered(site).shutdown_policy,
    )


def all_kept(site: Site) -> Observation:
    """Everything as ordered."""
    nodes = {node.name: good_node(site, node.name) for node in site.nodes}
    return Observation(nodes, good_manager(site), good_guests(site))


def nothing_kept(site: Site) -> Observation:
    """Nodes fresh from phase 4: Proxmox VE's HA runs, on its own watchdog, and keeps nothing."""
    nodes = {
        node.name: NodeHa(
            name=node.name,
            services={service: Service(True, True) for service in SERVICES},
            configured="",
            modules=frozenset({"softdog"}),
            watchdogs=(Watchdog(0, True, 10, "softdog"),),
            holders=(Holder(700, "/dev/watchdog0", MUX, "watchdog-mux"),),
        )
        for node in site.nodes
    }
    lrms = {node.name: "idle" for node in site.nodes}
    manager = Manager({}, {}, {}, lrms, {}, "", "", True, "", "migrate")
    return Observation(nodes, manager, guests.Observation({}, frozenset()))


def with_node(seen: Observation, name: str, **changes: Any) -> Observation:
    """The same observation with some values of one node changed."""
    return replace(seen, nodes={**seen.nodes, name: replace(seen.node(name), **changes)})


def with_manager(seen: Observation, **changes: Any) -> Observation:
    """The same observation with some of the manager's words changed."""
    return replace(seen, manager=replace(seen.told(), **changes))


def with_guest(seen: Observation, vmid: int, **changes: Any) -> Observation:
    """The same observation with one guest changed."""
    found = {**seen.guests.guests, vmid: replace(seen.guests.guests[vmid], **changes)}
    return replace(seen, guests=replace(seen.guests, guests=found))


def without_guest(seen: Observation, vmid: int) -> Observation:
    """The same observation without one guest."""
    found = {number: guest for number, guest in seen.guests.guests.items() if number != vmid}
    return replace(seen, guests=replace(seen.guests, guests=found))


def with_config(seen: Observation, vmid: int, **changes: str) -> Observation:
    """The same observation with some values of one guest's configuration changed; "" takes one away."""
    config = {**seen.guests.guests[vmid].config, **changes}
    return with_guest(seen, vmid, config={key: value for key, value in config.items() if value})
