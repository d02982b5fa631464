"""What an accelerator can be divided into.

Sources: NVIDIA's MIG user guide (GPUs and profiles), `nvidia-smi` captures of an A16 (four GPUs, MIG N/A).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from cluster.contradictions.rule import Found, rule

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Gpu

# model fragment -> profile -> most instances on one GPU
_MIG_PROFILES: dict[str, dict[str, int]] = {
    "A30": {"1g.6gb": 4, "2g.12gb": 2, "4g.24gb": 1},
    "A100-40": {"1g.5gb": 7, "1g.10gb": 4, "2g.10gb": 3, "3g.20gb": 2, "4g.20gb": 1, "7g.40gb": 1},
    "A100-80": {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "4g.40gb": 1, "7g.80gb": 1},
    "H100-80": {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "4g.40gb": 1, "7g.80gb": 1},
    "H100-94": {"1g.12gb": 7, "1g.24gb": 4, "2g.24gb": 3, "3g.47gb": 2, "4g.47gb": 1, "7g.94gb": 1},
    "H200": {"1g.18gb": 7, "1g.35gb": 4, "2g.35gb": 3, "3g.71gb": 2, "4g.71gb": 1, "7g.141gb": 1},
}
_NO_MIG = ("A2", "A10", "A16", "A40", "L4", "L40", "L40S", "T4", "V100")


def _profiles(gpu: Gpu) -> dict[str, int] | None:
    """Profiles of the card; empty when it has no MIG, None when the card is not known."""
    if set(gpu.model.upper().replace("-", " ").split()) & set(_NO_MIG):
        return {}
    for model, profiles in _MIG_PROFILES.items():
        family, _, memory = model.partition("-")
        if family in gpu.model.upper() and (
            not memory or round(gpu.memory_per_gpu / 1e9) // 10 == int(memory) // 10
        ):
            return profiles
    return None


@rule("PF-GPU-MIG")
def mig(site: Site) -> Iterator[Found]:
    """MIG on a card that has none (C01)."""
    gpu = site.gpu
    if gpu is None or _profiles(gpu) != {}:
        return
    if gpu.partitioning == "mig" or gpu.mig_profile is not None:
        settled = gpu.partitioning != "mig"
        yield Found(
            "warning" if settled else "error",
            "gpu.mig_profile",
            f"MIG profile {gpu.mig_profile or '(any)'} on {gpu.model}",
            f"{gpu.model} has no MIG; a board is {gpu.gpus_per_board} GPUs of"
            f" {gpu.memory_per_gpu / 2**30:.0f} GiB each, and 3g.20gb exists on the A100 40 GB alone",
            "whole GPUs by passthrough, licensed vGPU, or another card; the MIG scenario is not applicable",
        )


@rule("PF-GPU-PROFILE")
def profile(site: Site) -> Iterator[Found]:
    """A profile that the card lacks, or more instances than it yields (C01)."""
    gpu = site.gpu
    profiles = _profiles(gpu) if gpu is not None else None
    if gpu is None or not profiles or gpu.mig_profile is None:
        return
    most = profiles.get(gpu.mig_profile)
    if most is None:
        yield Found(
            "error",
            "gpu.mig_profile",
            f"MIG profile {gpu.mig_profile} on {gpu.model}",
            f"that card offers {', '.join(profiles)}",
            "one of these",
        )
    elif gpu.mig_instances is not None and gpu.mig_instances > most * gpu.gpus_per_board:
        yield Found(
            "error",
            "gpu.mig_instances",
            f"{gpu.mig_instances} instances of {gpu.mig_profile} on a board",
            f"a GPU yields {most}, a board {most * gpu.gpus_per_board}",
            f"{most * gpu.gpus_per_board} at most, or a smaller profile",
        )


@rule("PF-GPU-SHARE")
def share(site: Site) -> Iterator[Found]:
    """A share between containers and virtual machines that whole GPUs cannot express (C02)."""
    gpu = site.gpu
    if gpu is None:
        return
    each = gpu.boards * gpu.gpus_per_board
    total = each * len(site.nodes)
    for node, lxc, vm in zip(site.nodes, gpu.lxc_gpus, gpu.vm_gpus, strict=False):
        if lxc + vm > each:
            yield Found(
                "error",
                "gpu.lxc_gpus",
                f"{lxc} GPUs for containers and {vm} for virtual machines on {node.name}",
                f"the node has {each}",
                "numbers that add up to that at most",
            )
    if gpu.lxc_share is None or gpu.partitioning in ("mig", "none"):
        return
    wanted = Fraction(gpu.lxc_share)
    if (wanted * each).denominator == 1:
        return
    given, shared = sum(gpu.lxc_gpus), sum(gpu.lxc_gpus) + sum(gpu.vm_gpus)
    kept = shared > 0 and abs(Fraction(given, shared) - wanted) <= Fraction(1, 2 * total)
    yield Found(
        "info" if kept else "warning",
        "gpu.lxc_share",
        f"{gpu.lxc_share} of the GPUs for containers in each node",
        f"{each} whole GPUs a node do not divide so; over the cluster {float(wanted * total):.4g} of {total}"
        " can",
        f"count over the cluster: gpu.lxc_gpus and gpu.vm_gpus give {given} of {shared}"
        if kept
        else "gpu.lxc_gpus and gpu.vm_gpus, counted over the cluster",
    )


@rule("PF-GPU-DRIVER")
def driver(site: Site) -> Iterator[Found]:
    """Containers need a host driver that computes; the vGPU manager does not (C02)."""
    gpu = site.gpu
    if gpu is None:
        return
    containers = sum(gpu.lxc_gpus) > 0 or (gpu.lxc_share is not None and Fraction(gpu.lxc_share) > 0)
    if containers and gpu.driver == "vgpu-manager":
        yield Found(
            "error",
            "gpu.driver",
            "vGPU for virtual machines and CUDA for containers on one host",
            "the vGPU manager replaces the host driver and gives the host no usable CUDA",
            "the data-center driver, and whole GPUs to virtual machines by passthrough",
        )
    machines = sum(gpu.vm_gpus) > 0 or (gpu.lxc_share is not None and Fraction(gpu.lxc_share) < 1)
    if gpu.partitioning == "mig" and machines and gpu.driver == "data-center":
        yield Found(
            "error",
            "gpu.driver",
            "MIG instances for virtual machines",
            "a virtual machine gets a MIG instance through vGPU alone, never by passthrough of a slice",
            "MIG for containers and a whole GPU to virtual machines, or the vGPU manager and its licence",
        )
    if gpu.partitioning == "vgpu" and gpu.driver == "data-center":
        yield Found(
            "error",
            "gpu.driver",
            "vGPU with the data-center driver",
            "vGPU needs the vGPU manager and its licence on the host",
            'driver = "vgpu-manager", or partitioning = "passthrough"',
        )
