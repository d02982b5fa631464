"""One request from its path to its answer: who asks, which endpoint, may they, which node, with what."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..config import members
from . import access, client
from .errors import ApiError, ParameterError
from .machine import Machine
from .parameters import validate
from .registry import Call, Endpoint, Reply, find

PREFIX = "/api2/json"
PROXY_TIMEOUT_S = 60.0  # pveproxy's are 30 s; emulated nodes are ten times slower
PROXIED = "pvedisableproxy"


@dataclass(frozen=True)
class Request:
    """`headers` with names in lower case, `target` as it stands in the request line."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    client: str = "127.0.0.1"
    #: of a form in parts: its fields, the file's place among them (upload.py)
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """`body` empty = none (as pveproxy answers where nobody is logged in)."""

    status: int
    reason: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(machine: Machine, request: Request) -> Answer:
    """Never raises: whatever dies is a 500 with its text, as on a real node."""
    try:
        return _served(machine, request)
    except ApiError as error:
        return refusal(error)
    except Exception as error:  # noqa: BLE001 - a daemon outlives what one request does
        traceback.print_exc(file=sys.stderr)
        return refusal(ApiError(500, str(error) or type(error).__name__))


def refusal(error: ApiError) -> Answer:
    """An error as the wire has it."""
    reason = " ".join(error.message.split())
    if (error.status == 401 and reason in ("No ticket", "Authentication failed!")) or error.status >= 595:
        return Answer(error.status, reason, b"")
    body: dict[str, Any] = {"data": None, "message": f"{error.message}\n"}
    if error.errors:
        body["errors"] = error.errors
    return Answer(error.status, reason, json.dumps(body).encode())


def admit_upload(machine: Machine, request: Request) -> None:
    """ApiError unless the request, of which only the head is there, may send a file where it does."""
    endpoint, _, _ = _admitted(machine, request)
    if not endpoint.path.endswith("/upload"):
        kind = request.headers.get("content-type", "").partition(";")[0]
        raise ApiError(501, f"upload of '{kind}' not implemented")


def _admitted(machine: Machine, request: Request) -> tuple[Endpoint, dict[str, str], access.Identity]:
    """What is asked for, the parameters in the path, and who asks; ApiError where they may not."""
    path = urlsplit(request.target).path
    if not path.startswith(f"{PREFIX}/"):
        raise ApiError(404 if not path.startswith("/api2/") else 501, f"no such file '{path}'")
    path = path.removeprefix(PREFIX).rstrip("/") or "/"
    try:
        endpoint, in_path = find(request.method, unquote(path))
    except ApiError:
        access.identify(machine, request.headers, request.method)  # 401 comes before 501
        raise
    if endpoint.permissions == "world":
        return endpoint, in_path, access.Identity("")
    who = access.identify(machine, request.headers, request.method)
    access.authorize(machine, endpoint, who, in_path)
    return endpoint, in_path, who


def _served(machine: Machine, request: Request) -> Answer:
    endpoint, in_path, who = _admitted(machine, request)
    node = in_path.get("node", "")
    if endpoint.proxy_to_node and node not in ("localhost", machine.node):
        return _proxied(machine, request, node)
    data = handle(machine, endpoint, who.user, in_path, parameters(request), request.client)
    extra = data.extra if isinstance(data, Reply) else {}
    body = {"data": data.data if isinstance(data, Reply) else data, **extra}
    return Answer(200, "OK", json.dumps(body).encode())


def handle(
    machine: Machine,
    endpoint: Endpoint,
    user: str,
    in_path: Mapping[str, str],
    given: Mapping[str, Any],
    client_address: str = "127.0.0.1",
    local: bool = False,
) -> Any:
    """Check the parameters and call the handler; `local` = the node's own command line."""
    schemas = {
        **{name: PATH_SCHEMAS.get(name, {"type": "string"}) for name in endpoint.names},
        **endpoint.parameters,
    }
    params = validate(schemas, {**given, **in_path})
    place = {
        name: machine.node if name == "node" and in_path[name] == "localhost" else in_path[name]
        for name in in_path
    }
    return endpoint.handler(Call(machine, user, place, params, client_address, local))


PATH_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "node": {"type": "string", "format": "pve-node"},
    "storage": {"type": "string", "format": "pve-storage-id"},
    "userid": {"type": "string", "format": "pve-userid", "maxLength": 64},
    "tokenid": {"type": "string", "pattern": r"[A-Za-z][A-Za-z0-9.\-_]+"},
    "upid": {"type": "string"},
    "vmid": {"type": "integer", "minimum": 100, "maximum": 999999999},
}


def parameters(request: Request) -> dict[str, Any]:
    """From the query and the body (form or JSON); a name that comes twice is a list."""
    if request.form:
        return dict(request.form)
    pairs = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    found: dict[str, Any] = {}
    if request.body and kind == "application/json":
        try:
            given = json.loads(request.body)
        except ValueError as error:
            raise ApiError(400, f"JSON parse error: {error}") from error
        if not isinstance(given, dict):
            raise ApiError(400, "JSON parse error: an object was expected")
        found = given
    elif request.body and kind in ("application/x-www-form-urlencoded", ""):
        try:
            text = request.body.decode()
        except UnicodeDecodeError as error:
            raise ParameterError(body="not UTF-8") from error
        for name, values in parse_qs(text, keep_blank_values=True).items():
            pairs.setdefault(name, []).extend(values)
    elif request.body:
        raise ApiError(501, f"upload of '{kind}' not implemented")
    return {**{name: values if len(values) > 1 else values[0] for name, values in pairs.items()}, **found}


def _proxied(machine: Machine, request: Request, node: str) -> Answer:
    """Hand the request on to the node that it names, over TLS checked by the cluster's CA."""
    if PROXIED in request.headers:
        raise ApiError(500, f"proxy loop: this node is '{machine.node}', not '{node}'")
    host = members.address(machine, node)
    kept = ("authorization", "cookie", "csrfpreventiontoken", "content-type")
    headers = {name: request.headers[name] for name in kept if name in request.headers}
    connection = client.by_ca(machine, host, PROXY_TIMEOUT_S)
    try:
        connection.request(request.method, request.target, request.body or None, {**headers, PROXIED: "true"})
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.read())
    except (OSError, HTTPException) as error:
        raise client.unreachable(error) from error
    finally:
        connection.close()
