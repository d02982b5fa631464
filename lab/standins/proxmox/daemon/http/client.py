"""Speaks to another node's API: JSON over TLS, the server checked by fingerprint or by the cluster's CA."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlencode

from .errors import ApiError
from .machine import Machine

CA = "/etc/pve/pve-root-ca.pem"


class _Connection(HTTPSConnection):
    """Sends nothing before the server's certificate has the fingerprint that was named."""

    fingerprint = ""

    def connect(self) -> None:
        super().connect()
        certificate = self.sock.getpeercert(True) if isinstance(self.sock, ssl.SSLSocket) else None
        if self.fingerprint and fingerprint(certificate or b"") != self.fingerprint.upper():
            self.close()
            raise ApiError(
                500, "fingerprint 'unknown' not verified, abort!".replace("unknown", self._seen(certificate))
            )

    @staticmethod
    def _seen(certificate: bytes | None) -> str:
        return fingerprint(certificate) if certificate else "none"


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a DER certificate in upper-case pairs with colons."""
    digest = hashlib.sha256(certificate).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def pem_fingerprint(pem: str) -> str:
    return fingerprint(
        ssl.PEM_cert_to_DER_cert(pem.strip()[: pem.strip().find("-----END CERTIFICATE-----") + 25])
    )


def by_ca(machine: Machine, host: str, timeout_s: float) -> HTTPSConnection:
    """A connection to a member of the cluster, its certificate checked against the cluster's CA."""
    context = ssl.create_default_context(cadata=machine.read(CA))
    return HTTPSConnection(host, machine.port, timeout=timeout_s, context=context)


def by_fingerprint(host: str, port: int, wanted: str, timeout_s: float) -> HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the fingerprint decides, before anything is sent
    connection = _Connection(host, port, timeout=timeout_s, context=context)
    connection.fingerprint = wanted
    return connection


class Peer:
    """A session as root@pam with the API of one node."""

    def __init__(self, host: str, port: int, wanted: str, timeout_s: float = 60) -> None:
        self._host, self._port, self._fingerprint, self._timeout_s = host, port, wanted, timeout_s
        self._headers: dict[str, str] = {}

    def login(self, password: str) -> None:
        """Raises ApiError 401 "authentication failure" on a wrong password."""
        data = self.call("POST", "/access/ticket", {"username": "root@pam", "password": password})
        self._headers = {
            "Cookie": f"PVEAuthCookie={quote(data['ticket'], safe='')}",
            "CSRFPreventionToken": data["CSRFPreventionToken"],
        }

    def call(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The answer's data. ApiError with status, reason and errors otherwise; 595 where nobody answers."""
        body = urlencode(dict(params or {})) if method in ("POST", "PUT") else None
        headers = {**self._headers, **({"Content-Type": "application/x-www-form-urlencoded"} if body else {})}
        connection = by_fingerprint(self._host, self._port, self._fingerprint, self._timeout_s)
        try:
            connection.request(method, f"/api2/json{path}", body, headers)
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, HTTPException) as error:
            raise unreachable(error) from error
        finally:
            connection.close()
        return _data(answer, raw)


def _data(answer: HTTPResponse, raw: bytes) -> Any:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        body = {}
    if answer.status != 200:
        raise ApiError(answer.status, answer.reason, body.get("errors"))
    return body.get("data")


def unreachable(error: BaseException) -> ApiError:
    """The pseudo status that pveproxy answers: 595 nobody answers, 596 the answer broke off or TLS failed."""
    if isinstance(error, ssl.SSLError):
        return ApiError(596, f"tls_process_server_certificate: {error.reason or 'certificate verify failed'}")
    if isinstance(error, TimeoutError | socket.timeout):
        return ApiError(595, "Connection timed out")
    if isinstance(error, ConnectionResetError | BrokenPipeError | HTTPException):
        return ApiError(596, "Broken pipe")
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ApiError(595, text or "No route to host")
