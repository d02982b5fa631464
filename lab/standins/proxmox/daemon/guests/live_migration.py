"""A running virtual machine moved with its memory, through SSH (PVE's `secure`, its default).

Order: PVE::QemuMigrate. The other node starts QEMU, which waits on a socket; the memory goes there; when it
has arrived the machine stands still on both, the configuration moves, the other one goes on, this one ends.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..http.errors import ApiError
from ..http.machine import Machine
from . import files, locks, machines, migration, qmp
from .containers import Say
from .files import Guest
from .peer import Peer
from .running import RUN

MEMORY_DEADLINE_S = 600.0
TUNNEL_DEADLINE_S = 60.0
DOWNTIME_MS = 1000  # PVE begins with 100 and raises it while memory changes faster than it goes
FAILURE = "online migrate failure - aborting"
_POLL_S = 0.5


def socket(vmid: int) -> str:
    """Where QEMU waits for memory on the other node, and where the tunnel to it begins on this one."""
    return f"{RUN}/{vmid}.migrate"


def migrate(machine: Machine, guest: Guest, target: str, log: Say) -> None:
    """ApiError where it does not succeed; the machine then runs on here, and the other node has none."""
    peer = Peer(machine, target)
    with locks.held(machine, guest):
        config = files.load(machine, guest)
        locks.check(guest, config)
        migration.shared_volumes(machine, config, target)
        log(f"starting migration of {guest} to node '{target}' ({peer.address})")
        with migration.marked(machine, guest, config):
            log(f"starting {guest} on remote node '{target}'")
            peer.task(guest, "status/start", migratedfrom=machine.node, stateuri="unix", skiplock=1)
            try:
                with tunnel(machine, guest.vmid, peer):
                    _send(machine, guest.vmid, log)
                moved = files.move(machine, guest, target)
            except BaseException:
                _take_back(machine, guest, peer, log)
                raise
            try:
                peer.task(moved, "status/resume", skiplock=1)
            finally:
                machines.end(machine, guest)
    log("migration finished successfully")


def _take_back(machine: Machine, guest: Guest, peer: Peer, log: Say) -> None:
    """Go on here and end what waits over there."""
    log("aborting phase 2 - cleanup resources")
    with contextlib.suppress(ApiError):
        qmp.ask(machine, guest.vmid, "migrate_cancel")
        if qmp.ask(machine, guest.vmid, "query-status")["status"] == "postmigrate":
            qmp.ask(machine, guest.vmid, "cont")
    with contextlib.suppress(ApiError):
        peer.task(guest, "status/stop", migratedfrom=machine.node, skiplock=1)


def _send(machine: Machine, vmid: int, log: Say) -> None:
    """Send the memory until all of it is over there."""
    uri = f"unix:{machine.file(socket(vmid))}"
    log(f"start migrate command to {uri}")
    qmp.ask(machine, vmid, "migrate-set-parameters", **{"downtime-limit": DOWNTIME_MS})
    qmp.ask(machine, vmid, "migrate", uri=uri)
    deadline = time.monotonic() + MEMORY_DEADLINE_S
    while time.monotonic() < deadline:
        state = qmp.ask(machine, vmid, "query-migrate")
        if state.get("status") == "completed":
            log(f"migration status: completed, downtime {state.get('downtime', 0)} ms")
            return
        if state.get("status") in ("failed", "cancelled"):
            raise ApiError(500, f"{FAILURE}: {state.get('error-desc', state['status'])}")
        time.sleep(_POLL_S)
    raise ApiError(500, f"{FAILURE}: not done within {MEMORY_DEADLINE_S:g} s")


@contextmanager
def tunnel(machine: Machine, vmid: int, peer: Peer) -> Iterator[None]:
    """An SSH connection that carries what is written to the socket here to the one over there."""
    unit = f"qm-tunnel-{vmid}"
    path = machine.file(socket(vmid))
    path.unlink(missing_ok=True)
    known = f"/etc/pve/nodes/{peer.node}/ssh_known_hosts"
    options = {
        "BatchMode": "yes",
        "HostKeyAlias": peer.node,
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "none",
        "ExitOnForwardFailure": "yes",
    }
    ssh = ["ssh", "-N", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    ssh += ["-L", f"{path}:{socket(vmid)}", f"root@{peer.address}"]
    machine.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", *ssh])
    try:
        deadline = time.monotonic() + TUNNEL_DEADLINE_S
        while not path.exists():
            if time.monotonic() > deadline:
                raise ApiError(500, f"no SSH tunnel to node '{peer.node}' within {TUNNEL_DEADLINE_S:g} s")
            time.sleep(_POLL_S)
        yield
    finally:
        machine.run(["systemctl", "stop", unit], check=False)
        path.unlink(missing_ok=True)
