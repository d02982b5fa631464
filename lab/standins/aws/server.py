"""The daemon: `python -m lab.standins.aws.server CONFIG`. It listens only when the account is complete.

CONFIG is a JSON file (mode 0600) that `prepare` writes; no secret stands on the command line.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import ThreadedWSGIServer

from lab.standins.aws import seeding, transport
from lab.standins.aws.accounts import RootKey
from lab.standins.aws.gate import Application, Gate
from lab.standins.aws.tree import Parameter

REQUEST_TIMEOUT_S = 120


class _Handler(MotoRequestHandler):
    """moto's handler with a bound on how long a client may stay silent."""

    timeout = REQUEST_TIMEOUT_S
    protocol_version = "HTTP/1.1"


class _TlsServer(ThreadedWSGIServer):
    """Shakes hands in the thread of the connection: a client that connects and says nothing blocks nobody."""

    def __init__(self, host: str, port: int, application: Application, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, application, handler=_Handler)
        self.ssl_context = tls  # read by werkzeug for the URL scheme

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address


def application(order: seeding.Order, root: RootKey, snapshot: Path) -> Gate:
    """The gate before a fresh, seeded account. The snapshot is rewritten after each change of a parameter."""
    lock = threading.Lock()
    settled = threading.Event()

    def changed() -> None:
        if settled.is_set():
            with lock:
                seeding.remember(order.parameters, order.region, snapshot)

    gate = Gate(DomainDispatcherApplication(create_backend_app), root, changed)

    def client_of(service: str) -> Any:
        return transport.client(
            gate, service, region=order.region, access_key=root.access_key, secret=root.secret
        )

    seeding.account(order, client_of, snapshot)
    settled.set()
    return gate


def order_from(config: dict[str, Any]) -> tuple[seeding.Order, RootKey, Path]:
    """What `prepare` wrote, typed."""
    order = seeding.Order(
        region=config["region"],
        domain=config["domain"],
        hosts=tuple(config["hosts"]),
        operator_key=(config["operator"]["access_key"], config["operator"]["secret"]),
        backup_key=config["backup_key"],
        parameters=tuple(Parameter(**entry) for entry in config["parameters"]),
    )
    return order, RootKey(**config["root"]), Path(config["snapshot"])


def serve(host: str, port: int, gate: Application, cert: str, key: str) -> _TlsServer:
    """A server that is bound and ready for `serve_forever`; with an empty `cert` it speaks plain HTTP."""
    tls = None
    if cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(cert, key)
    return _TlsServer(host, port, gate, tls)


def main(arguments: list[str]) -> int:
    """Serve until terminated."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    gate = application(*order_from(config))
    serve(config["host"], config["port"], gate, config["cert"], config["key"]).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
