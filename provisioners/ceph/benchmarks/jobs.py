"""What fio is told: images that are the benchmark's own, profiles of load, and the job files made of them.

Pure. Two traps are avoided here. Several librbd clients on one image with exclusive-lock pass the lock to and
fro, so images have layering alone. Jobs that all start at the same offset read each other's cached blocks, so
each job has a slice of the image to itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cluster.errors import RefusedError
from cluster.site import Site
from cluster.site_services import Benchmark

Way = Literal["librbd", "kernel"]
WAYS: tuple[Way, ...] = ("librbd", "kernel")
GUESTS = {"virtual machines": "librbd", "containers": "kernel"}
PREFIX = "rackproof-bench-"
BLOCK = 4096
PREFILL_BLOCK = 4 * 2**20
LOG = "rackproof"
"""Prefix of the bandwidth logs; fio adds `_bw.<job>.log`, its client the name of the server."""
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DEVICE = re.compile(r"/dev/rbd[0-9]+")


@dataclass(frozen=True)
class Image:
    """One RBD image of the benchmark: of one node, for one way. Raises RefusedError for any other image."""

    pool: str
    node: str
    way: Way

    def __post_init__(self) -> None:
        for what, text in (("pool", self.pool), ("node", self.node)):
            if _NAME.fullmatch(text) is None:
                raise RefusedError(f"{text!r} cannot be the {what} of a benchmark's image")

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.node}-{self.way}"

    @property
    def spec(self) -> str:
        """As `rbd` takes it."""
        return f"{self.pool}/{self.name}"


@dataclass(frozen=True)
class Profile:
    """One kind of load. `block` in bytes, `depth` in operations in flight for each job."""

    name: str
    title: str
    rw: Literal["write", "read", "randread", "randwrite", "randrw"]
    block: int
    depth: int
    target: str
    figure: Literal["B/s", "IOPS", "s"]

    @property
    def directions(self) -> tuple[Literal["read", "write"], ...]:
        if self.rw == "randrw":
            return ("read", "write")
        return ("read",) if self.rw.endswith("read") else ("write",)

    @property
    def what(self) -> str:
        """The load in a few words, for a measurement's method."""
        mix = ", 70 % reads" if self.rw == "randrw" else ""
        return f"fio {self.rw}{mix}, blocks of {self.block // 1024} KiB, depth {self.depth}"


def profiles(table: Benchmark) -> tuple[Profile, ...]:
    """The loads in the order they are run: whole-image writes first, the mixed load last."""
    large, deep = table.sequential_block, table.sequential_depth
    return (
        Profile(
            "sequential-write", "sequential write", "write", large, deep, "ceph_sequential_write", "B/s"
        ),
        Profile("sequential-read", "sequential read", "read", large, deep, "ceph_sequential_read", "B/s"),
        Profile(
            "random-read", "4 KiB random read", "randread", BLOCK, table.depth, "ceph_random_read", "IOPS"
        ),
        Profile(
            "random-write", "4 KiB random write", "randwrite", BLOCK, table.depth, "ceph_random_write", "IOPS"
        ),
        Profile(
            "latency", "95th percentile of latency under load", "randrw", BLOCK, table.latency_depth,
            "ceph_latency_p95", "s",
        ),
    )  # fmt: skip


def pools(site: Site) -> dict[Way, str]:
    """The pool each way is measured in: the first one whose guests come that way (`krbd`), else the first.

    Raises RefusedError where no RBD pool is ordered.
    """
    ordered = site.ceph.pools.items() if site.ceph else ()
    found = {name: pool.krbd for name, pool in ordered if pool.application == "rbd"}
    if not found:
        raise RefusedError(f"{site.file}: ceph.pools has no pool with application = 'rbd' to be measured")
    first = next(iter(found))
    return {
        "librbd": next((name for name, krbd in found.items() if not krbd), first),
        "kernel": next((name for name, krbd in found.items() if krbd), first),
    }


def images(site: Site) -> dict[Way, dict[str, Image]]:
    """The benchmark's images by way and node."""
    return {
        way: {node.name: Image(pool, node.name, way) for node in site.nodes}
        for way, pool in pools(site).items()
    }


def slice_of(table: Benchmark) -> int:
    """Bytes of the image that one job has to itself, a whole number of the largest blocks.

    Raises RefusedError where the image is too small for that.
    """
    unit = max(table.sequential_block, PREFILL_BLOCK)
    size = table.image_size // table.jobs // unit * unit
    if size == 0:
        raise RefusedError(
            f"benchmark.image_size = {table.image_size} bytes is too small for {table.jobs} jobs:"
            f" expected {unit * table.jobs} bytes or more"
        )
    return size


def prefill(table: Benchmark, image: Image, device: str | None = None) -> str:
    """Job file that writes the whole image once: unwritten objects would be read at unreal speed."""
    lines = _engine(image, device) + _shape(table)
    lines += ["rw=write", f"bs={PREFILL_BLOCK}", f"iodepth={table.sequential_depth}"]
    return _file("prefill", lines)


def job(table: Benchmark, profile: Profile, image: Image, device: str | None = None) -> str:
    """Job file of one measured load: a ramp that does not count, then `runtime`, logged by the second."""
    lines = _engine(image, device) + _shape(table)
    lines += [f"rw={profile.rw}", f"bs={profile.block}", f"iodepth={profile.depth}"]
    if profile.rw == "randrw":
        lines.append("rwmixread=70")
    lines += [
        "time_based=1",
        f"runtime={table.runtime:g}s",
        f"ramp_time={table.ramp:g}s",
        "norandommap=1",
        "randrepeat=0",
        f"write_bw_log={LOG}",
        "log_avg_msec=1000",
        "percentile_list=" + ":".join(f"{p:g}" for p in PERCENTILES),
    ]
    return _file(profile.name, lines)


def _shape(table: Benchmark) -> list[str]:
    part = slice_of(table)
    return [
        f"numjobs={table.jobs}",
        f"size={part}",
        f"offset_increment={part}",
        "refill_buffers=1",
        "group_reporting=1",
    ]


def _engine(image: Image, device: str | None) -> list[str]:
    if image.way == "librbd":
        if device is not None:
            raise RefusedError(f"{image.spec} is reached by librbd, not by {device}")
        return ["ioengine=rbd", "clientname=admin", f"pool={image.pool}", f"rbdname={image.name}", "thread=1"]
    if device is None or _DEVICE.fullmatch(device) is None:
        raise RefusedError(f"{image.spec}: {device!r} is no device that the kernel has mapped an image to")
    return ["ioengine=libaio", "direct=1", f"filename={device}"]


def _file(name: str, lines: list[str]) -> str:
    return "\n".join([f"[{name}]", *lines, ""])
