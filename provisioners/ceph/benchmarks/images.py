"""The benchmark's images on the cluster: made, mapped, written to the full by nobody else, and taken away.

Only images with the benchmark's prefix in an ordered pool are ever made, mapped, written to or removed; the
device a load is given is the one the kernel itself says it mapped such an image to.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cluster.errors import RackproofError, RefusedError, UnknownError
from provisioners.ceph.benchmarks import fleet
from provisioners.ceph.benchmarks.jobs import PREFIX, Image, Way, images, pools, slice_of

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site import Site
    from cluster.site_services import Benchmark

MAX_SHARE = 0.25
"""Of a pool's free space, at most this much may be written to by a benchmark."""
RBD_S = 60
SETUP_S = 300.0
LOOK_S = 120.0


def room(site: Site, table: Benchmark, df: Mapping[str, Any]) -> None:
    """Raises RefusedError where the images would take too much of a pool. `df`: as `ceph df` answers."""
    free = {str(pool["name"]): int(pool["stats"]["max_avail"]) for pool in df.get("pools", [])}
    wanted: dict[str, int] = {}
    for pool in pools(site).values():
        wanted[pool] = wanted.get(pool, 0) + size(table) * len(site.nodes)
    for pool, needed in wanted.items():
        if pool not in free:
            raise RefusedError(f"pool {pool} is ordered and not there, so it cannot be measured")
        if needed > MAX_SHARE * free[pool]:
            raise RefusedError(
                f"{pool}: benchmark.image_size makes {needed / 1e9:.1f} GB of images, more than"
                f" {MAX_SHARE:.0%} of the {free[pool] / 1e9:.1f} GB that are free; expected a smaller image"
            )


