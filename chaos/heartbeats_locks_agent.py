"""Asks Ceph who has guests' images open, and who holds their exclusive locks: sent to a node as it stands.

Standard library, python3-rados and python3-rbd. Fed on its standard input after its program: one line of
configuration in JSON (`images`: [[guest, pool, image], ...], `interval_s`, `limit_s`, `quiet_s`, `deaf_s`),
then lines `ping N`. It says `pong N STAMP`, and for each image every `interval_s` a line `image JSON`: g
guest, a when Ceph was asked, t when it had answered, and either owners [[client, cookie, address], ...],
watchers [address, ...] and w [when it was asked for these alone, when it had answered], or m why not. Stamps
are ns since this machine started. Images are opened for reading only, which takes no lock and leaves no
watcher, and anew each time, or what is told would be old.
"""

# mypy: ignore-errors
from __future__ import annotations

import errno
import importlib
import json
import os
import select
import sys
import threading
import time

CONF = "/etc/ceph/ceph.conf"
CONNECT_S, OPERATION_S = 20, 5


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def say(line):
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        os._exit(0)


def connect():
    options = {
        "client_mount_timeout": str(CONNECT_S),
        "rados_mon_op_timeout": str(OPERATION_S),
        "rados_osd_op_timeout": str(OPERATION_S),
        "log_to_stderr": "false",
        "log_to_file": "false",
    }
    client = importlib.import_module("rados").Rados(conffile=CONF, name="client.admin", conf=options)
    client.connect(timeout=CONNECT_S)
    return client


def look(client, pool, image):
    with client.open_ioctx(pool) as context:
        opened = importlib.import_module("rbd").Image(context, image, read_only=True)
        with opened:
            held = opened.list_lockers() or {}
            owners = [[str(part) for part in each] for each in held.get("lockers", ())]
            asked = now()
            watchers = sorted({str(each["addr"]) for each in opened.watchers_list()})
            alone = [asked, now()]
    return {"owners": owners, "watchers": watchers, "w": alone}


def renewed(client):
    """Another client: one whose requests all ran into their limit asks for no newer map, and stays deaf when
    Ceph is back. The same one where none can be had.
    """
    try:
        found = connect()
    except Exception:  # noqa: BLE001 - what a look then fails by is told
        return client
    threading.Thread(target=client.shutdown, daemon=True).start()  # it may wait for what never comes
    return found


def listen(seconds, rest):
    """Answer pings until one came or the time is over: (what is left of the last line, whether one came), or
    None at the end of the input.
    """
    if not select.select([0], [], [], seconds)[0]:
        return rest, False
    data = os.read(0, 4096)
    if not data:
        return None
    *lines, rest = (rest + data).split(b"\n")
    for line in lines:
        say(f"pong {line.split()[1].decode()} {now()}")
    return rest, bool(lines)


def main():
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or sys.exit(3)
    config = json.loads(line)
    try:
        client = connect()
    except Exception as error:  # noqa: BLE001 - whatever it is, the last line on standard error is told
        sys.exit(f"Ceph is not reached: {error}")
    began = heard = told = time.monotonic()
    due, rest = began, b""
    while time.monotonic() < min(began + config["limit_s"], heard + config["quiet_s"]):
        heard_of = listen(max(0.01, due - time.monotonic()), rest)
        if heard_of is None:
            return
        rest, came = heard_of
        if came:
            heard = time.monotonic()
        if time.monotonic() < due:
            continue
        for guest, pool, image in config["images"]:
            facts = {"g": guest, "a": now()}
            try:
                facts.update(look(client, pool, image))
                told = time.monotonic()
            except Exception as error:  # noqa: BLE001 - of librados or librbd: that image is not seen this time
                facts["m"] = str(error) or type(error).__name__
                if isinstance(error, TimeoutError) or getattr(error, "errno", None) == errno.ETIMEDOUT:
                    client = renewed(client)
            say("image " + json.dumps({**facts, "t": now()}, separators=(",", ":")))
        due = max(due + config["interval_s"], time.monotonic())
        if time.monotonic() - told > config["deaf_s"]:
            sys.stderr.write(f"Ceph told nothing for {config['deaf_s']:g} s\n")
            sys.stderr.flush()
            os._exit(4)


main()
os._exit(0)  # threads of librados would keep the process
