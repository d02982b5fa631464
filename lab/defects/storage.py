"""Defects of the storage cluster, made with Ceph's and Proxmox's own commands on a node."""

from __future__ import annotations

import json
from typing import Any

from lab.defects.defect import Defect, Memory, Place
from lab.defects.nodes import shell
from lab.defects.scenarios import (
    CAPACITY,
    CLEAN,
    DAEMONS,
    ENTRIES,
    HEADROOM,
    HEALTH,
    KEYS,
    OSDS,
    POOLS,
    SPREAD,
)
from lab.errors import LabError

POOL = "rbd-vms"
CONTAINERS = "rbd-containers"
DAMAGED = "rackproof-damaged"
STALE = "gone"
CEPH = "ceph --connect-timeout 20"
SCRUB_TRIES = 30  # of 5 s


def _ceph(place: Place, command: str) -> Any:
    """What `ceph ... -f json` answers; its output begins with an empty line."""
    return json.loads(shell(place, f"{CEPH} {command} -f json").strip() or "null")


def _do(place: Place, *commands: str) -> Memory:
    shell(place, "\n".join(f"{CEPH} {command} > /dev/null 2>&1" for command in commands))
    return {}


def _osd_of(place: Place) -> int:
    """The lowest OSD of the node."""
    tree = _ceph(place, "osd tree")["nodes"]
    ours = [row["children"] for row in tree if row["type"] == "host" and row["name"] == place.target]
    if not ours or not ours[0]:
        raise LabError(f"{place.target} carries no OSD")
    return int(min(ours[0]))


# --- pools --------------------------------------------------------------


def _size_2(place: Place) -> Memory:
    return _do(place, f"osd pool set {POOL} size 2")


def _size_3(place: Place, _: Memory) -> None:
    _do(place, f"osd pool set {POOL} size 3", f"osd pool set {POOL} min_size 2")


def _min_size_1(place: Place) -> Memory:
    return _do(place, f"osd pool set {POOL} min_size 1")


def _min_size_2(place: Place, _: Memory) -> None:
    _do(place, f"osd pool set {POOL} min_size 2")


def _wrong_ratio(place: Place) -> Memory:
    rows = _ceph(place, "osd pool ls detail")
    before = next(
        row["options"].get("target_size_ratio", 0) for row in rows if row["pool_name"] == CONTAINERS
    )
    _do(place, f"osd pool set {CONTAINERS} target_size_ratio 0.9")
    return {"ratio": before}


def _right_ratio(place: Place, memory: Memory) -> None:
    _do(place, f"osd pool set {CONTAINERS} target_size_ratio {memory.get('ratio', 0.3)}")


def _no_application(place: Place) -> Memory:
    return _do(place, f"osd pool application disable {POOL} rbd --yes-i-really-mean-it")


def _application(place: Place, _: Memory) -> None:
    _do(place, f"osd pool application enable {POOL} rbd")


# --- OSDs and monitors --------------------------------------------------------------


def _osd_down(place: Place) -> Memory:
    osd = _osd_of(place)
    shell(place, f"systemctl disable --now ceph-osd@{osd} 2>&1; sleep 3")
    return {"osd": osd}


def _osd_up(place: Place, memory: Memory) -> None:
    _start(place, f"ceph-osd@{memory['osd'] if 'osd' in memory else _osd_of(place)}")


def _start(place: Place, unit: str) -> None:
    shell(place, f"systemctl enable {unit} 2>&1; {_begin(unit)}")


def _begin(unit: str, how: str = "start") -> str:
    """What failed before refuses a start."""
    return f"systemctl reset-failed {unit} 2>/dev/null || true; systemctl {how} {unit}"


def _osd_out(place: Place) -> Memory:
    osd = _osd_of(place)
    _do(place, f"osd out {osd}")
    return {"osd": osd}


def _osd_in(place: Place, memory: Memory) -> None:
    _do(place, f"osd in {memory['osd'] if 'osd' in memory else _osd_of(place)}")


def _wrong_class(place: Place) -> Memory:
    osd = _osd_of(place)
    rows = _ceph(place, "osd tree")["nodes"]
    before = next(row["device_class"] for row in rows if row["id"] == osd)
    _do(place, f"osd crush rm-device-class {osd}", f"osd crush set-device-class hdd {osd}")
    return {"osd": osd, "class": before}


def _right_class(place: Place, memory: Memory) -> None:
    if memory:
        osd = memory["osd"]
        _do(place, f"osd crush rm-device-class {osd}", f"osd crush set-device-class {memory['class']} {osd}")


def _mon_down(place: Place) -> Memory:
    shell(place, f"systemctl disable --now ceph-mon@{place.target} 2>&1; sleep 3")
    return {}


def _mon_up(place: Place, _: Memory) -> None:
    _start(place, f"ceph-mon@{place.target}")


# --- keys, flags, space --------------------------------------------------------------


def _insecure(place: Place) -> Memory:
    return _do(place, "config set mon auth_allow_insecure_global_id_reclaim true")


def _secure(place: Place, _: Memory) -> None:
    _do(place, "config set mon auth_allow_insecure_global_id_reclaim false")


def _no_cephx(place: Place) -> Memory:
    _auth(place, "none, cephx")
    return {}


def _cephx(place: Place, _: Memory) -> None:
    _auth(place, "cephx")


