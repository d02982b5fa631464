"""What must hold between keys of a site file: references resolve, nothing is there twice, addresses fit."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from cluster.site_address_checks import addresses, duplicates, host_address
from cluster.site_errors import Problem
from cluster.site_guest_checks import guests, high_availability
from cluster.site_types import topic_region
from cluster.targets import TARGETS
from cluster.units import UnitError

if TYPE_CHECKING:
    from cluster.site import Site

Check = Callable[["Site"], Iterator[Problem]]


def problems(site: Site) -> list[Problem]:
    """Every problem between keys, in a stable order; empty when the site is sound."""
    return [problem for check in CHECKS for problem in check(site)]


def _networks(site: Site) -> Iterator[Problem]:
    for name, network in site.networks.items():
        key = f"networks.{name}"
        if network.role in ("guest", "host") and network.id is None:
            yield Problem(f"{key}.id", None, f"missing; expected a VLAN id for a {network.role} network")
        if network.gateway is not None:
            yield from host_address(f"{key}.gateway", network.gateway, name, network)
    for role, most in (("host", "exactly one"), ("ring", "at most one"), ("oob", "at most one")):
        names = [name for name, network in site.networks.items() if network.role == role]
        if len(names) > 1 or (role == "host" and not names):
            listed = ", ".join(names) or "none"
            yield Problem("networks", None, f"expected {most} network with role = '{role}', found {listed}")
    for (one, first), (other, second) in combinations(site.networks.items(), 2):
        if first.subnet.overlaps(second.subnet):
            yield Problem(
                f"networks.{other}.subnet",
                repr(str(second.subnet)),
                f"expected a subnet that overlaps no other; it overlaps networks.{one} ({first.subnet})",
            )
        if first.id is not None and first.id == second.id:
            yield Problem(
                f"networks.{other}.id",
                str(second.id),
                f"expected a VLAN id of its own; networks.{one} ({first.role}) has it",
            )


def _nodes(site: Site) -> Iterator[Problem]:
    if not site.nodes:
        yield Problem("node", None, "expected at least one [[node]] table")
    known = list(dict.fromkeys(switch.name for switch in site.switches))
    unique = len(known) == len(site.switches)
    for node in site.nodes:
        key = f"node.{node.name}"
        if len(node.links) < 2:
            yield Problem(
                f"{key}.links",
                None,
                f"expected two links or more for {site.bond.name}, found {len(node.links)}",
            )
        for i, link in enumerate(node.links):
            if unique and link.switch not in known:
                yield Problem(
                    f"{key}.links[{i}].switch",
                    repr(link.switch),
                    f"expected the name of a [[switch]]: {', '.join(known) or 'there is none'}",
                )
        for kind, drives, ordered in (
            ("boot_drives", node.boot_drives, site.hardware.boot_drives.count),
            ("data_drives", node.data_drives, site.hardware.data_drives.count),
        ):
            if len(drives) != ordered:
                yield Problem(
                    f"{key}.{kind}",
                    None,
                    f"expected {ordered} serial numbers as hardware.{kind}.count orders, found {len(drives)}",
                )


def _targets(site: Site) -> Iterator[Problem]:
    for name, text in site.relax.items():
        key = f"relax.{name}"
        target = TARGETS.get(name)
        if target is None:
            near = difflib.get_close_matches(name, TARGETS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(TARGETS)}"
            yield Problem(key, repr(text), f"unknown target; {hint}")
            continue
        try:
            value = target.parse(text)
        except UnitError as error:
            yield Problem(key, repr(text), str(error))
            continue
        if not target.easier(value):
            yield Problem(
                key,
                repr(text),
                f"expected a value easier to meet than the target ({target.relation} {target.default})",
            )
    if site.kind == "acceptance":
        if site.relax:
            yield Problem(
                "relax",
                None,
                "expected no relaxed target where kind = 'acceptance'; write kind = 'rehearsal'",
            )
        if site.rack is not None:
            yield Problem(
                "rack", None, "expected no [rack] where kind = 'acceptance': it is for ordered hardware"
            )


def _benchmark(site: Site) -> Iterator[Problem]:
    """Sizes and times of a benchmark that something can be measured with."""
    table = site.benchmark
    if table is None:
        return
    if table.runtime < 1:
        yield Problem("benchmark.runtime", f"{table.runtime:g} s", "expected 1 s or more")
    if table.sequential_block < 4096 or table.sequential_block % 512:
        told = "expected 4 KiB or more, a multiple of 512 bytes"
        yield Problem("benchmark.sequential_block", f"{table.sequential_block} bytes", told)
    least = table.jobs * max(table.sequential_block, 4 * 2**20)
    if table.image_size < least:
        yield Problem(
            "benchmark.image_size",
            f"{table.image_size} bytes",
            f"expected {least} bytes or more: each of {table.jobs} jobs has a part that holds its blocks",
        )


def _references(site: Site) -> Iterator[Problem]:
    """References to parameters stay below the site's own path, and to networks name one that exists."""
    for key, name in site.ssm_references():
        if not name.startswith(site.aws.root + "/"):
            yield Problem(key, repr(f"ssm:{name}"), f"expected a parameter below aws.root, {site.aws.root}/")
    named: list[tuple[str, str | None]] = []
    if site.ceph is not None:
        named += [
            ("ceph.public_network", site.ceph.public_network),
            ("ceph.cluster_network", site.ceph.cluster_network),
        ]
    if site.corosync is not None:
        named += [(f"corosync.links[{i}]", link) for i, link in enumerate(site.corosync.links)]
        named.append(("corosync.migration", site.corosync.migration))
    if site.backup is not None:
        named.append(("backup.server_network", site.backup.server_network))
    if site.monitoring is not None:
        named.append(("monitoring.prometheus_network", site.monitoring.prometheus_network))
    if site.weka is not None:
        named.append(("weka.network", site.weka.network))
    for key, network in named:
        if network is not None and network not in site.networks:
            yield Problem(key, repr(network), f"expected the name of a network: {', '.join(site.networks)}")


