"""The rack's BMC of one server, on loopback; the server is one of libvirt's test driver.

`python -m tests.provisioners.fencing_bmc SERVER FOLDER`: says its port once it listens, and serves until its
standard input ends. A line on that switches the server past the BMC, `start` or `destroy`; it answers `done`.
"""

from __future__ import annotations

import ssl
import sys
import threading
from pathlib import Path

import libvirt
from werkzeug.serving import make_server

from lab import bmc, servers, tls
from lab import rack as racks
from lab.paths import State
from lab.standins.bmc import __main__ as program

URI = "test:///default"
DOMAIN = """
<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>3072</memory><vcpu>1</vcpu>
<os><type arch='x86_64'>hvm</type><boot dev='hd'/></os>
<devices><disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk></devices></domain>
"""


def main() -> None:
    rack, state = racks.load(), State(Path(sys.argv[2]))
    server = rack.find(sys.argv[1])
    state.create()
    bmc.prepare(rack, state)
    certificate, key = tls.issue(state, "loopback", ["127.0.0.1"])
    connection = libvirt.open(URI)
    servers.connection = lambda: connection  # type: ignore[assignment]
    program.URI = URI
    machine = connection.defineXML(DOMAIN.format(name=server.name, uuid=server.uuid))
    machine.create()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    app = program.build(rack, state, server)
    service = make_server("127.0.0.1", 0, app, threaded=True, request_handler=program.Handler)
    service.socket = context.wrap_socket(service.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    sys.stdout.write(f"{service.server_port}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        getattr(machine, {"start": "create", "destroy": "destroy"}[line.strip()])()
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