def size(table: Benchmark) -> int:
    """Bytes of one image: the slices of all jobs, rounded up to whole MiB as `rbd` counts."""
    return -(-slice_of(table) * table.jobs // 2**20) * 2**20


def setup_script(table: Benchmark, vm: Image, container: Image) -> str:
    """Makes a node's images and maps the one that the kernel is to serve.

    librbd's cache is off: Proxmox VE's default for disks (cache=none) has it off, and with it on a short run
    would measure memory.
    """
    make = f"timeout {RBD_S} rbd create --size {size(table) // 2**20}M --image-feature layering"
    a, b = shlex.quote(vm.spec), shlex.quote(container.spec)
    return (
        f"section create\n{make} {a} && {make} {b}\n"
        f"section cache\ntimeout {RBD_S} rbd config image set {a} rbd_cache false\n"
        f"section map\ntimeout {RBD_S} rbd map {b}\n"
        "section mapped\nrbd showmapped --format json\n"
    )


def clean_script(own: Mapping[Way, Image]) -> str:
    """Unmaps and removes a node's images; an image that is not there is fine.

    A client that was killed is watching its image for 30 s more, and until then `rbd rm` is refused.
    """
    lines = [f"timeout {RBD_S} rbd unmap {shlex.quote(own['kernel'].spec)} 2>/dev/null"]
    for image in own.values():
        spec = shlex.quote(image.spec)
        lines += [
            "n=0",
            "while [ $n -lt 8 ]; do",
            f"  timeout {RBD_S} rbd rm --no-progress {spec} >/dev/null 2>&1; r=$?",
            "  [ $r -eq 0 ] || [ $r -eq 2 ] || [ $r -eq 127 ] && break",
            "  n=$((n + 1)); sleep 5",
            "done",
        ]
    return "\n".join(lines) + "\n"


def clean_for(site: Site, name: str) -> str:
    """`clean_script` for a node of the site."""
    return clean_script({way: of[name] for way, of in images(site).items()})


def prepare(cluster: Cluster, table: Benchmark) -> dict[str, str]:
    """Make all images; the kernel's device by node. Raises UnknownError with each node's reason."""
    site = cluster.site
    made = images(site)

    def one(name: str) -> str:
        node = cluster.nodes[name]
        script = setup_script(table, made["librbd"][name], made["kernel"][name])
        answer = node.gather(script, SETUP_S)
        if answer.rc.get("create") == 17:  # left by a run that was killed before its node could clean up
            node.run(f"set +e\n{clean_for(site, name)}true", timeout=SETUP_S)
            answer = node.gather(script, SETUP_S)
        for section, what in (("create", "create"), ("cache", "configure"), ("map", "map")):
            if answer.rc.get(section) != 0:
                said = answer.errors.get(section, "").strip() or answer.get(section, "").strip()
                raise UnknownError(f"{name}: rbd could not {what} its image: {said[-300:] or 'no reason'}")
        return device_of(answer.get("mapped", ""), made["kernel"][name])

    found = cluster.each(one)
    failed = [f"{error}" for error in found.values() if isinstance(error, RackproofError)]
    if failed:
        raise UnknownError("the benchmark's images could not be made: " + "; ".join(failed))
    return {name: device for name, device in found.items() if isinstance(device, str)}


def device_of(showmapped: str, image: Image) -> str:
    """The device that the kernel has this very image on. Raises RefusedError unless there is just one."""
    found = [
        str(each.get("device", "")) for each in _mapped(showmapped) if _spec(each) == (image.pool, image.name)
    ]
    if len(found) != 1 or not found[0].startswith("/dev/rbd"):
        raise RefusedError(
            f"{image.node}: the kernel has mapped {image.spec} to {', '.join(found) or 'nothing'},"
            " expected one device; nothing was written"
        )
    return found[0]


def _spec(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("pool", "")), str(entry.get("name", ""))


def _mapped(text: str) -> list[Mapping[str, Any]]:
    try:
        data = json.loads(text or "[]")
    except ValueError:
        raise UnknownError(f"rbd showmapped gave no JSON: {text.strip()[:200]}") from None
    return list(data.values()) if isinstance(data, dict) else list(data)


def left(cluster: Cluster) -> list[str]:
    """What of the benchmark is still there, each as a sentence. Raises UnknownError where none can tell."""
    wanted = list(dict.fromkeys(pools(cluster.site).values()))
    look = (
        f"section server\nsystemctl is-active {fleet.UNIT}.service\n"
        f"section folder\nls -d {fleet.FOLDER} 2>/dev/null\n"
        "section mapped\nrbd showmapped --format json\n"
    )
    asking = cluster.site.nodes[0].name
    listing = "".join(f"section pool:{pool}\nrbd ls --format json {shlex.quote(pool)}\n" for pool in wanted)
    found: list[str] = []
    answers = cluster.each(
        lambda name: cluster.nodes[name].gather(look + (listing if name == asking else ""), LOOK_S)
    )
    for name, answer in answers.items():
        if isinstance(answer, RackproofError):
            raise UnknownError(f"{name}: could not be asked what the benchmark has left: {answer}")
        if answer.get("server", "").strip() in ("active", "activating", "deactivating"):
            found.append(f"{name}: a fio server is running")
        if answer.get("folder", "").strip():
            found.append(f"{name}: {fleet.FOLDER} is there")
        if answer.rc.get("mapped") != 0:
            raise UnknownError(f"{name}: rbd showmapped failed: {answer.errors.get('mapped', '').strip()}")
        found += [
            f"{name}: {pool}/{image} is mapped"
            for pool, image in map(_spec, _mapped(answer["mapped"]))
            if image.startswith(PREFIX)
        ]
        for pool in wanted if name == asking else ():
            if answer.rc.get(f"pool:{pool}") != 0:
                raise UnknownError(f"{name}: the images of {pool} could not be listed")
            listed = json.loads(answer[f"pool:{pool}"] or "[]")
            found += [f"{pool}/{image} is there" for image in listed if str(image).startswith(PREFIX)]
    return found
