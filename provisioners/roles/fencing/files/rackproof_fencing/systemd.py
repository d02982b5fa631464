"""What systemd is told and asked: that the service lives, and whether this node leaves in good order."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess


def notify(message: str) -> None:
    """READY=1, WATCHDOG=1, STOPPING=1; nothing where systemd does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection, contextlib.suppress(OSError):
        connection.sendto(message.encode(), address)


def leaves_in_good_order() -> bool:
    """Whether Corosync is about to be stopped or restarted: at a shutdown, a reboot, or by hand.

    Its job waits until this service, which is ordered after it, has stopped.
    """
    try:
        listing = subprocess.run(
            ["systemctl", "list-jobs", "--no-legend", "--plain", "corosync.service"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return stops_corosync(listing)


def stops_corosync(listing: str) -> bool:
    """Whether `systemctl list-jobs` (job, unit, type, state) shows that Corosync is to stop."""
    jobs = (line.split() for line in listing.splitlines())
    return any(
        len(job) >= 3 and job[1] == "corosync.service" and job[2] in ("stop", "restart") for job in jobs
    )
