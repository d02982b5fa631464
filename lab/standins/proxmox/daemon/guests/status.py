"""What a guest is and uses, as PVE's lists of guests tell it: its configuration, the kernel's counters."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ..config import stats
from ..http.machine import Machine
from . import drives, files, lxc_config, qemu_command, running, volumes
from .files import Guest

CGROUP = "/sys/fs/cgroup/lxc"
_MIB = 1 << 20
_DEFAULT_DISK = 4 * volumes.GIB  # PVE's word where a container's size is not written
#: by guest: when it was looked at (monotonic s), processor time used until then (s), share of one used since
_cpu: dict[tuple[int, str], tuple[float, float, float]] = {}


def of(machine: Machine, guest: Guest) -> dict[str, Any]:
    """One guest of this node. ApiError where it is gone."""
    values = files.load(machine, guest).values
    found: dict[str, Any] = {"vmid": guest.vmid, "status": "stopped", "uptime": 0, "cpu": 0, "mem": 0}
    found |= {"disk": 0, "diskread": 0, "diskwrite": 0, "netin": 0, "netout": 0}
    found |= {name: values[name] for name in ("tags", "lock") if name in values}
    found |= _container(values, guest) if guest.kind == "lxc" else _machine(values, guest)
    if guest.kind == "lxc" and guest.vmid in running.containers(machine):
        found |= _running_container(machine, guest.vmid)
    elif guest.kind == "qemu" and (pid := running.machine_pid(machine, guest.vmid)) is not None:
        found |= _running_machine(machine, guest.vmid, pid)
    if found["status"] == "running":
        found |= _traffic(machine, guest, values)
    return found


def listed(machine: Machine, kind: str) -> list[dict[str, Any]]:
    """Every guest of one kind that belongs to this node."""
    return [of(machine, guest) for guest in files.here(machine, kind)]


def _container(values: Mapping[str, str], guest: Guest) -> dict[str, Any]:
    size = volumes.size_bytes(volumes.split(values.get("rootfs", ""))[1].get("size", ""))
    return {
        "type": "lxc",
        "name": values.get("hostname", f"CT{guest.vmid}"),
        "cpus": int(values.get("cores", os.cpu_count() or 1)),
        "maxmem": int(values.get("memory", lxc_config.MEMORY_MIB)) * _MIB,
        "maxswap": int(values.get("swap", 0)) * _MIB,
        "maxdisk": size or _DEFAULT_DISK,
        "swap": 0,
    }


def _machine(values: Mapping[str, str], guest: Guest) -> dict[str, Any]:
    first = next((drive for drive in drives.of(values) if not drive.is_cdrom), None)
    return {
        "name": values.get("name", f"VM {guest.vmid}"),
        "cpus": int(values.get("cores", 1)) * int(values.get("sockets", 1)),
        "maxmem": qemu_command.memory_mib(values) * _MIB,
        "maxdisk": volumes.size_bytes(str(first.options.get("size", ""))) if first else 0,
    }


def _running_container(machine: Machine, vmid: int) -> dict[str, Any]:
    said = machine.run(["lxc-info", "-n", str(vmid), "-p", "-H"], check=False).out.strip()
    if not said.isdigit():
        return {}  # it ended while we looked
    found: dict[str, Any] = {"status": "running", "pid": int(said), "uptime": _uptime(machine, int(said))}
    counted = _pairs(machine.read(f"{CGROUP}/{vmid}/cpu.stat"))
    found["cpu"] = _share(machine, f"lxc/{vmid}", counted.get("usage_usec", 0) / 1e6)
    for name, file in (("mem", "memory.current"), ("swap", "memory.swap.current")):
        found[name] = int(machine.read(f"{CGROUP}/{vmid}/{file}", "0").strip() or 0)
    cache = _pairs(machine.read(f"{CGROUP}/{vmid}/memory.stat")).get("file", 0)
    found["mem"] = max(0, found["mem"] - cache)
    for line in machine.read(f"{CGROUP}/{vmid}/io.stat").splitlines():
        counters = dict(word.split("=") for word in line.split()[1:])
        found["diskread"] = found.get("diskread", 0) + int(counters.get("rbytes", 0))
        found["diskwrite"] = found.get("diskwrite", 0) + int(counters.get("wbytes", 0))
    try:
        space = os.statvfs(machine.file(lxc_config.rootfs(vmid)))
    except OSError:
        return found
    total, free = space.f_blocks * space.f_frsize, space.f_bfree * space.f_frsize
    return {**found, "maxdisk": total, "disk": total - free}


def _running_machine(machine: Machine, vmid: int, pid: int) -> dict[str, Any]:
    fields = machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    used = (int(fields[11]) + int(fields[12])) / ticks if len(fields) > 12 else 0.0
    pages = machine.read(f"/proc/{pid}/statm").split()[1:2]
    memory = int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else 0
    share = _share(machine, f"qemu/{vmid}", used)
    return {"status": "running", "pid": pid, "uptime": _uptime(machine, pid), "cpu": share, "mem": memory,
            "memhost": memory}  # fmt: skip


def _uptime(machine: Machine, pid: int) -> int:
    """Seconds since a process began."""
    fields = machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK") if len(fields) > 19 else 0.0
    return max(0, round(stats.uptime(machine) - began)) if fields else 0


def _share(machine: Machine, guest: str, used_s: float) -> float:
    """The part of one processor that a guest used since it was looked at last, at least a second ago."""
    now = time.monotonic()
    at, before, share = _cpu.get((id(machine), guest), (now, used_s, 0.0))
    if now - at >= 1:
        share = max(0.0, (used_s - before) / (now - at))
        at, before = now, used_s
    _cpu[id(machine), guest] = at, before, share
    return round(share, 4)


def _traffic(machine: Machine, guest: Guest, values: Mapping[str, str]) -> dict[str, int]:
    """Bytes that the guest received and sent: the other way round at the node's ends of its interfaces."""
    port = lxc_config.port if guest.kind == "lxc" else qemu_command.port
    found = {"netin": 0, "netout": 0}
    for index in lxc_config.networks(values):
        folder = f"/sys/class/net/{port(guest.vmid, index)}/statistics"
        for name, counter in (("netin", "tx_bytes"), ("netout", "rx_bytes")):
            found[name] += int(machine.read(f"{folder}/{counter}", "0").strip() or 0)
    return found


def _pairs(text: str) -> dict[str, int]:
    """`name number` lines of a cgroup's file."""
    words = [line.split() for line in text.splitlines()]
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2}
