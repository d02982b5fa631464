"""Defects of BMCs."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import os
import ssl
import sys
import urllib.error
import urllib.request

import bcrypt

from lab import bmc, tls
from lab.defects import scenarios
from lab.defects.defect import Defect, Memory, Place
from lab.errors import LabError
from lab.paths import REPOSITORY
from lab.processes import Daemon, start, stop
from lab.rack import Server
from lab.standins.aws import material

HOURS_BEHIND = 7
"""A controller that was left on its maker's local time."""
REQUEST_TIMEOUT_S = 30.0


# --- password -----------------------------------------------------------------------------------------------


def _other_password(place: Place) -> Memory:
    """Only in the BMC: what the rack and its parameter store remember stays as it was."""
    file = bmc.accounts_file(place.state, place.server)
    before = file.read_text(encoding="ascii")
    other = bcrypt.hashpw(material.random_password().encode(), bcrypt.gensalt(bmc.BCRYPT_ROUNDS)).decode()
    material.write_private(file, f"{place.rack.oob.bmc_user}:{other}\n".encode())
    return {"accounts": before}


def _stored_password(place: Place, memory: Memory) -> None:
    if memory:
        file = bmc.accounts_file(place.state, place.server)
        material.write_private(file, memory["accounts"].encode())


# --- clock --------------------------------------------------------------------------------------------------


def _wrong_clock(place: Place) -> Memory:
    shown = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=HOURS_BEHIND)
    body = {"DateTime": shown.strftime("%Y-%m-%dT%H:%M:%S+00:00"), "DateTimeLocalOffset": "+00:00"}
    _redfish(place, "PATCH", f"/redfish/v1/Managers/{place.server.uuid}", body)
    return {}


def _right_clock(place: Place, _: Memory) -> None:
    """A BMC that starts takes the time of the machine."""
    _restart(place, [place.server])


def _redfish(place: Place, method: str, path: str, body: dict[str, str]) -> None:
    server = place.server
    login = base64.b64encode(
        f"{place.rack.oob.bmc_user}:{bmc.password(place.state, server)}".encode()
    ).decode()
    request = urllib.request.Request(
        f"https://{server.bmc}:{place.rack.oob.bmc_port}{path}",
        data=json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=str(tls.ca(place.state)))
    try:
        urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S, context=context).close()  # noqa: S310
    except (urllib.error.URLError, TimeoutError) as error:
        raise LabError(f"BMC of {server.name}: {method} {path}: {error}") from error


def _restart(place: Place, servers: list[Server]) -> None:
    wanted = {f"bmc-{server.name}" for server in servers}
    for daemon in bmc.daemons(place.rack, place.state):
        if daemon.name in wanted:
            stop(place.state, daemon.name)
            start(place.state, daemon)


# --- two controllers at each other's address ----------------------------------------------------------------


def _pair(place: Place) -> tuple[Server, Server]:
    """The targeted server and the one after it."""
    if len(place.rack.server) < 2:
        raise LabError("bmc-swapped needs two servers")
    number = place.rack.server.index(place.server)
    return place.server, place.rack.server[(number + 1) % len(place.rack.server)]


def _swap(place: Place) -> Memory:
    """Address, certificate and account stay where they were; the servers behind them are exchanged."""
    one, two = _pair(place)
    for server in (one, two):
        stop(place.state, f"bmc-{server.name}")
    _exchange_files(place, one, two)
    for there, address in ((one, two.bmc), (two, one.bmc)):
        start(place.state, _swapped_daemon(place, there, address))
    return {"swapped": True}


def _swapped_daemon(place: Place, server: Server, address: str) -> Daemon:
    from lab.processes import listening

    argv = [sys.executable, "-m", "lab.defects.bmcs", address, "--server", server.name, "--state",
            str(place.state.root)]  # fmt: skip
    return Daemon(f"bmc-{server.name}", argv, lambda: listening(address, place.rack.oob.bmc_port),
                  env={"TMPDIR": str(place.state.tmp)}, cwd=REPOSITORY, ready_deadline_s=60.0)  # fmt: skip


def _exchange_files(place: Place, one: Server, two: Server) -> None:
    pairs = [(bmc.accounts_file(place.state, one), bmc.accounts_file(place.state, two))]
    pairs += [(place.state.tls / f"bmc-{one.name}{end}", place.state.tls / f"bmc-{two.name}{end}")
              for end in (".pem", ".key")]  # fmt: skip
    for first, second in pairs:
        aside = first.with_name(f"{first.name}.swap")
        first.rename(aside)
        second.rename(first)
        aside.rename(second)


def _unswap(place: Place, memory: Memory) -> None:
    one, two = _pair(place)
    for server in (one, two):
        stop(place.state, f"bmc-{server.name}")
    if memory:
        _exchange_files(place, one, two)
    _restart(place, [one, two])


def main(address: str, arguments: list[str]) -> None:
    """A BMC at another's address: `python -m lab.defects.bmcs ADDRESS` and the BMC daemon's own arguments."""
    from lab import rack as racks
    from lab.standins.bmc import __main__ as service

    rack, name = racks.load(), arguments[arguments.index("--server") + 1]
    moved = [dataclasses.replace(s, bmc=address) if s.name == name else s for s in rack.server]
    swapped = dataclasses.replace(rack, server=tuple(moved))
    racks.load = lambda *_: swapped  # the daemon reads the rack file itself
    sys.argv = [sys.argv[0], *arguments]
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    service.main()


DEFECTS = (
    Defect("bmc-wrong-password", "the BMC's password is not the stored one", (scenarios.CREDENTIALS,),
           _other_password, _stored_password, "node", "node2"),
    Defect("bmc-clock-wrong", f"the BMC's clock is {HOURS_BEHIND} hours behind", (scenarios.BMC_CLOCK,),
           _wrong_clock, _right_clock, "node", "node3"),
    Defect("bmc-swapped", "the BMCs of this server and the next answer at each other's address",
           (scenarios.IDENTITY,), _swap, _unswap, "node", "node1"),
)  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
