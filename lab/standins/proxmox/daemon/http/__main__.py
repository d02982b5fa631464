"""The daemon: `python3 -m pve_standin.http`, unit pveproxy.service. SIGHUP reads the certificate again."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time

from .. import endpoints
from ..config import certificates
from .errors import ApiError
from .machine import Machine
from .server import Server

WAIT_FOR_CERTIFICATE_S = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="pveproxy", description=__doc__)
    parser.add_argument("--node", default=socket.gethostname().partition(".")[0], help="this node's name")
    parser.add_argument("--root", default="/", help="root folder (for trials)")
    parser.add_argument("--listen", default="0.0.0.0", help="address to listen at")  # noqa: S104
    parser.add_argument("--port", type=int, default=8006)
    arguments = parser.parse_args()
    machine = Machine(arguments.node, arguments.root, arguments.port)
    endpoints.load()
    if not _certificate(machine):
        return 1
    Server.address_family = socket.AF_INET6 if ":" in arguments.listen else socket.AF_INET
    server = Server((arguments.listen, arguments.port), machine, lambda: certificates.context(machine))
    signal.signal(signal.SIGHUP, lambda *_: server.renew())
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"{machine.node}: API on port {arguments.port}", flush=True)
    _ready()
    server.serve_forever(poll_interval=1.0)
    return 0


def _certificate(machine: Machine) -> bool:
    """Make the certificate at the first start. A node that comes up without quorum serves the one it has."""
    deadline = time.monotonic() + WAIT_FOR_CERTIFICATE_S
    while True:
        try:
            certificates.ensure(machine)
            return True
        except (ApiError, OSError) as error:
            if machine.file(certificates.certificate(machine.node)).exists():
                print(f"certificate kept: {error}", file=sys.stderr)
                return True
            if time.monotonic() > deadline:
                print(f"no certificate within {WAIT_FOR_CERTIFICATE_S:g} s: {error}", file=sys.stderr)
                return False
            time.sleep(2)


def _ready() -> None:
    """Tell systemd (Type=notify)."""
    if place := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", f"\0{place[1:]}" if place.startswith("@") else place)


if __name__ == "__main__":
    sys.exit(main())
