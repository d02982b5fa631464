"""A webhook's server and a mail server on loopback, with TLS, that keep what they were sent."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Received:
    """What came in. `answers`: status of each answer in turn, the last one for good."""

    answers: list[int]
    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def answer(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class Hook:
    """An https server that answers every POST."""

    def __init__(self, certificate: Path, key: Path, *answers: int) -> None:
        received = self.received = Received(list(answers) or [200])

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.paths.append(self.path)
                received.bodies.append(json.loads(body))
                status = received.answer()
                self.send_response(status)
                if status in (301, 302, 307, 308):
                    self.send_header("Location", "https://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                received.paths.append(f"GET {self.path}")
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = server_tls(certificate, key).wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Smtp(socketserver.StreamRequestHandler):
    """One client of a `MailServer`."""

    server: _SmtpServer

    def handle(self) -> None:
        self.safe = False
        if self.server.outer.tls_at_once:
            self.wrap()
        self.say("220 fake")
        while line := self.rfile.readline().decode().strip():
            self.server.outer.said.append(f"{'tls' if self.safe else 'plain'} {line}")
            verb = line.split()[0].upper()
            self.answer(verb)
            if verb == "QUIT":
                return

    def wrap(self) -> None:
        self.connection = self.server.outer.context.wrap_socket(self.request, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]
        self.safe = True

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def answer(self, verb: str) -> None:
        do = {"STARTTLS": self.start_tls, "DATA": self.data}
        extension = "AUTH PLAIN LOGIN" if self.safe else "STARTTLS"
        answers = {"EHLO": f"250-fake\r\n250 {extension}", "AUTH": "235 welcome", "QUIT": "221 bye"}
        refused = self.server.outer.refuse.get(verb)
        if refused is None and verb in do:
            do[verb]()
        else:
            self.say(refused or answers.get(verb, "250 ok"))

    def start_tls(self) -> None:
        self.say("220 go")
        self.wrap()

    def data(self) -> None:
        self.say("354 go")
        lines = []
        while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
            lines.append(text)
        self.server.outer.mails.append("\n".join(lines))
        self.say("250 taken")


class _SmtpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    outer: MailServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that refuses our certificate hangs up


class MailServer:
    """SMTP with STARTTLS (or TLS at once), AUTH PLAIN and LOGIN; `refuse` maps a verb to its answer."""

    def __init__(
        self, certificate: Path, key: Path, *, tls_at_once: bool = False, refuse: dict[str, str] | None = None
    ) -> None:
        self.mails: list[str] = []
        self.said: list[str] = []
        """Every line of a client with whether it came through TLS."""
        self.tls_at_once = tls_at_once
        self.refuse = refuse or {}
        self.context = server_tls(certificate, key)
        self._server = _SmtpServer(("127.0.0.1", 0), _Smtp)
        self._server.outer = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.port = int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
