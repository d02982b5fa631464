"""Memory, network card, boot: what the machines cannot be.

Sources: EPYC 9004 memory speeds and the H13SSH board's 24 slots (vendor data sheets), PCI Express raw rates
(PCI-SIG base specification), pve-docs pveceph.adoc on memory for OSDs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.contradictions.rule import Found, rule
from cluster.units import format_rate, format_size

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import Adapter

# bit/s of one lane after line coding: 8 GT/s x 128/130, and so on; generation 6 sends 242 of 256 bytes
_LANE_RATE = {3: 8e9 * 128 / 130, 4: 16e9 * 128 / 130, 5: 32e9 * 128 / 130, 6: 64e9 * 242 / 256}
PLACEHOLDER = "REPLACE-"
_SYSTEM_MEMORY = 8 * 2**30  # MON, MGR, MDS, the system and its caches, before any guest
_LEAST_TARGET = 896 * 2**20  # `ceph config help osd_memory_target`: min
_EVALUATION_MEMORY = 2**30  # Proxmox VE's own minimum for a trial (pve-docs, system requirements)


def slot_rate(adapter: Adapter) -> float:
    """Raw bit/s in one direction through the slot of one card; 252 Gbit/s for generation 4 x16."""
    return _LANE_RATE[adapter.pcie_generation] * adapter.pcie_lanes


@rule("PF-PLACEHOLDER")
def placeholders(site: Site) -> Iterator[Found]:
    """Serial numbers that stand in for those of machines which have not been delivered."""
    waiting = [
        serial
        for node in site.nodes
        for serial in (node.serial, *node.boot_drives, *node.data_drives)
        if serial.startswith(PLACEHOLDER)
    ]
    if waiting:
        yield Found(
            "error",
            "node.serial",
            f"{len(waiting)} serial numbers such as {waiting[0]}",
            "they are placeholders that no machine bears",
            "those of the delivery note, and with them the MAC addresses",
        )


@rule("PF-RAM")
def memory(site: Site) -> Iterator[Found]:
    """Memory that the board cannot hold, that does not add up, or that cannot carry the OSDs (C03)."""
    hardware, dimms = site.hardware, site.hardware.dimms
    if dimms is not None:
        fitted = min(dimms.count, dimms.slots) * dimms.size
        order = f"{dimms.count} modules of {format_size(dimms.size)} in each node"
        if dimms.count > dimms.slots:
            yield Found(
                "error",
                "hardware.dimms.count",
                order,
                f"the board has {dimms.slots} slots",
                f"{dimms.slots} modules, {format_size(fitted)} in each node; the larger number is the total"
                " of all nodes",
            )
        elif fitted != hardware.memory:
            yield Found(
                "error",
                "hardware.memory",
                f"{format_size(hardware.memory)} in each node",
                f"{order} are {format_size(fitted)}",
                f"{format_size(fitted)}",
            )
    if site.ceph is not None:
        # A rehearsal may run on the little that a trial needs, and is told so; ordered hardware may not.
        targets = hardware.data_drives.count * site.ceph.osd_memory_target
        trial = site.kind == "rehearsal"
        if hardware.memory < targets + _SYSTEM_MEMORY:
            fits = trial and hardware.memory >= targets + _EVALUATION_MEMORY
            need = targets + (_EVALUATION_MEMORY if trial and not fits else _SYSTEM_MEMORY)
            yield Found(
                "warning" if fits else "error",
                "hardware.memory",
                f"{format_size(hardware.memory)} in each node",
                f"{hardware.data_drives.count} OSDs of {format_size(site.ceph.osd_memory_target)} and the"
                f" system need {format_size(need)} before any guest runs",
                "more memory, or a smaller ceph.osd_memory_target (896 MiB is the least that Ceph takes)",
            )
    if site.ceph is not None and site.ceph.osd_memory_target < _LEAST_TARGET:
        yield Found(
            "error",
            "ceph.osd_memory_target",
            f"{format_size(site.ceph.osd_memory_target)} for each OSD",
            f"Ceph takes no osd_memory_target below {format_size(_LEAST_TARGET)}",
            format_size(_LEAST_TARGET),
        )


@rule("PF-RAM-SPEED")
def memory_speed(site: Site) -> Iterator[Found]:
    """Modules sold for more than the processor drives (C04)."""
    dimms = site.hardware.dimms
    if dimms is None or dimms.speed <= dimms.speed_max:
        return
    crowded = ", and slower still with two modules on a channel" if dimms.count > dimms.channels else ""
    yield Found(
        "info",
        "hardware.dimms.speed",
        f"DDR5-{dimms.speed} memory",
        f"the processor drives at most {dimms.speed_max} MT/s{crowded}",
        "expect the configured speed that the firmware reports, and leave memory settings on automatic",
    )


@rule("PF-NIC-SPOF")
def one_card(site: Site) -> Iterator[Found]:
    """Both members of the bond on one card (C07)."""
    adapter = site.hardware.adapter
    if adapter is not None and adapter.count == 1 and adapter.ports > 1:
        yield Found(
            "warning",
            "hardware.adapter.count",
            f"{adapter.ports} links on one {adapter.model}",
            f"both members of {site.bond.name} are ports of one card in one slot: its loss takes the node off"
            " the network",
            "a second card, or idle ports of another card for Corosync",
        )


@rule("PF-PCIE")
def slot(site: Site) -> Iterator[Found]:
    """Links that together are faster than the slot of their card (C07)."""
    adapter = site.hardware.adapter
    if adapter is None or not site.nodes:
        return
    ordered = sum(link.speed for link in site.nodes[0].links)
    possible = slot_rate(adapter) * adapter.count
    if ordered > possible:
        yield Found(
            "warning",
            "hardware.adapter",
            f"{format_rate(ordered)} of links in each node",
            f"PCIe generation {adapter.pcie_generation} x{adapter.pcie_lanes} carries"
            f" {possible / 1e9:.0f} Gbit/s before protocol overhead, so the second link adds safety and"
            " hardly any speed",
            "plan with one link's speed, or one card for each link",
        )


@rule("PF-SB")
def secure_boot(site: Site) -> Iterator[Found]:
    """Secure Boot against unsigned modules, or off although a TPM was bought (C45)."""
    if site.install.secure_boot and site.weka is not None and site.weka.protocol == "wekafs":
        yield Found(
            "error",
            "install.secure_boot",
            "Secure Boot on, with the native Weka client",
            "Weka requires Secure Boot off: its kernel modules are not signed",
            "Secure Boot off on these nodes, or Weka by NFS",
        )
    if site.install.secure_boot and site.gpu is not None:
        yield Found(
            "warning",
            "install.secure_boot",
            "Secure Boot on, with the NVIDIA driver built on the node",
            "a module that the node builds itself is refused until its key is enrolled (MOK)",
            "enrol the key during installation, or switch Secure Boot off",
        )
    if site.install.secure_boot is False and site.hardware.tpm:
        yield Found(
            "info",
            "install.secure_boot",
            "Secure Boot off on servers with a TPM",
            "Proxmox VE 9 boots with Secure Boot on; the TPM then measures nothing that was verified",
            "leave it on unless a module requires otherwise (PF-SB names which)",
        )


@rule("PF-REPO")
def repository(site: Site) -> Iterator[Found]:
    """The enterprise repository without a subscription (C42)."""
    if site.install.repository == "enterprise" and site.install.subscription_key is None:
        yield Found(
            "error",
            "install.repository",
            "the enterprise repository, and no subscription",
            "without a key it answers 401 and apt fails",
            'repository = "no-subscription" until install.subscription_key is bought, then migrate',
        )
