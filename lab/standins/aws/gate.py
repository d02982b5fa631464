"""The WSGI application before moto: authenticates, authorizes, keeps AWS's limits, hides plaintext."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable
from typing import Any

from lab.standins.aws import accounts, parameters, signature
from lab.standins.aws.accounts import Caller, RootKey
from lab.standins.aws.authorization import authorize
from lab.standins.aws.calls import Call, Environ, parse
from lab.standins.aws.errors import Refusal, render

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
log = logging.getLogger("rack.aws")

# moto answers these without credentials; AWS has nothing of the kind.
_NOT_AWS = ("/moto-api", "/latest/", "/favicon.ico")


class Gate:
    """IAM before moto. `changed` is called after each successful change of a parameter."""

    def __init__(
        self, application: Application, root: RootKey, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._application = application
        self._root = root
        self._changed = changed

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        protocol, path, head = (
            "rest-xml",
            str(environ.get("PATH_INFO", "")),
            environ["REQUEST_METHOD"] == "HEAD",
        )
        if path.startswith(_NOT_AWS):
            return _send(
                start_response, *render(Refusal("NoSuchKey", "Not Found", 404), protocol, resource=path)
            )
        try:
            call = parse(environ)
            protocol = call.protocol
            caller = self._authenticate(call)
            authorize(call, caller)
            if call.service == "ssm" and call.operation == "PutParameter":
                parameters.check_put(call)
        except Refusal as refusal:
            log.info("refused %s %s: %s", environ["REQUEST_METHOD"], path, refusal.code)
            return _send(start_response, *render(refusal, protocol, resource=path, head=head))
        if call.service == "ssm":
            return self._parameter_store(call, environ, start_response)
        return self._application(environ, start_response)

    def _authenticate(self, call: Call) -> Caller:
        if call.credential is None:
            raise Refusal("MissingAuthenticationToken", "Missing Authentication Token")
        now = datetime.datetime.now(datetime.UTC)
        token = call.headers.get("x-amz-security-token", "")
        caller = accounts.caller(call.credential.access_key, token, self._root, now)
        signature.verify(call, caller.secret, now)
        return caller

    def _parameter_store(
        self, call: Call, environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass an SSM call to moto and finish its answer."""
        status, headers, body = _collect(self._application, environ)
        succeeded = status.startswith("200")
        if succeeded and call.operation in parameters.READS and not call.params.get("WithDecryption"):
            body = parameters.hide_plaintext(call, body)
        if succeeded and call.operation in ("DeleteParameter", "DeleteParameters"):
            for name in call.params.get("Names") or [call.params.get("Name", "")]:
                parameters.forget(call.region, str(name))
        if succeeded and call.operation in ("PutParameter", "DeleteParameter", "DeleteParameters"):
            self._changed()
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*kept, ("Content-Length", str(len(body)))])
        return [body]


def _collect(application: Application, environ: Environ) -> tuple[str, list[tuple[str, str]], bytes]:
    """Run a WSGI application to its end: status line, headers and whole body."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
        started.append((status, headers))
        return lambda _data: None

    body = b"".join(application(environ, start))
    status, headers = started[-1]
    return status, headers, body


def _send(start_response: Callable[..., Any], status: int, content_type: str, body: bytes) -> Iterable[bytes]:
    reason = {400: "Bad Request", 403: "Forbidden", 404: "Not Found"}.get(status, "Error")
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", "rack"),
    ]
    start_response(f"{status} {reason}", headers)
    return [body]
