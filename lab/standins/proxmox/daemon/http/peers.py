"""Another node's API as root@pam, with a ticket that the cluster's key signs: root of a member may."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from ..config import members
from . import client, tickets
from .errors import ApiError
from .machine import Machine

CHUNK = 64 * 1024
FORM = "application/x-www-form-urlencoded"


def headers(machine: Machine) -> dict[str, str]:
    """What logs a request in as root@pam."""
    return {
        "Cookie": f"PVEAuthCookie={quote(tickets.issue(machine, 'root@pam'), safe='')}",
        "CSRFPreventionToken": tickets.csrf(machine, "root@pam"),
    }


def call(
    machine: Machine,
    node: str,
    method: str,
    path: str,
    params: Mapping[str, Any] | None = None,
    *,
    timeout_s: float,
) -> Any:
    """The answer's data. ApiError as the node answered it; 595 and 596 where it does not."""
    target = quote(path, safe="/:@!")
    form = urlencode(dict(params or {}), doseq=True)
    more = headers(machine)
    body = form if method in ("POST", "PUT") else None
    if body is not None:
        more["Content-Type"] = FORM
    elif form:
        target += f"?{form}"
    return _exchanged(machine, node, method, target, body, more, timeout_s)


def send_file(
    machine: Machine, node: str, path: str, fields: Mapping[str, str], file: Path, *, timeout_s: float
) -> Any:
    """A form in parts, a file called `filename` as its last one; the answer's data, as `call`."""
    mark = secrets.token_hex(16)
    name = fields["filename"]
    begin = "".join(
        f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
        if key != "filename"
    )
    begin += f'--{mark}\r\nContent-Disposition: form-data; name="filename"; filename="{name}"\r\n'
    begin += "Content-Type: application/octet-stream\r\n\r\n"
    parts = begin.encode(), f"\r\n--{mark}--\r\n".encode()
    more = {
        **headers(machine),
        "Content-Type": f"multipart/form-data; boundary={mark}",
        "Content-Length": str(sum(map(len, parts)) + file.stat().st_size),
    }
    with file.open("rb") as stream:
        body = chain(parts[:1], iter(lambda: stream.read(CHUNK), b""), parts[1:])
        return _exchanged(machine, node, "POST", quote(path, safe="/:@!"), body, more, timeout_s)


def _exchanged(
    machine: Machine,
    node: str,
    method: str,
    target: str,
    body: str | Iterable[bytes] | None,
    more: Mapping[str, str],
    timeout_s: float,
) -> Any:
    connection = client.by_ca(machine, members.address(machine, node), timeout_s)
    try:
        connection.request(method, f"/api2/json{target}", body, dict(more))
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, HTTPException) as error:
        raise client.unreachable(error) from error
    finally:
        connection.close()
    said = json.loads(raw) if raw else {}
    if answer.status != 200:
        raise ApiError(answer.status, answer.reason, said.get("errors"))
    return said["data"]
