"""A node's figures from /proc, and those of the other nodes, asked of them at most every 15 s."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from ..http import client, tickets
from ..http.errors import ApiError
from ..http.machine import Machine
from . import members

FRESH_S = 15.0
ASK_S = 5.0
_known: dict[tuple[int, str], tuple[float, dict[str, Any]]] = {}
_cpu: dict[int, tuple[float, float, float, float]] = {}


def memory(machine: Machine) -> dict[str, dict[str, int]]:
    """Bytes, from /proc/meminfo."""
    found = {}
    for line in machine.read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024 if rest.split() else 0
    total, free, usable = (found.get(name, 0) for name in ("MemTotal", "MemFree", "MemAvailable"))
    swap, swap_free = found.get("SwapTotal", 0), found.get("SwapFree", 0)
    return {
        "memory": {"total": total, "free": free, "available": usable, "used": total - usable},
        "swap": {"total": swap, "free": swap_free, "used": swap - swap_free},
    }


def cpu_load(machine: Machine) -> tuple[float, float]:
    """Busy and waiting share of all processors since it was asked last (since boot, the first time)."""
    words = machine.read("/proc/stat").partition("\n")[0].split()[1:]
    ticks = [float(word) for word in words] or [0.0] * 5
    total, idle, wait = sum(ticks[:8]), ticks[3], ticks[4]
    before = _cpu.get(id(machine), (0.0, 0.0, 0.0, 0.0))
    if total - before[0] < 1:
        return before[3], 0.0
    span = total - before[0]
    busy = max(0.0, 1 - (idle - before[1] + wait - before[2]) / span)
    _cpu[id(machine)] = total, idle, wait, busy
    return round(busy, 4), round(max(0.0, (wait - before[2]) / span), 4)


def rootfs(machine: Machine) -> dict[str, int]:
    found = os.statvfs(machine.root)
    total, free, usable = (n * found.f_frsize for n in (found.f_blocks, found.f_bfree, found.f_bavail))
    return {"total": total, "used": total - free, "avail": usable, "free": free}


def uptime(machine: Machine) -> int:
    """Seconds."""
    words = machine.read("/proc/uptime").split()
    return int(float(words[0])) if words else 0


@lru_cache(maxsize=8)
def cpuinfo(text: str) -> dict[str, Any]:
    """From the text of /proc/cpuinfo: model, processors, cores, sockets."""
    one: dict[str, str] = {}
    sockets: set[str] = set()
    count = 0
    for line in text.splitlines():
        name, _, value = line.partition(":")
        one.setdefault(name.strip(), value.strip())
        count += name.strip() == "processor"
        if name.strip() == "physical id":
            sockets.add(value.strip())
    flags = one.get("flags", "")
    return {
        "cpus": max(count, 1),
        "sockets": max(len(sockets), 1),
        "cores": int(one.get("cpu cores", "1")) * max(len(sockets), 1),
        "model": one.get("model name", "unknown"),
        "mhz": one.get("cpu MHz", "0"),
        "flags": flags,
        "hvm": "1" if {"vmx", "svm"} & set(flags.split()) else "0",
        "user_hz": os.sysconf("SC_CLK_TCK"),
    }


def of_this_node(machine: Machine) -> dict[str, Any]:
    """The short form that lists of nodes show."""
    held, disk = memory(machine)["memory"], rootfs(machine)
    return {
        "cpu": cpu_load(machine)[0],
        "maxcpu": cpuinfo(machine.read("/proc/cpuinfo"))["cpus"],
        "mem": held["used"],
        "maxmem": held["total"],
        "disk": disk["used"],
        "maxdisk": disk["total"],
        "uptime": uptime(machine),
    }


def listed(machine: Machine, found: members.Cluster) -> list[dict[str, Any]]:
    """Every node with its state, and its figures where it tells them."""
    others = [m for m in found.members if m.online and m.name != machine.node]
    asked = [
        threading.Thread(target=_ask, args=(machine, m), daemon=True) for m in others if _old(machine, m)
    ]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join(ASK_S + 1)
    lines = []
    for member in found.members:
        line: dict[str, Any] = {"node": member.name, "level": ""}
        line["status"] = "online" if member.online else "offline"
        if member.name == machine.node:
            line |= of_this_node(machine)
        elif member.online:
            line |= _known.get((id(machine), member.name), (0.0, {}))[1]
        lines.append(line)
    return lines


def _old(machine: Machine, member: members.Member) -> bool:
    return time.monotonic() - _known.get((id(machine), member.name), (-FRESH_S, {}))[0] >= FRESH_S


def _ask(machine: Machine, member: members.Member) -> None:
    """The figures of another node, as root@pam; what does not answer keeps the ones it told last."""
    figures = _known.get((id(machine), member.name), (0.0, {}))[1]
    try:
        connection = client.by_ca(machine, member.address, ASK_S)
        cookie = f"PVEAuthCookie={quote(tickets.issue(machine, 'root@pam'), safe='')}"
        connection.request("GET", f"/api2/json/nodes/{member.name}/status", headers={"Cookie": cookie})
        answer = connection.getresponse()
        told = json.loads(answer.read())["data"] if answer.status == 200 else None
        connection.close()
    except (OSError, ValueError, KeyError, HTTPException, ApiError):
        told = None
    if told:
        figures = {
            "cpu": told["cpu"], "maxcpu": told["cpuinfo"]["cpus"], "mem": told["memory"]["used"],
            "maxmem": told["memory"]["total"], "disk": told["rootfs"]["used"],
            "maxdisk": told["rootfs"]["total"], "uptime": told["uptime"],
        }  # fmt: skip
    _known[id(machine), member.name] = time.monotonic(), figures
