"""Monitors: created as PVE::API2::Ceph::MON does it, with Ceph's own ceph-mon and monmaptool."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from ..http.tasks import Log
from . import addresses, conf, keys, mgr, monitors, units

QUORUM_DEADLINE_S = 120.0


def known(machine: Machine, found: conf.Conf) -> dict[str, dict[str, Any]]:
    """Monitors by name: those of ceph.conf and those of the monitor map."""
    result: dict[str, dict[str, Any]] = {}
    for section, values in found.items():
        if section.startswith("mon."):
            result[section[4:]] = {"name": section[4:], "addr": values.get("public_addr", "")}
    if configured(found):
        for mon in monitors.ask(machine, "mon dump")["mons"]:
            result[mon["name"]] = {"name": mon["name"], "addr": mon["addr"]}
    return result


def configured(found: conf.Conf) -> bool:
    """Whether the cluster has a monitor."""
    return bool(found.get("global", {}).get("mon_host"))


def choose_addresses(machine: Machine, found: conf.Conf, wanted: str | None) -> list[str]:
    """The addresses of a new monitor: those asked for, else the one in each public network."""
    asked = addresses.split(wanted or "")
    networks = addresses.split(found.get("global", {}).get("public_network", ""))
    if not networks:
        return asked or [_own_address(machine)]
    allowed = {network: addresses.local(machine, network) for network in networks}
    for address in asked:
        if address not in {one for found_ in allowed.values() for one in found_}:
            raise ApiError(500, f"Specified monitor IP '{address}' not configured or up on {machine.node}!")
    if asked:
        return asked
    chosen = []
    for network, local in allowed.items():
        if not local:
            raise ApiError(
                500,
                f"No active IP found for the requested ceph public network '{network}' on node "
                f"'{machine.node}'",
            )
        if len(local) > 1:
            raise ApiError(
                500,
                f"Multiple IPs for ceph public network '{network}' detected on {machine.node}:\n"
                + "\n".join(local)
                + "\nuse 'mon-address' to specify one of them.",
            )
        chosen.append(local[0])
    return chosen


def _own_address(machine: Machine) -> str:
    for line in machine.read("/etc/hosts").splitlines():
        words = line.split("#")[0].split()
        if machine.node in words[1:] and not words[0].startswith(("127.", "::")):
            return words[0]
    raise ApiError(500, f"hostname lookup '{machine.node}' failed - failed to get address info")


def assert_free(found: conf.Conf, mons: dict[str, dict[str, Any]], name: str, ips: list[str]) -> None:
    """ApiError when the name or an address is a monitor's already."""
    used = {addresses.bare(word) for word in addresses.split(found.get("global", {}).get("mon_host", ""))}
    used |= {addresses.bare(mon["addr"]) for mon in mons.values() if mon["addr"]}
    for ip in ips:
        if ip in used:
            raise ApiError(500, f"monitor address '{ip}' already in use")
    if name in mons:
        raise ApiError(500, f"monitor '{name}' already exists")


def create(machine: Machine, name: str, ips: list[str], log: Log) -> None:
    """Make a monitor and start it; with the first one a manager too."""
    with conf.locked(machine):
        found = conf.load(machine)
        first = not configured(found)
        assert_free(found, known(machine, found), name, ips)
        keys.admin(machine)
        if keys.monitor(machine):
            log("creating new monitor keyring")
        units.link_configuration(machine)
        _make_store(machine, found, name, ips, log)
        found["global"]["mon_host"] = " ".join([*found["global"].get("mon_host", "").split(), *ips])
        ipv6 = ":" in ips[0]
        found["global"].setdefault("ms_bind_ipv4", str(not ipv6).lower())
        found["global"].setdefault("ms_bind_ipv6", str(ipv6).lower())
        found[f"mon.{name}"] = {"public_addr": ips[0]}
        if first:
            found["client.crash"] = {"keyring": "/etc/pve/ceph/$cluster.$name.keyring"}
        conf.save(machine, found)
        units.control(machine, "start", f"mon.{name}")
        units.control(machine, "enable", f"mon.{name}")
        machine.run(["systemctl", *units.QUICK, "enable", "ceph-crash.service"], check=False)
        machine.run(["systemctl", "start", "--no-block", "ceph-crash.service"], check=False)
        _wait_for_quorum(machine, name)
        if first:
            log("created the first monitor, assume it's safe to disable insecure global ID reclaim")
            monitors.tell(
                machine, "config set", who="mon", name="auth_allow_insecure_global_id_reclaim", value="false"
            )
            caps = {"mgr": "profile crash", "mon": "profile crash"}
            keys.place(machine, keys.CRASH, "client.crash", caps)
    if first:
        mgr.create(machine, machine.node, log)


