"""/nodes and what a node says of itself: read from /proc, systemd and its files at the moment of asking."""

from __future__ import annotations

import hashlib
import os
import re
import time
from datetime import datetime
from typing import Any

from ..config import certificates, members, setup, stats
from ..http.client import CA, pem_fingerprint
from ..http.machine import Machine
from ..http.registry import ApiError, Call, check, endpoint
from .version import release

AUDIT = check("/nodes/{node}", "Sys.Audit")


@endpoint("GET", "/nodes", permissions="all")
def nodes(call: Call) -> Any:
    lines = stats.listed(call.machine, members.cluster(call.machine))
    for line in lines:
        line |= {"id": f"node/{line['node']}", "type": "node"}
        try:
            line["ssl_fingerprint"] = setup.fingerprint(call.machine, line["node"])
        except ApiError:
            continue  # one that never finished its join has none
    return lines


@endpoint("GET", "/nodes/{node}", permissions="all")
def index(_call: Call) -> Any:
    names = ("apt", "certificates", "ceph", "disks", "dns", "hosts", "network", "services", "status",
             "storage",
             "subscription", "tasks", "time", "version")  # fmt: skip
    return [{"name": name} for name in names]


@endpoint("GET", "/nodes/{node}/status", permissions=AUDIT)
def status(call: Call) -> Any:
    machine, kernel = call.machine, os.uname()
    busy, wait = stats.cpu_load(machine)
    said = release(machine)
    efi = machine.file("/sys/firmware/efi").exists()
    return {
        "uptime": stats.uptime(machine),
        "idle": 0,
        "loadavg": machine.read("/proc/loadavg", "0 0 0").split()[:3],
        "kversion": f"{kernel.sysname} {kernel.release} {kernel.version}",
        "current-kernel": {
            "sysname": kernel.sysname, "release": kernel.release, "version": kernel.version,
            "machine": kernel.machine,
        },
        "boot-info": {"mode": "efi", "secureboot": 0} if efi else {"mode": "legacy-bios"},
        "cpuinfo": stats.cpuinfo(machine.read("/proc/cpuinfo")),
        "cpu": busy,
        "wait": wait,
        **stats.memory(machine),
        "ksm": {"shared": 0},
        "rootfs": stats.rootfs(machine),
        "pveversion": f"pve-manager/{said['version']}/{said['repoid']}",
    }  # fmt: skip


@endpoint("GET", "/nodes/{node}/time", permissions=AUDIT)
def now(call: Call) -> Any:
    zone = call.machine.read("/etc/timezone").strip()
    link = call.machine.file("/etc/localtime")
    if not zone and link.is_symlink():
        zone = str(link.readlink()).partition("zoneinfo/")[2]
    here = datetime.now().astimezone()
    offset = here.utcoffset()
    seconds = int(time.time())
    return {
        "timezone": zone or "UTC",
        "time": seconds,
        "localtime": seconds + int(offset.total_seconds() if offset else 0),
    }


@endpoint("GET", "/nodes/{node}/dns", permissions=AUDIT)
def dns(call: Call) -> Any:
    found: dict[str, str] = {}
    servers = 0
    for line in call.machine.read("/etc/resolv.conf").splitlines():
        words = line.split()
        if words[:1] == ["search"] and len(words) > 1:
            found["search"] = words[1]
        elif words[:1] == ["nameserver"] and len(words) > 1 and servers < 3:
            servers += 1
            found[f"dns{servers}"] = words[1]
    return found


@endpoint("GET", "/nodes/{node}/hosts", permissions=AUDIT)
def hosts(call: Call) -> Any:
    text = call.machine.read("/etc/hosts")
    return {"data": text, "digest": hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()}


@endpoint("GET", "/nodes/{node}/subscription", permissions="all")
def subscription(call: Call) -> Any:
    identity = hashlib.md5(call.machine.read("/etc/machine-id").encode(), usedforsecurity=False).hexdigest()
    return {
        "status": "notfound",
        "message": "There is no subscription key",
        "serverid": identity.upper(),
        "url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing",
    }


@endpoint("GET", "/nodes/{node}/certificates/info", permissions="all")
def certificate_info(call: Call) -> Any:
    """The cluster's CA and the node's certificate, as openssl reads them."""
    machine = call.machine
    files = {"pve-root-ca.pem": CA, "pve-ssl.pem": certificates.certificate(machine.node)}
    return [_certificate(machine, name, path) for name, path in files.items() if machine.read(path)]


def _certificate(machine: Machine, name: str, path: str) -> dict[str, Any]:
    file, pem = str(machine.file(path)), machine.read(path)
    form = ["-nameopt", "compat", "-subject", "-issuer", "-startdate", "-enddate"]
    said = machine.run(["openssl", "x509", "-in", file, "-noout", "-text", *form]).out
    field = dict(re.findall(r"^(subject|issuer|notBefore|notAfter)\s*=\s*(.*)$", said, re.M))
    bits = re.search(r"Public-Key: \((\d+) bit\)", said)
    kind = re.search(r"Public Key Algorithm: (\S+)", said)
    names = re.findall(r"(?:IP Address|DNS):([^\s,]+)", said)
    return {
        "filename": name,
        "pem": pem,
        "fingerprint": pem_fingerprint(pem),
        "subject": _subject(field.get("subject", "")),
        "issuer": _subject(field.get("issuer", "")),
        "notbefore": _seconds(field["notBefore"]),
        "notafter": _seconds(field["notAfter"]),
        "public-key-type": kind[1] if kind else "unknown",
        "public-key-bits": int(bits[1]) if bits else 0,
        "san": list(dict.fromkeys(names)),
    }


def _subject(text: str) -> str:
    """`/CN=..`, however this openssl separates."""
    if text.startswith("/"):
        return text
    return "".join(f"/{re.sub(r' ?= ?', '=', part, count=1)}" for part in text.split(", "))


def _seconds(text: str) -> int:
    import calendar

    return calendar.timegm(time.strptime(text.replace("GMT", "").strip(), "%b %d %H:%M:%S %Y"))


@endpoint("GET", "/nodes/{node}/apt/versions", permissions=AUDIT)
def apt_versions(call: Call) -> Any:
    """The packages that PVE lists, from dpkg; proxmox-ve and pve-manager are the medium's own words."""
    said = release(call.machine)
    fields = (
        "Package",
        "db:Status-Status",
        "Version",
        "Architecture",
        "Section",
        "Priority",
        "binary:Summary",
    )
    form = "\t".join(f"${{{name}}}" for name in fields) + "\n"
    names = ["ceph", "ceph-osd", "corosync", "ifupdown2", "lvm2", "chrony", "openssh-server"]
    lines = call.machine.run(["dpkg-query", "-W", "-f", form, *names], check=False).out.splitlines()
    manager = _package(
        "pve-manager", said["version"], "all", "admin", "optional", "Proxmox VE management tools"
    )
    manager["ManagerVersion"] = f"{said['version']}/{said['repoid']}"
    manager["Origin"] = "Proxmox"
    found = [manager]
    for line in lines:
        name, state, *rest = line.split("\t")
        if state == "installed" and len(rest) == 5:
            found.append(_package(name, *rest))
    return found


def _package(name: str, version: str, arch: str, section: str, priority: str, title: str) -> dict[str, str]:
    return {
        "Package": name, "Title": title, "Description": title, "Version": version, "OldVersion": version,
        "Origin": "Debian", "Arch": arch, "Section": section, "Priority": priority,
        "CurrentState": "Installed",
    }  # fmt: skip
