"""Asks Ceph who has guests' images open, and who holds their exclusive locks: sent to a node as it stands.

Standard library, python3-rados and python3-rbd. Fed on its standard input after its program: one line of
configuration in JSON (`images`: [[guest, pool, image], ...], `interval_s`, `limit_s`, `quiet_s`, `deaf_s`,
`clients`), then lines `ping N`. It says `pong N STAMP`, and for each image every `interval_s` a line `image
JSON`: g guest, a when Ceph was asked, t when it had answered, and either owners [[client, cookie, address],
...], watchers [address, ...] and w [when it was asked for these alone, when it had answered], or m why not.
Between two of these come lines `open JSON`, with g, watchers and w alone: a look takes seconds where Ceph is
busy. Stamps are ns since this machine started. Images are opened for reading only, which takes no lock and
leaves no watcher, and anew for each look, or the owners that are told would be old; watchers are always asked
for.
"""

# mypy: ignore-errors
from __future__ import annotations

import contextlib
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
SAYING = threading.Lock()


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def say(line):
    with SAYING:
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
            return {"owners": owners, **who(opened)}


def who(opened):
    asked = now()
    watchers = sorted({str(each["addr"]) for each in opened.watchers_list()})
    return {"watchers": watchers, "w": [asked, now()]}


def glance(clients, images, interval_s, limit_s):
    """Who has images open, by one question to each that stays open."""
    kept, until = {}, time.monotonic() + limit_s
    while time.monotonic() < until:
        time.sleep(interval_s)
        for guest, pool, image in images:
            client = clients[-1]
            try:
                if kept.get(guest, (None,))[0] is not client:
                    context = client.open_ioctx(pool)
                    opened = importlib.import_module("rbd").Image(context, image, read_only=True)
                    kept[guest] = client, context, opened
                say("open " + json.dumps({"g": guest, **who(kept[guest][2])}, separators=(",", ":")))
            except Exception:  # noqa: BLE001 - the next look says why, or there is another client by then
                kept.pop(guest, None)


def renew(clients):
    """Another client: one whose requests all ran into their limit asks for no newer map, and stays deaf when
    Ceph is back. The former ones are kept, for something may wait in them.
    """
    with contextlib.suppress(Exception):  # what a look then fails by is told
        clients.append(connect())


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


def end(why):
    sys.stderr.write(why + "\n")
    sys.stderr.flush()
    os._exit(4)


def main():
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or sys.exit(3)
    config = json.loads(line)
    try:
        clients = [connect()]
    except Exception as error:  # noqa: BLE001 - whatever it is, the last line on standard error is told
        sys.exit(f"Ceph is not reached: {error}")
    threading.Thread(
        target=glance,
        args=(clients, config["images"], config["interval_s"] / 2, config["limit_s"]),
        daemon=True,
    ).start()
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
                facts.update(look(clients[-1], pool, image))
                told = time.monotonic()
            except Exception as error:  # noqa: BLE001 - of librados or librbd: that image is not seen this time
                facts["m"] = str(error) or type(error).__name__
                if isinstance(error, TimeoutError) or getattr(error, "errno", None) == errno.ETIMEDOUT:
                    renew(clients)
            say("image " + json.dumps({**facts, "t": now()}, separators=(",", ":")))
        due = max(due + config["interval_s"], time.monotonic())
        if time.monotonic() - told > config["deaf_s"]:
            end(f"Ceph told nothing for {config['deaf_s']:g} s")
        if len(clients) > config["clients"]:
            end(f"{config['clients']} clients became deaf, each of which takes memory")


main()
os._exit(0)  # threads of librados would keep the process
