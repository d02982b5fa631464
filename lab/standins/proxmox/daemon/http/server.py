"""The HTTPS server on port 8006: a thread for each connection, TLS in that thread, all waits bounded."""

from __future__ import annotations

import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

from . import upload
from .dispatch import Answer, Request, admit_upload, answer, refusal
from .errors import ApiError
from .machine import Machine

MAX_BODY = 512 * 1024  # bytes, pveproxy's limit for what is no upload
MAX_DRAINED = 16 * MAX_BODY
IDLE_S = 30.0  # a connection without a request
HANDSHAKE_S = 20.0
MAX_CONNECTIONS = 200  # pveproxy: max_conn


class Server(ThreadingHTTPServer):
    """`renew` puts a new certificate in place; connections from before are closed after their next answer."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], machine: Machine, make_context: Callable[[], ssl.SSLContext],
        refusal_delay_s: float = 3.0,
    ) -> None:  # fmt: skip
        self.machine = machine
        self.refusal_delay_s = refusal_delay_s
        self._make_context = make_context
        self.context = make_context()
        self.generation = 0
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, Handler)

    def renew(self) -> None:
        """Read certificate and key again; the old ones stay where the new cannot be read."""
        try:
            self.context = self._make_context()
            self.generation += 1
        except (OSError, ssl.SSLError) as error:
            sys.stderr.write(f"certificate not renewed: {error}\n")

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            request.settimeout(HANDSHAKE_S)
            secured = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=True)
        except (OSError, ssl.SSLError):
            self.shutdown_request(request)  # a port scan, a client without TLS, or one that distrusts us
        else:
            super().process_request_thread(secured, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A client that hangs up is none of our errors."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | ssl.SSLError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """From the wire to dispatch.answer and back."""

    protocol_version = "HTTP/1.1"
    server_version = "pve-api-daemon/3.0"
    sys_version = ""
    timeout = IDLE_S
    server: Server

    def setup(self) -> None:
        super().setup()
        self._generation = self.server.generation

    def _serve(self) -> None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if self.headers.get("Content-Type", "").startswith("multipart/form-data") and length > 0:
            self._answered(self._upload(length))
            return
        if not 0 <= length <= MAX_BODY or "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.close_connection = True
            if MAX_BODY < length <= MAX_DRAINED:
                self.rfile.read(length)  # a client that still sends would not read the answer
            self._send(Answer(501 if length <= MAX_BODY else 413, "for data too large", b""))
            return
        body = self.rfile.read(length) if length else b""
        self._answered(answer(self.server.machine, replace(self._head(), body=body)))

    def _head(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, headers, client=self.client_address[0])

    def _upload(self, length: int) -> Answer:
        """A file of any length, taken to disk once it is clear that its sender may send it."""
        machine, request = self.server.machine, self._head()
        try:
            admit_upload(machine, request)
        except ApiError as error:
            self.close_connection = True
            self.rfile.read(min(length, MAX_DRAINED))  # a client that still sends would not read the answer
            return refusal(error)
        try:
            form = upload.receive(machine, self.rfile, length, request.headers["content-type"])
        except (ApiError, OSError) as error:
            self.close_connection = True
            return refusal(error if isinstance(error, ApiError) else ApiError(500, str(error)))
        reply = answer(machine, replace(request, form=form))
        if reply.status != 200:
            upload.discard(machine, form)
        return reply

    def _answered(self, reply: Answer) -> None:
        if reply.status == 401:
            time.sleep(self.server.refusal_delay_s)
        if self._generation != self.server.generation:
            self.close_connection = True
        self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def _send(self, reply: Answer) -> None:
        reason = reply.reason.encode("latin-1", "replace").decode("latin-1")
        self.send_response(reply.status, reason)
        self.send_header("Cache-Control", "max-age=0")
        self.send_header("Pragma", "no-cache")
        if reply.body:
            self.send_header("Content-Type", "application/json;charset=UTF-8")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """One line for each request, without its parameters: they may hold passwords."""
        if format == '"%s" %s %s' and len(args) == 3:
            target = str(args[0]).partition("?")[0].removesuffix(" HTTP/1.1")
            sys.stderr.write(f"{self.client_address[0]} {target} {args[1]}\n")