def _bond(site: Site) -> Iterator[Problem]:
    bond = site.bond
    if bond.name == site.bridge.name:
        yield Problem("bridge.name", repr(site.bridge.name), "expected another name than bond.name")
    if bond.miimon == 0 and bond.arp_interval == 0:
        yield Problem(
            "bond.miimon", "'0 s'", "expected a time, or bond.arp_interval: without either no fault is seen"
        )
    if bond.miimon and bond.arp_interval:
        yield Problem("bond.arp_interval", None, "expected either bond.miimon or bond.arp_interval, not both")
    if bond.arp_interval and not bond.arp_targets:
        yield Problem("bond.arp_targets", None, "missing; expected the addresses that ARP monitoring asks")
    if bond.arp_interval and bond.mode in ("802.3ad", "balance-tlb", "balance-alb"):
        yield Problem(
            "bond.arp_interval", None, f"expected none: the kernel has no ARP monitoring in mode {bond.mode}"
        )


def _shares(site: Site) -> Iterator[Problem]:
    if site.ceph is not None and site.ceph.pools:
        total = sum(pool.share for pool in site.ceph.pools.values())
        if total > 1 + 1e-9:
            yield Problem("ceph.pools", None, f"expected shares that add up to 1 at most, found {total:.4g}")
        for name, pool in site.ceph.pools.items():
            if pool.min_size > pool.size:
                yield Problem(
                    f"ceph.pools.{name}.min_size", str(pool.min_size), f"expected at most size, {pool.size}"
                )
    if site.gpu is not None:
        for key, given in (("gpu.lxc_gpus", site.gpu.lxc_gpus), ("gpu.vm_gpus", site.gpu.vm_gpus)):
            if given and len(given) != len(site.nodes):
                yield Problem(
                    key,
                    None,
                    f"expected one number for each of the {len(site.nodes)} nodes, found {len(given)}",
                )


def _nightly(site: Site) -> Iterator[Problem]:
    table = site.nightly
    if table is None:
        return
    if table.limit <= table.minutes * 60:
        yield Problem(
            "nightly.limit",
            f"{table.limit:g} s",
            f"expected more than nightly.minutes, {table.minutes} minutes: phases and healing take time too",
        )
    if any(each.startswith("mail:") for each in table.notify) and table.mail is None:
        yield Problem(
            "nightly.mail", None, "missing; expected the server for the mail that nightly.notify names"
        )
    for index, receiver in enumerate(table.notify):
        region = topic_region(receiver.removeprefix("sns:"))
        if region and region != site.aws.region:
            yield Problem(
                f"nightly.notify[{index}]", None, f"expected a topic in aws.region, {site.aws.region}"
            )
    if table.mail is not None:
        if (table.mail.user is None) != (table.mail.password is None):
            yield Problem("nightly.mail", None, "expected user and password, or neither")
        if table.mail.security == "none" and table.mail.password is not None:
            yield Problem("nightly.mail.security", "'none'", "expected starttls or tls: a password is sent")


CHECKS: tuple[Check, ...] = (
    _networks,
    _nodes,
    addresses,
    duplicates,
    _bond,
    _targets,
    _benchmark,
    _references,
    _shares,
    high_availability,
    guests,
    _nightly,
)
