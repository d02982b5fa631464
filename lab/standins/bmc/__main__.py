"""`python -m lab.standins.bmc --server NAME --state FOLDER`: one BMC, in the foreground."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path
from typing import Any

from sushy_tools.emulator.resources.systems import libvirtdriver
from werkzeug.serving import WSGIRequestHandler, make_server

from lab import rack as racks
from lab.bmc import accounts_file
from lab.paths import State
from lab.rack import Rack, Server
from lab.servers import URI
from lab.standins.bmc.eventlog import EventLog
from lab.standins.bmc.inventory import Inventory
from lab.standins.bmc.machine import Machine
from lab.standins.bmc.service import Service, application
from lab.standins.bmc.sessions import Authentication, Sessions
from lab.standins.bmc.watch import BootOverride, Watch


def build(rack: Rack, state: State, server: Server) -> Any:
    """The WSGI application of one BMC."""
    folder = state.bmc / server.name
    Machine.images, Machine.own = folder / "images", server.uuid
    libvirtdriver.LibvirtDriver = Machine  # where sushy-tools looks its driver up
    app = application()
    app.configure(
        extra_config={
            "SUSHY_EMULATOR_LIBVIRT_URI": URI,
            "SUSHY_EMULATOR_STATE_DIR": str(folder),
            "SUSHY_EMULATOR_VMEDIA_DEVICES": {"Cd": {"Name": "Virtual CD", "MediaTypes": ["CD", "DVD"]}},
            "SUSHY_EMULATOR_CHASSIS": [{"Id": server.serial, "Name": server.name, "UUID": server.uuid}],
        }
    )
    override = BootOverride(folder / "boot-override.json")
    log = EventLog(folder / "events.jsonl")
    watch = Watch(URI, server.uuid, log, override, folder / "last-reset")
    sessions = Sessions(str(accounts_file(state, server)))
    Service(app, server.uuid, Inventory(rack, state, server), log, override, watch, sessions)
    app.wsgi_app = Authentication(app.wsgi_app, str(accounts_file(state, server)), sessions)
    return app


class Handler(WSGIRequestHandler):
    """Keeps connections open between requests, as BMCs do."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # of an idle connection, in seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.standins.bmc", description="the BMC of one server")
    parser.add_argument("--server", required=True)
    parser.add_argument("--state", required=True, type=Path)
    arguments = parser.parse_args()
    rack, state = racks.load(), State(arguments.state)
    server = rack.find(arguments.server)
    app = build(rack, state, server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(state.tls / f"bmc-{server.name}.pem", state.tls / f"bmc-{server.name}.key")
    service = make_server(server.bmc, rack.oob.bmc_port, app, threaded=True, request_handler=Handler)
    # The handshake belongs to the request's thread: a client that stalls in it must not hold up the others.
    service.socket = context.wrap_socket(service.socket, server_side=True, do_handshake_on_connect=False)
    service.serve_forever()


if __name__ == "__main__":
    main()
