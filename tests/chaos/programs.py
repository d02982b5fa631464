"""Stands in for `ip`, `tc`, `systemctl`, `systemd-run`, `modprobe` and `sleep` on a fake node: one
program, called by its name, whose state is the folder $WORLD. So the scripts that faults send to nodes
are run by a real shell."""

# ruff: noqa: T201, PTH108, PTH110, PTH119, PTH123, PTH208 - it stands in for programs, and starts fast
from __future__ import annotations

import json
import os
import sys

WORLD = os.environ.get("WORLD", ".")
TIMERS = f"{WORLD}/timers"
BOND = "bond0"


def load(path: str) -> dict:
    with open(path, encoding="utf-8") as file:  # plain: every call of a fake program pays for its imports
        return json.load(file)


def store(path: str, value: object) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def settle(net: dict) -> None:
    """What the bonding driver does: a leg that is down is no active leg; a leg that goes down counts a
    failure.
    """
    legs = net["legs"]
    for leg in legs.values():
        up = leg["admin"] and leg["light"]
        if leg["was_up"] and not up:
            leg["failures"] += 1
        leg["was_up"] = up
    if net["active"] not in legs or not legs[net["active"]]["was_up"]:
        net["active"] = next((name for name, leg in legs.items() if leg["was_up"]), None)


def show(net: dict) -> list[dict]:
    links = []
    for index, (name, leg) in enumerate(net["legs"].items()):
        flags = (
            ["BROADCAST", "SLAVE"] + ["UP"] * leg["admin"] + ["LOWER_UP"] * (leg["admin"] and leg["light"])
        )
        slave = {
            "state": "ACTIVE" if net["active"] == name else "BACKUP",
            "mii_status": "UP" if leg["was_up"] else "DOWN",
            "link_failure_count": leg["failures"],
            "perm_hwaddr": leg["mac"],
        }
        info = {"info_slave_kind": "bond", "info_slave_data": slave}
        links.append({"ifindex": index, "ifname": name, "flags": flags, "master": BOND, "linkinfo": info})
    data = {
        "mode": "active-backup",
        "miimon": 100,
        "updelay": 200,
        "downdelay": 0,
        "active_slave": net["active"],
    }
    if net["active"] is None:
        del data["active_slave"]
    info = {"info_kind": "bond", "info_data": data}
    links.append({"ifindex": 9, "ifname": BOND, "flags": ["UP"], "linkinfo": info})
    return links


def ip(words: list[str]) -> int:
    net = load(f"{WORLD}/net.json")
    if words[:2] == ["link", "set"]:
        name, state = words[3], words[4]
        if name not in net["legs"]:
            print(f'Cannot find device "{name}"', file=sys.stderr)
            return 1
        net["legs"][name]["admin"] = state == "up"
        settle(net)
        store(f"{WORLD}/net.json", net)
        return 0
    wanted = words[words.index("dev") + 1] if "dev" in words else None
    print(json.dumps([link for link in show(net) if wanted in (None, link["ifname"])]))
    return 0


def tc(words: list[str]) -> int:
    net = load(f"{WORLD}/net.json")
    name = words[words.index("dev") + 1]
    queues = net["legs"][name]["queues"]
    verb = [word for word in words if not word.startswith("-")][:2]
    if verb == ["qdisc", "show"]:
        shown = [{"kind": "fq_codel", "handle": "0:"}] * ("netem" not in queues)
        shown += [{"kind": kind, "handle": "8001:"} for kind in queues]
        print(json.dumps(shown) if "-j" in words else "\n".join(f"qdisc {each['kind']}" for each in shown))
        return 0
    if verb[0] == "filter":
        return 0 if "clsact" in queues else 2
    kind = "clsact" if "clsact" in words else "netem"
    if verb[1] == "del":
        if kind not in queues:
            return 2
        queues.remove(kind)
    elif kind not in queues:
        queues.append(kind)
    store(f"{WORLD}/net.json", net)
    return 0


def systemctl(words: list[str]) -> int:
    if words[0] == "list-units":
        for timer in sorted(os.listdir(TIMERS)):
            print(f"{timer}.timer loaded active waiting")
        return 0
    units = [word for word in words[1:] if not word.startswith("-")]
    timers = [f"{TIMERS}/{unit.removesuffix('.timer')}" for unit in units]
    if words[0] == "stop":
        for timer in filter(os.path.exists, timers):
            os.unlink(timer)
        return 0
    active = [
        unit.endswith(".timer") and os.path.exists(timer) for unit, timer in zip(units, timers, strict=True)
    ]
    if "--quiet" not in words:
        print("\n".join("active" if each else "inactive" for each in active))
    return 0 if any(active) else 3


def systemd_run(words: list[str]) -> int:
    options = [word for word in words if word.startswith("--")]
    command = words[len(options) :]
    unit = next(word for word in options if word.startswith("--unit=")).removeprefix("--unit=")
    if any(word.startswith("--on-active=") for word in options):
        store(f"{TIMERS}/{unit}", command)
        return 0
    os.spawnvp(os.P_WAIT, command[0], command)
    return 0


if __name__ == "__main__":
    name = os.path.basename(sys.argv[0])
    known = {"ip": ip, "tc": tc, "systemctl": systemctl, "systemd-run": systemd_run}
    sys.exit(known[name](sys.argv[1:]) if name in known else 0)
