"""The API of Proxmox VE on loopback, as a client sees it: tickets, CSRF tokens, tasks, its error shapes."""

from __future__ import annotations

import email
import email.policy
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

USER, PASSWORD = "root@pam", "pass word"
UPID = "UPID:node1:00001843:00016063:6A92B700:clusterjoin::root@pam:"


@dataclass
class FakePve:
    """Runs while the `with` block lasts; `log` is each request as (method, path, parameters)."""

    certificate: Path
    key: Path
    ticket: str = "PVE:root@pam:1"
    exit_status: str = "OK"
    polls: int = 1  # a task runs for so many questions after it
    task_lines: tuple[str, ...] = ("Login succeeded.", "waiting for quorum...OK")
    answers: dict[tuple[str, str], tuple[int, str, Any]] = field(default_factory=dict)
    login_status: int = 200
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    silent: int = 0  # so many connections are closed without an answer

    def __enter__(self) -> FakePve:
        fake = self

        class Handler(_Handler):
            pve = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.trust(self.certificate, self.key)
        self._plain = self._server.socket
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def trust(self, certificate: Path, key: Path) -> None:
        """Shows this certificate from the next connection on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = self._server
        plain = getattr(self, "_plain", None) or server.socket
        original = type(server).get_request

        def get_request() -> Any:
            connection, address = original(server)
            return context.wrap_socket(connection, server_side=True), address

        server.get_request = get_request  # type: ignore[method-assign]
        self._plain = plain

    def paths(self, method: str) -> list[str]:
        """Paths asked by one method, in order."""
        return [path for known, path, _ in self.log if known == method]


def _parts(kind: str, body: bytes) -> dict[str, str]:
    """Fields of a form; a file as its name and, under `content of NAME`, as what it holds."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    found: dict[str, str] = {}
    for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        text = content.decode() if isinstance(content, bytes) else ""
        if part.get_filename() is not None:
            found[f"content of {name}"] = text
        found[name] = part.get_filename() or text
    return found


class _Handler(BaseHTTPRequestHandler):
    pve: FakePve
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def handle(self) -> None:
        if self.pve.silent:
            self.pve.silent -= 1
            return
        super().handle()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        path = url.path.removeprefix("/api2/json/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get_content_type() == "multipart/form-data":
            values = _parts(self.headers["Content-Type"], body)
        else:
            values = dict(parse_qsl(body.decode() or url.query, keep_blank_values=True))
        self.pve.log.append((self.command, path, values))
        if path == "access/ticket":
            self._login(values)
        elif self.headers.get("Cookie") != f"PVEAuthCookie={self.pve.ticket}":
            self._answer(401, "Authentication failed!", None)
        elif self.command != "GET" and self.headers.get("CSRFPreventionToken") != "1:csrf":
            self._answer(401, "Permission denied - invalid csrf token", None)
        elif path.startswith(f"nodes/node1/tasks/{UPID}"):
            self._task(path.rsplit("/", 1)[1], values)
        else:
            status, reason, data = self.pve.answers.get(
                (self.command, path), (501, f"Method '{self.command} /{path}' not implemented", None)
            )
            self._answer(status, reason, data)

    def _login(self, values: dict[str, str]) -> None:
        if self.pve.login_status != 200:
            self._answer(self.pve.login_status, "Connection refused", None)
        elif (values.get("username"), values.get("password")) != (USER, PASSWORD):
            self._answer(401, "authentication failure", None)
        else:
            self._answer(200, "OK", {"ticket": self.pve.ticket, "CSRFPreventionToken": "1:csrf"})

    def _task(self, what: str, values: dict[str, str]) -> None:
        lines = [{"n": n, "t": text} for n, text in enumerate(self.pve.task_lines, start=1)]
        if what == "log":
            self._answer(200, "OK", lines[int(values.get("start", 0)) :])
            return
        self.pve.polls -= 1
        if self.pve.polls >= 0:
            self._answer(200, "OK", {"upid": UPID, "status": "running"})
        else:
            state = {"upid": UPID, "status": "stopped", "exitstatus": self.pve.exit_status}
            self._answer(200, "OK", state)

    def _answer(self, status: int, reason: str, data: Any) -> None:
        body: dict[str, Any] = {"data": data}
        if status >= 400:
            body = {"data": None, "message": f"{reason}\n"}
            if isinstance(data, dict):
                body["errors"] = data
        text = json.dumps(body).encode()
        self.send_response(status, reason)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
