"""Hands installer images to BMCs over HTTP: one address, unguessable paths, only the files that were
published.
"""

from __future__ import annotations

import contextlib
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from cluster.errors import RackproofError

_CHUNK = 1 << 18
_STALLED_S = 120  # a BMC that takes no byte for so long has gone away

Observer = Callable[[str, str, str, float], None]


class MediaError(RackproofError):
    """The server cannot listen, or the file cannot be served."""


class MediaServer:
    """Serves published files of `folder` on `address` only, while the `with` block lasts.

    `tls` (certificate, key) serves HTTPS; most BMCs cannot verify a private authority, hence plain HTTP by
    default.
    """

    def __init__(
        self,
        folder: Path,
        address: IPv4Address | str,
        *,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.address = str(address)
        self._port = port
        self._tls = tls
        self._observer = observer
        self._token = secrets.token_urlsafe(24)
        self._published: dict[str, Path] = {}
        self._sent: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> MediaServer:
        try:
            server = ThreadingHTTPServer((self.address, self._port), partial(_Handler, self))
        except OSError as error:
            raise MediaError(
                f"the media server cannot listen on {self.address} (medium.serve_from): {error.strerror}"
            ) from None
        server.daemon_threads = True
        if self._tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self._tls)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def publish(self, name: str) -> str:
        """Serve the file `name` of the folder and return its URL. Raises `MediaError` where there is no such
        file.
        """
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder) or not path.is_file():
            raise MediaError(f"{name} cannot be served to the BMCs: no such file in {self.folder}")
        if self._server is None:
            raise MediaError(
                f"{name} cannot be served to the BMCs: the media server on {self.address} does not run"
            )
        with self._lock:
            self._published[f"/{self._token}/{quote(name)}"] = path
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self.address}:{self._server.server_address[1]}/{self._token}/{quote(name)}"

    def sent(self, name: str) -> int:
        """Bytes of the file that were sent so far, all requests together: for progress."""
        with self._lock:
            return self._sent.get(name, 0)

    def _find(self, path: str) -> Path | None:
        with self._lock:
            return self._published.get(path)

    def _count(self, name: str, sent: int) -> None:
        with self._lock:
            self._sent[name] = self._sent.get(name, 0) + sent

    def _log(self, client: str, request: str, outcome: str, seconds: float) -> None:
        if self._observer is not None:
            self._observer("media", f"{client} {request.replace(self._token, '...')}", outcome, seconds)


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of published paths, with byte ranges (RFC 9110, section 14): some BMCs read the image
    piece by piece.
    """

    protocol_version = "HTTP/1.1"
    timeout = _STALLED_S
    disable_nagle_algorithm = True

    def __init__(self, media: MediaServer, *args: Any, **kwargs: Any) -> None:
        self._media = media
        super().__init__(*args, **kwargs)

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to the transcript, not to standard error."""

    def _serve(self, *, body: bool) -> None:
        begin = time.monotonic()
        path = self._media._find(self.path)
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            self._media._log(self.client_address[0], f"{self.command} an unpublished path", "404", 0.0)
            return
        size = path.stat().st_size
        try:
            part = _byte_range(self.headers.get("Range"), size)
        except ValueError:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, length = part or (0, size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
        if part:
            self.send_header("Content-Range", f"bytes {first}-{first + length - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        sent = self._send(path, first, length) if body else 0
        outcome = f"{sent} of {length if body else 0} bytes from {first}"
        self._media._log(
            self.client_address[0], f"{self.command} {self.path}", outcome, time.monotonic() - begin
        )

    def _send(self, path: Path, first: int, length: int) -> int:
        sent = 0
        with path.open("rb") as file, contextlib.suppress(ConnectionError, TimeoutError):
            file.seek(first)
            while sent < length and (block := file.read(min(_CHUNK, length - sent))):
                self.wfile.write(block)
                sent += len(block)
                self._media._count(path.name, len(block))
        if sent < length:
            self.close_connection = True
        return sent


def _byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """`bytes=0-99`, `bytes=100-`, `bytes=-5` -> (first, length); None: the whole file. ValueError: cannot be
    satisfied.

    Several ranges at once may be answered with the whole file.
    """
    if header is None or not header.startswith("bytes=") or "," in header:
        return None
    start, dash, end = header.removeprefix("bytes=").strip().partition("-")
    if not dash or not (start + end).isdigit():
        return None
    if not start:
        first, last = max(0, size - int(end)), size - 1
    else:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
    if first > last:
        raise ValueError(header)
    return first, last - first + 1