def _make_store(machine: Machine, found: conf.Conf, name: str, ips: list[str], log: Log) -> None:
    path = units.folder("mon", name)
    units.make_folder(machine, path)
    vector = ",".join(f"v2:{_port(ip, 3300)},v1:{_port(ip, 6789)}" for ip in ips)
    with tempfile.TemporaryDirectory(prefix="monmap-") as folder:
        monmap = Path(folder) / "monmap"
        command = ["monmaptool", "--clobber", "--addv", name, f"[{vector}]", "--print", str(monmap)]
        if configured(found):
            monmap.write_bytes(monitors.raw(machine, "mon getmap"))
        else:
            command += ["--create", "--fsid", found["global"]["fsid"]]
        try:
            log(machine.run(command).out.strip())
            machine.run(
                ["ceph-mon", "--mkfs", "-i", name, "--monmap", str(monmap),
                 "--keyring", str(machine.file(keys.MON)),
                 "--mgr_initial_modules", "iostat"],
                timeout_s=180,
            )  # fmt: skip
            units.own(machine, path)
        except ApiError:
            units.remove_folder(machine, path)
            raise


def _port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _wait_for_quorum(machine: Machine, name: str) -> None:
    """A monitor that is not in the quorum yet must not be counted on by the next one's creation."""
    deadline = time.monotonic() + QUORUM_DEADLINE_S
    while True:
        try:
            if name in monitors.ask(machine, "quorum_status")["quorum_names"]:
                return
        except ApiError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise ApiError(500, f"monitor '{name}' did not join the quorum within {QUORUM_DEADLINE_S:g} s")
        time.sleep(1)


def assert_removable(machine: Machine, name: str) -> None:
    """ApiError in PVE's words when the monitor is unknown, elsewhere, or the last."""
    mons = known(machine, conf.load(machine))
    path = units.folder("mon", name)
    if name not in mons:
        raise ApiError(500, f"no such monitor id '{name}'")
    if not machine.file(path).is_dir():
        raise ApiError(500, f"monitor filesystem '{path}' does not exist on this node")
    if len(mons) <= 1:
        raise ApiError(500, "can't remove last monitor")


def destroy(machine: Machine, name: str, log: Log) -> None:
    """Take a monitor out of map and configuration, and delete its store."""
    with conf.locked(machine):
        assert_removable(machine, name)
        found = conf.load(machine)
        gone = addresses.bare(known(machine, found)[name]["addr"])
        log(f"removing monitor {name}")
        monitors.tell(machine, "mon remove", name=name)
        found.pop(f"mon.{name}", None)
        hosts = [one for one in addresses.split(found["global"]["mon_host"]) if addresses.bare(one) != gone]
        found["global"]["mon_host"] = " ".join(hosts)
        conf.save(machine, found)
        for action in ("stop", "disable"):
            units.control(machine, action, f"mon.{name}")
        units.remove_folder(machine, units.folder("mon", name))


def listing(machine: Machine) -> list[dict[str, Any]]:
    """The rows of GET .../ceph/mon."""
    found = conf.load(machine)
    rows: dict[str, dict[str, Any]] = {}
    for section in found:
        if section.startswith("mon."):
            rows[section[4:]] = {"name": section[4:], "host": section[4:], "state": "unknown"}
    if configured(found):
        status = monitors.ask(machine, "quorum_status")
        facts = {fact["name"]: fact for fact in monitors.ask(machine, "mon metadata")}
        for mon in status["monmap"]["mons"]:
            row = rows.setdefault(mon["name"], {"name": mon["name"], "host": mon["name"]})
            inside = mon["rank"] in status["quorum"]
            row |= {"rank": mon["rank"], "addr": mon["addr"], "state": "running" if inside else "stopped"}
            if inside:
                row["quorum"] = 1
            fact = facts.get(mon["name"], {})
            row |= {key: fact[key] for key in ("ceph_version", "ceph_version_short") if key in fact}
            row["host"] = fact.get("hostname", row["host"])
    for name, row in rows.items():
        units.local_state(machine, "mon", name, row)
    return [rows[name] for name in sorted(rows)]
