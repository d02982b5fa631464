"""Files that clients send: a form in parts (RFC 7578), the file's part written to disk as it comes.

As pveproxy does it: the file must be the last part, is called `filename`, and lies under /var/tmp until the
endpoint has put it where it belongs.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import BinaryIO, Protocol

from .errors import ApiError
from .machine import Machine

FOLDER = "/var/tmp"  # noqa: S108 - PVE's own place; names are not to be guessed
PREFIX = "pveupload-"
MAX_FIELD = 64 * 1024  # bytes
CHUNK = 64 * 1024
_DISPOSITION = re.compile(rb'^content-disposition:\s*form-data;.*?\bname="([^"]+)"', re.I | re.M)
_FILENAME = re.compile(rb'\bfilename="([^"]*)"', re.I)


class Readable(Protocol):
    """What a request's body is read from."""

    def read(self, size: int, /) -> bytes: ...


class _Body:
    """Reads so many bytes of a stream, and no further, up to a boundary."""

    def __init__(self, stream: Readable, length: int) -> None:
        self._stream = stream
        self._left = length
        self._held = b""

    def _fill(self) -> bool:
        chunk = self._stream.read(min(CHUNK, self._left)) if self._left else b""
        self._left -= len(chunk)
        self._held += chunk
        return bool(chunk)

    def until(self, mark: bytes, limit: int) -> bytes:
        """What stands before `mark`, which is taken as well. ApiError 400 beyond the limit or at the end."""
        while mark not in self._held:
            if len(self._held) > limit or not self._fill():
                raise ApiError(400, "upload failed - a part of the form does not end")
        found, _, self._held = self._held.partition(mark)
        return found

    def copy(self, mark: bytes, sink: BinaryIO) -> None:
        """Write what stands before `mark`; ApiError 400 where the body ends first."""
        while mark not in self._held:
            safe = max(0, len(self._held) - len(mark))
            sink.write(self._held[:safe])
            self._held = self._held[safe:]
            if not self._fill():
                raise ApiError(400, "upload failed - the file does not end")
        found, _, self._held = self._held.partition(mark)
        sink.write(found)

    def drain(self) -> None:
        """Read the rest, so that the next request on the connection begins where it should."""
        self._held = b""
        while self._fill():
            self._held = b""


def receive(machine: Machine, stream: Readable, length: int, content_type: str) -> dict[str, str]:
    """The form's fields; the file's as `filename`, and where it lies as `tmpfilename`.

    ApiError 400 for what is no such form; nothing is left on disk then.
    """
    boundary = re.search(r'boundary="?([^";,\s]+)', content_type)
    if boundary is None:
        raise ApiError(400, "upload failed - no boundary")
    body, mark = _Body(stream, length), b"--" + boundary[1].encode()
    fields: dict[str, str] = {}
    try:
        body.until(mark, CHUNK)
        while body.until(b"\r\n", CHUNK) != b"--":
            head = body.until(b"\r\n\r\n", CHUNK)
            name = _DISPOSITION.search(head)
            if name is None:
                raise ApiError(400, "upload failed - a part of the form has no name")
            if (file := _FILENAME.search(head)) is None:
                fields[name[1].decode()] = body.until(b"\r\n" + mark, MAX_FIELD).decode()
                continue
            fields |= _file(machine, body, b"\r\n" + mark, file[1].decode())
            break
        body.drain()
    except (ApiError, OSError, UnicodeDecodeError):
        discard(machine, fields)
        raise
    return fields


def _file(machine: Machine, body: _Body, mark: bytes, name: str) -> dict[str, str]:
    place = f"{FOLDER}/{PREFIX}{secrets.token_hex(16)}"
    machine.file(FOLDER).mkdir(parents=True, exist_ok=True)
    found = {"filename": name, "tmpfilename": place}
    try:
        with machine.file(place).open("xb") as sink:
            machine.file(place).chmod(0o600)
            body.copy(mark, sink)
    except (ApiError, OSError):
        discard(machine, found)
        raise
    return found


def discard(machine: Machine, fields: Mapping[str, str]) -> None:
    """Remove a file that nobody took."""
    if place := fields.get("tmpfilename"):
        machine.file(place).unlink(missing_ok=True)