def _auth(place: Place, value: str) -> None:
    """For clients, on every monitor: they read it when they start."""
    conf = "/etc/pve/ceph.conf"
    shell(place, f"sed 's/^\\([ \\t]*auth_client_required *=\\).*/\\1 {value}/' {conf} > {conf}.new;"
          f" mv {conf}.new {conf}")  # fmt: skip
    for server in place.rack.server:
        there = Place(place.rack, place.state, server.name)
        shell(there, f"{_begin(f'ceph-mon@{server.name}', 'restart')}; sleep 5")


def _noout(place: Place) -> Memory:
    return _do(place, "osd set noout")


def _out_again(place: Place, _: Memory) -> None:
    _do(place, "osd unset noout")


def _nearfull(place: Place) -> Memory:
    before = float(_ceph(place, "osd dump")["nearfull_ratio"])
    _do(place, "osd set-nearfull-ratio 0.001")
    return {"ratio": before}


def _roomy(place: Place, memory: Memory) -> None:
    _do(place, f"osd set-nearfull-ratio {memory.get('ratio', 0.85)}")


# --- damage --------------------------------------------------------------


def _damage(place: Place) -> Memory:
    """One replica of one object is taken from its OSD's own store; a deep scrub then tells."""
    shell(place, f"head -c 65536 /dev/urandom | rados -p {POOL} put {DAMAGED} -")
    where = _ceph(place, f"osd map {POOL} {DAMAGED}")
    rows = _ceph(place, "osd tree")["nodes"]
    hosts = {child: row["name"] for row in rows if row["type"] == "host" for child in row["children"]}
    osd, pg = int(where["acting"][1]), str(where["pgid"])
    there = Place(place.rack, place.state, hosts[osd])
    shell(
        there,
        f"systemctl stop ceph-osd@{osd}; cd /\n"
        f"ceph-objectstore-tool --data-path /var/lib/ceph/osd/ceph-{osd} --pgid {pg} {DAMAGED} remove 2>&1"
        " || code=$?\n"
        f"{_begin(f'ceph-osd@{osd}')}\nexit ${{code:-0}}",
    )
    shell(
        place,
        f'n=0; until {CEPH} pg {pg} query 2>/dev/null | grep -q \'"state": "active+clean\'; do'
        f" n=$((n + 1)); [ $n -le {SCRUB_TRIES // 3} ] || exit 1; sleep 5; done",
    )
    shell(
        place,
        f"n=0; until {CEPH} health detail | grep -q inconsistent; do"
        f" [ $((n % 6)) != 0 ] || {CEPH} pg deep-scrub {pg} > /dev/null 2>&1;"
        f" n=$((n + 1)); [ $n -le {SCRUB_TRIES // 2} ] || exit 1; sleep 5; done",
    )
    return {"pg": pg}


def _repair(place: Place, memory: Memory) -> None:
    if "pg" in memory:
        _do(place, f"pg repair {memory['pg']}")
        shell(
            place,
            f"n=0; while {CEPH} health detail | grep -q inconsistent; do"
            f" n=$((n + 1)); [ $n -le {SCRUB_TRIES // 2} ] || exit 1; sleep 5; done",
        )
    shell(place, f"rados -p {POOL} rm {DAMAGED} 2>/dev/null || true")


def _stale_entry(place: Place) -> Memory:
    shell(place, f"pvesh create /storage --storage {STALE} --type rbd --pool {STALE} --content images")
    return {}


def _no_entry(place: Place, _: Memory) -> None:
    shell(place, f"pvesh delete /storage/{STALE} 2>/dev/null || true")


DEFECTS = (
    Defect("pool-size-2", "a pool keeps two replicas", (POOLS, HEALTH),
           _size_2, _size_3, "node", "node1"),
    Defect("min-size-1", "a pool takes writes that only one drive holds", (POOLS,),
           _min_size_1, _min_size_2, "node", "node1"),
    Defect("wrong-ratio", "a pool's share is not the ordered one", (POOLS,),
           _wrong_ratio, _right_ratio, "node", "node1"),
    Defect("no-application", "a pool says not what uses it", (POOLS, HEALTH),
           _no_application, _application, "node", "node1"),
    Defect("osd-down", "an OSD is stopped", (OSDS, CLEAN, HEALTH, CAPACITY),
           _osd_down, _osd_up, "node", "node2"),
    Defect("osd-out", "an OSD was taken out and forgotten",
           (OSDS, SPREAD, CAPACITY, CLEAN, HEALTH),
           _osd_out, _osd_in, "node", "node3"),
    Defect("osd-on-wrong-class", "an OSD bears the class of spinning disks", (SPREAD,),
           _wrong_class, _right_class, "node", "node1"),
    Defect("mon-down", "a monitor is stopped", (DAEMONS, HEALTH),
           _mon_down, _mon_up, "node", "node3"),
    Defect("insecure-reclaim", "monitors take clients that reclaim an id insecurely", (KEYS, HEALTH),
           _insecure, _secure, "node", "node1"),
    Defect("cephx-off", "clients need no key", (KEYS,), _no_cephx, _cephx, "node", "node1"),
    Defect("pg-inconsistent", "one replica of an object is gone from its drive", (CLEAN, HEALTH),
           _damage, _repair, "node", "node1"),
    Defect("noout-left-set", "maintenance is over and its flag is still set", (HEALTH,),
           _noout, _out_again, "node", "node1"),
    Defect("nearfull", "drives are fuller than the level of warning", (HEADROOM, HEALTH),
           _nearfull, _roomy, "node", "node1"),
    Defect("stale-storage-entry", "a storage entry of Proxmox names a pool that is not there", (ENTRIES,),
           _stale_entry, _no_entry, "node", "node1"),
)  # fmt: skip
