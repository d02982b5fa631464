"""Runs on a node: one librados client that looks at Ceph again and again, and prints a line of JSON a look.

Fed to `python3 -` with its configuration before it; needs nothing but python3-rados. Each line bears when it
was asked and answered on CLOCK_BOOTTIME (ns). Maps are only fetched anew when `status` shows another epoch.
It ends by itself after LIMIT_S, or when nobody reads any more.
"""

# ruff: noqa: F821, BLE001 - INTERVAL_S, LIMIT_S and CONNECT_S stand in the lines put before it
# mypy: ignore-errors
from __future__ import annotations

import importlib
import json
import os
import sys
import time


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def tell(line):
    try:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    except OSError:
        os._exit(0)


def connect():
    client = importlib.import_module("rados").Rados(
        conffile="/etc/ceph/ceph.conf",
        name="client.admin",
        conf={
            "client_mount_timeout": str(CONNECT_S),
            "rados_mon_op_timeout": "3",
            "mon_client_hunt_interval": "1",
            "log_to_stderr": "false",
            "log_to_file": "false",
        },
    )
    client.connect(timeout=CONNECT_S)
    return client


def ask(client, prefix):
    code, out, why = client.mon_command(json.dumps({"prefix": prefix, "format": "json"}), b"")
    if code:
        raise OSError(f"{prefix}: {why or code}")
    return json.loads(out)


def look(client, kept):
    status = ask(client, "status")
    if kept.get("osd_epoch") != status["osdmap"]["epoch"]:
        dump = ask(client, "osd dump")
        kept["osd_epoch"] = dump["epoch"]
        kept["up"] = [each["osd"] for each in dump["osds"] if each["up"]]
        kept["in"] = [each["osd"] for each in dump["osds"] if each["in"]]
    if kept.get("election") != status["election_epoch"]:
        kept["leader"] = ask(client, "quorum_status").get("quorum_leader_name")
        kept["election"] = status["election_epoch"]
    mgr = ask(client, "mgr stat")
    return {
        "up": kept["up"],
        "in": kept["in"],
        "quorum": status["quorum_names"],
        "leader": kept["leader"],
        "mgr": mgr["active_name"] if mgr["available"] else None,
        "mds": {each["name"]: each["status"] for each in status.get("fsmap", {}).get("by_rank", [])},
        "pgs": {each["state_name"]: each["count"] for each in status["pgmap"]["pgs_by_state"]},
        "health": sorted(status["health"]["checks"]),
    }


def main():
    began = time.monotonic()
    try:
        client = connect()
    except Exception as error:  # whatever it is, the reader is told
        tell({"fatal": str(error)})
        return
    kept = {}
    while time.monotonic() - began < LIMIT_S:
        start = now()
        try:
            seen = look(client, kept)
        except Exception as error:  # a monitor that does not answer is what is looked for
            kept.clear()
            tell({"asked": start, "told": now(), "silent": str(error)})
        else:
            tell({"asked": start, "told": now(), "seen": seen})
        time.sleep(max(0.05, INTERVAL_S - (now() - start) / 1e9))
    tell({"fatal": f"its time limit of {LIMIT_S} s was over"})


main()
os._exit(0)
